"""L1: a bilevel layer's VJP at a solved point against differences of the solved layer; quartic lower level, n = 5, m = 20, k = 10.

    g = y'Hy/2 + sum y^4/12 + exp(x_0/2 + z_0/3) y'y/2 - y'(Bx + Ez),    f = |x - Az|^2/2 + sum sin(y)/4 + y'y/2
"""

from __future__ import annotations

import numpy as np
from timing import OURS, Case

import refbilevel as rb


def quartic(n=5, m=20, k=10, seed=0):
    rng = np.random.default_rng(seed)
    F = rng.standard_normal((m, m))
    H, B, E, A = F @ F.T / m + np.eye(m), rng.standard_normal((m, n)), rng.standard_normal((m, k)), rng.standard_normal((n, k))
    e, c = np.eye(n)[0], np.eye(k)[0]

    def w(x, z):
        return np.exp(x[0] / 2 + z[0] / 3)

    return rb.LayerProblem(
        n=n, m=m, k=k,
        f=lambda x, y, z: 0.5 * (x - A @ z) @ (x - A @ z) + np.sin(y).sum() / 4 + 0.5 * y @ y,
        f_x=lambda x, y, z: x - A @ z, f_y=lambda x, y, z: np.cos(y) / 4 + y, f_z=lambda x, y, z: -A.T @ (x - A @ z),
        g=lambda x, y, z: 0.5 * y @ H @ y + (y**4).sum() / 12 + 0.5 * w(x, z) * y @ y - y @ (B @ x + E @ z),
        g_y=lambda x, y, z: H @ y + y**3 / 3 + w(x, z) * y - B @ x - E @ z,
        g_yy=lambda x, y, z: H + np.diag(y**2 + w(x, z)),
        g_xy=lambda x, y, z: np.outer(e, 0.5 * w(x, z) * y) - B.T,
        g_zy=lambda x, y, z: np.outer(c, w(x, z) * y / 3) - E.T,
    )  # fmt: skip


def cases():
    problem = quartic()
    layer, z, rng = rb.BilevelLayer(problem), np.linspace(-0.4, 0.5, problem.k), np.random.default_rng(1)
    x_bar, y_bar, solution = rng.standard_normal(problem.n), rng.standard_normal(problem.m), layer.solution(z)

    def difference(h=1e-2):
        def phi(t, e):
            x, y = layer.solve(z + t * e)
            return x_bar @ x + y_bar @ y

        return np.array([(8 * (phi(h, e) - phi(-h, e)) - (phi(2 * h, e) - phi(-2 * h, e))) / (12 * h) for e in np.eye(problem.k)])

    yield Case(
        "L1", "layer VJP, n = 5, m = 20, k = 10, quartic lower level",
        {
            OURS: lambda: lambda: layer.vjp(z, x_bar, y_bar, solution=solution),
            "the forward solve": lambda: lambda: (layer.solve(z), None)[1],
            "differences of 40 solves": lambda: difference,
        },
        layer.vjp(z, x_bar, y_bar, solution=solution), floor="the forward solve",
        notes={OURS: "solution given; digits are agreement with it, so those of the differences are the differences' own"},
    )  # fmt: skip

"""A valley along a kink: plain hypergradient descent against the gradient approximation method.

Lower level min_y 1/2 |y - z|^2, y >= 0 with z = x, upper f = w.(2y - x): F(x) = |x_1| + 10 |x_2|, zero at the origin. Descent along
the gradient of whichever branch it stands on crosses the second kink with ever shorter steps and stops far from the optimum; the
least-norm element of the branches within epsilon sees both sides of the kink and runs along it.

    python -m refbilevel.validation.experiments.kinks [--out figure.png]

Xu & Zhu, arXiv 2302.01970, algorithm 1.
"""

from __future__ import annotations

import numpy as np

import refbilevel as rb
from refbilevel.validation.experiments.worked import run

WEIGHTS = np.array([1.0, 10.0])
START = np.array([2.0, 0.3])


def problem():
    eye, zero = np.eye(2), np.zeros((2, 2))
    return rb.QuadraticBilevel(
        n=2, m=2, name="valley", upper=(None, np.concatenate([-WEIGHTS, 2 * WEIGHTS])),
        lower=(np.block([[zero, -eye], [-eye, eye]]), None), lower_rows=(np.hstack([zero, -eye]), np.zeros(2)),
    )  # fmt: skip


def descent(valley, x, steps=60):
    """Hypergradient descent with Armijo's rule, every row either active or not (weak_tol=0); the points visited."""

    def at(x):
        return rb.hypergradient(valley, x, "kkt", weak_tol=0.0, diagnostics=False)

    points, here = [x], at(x)
    while len(points) < steps:
        g, t = here.gradient, 1.0
        while (there := at(x - t * g)).objective > here.objective - 1e-4 * t * (g @ g):
            t *= 0.5
            if t < 1e-14:
                return np.array(points)
        x, here = x - t * g, there
        points.append(x)
    return np.array(points)


def study():
    valley = problem()
    plain = descent(valley, START)
    result = rb.minimize(valley, START, "gam")
    ours = np.array([iterate.x for iterate in result.history])
    rows = [
        ("hypergradient descent", float(np.abs(plain[-1]) @ WEIGHTS), len(plain), "stops at a kink"),
        ("gam", float(result.fun), len(ours), result.status.code),
    ]

    def draw(figure):
        left, right = figure.subplots(1, 2)
        first, second = np.meshgrid(np.linspace(-0.5, 2.2, 200), np.linspace(-0.2, 0.4, 200))
        left.contour(first, second, np.abs(first) + 10 * np.abs(second), 25, colors="0.8")
        for points, label in ((plain, "descent"), (ours, "gam")):
            left.plot(*points.T, ".-", label=label)
            right.semilogy(np.abs(points) @ WEIGHTS + 1e-16, ".-", label=label)
        left.set(xlabel="x1", ylabel="x2")
        right.set(xlabel="step", ylabel="F(x)")
        right.legend()

    return ("method", "F at the end", "steps", "outcome"), rows, draw


if __name__ == "__main__":
    run(__doc__, study)

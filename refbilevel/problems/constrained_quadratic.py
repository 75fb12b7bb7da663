"""Quadratic lower levels over a box, a simplex, a disc and an equality, each with its closed form.

    box_separable       min 1/2 |y - (b x + c)|^2, lo <= y <= hi          y* = clip(b x + c, lo, hi)
    simplex_projection  min 1/2 |y - x|^2, y >= 0, sum y = 1              y* = max(x - tau, 0)
    disc_projection     min 1/2 |y - x|^2, 1/2 |y|^2 <= 1/2 r^2           y* = x min(1, r / |x|)
    soft_threshold      min 1/2 |y - b|^2 + x |y|_1, as a QP in (y, t)    y* = sign(b) max(|b| - x, 0)
    stackelberg_cournot  N Cournot followers as one potential game; y >= 0
    toll_parallel_routes  travellers on parallel routes, tolls on some; sum y = demand, y >= 0
    parametric_qp       min |y|^2, 6 y1 + 3 y2 + 2 y3 = x1, x2 y1 + y2 - y3 = 1, y >= 0

References: Sherali, Soyster & Murphy, Oper. Res. 31 (1983) 253-276 (Cournot followers); Labbe, Marcotte & Savard, Manage. Sci. 44
(1998) 1608-1622 (tolls); Pirnay, Lopez-Negrete & Biegler, Math. Prog. Comp. 4 (2012) 307-331, section 5.1 (the parametric QP).
"""

from __future__ import annotations

import numpy as np

from ..errors import ArgumentError, ShapeError
from .closed_forms import ClosedForm, KnownQuadratic, blocks


def _vector(value, name, size=None):
    array = np.atleast_1d(np.asarray(value, float))
    if array.ndim != 1 or (size is not None and array.size not in (1, size)):
        raise ShapeError(f"{name} must be a scalar or have shape ({size or 'n'},), got {array.shape}")
    return array if size is None else np.broadcast_to(array, (size,)).copy()


def _nearness(n, m, rho, e, d, weight_y=1.0):
    """(Q, c, const) of 1/2 |y - d|^2 + 1/2 rho |x - e|^2."""
    Q = blocks(rho * np.eye(n), np.zeros((n, m)), weight_y * np.eye(m))
    return Q, np.concatenate([-rho * e, -weight_y * d]), 0.5 * (rho * e @ e + weight_y * d @ d)


def box_separable(b, c, d, rho=1.0, e=0.0, lo=-1.0, hi=1.0):
    """lower 1/2 |y - (b x + c)|^2 on lo <= y <= hi; upper 1/2 |y - d|^2 + rho/2 |x - e|^2. All (n,), b nonzero; n = m.

    The optimum is the best, per coordinate, of the interior stationary point and e projected on each clipped half-line.
    """
    b = _vector(b, "b")
    n = b.size
    c, d, e, lo, hi = (_vector(v, name, n) for v, name in ((c, "c"), (d, "d"), (e, "e"), (lo, "lo"), (hi, "hi")))
    if not (b != 0).all() or not (lo < hi).all() or not rho > 0:
        raise ArgumentError("box_separable needs b nonzero, lo < hi and rho > 0")
    eye, zero = np.eye(n), np.zeros((n, n))
    rows = np.empty((2 * n, 2 * n))
    rows[0::2], rows[1::2] = np.hstack([zero, -eye]), np.hstack([zero, eye])
    right = np.empty(2 * n)
    right[0::2], right[1::2] = -lo, hi

    def y(x):
        return np.clip(b * x + c, lo, hi)

    def dy_dx(x):
        free = (b * x + c > lo) & (b * x + c < hi)
        return np.diag(np.where(free, b, 0.0))

    def optimum():
        ends = np.sort([(lo - c) / b, (hi - c) / b], axis=0)
        inner = np.clip((b * (d - c) + rho * e) / (b * b + rho), *ends)
        candidates = np.array([inner, np.minimum(e, ends[0]), np.maximum(e, ends[1])])
        values = 0.5 * (np.clip(b * candidates + c, lo, hi) - d) ** 2 + 0.5 * rho * (candidates - e) ** 2
        best = values.argmin(axis=0)
        return np.take_along_axis(candidates, best[None], 0)[0], float(values.min(axis=0).sum())

    return KnownQuadratic(
        ClosedForm(y, dy_dx, optimum), n=n, m=n, name="box_separable", upper=_nearness(n, n, rho, e, d),
        lower=(blocks(np.diag(b * b), -np.diag(b), eye), np.concatenate([b * c, -c]), 0.5 * float(c @ c)), lower_rows=(rows, right),
    )  # fmt: skip


def simplex_projection(d, rho=1.0):
    """lower: project x on the unit simplex; upper 1/2 |y - d|^2 + rho/2 |x - d|^2. d (n,), n = m; the optimum is x* = d."""
    d = _vector(d, "d")
    n = d.size

    def y(x):
        v = np.sort(x)[::-1]
        tau = (np.cumsum(v) - 1) / np.arange(1, n + 1)
        return np.maximum(x - tau[np.flatnonzero(v > tau)[-1]], 0.0)

    def dy_dx(x):
        s = (y(x) > 0).astype(float)
        return np.diag(s) - np.outer(s, s) / s.sum()

    def optimum():
        return d.copy(), 0.5 * float(np.sum((y(d) - d) ** 2))

    eye, zero = np.eye(n), np.zeros((n, n))
    return KnownQuadratic(
        ClosedForm(y, dy_dx, optimum), n=n, m=n, name="simplex_projection", upper=_nearness(n, n, rho, d, d),
        lower=(blocks(eye, -eye, eye), None), lower_rows=(np.hstack([zero, -eye]), np.zeros(n)),
        lower_equalities=(np.append(np.zeros(n), np.ones(n))[None], np.ones(1)),
    )  # fmt: skip


def disc_projection(d, radius=1.0, rho=0.1):
    """lower: project x on |y| <= radius (one curved row); upper 1/2 |y - d|^2 + rho/2 |x|^2. d (n,), n = m."""
    d = _vector(d, "d")
    n = d.size
    eye, zero = np.eye(n), np.zeros((n, n))

    def y(x):
        return x * min(1.0, radius / max(np.linalg.norm(x), 1e-300))

    def dy_dx(x):
        size = np.linalg.norm(x)
        return eye if size <= radius else radius / size * (eye - np.outer(x, x) / size**2)

    def optimum():
        """Inside: d / (1 + rho); outside the radius only costs, so |x| = radius along d."""
        size = np.linalg.norm(d)
        x = d / (1 + rho) if size <= (1 + rho) * radius else d * radius / size
        return x, 0.5 * float(np.sum((y(x) - d) ** 2) + rho * x @ x)

    return KnownQuadratic(
        ClosedForm(y, dy_dx, optimum), n=n, m=n, name="disc_projection", upper=_nearness(n, n, rho, np.zeros(n), d),
        lower=(blocks(eye, -eye, eye), None), lower_rows=(np.zeros((1, 2 * n)), [0.5 * radius**2]),
        lower_quadratic={0: blocks(zero, zero, eye)},
    )  # fmt: skip


def soft_threshold(b, d):
    """lower 1/2 |y - b|^2 + x |y|_1 with x >= 0 scalar, y and t >= |y| stacked (m = 2j); upper 1/2 |y - d|^2. b, d (j,).

    F is quadratic between the kinks |b_i|; the optimum is the best clipped minimiser over the pieces.
    """
    b = _vector(b, "b")
    j = b.size
    d = _vector(d, "d", j)
    Q = np.zeros((1 + 2 * j, 1 + 2 * j))
    Q[1 : j + 1, 1 : j + 1] = np.eye(j)
    upper = Q.copy()
    Q[0, j + 1 :] = Q[j + 1 :, 0] = 1.0
    rows = np.zeros((2 * j, 1 + 2 * j))
    for i in range(j):
        rows[2 * i, [1 + i, 1 + j + i]] = 1.0, -1.0
        rows[2 * i + 1, [1 + i, 1 + j + i]] = -1.0, -1.0

    def y(x):
        value = np.sign(b) * np.maximum(np.abs(b) - x[0], 0.0)
        return np.concatenate([value, np.abs(value)])

    def dy_dx(x):
        moving = np.abs(b) > x[0]
        return np.concatenate([np.where(moving, -np.sign(b), 0.0), np.where(moving, -1.0, 0.0)])[:, None]

    def optimum():
        kinks = np.unique(np.concatenate([[0.0], np.abs(b)]))
        best = (kinks[-1], 0.5 * float(d @ d))
        for low, high in zip(kinks[:-1], kinks[1:]):
            on = np.abs(b) > low
            x = float(np.clip(np.mean(np.abs(b[on]) - np.sign(b[on]) * d[on]), low, high))
            value = 0.5 * float(np.sum((y(np.array([x]))[:j] - d) ** 2))
            best = min(best, (x, value), key=lambda pair: pair[1])
        return np.array([best[0]]), best[1]

    return KnownQuadratic(
        ClosedForm(y, dy_dx, optimum), n=1, m=2 * j, name="soft_threshold", bounds=(0.0, np.inf),
        upper=(upper, np.concatenate([[0.0], -d, np.zeros(j)]), 0.5 * float(d @ d)),
        lower=(Q, np.concatenate([[0.0], -b, np.zeros(j)]), 0.5 * float(b @ b)), lower_rows=(rows, np.zeros(2 * j)),
    )  # fmt: skip


def stackelberg_cournot(a, b, cost, leader_cost):
    """A leader (output x >= 0, unit cost) and N Cournot followers (cost (N,)), inverse demand price = a - b (x + sum y).

    The followers' equilibrium minimises -sum (a - b x - c_i) y_i + b sum y_i^2 + b sum_{i<j} y_i y_j over y >= 0 (Hessian b (I + 11')).
    Closed forms hold where every follower produces.
    """
    cost = _vector(cost, "cost")
    N = cost.size
    if not b > 0:
        raise ArgumentError("stackelberg_cournot needs b > 0")
    ones = np.ones((1, N))

    def y(x):
        return (a - b * x[0] - (N + 1) * cost + cost.sum()) / (b * (N + 1))

    def dy_dx(x):
        return np.full((N, 1), -1.0 / (N + 1))

    def optimum():
        margin = a + cost.sum() - (N + 1) * leader_cost
        return np.array([margin / (2 * b)]), -(margin**2) / (4 * b * (N + 1))

    return KnownQuadratic(
        ClosedForm(y, dy_dx, optimum), n=1, m=N, name="stackelberg_cournot", bounds=(0.0, np.inf),
        upper=(b * blocks(2.0, ones, np.zeros((N, N))), np.append(leader_cost - a, np.zeros(N))),
        lower=(b * blocks(0.0, ones, np.eye(N) + ones.T @ ones), np.append(0.0, cost - a)),
        lower_rows=(np.hstack([np.zeros((N, 1)), -np.eye(N)]), np.zeros(N)),
    )  # fmt: skip


def toll_parallel_routes(slope, cost, demand, tolled):
    """Tolls x (n,) on the first `tolled` of m parallel routes; route i costs slope_i y_i + cost_i + toll; the leader maximises revenue.

    Lower: min sum 1/2 slope_i y_i^2 + (cost_i + toll_i) y_i, sum y = demand, y >= 0. Closed forms hold where every route is used:
    y_T = alpha - B x with B = diag(w_T) - w_T w_T' / S, w = 1 / slope, and x* = 1/2 B^{-1} alpha, F* = -1/4 alpha' B^{-1} alpha.
    """
    slope = _vector(slope, "slope")
    m = slope.size
    cost = _vector(cost, "cost", m)
    if not (slope > 0).all() or not 1 <= tolled < m:
        raise ArgumentError("toll_parallel_routes needs positive slopes and at least one route with and one without toll")
    E = np.eye(tolled, m)
    w = 1 / slope
    S = w.sum()

    def y(x):
        price = cost + E.T @ x
        return w * ((demand + w @ price) / S - price)

    def dy_dx(x):
        return (np.outer(w, w) / S - np.diag(w)) @ E.T

    def optimum():
        B, alpha = -E @ dy_dx(None), E @ y(np.zeros(tolled))
        return 0.5 * np.linalg.solve(B, alpha), -0.25 * float(alpha @ np.linalg.solve(B, alpha))

    zero = np.zeros((tolled, tolled))
    return KnownQuadratic(
        ClosedForm(y, dy_dx, optimum), n=tolled, m=m, name="toll_parallel_routes", bounds=(0.0, np.inf),
        upper=(blocks(zero, -E, np.zeros((m, m))), None), lower=(blocks(zero, E, np.diag(slope)), np.append(np.zeros(tolled), cost)),
        lower_rows=(np.hstack([np.zeros((m, tolled)), -np.eye(m)]), np.zeros(m)),
        lower_equalities=(np.append(np.zeros(tolled), np.ones(m))[None], [demand]),
    )  # fmt: skip


def parametric_qp(d=(0.0, 0.0, 0.0)):
    """min |y|^2 s.t. 6 y1 + 3 y2 + 2 y3 = x1, x2 y1 + y2 - y3 = 1, y >= 0 (n = 2, m = 3); upper 1/2 |y - d|^2.

    At x = (5, 1) all y are positive; at (4.5, 1) the row y3 >= 0 holds. The closed form covers these two pieces.
    """
    d = _vector(d, "d", 3)
    bilinear = np.zeros((5, 5))
    bilinear[1, 2] = bilinear[2, 1] = 1.0

    def system(x):
        A = np.array([[6.0, 3.0, 2.0], [x[1], 1.0, -1.0]])
        b = np.array([x[0], 1.0])
        z = A.T @ np.linalg.solve(A @ A.T, b)
        return A, b, np.arange(3) if z[2] > 0 else np.arange(2), z

    def y(x):
        A, b, J, _ = system(x)
        value = np.zeros(3)
        value[J] = A[:, J].T @ np.linalg.solve(A[:, J] @ A[:, J].T, b)
        return value

    def dy_dx(x):
        """y_J = A'lam with A A'lam = b: differentiate both."""
        A, b, J, _ = system(x)
        A = A[:, J]
        lam = np.linalg.solve(A @ A.T, b)
        out = np.zeros((3, 2))
        out[J, 0] = A.T @ np.linalg.solve(A @ A.T, [1.0, 0.0])
        dA = np.zeros_like(A)
        dA[1, 0] = 1.0
        out[J, 1] = dA.T @ lam - A.T @ np.linalg.solve(A @ A.T, (dA @ A.T + A @ dA.T) @ lam)
        return out

    zero = np.zeros((2, 2))
    return KnownQuadratic(
        ClosedForm(y, dy_dx), n=2, m=3, name="parametric_qp",
        upper=(blocks(zero, np.zeros((2, 3)), np.eye(3)), np.append(np.zeros(2), -d), 0.5 * float(d @ d)),
        lower=(blocks(zero, np.zeros((2, 3)), 2 * np.eye(3)), None), lower_rows=(np.hstack([np.zeros((3, 2)), -np.eye(3)]), np.zeros(3)),
        lower_equalities=([[-1.0, 0, 6, 3, 2], [0, 0, 0, 1, -1]], [0.0, 1.0]), lower_quadratic_equalities={1: bilinear},
    )  # fmt: skip

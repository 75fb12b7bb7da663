"""Families of random problems for the fuzzing campaign: (rng, n, m) -> (problem, x, truth), the truth in longdouble from the data alone.

    quadratic   closed form, condition up to 1e5          rows       QP whose active set and margins are drawn first
    quartic     second derivatives that vary              disc       one curved row that moves with x; closed form
    logistic    the library's own, solved by its kernels  lasso      the library's own; all 3^m sign patterns are tried

The last two draw their own sizes where the family fixes them.
"""

from __future__ import annotations

from itertools import product

import numpy as np

from ..problem import BilevelProblem, Constraints
from ..problems import lasso
from ..problems.polynomial import random_spd
from .bound_campaign import LONG, solve_long, stopped_logistic


def quadratic_family(rng, n, m):
    """g = y'Hy/2 - y'(Bx + c), f = |y - d|^2/2 + a'x + x'Cy."""
    H, B, C = random_spd(m, 10 ** rng.uniform(0, 5), rng), rng.standard_normal((m, n)), rng.standard_normal((n, m))
    c, d, a, x = rng.standard_normal(m), rng.standard_normal(m), rng.standard_normal(n), rng.standard_normal(n)
    problem = BilevelProblem(
        n=n, m=m, f=lambda x, y: 0.5 * (y - d) @ (y - d) + a @ x + x @ C @ y, f_x=lambda x, y: a + C @ y, f_y=lambda x, y: y - d + C.T @ x,
        g=lambda x, y: 0.5 * y @ H @ y - y @ (B @ x + c), g_x=lambda x, y: -B.T @ y, g_y=lambda x, y: H @ y - B @ x - c,
        g_yy=lambda x, y: H, g_xy=lambda x, y: -B.T, f_xx=lambda x, y: np.zeros((n, n)), f_xy=lambda x, y: C, f_yy=lambda x, y: np.eye(m),
        g_xx=lambda x, y: np.zeros((n, n)),
    )  # fmt: skip
    return problem, x, smooth_truth(problem, x)


def quartic_family(rng, n, m):
    """g = y'Hy/2 + sum y^4/12 + (1 + x_0^2) |y|^2/2 - y'Bx, f = sum sin y + y'Dy/2: second derivatives vary."""
    H, D, B, x = random_spd(m, 10 ** rng.uniform(0, 3), rng), random_spd(m, 3.0, rng), rng.standard_normal((m, n)), rng.standard_normal(n)
    e = np.eye(n)[0]
    problem = BilevelProblem(
        n=n, m=m, f=lambda x, y: np.sin(y).sum() + 0.5 * y @ D @ y, f_x=lambda x, y: 0 * x, f_y=lambda x, y: np.cos(y) + D @ y,
        g=lambda x, y: 0.5 * y @ H @ y + (y**4).sum() / 12 + 0.5 * (1 + x[0] ** 2) * (y @ y) - y @ B @ x,
        g_x=lambda x, y: x[0] * (y @ y) * e - B.T @ y, g_y=lambda x, y: H @ y + y**3 / 3 + (1 + x[0] ** 2) * y - B @ x,
        g_yy=lambda x, y: H + np.diag(y**2 + 1 + x[0] ** 2), g_xy=lambda x, y: 2 * x[0] * np.outer(e, y) - B.T,
        f_xx=lambda x, y: np.zeros((n, n)), f_xy=lambda x, y: np.zeros((n, m)), f_yy=lambda x, y: D - np.diag(np.sin(y)),
        g_xx=lambda x, y: (y @ y) * np.outer(e, e),
    )  # fmt: skip
    return problem, x, smooth_truth(problem, x)


def smooth_truth(problem, x):
    """Newton's method and the adjoint, residuals in longdouble."""
    x, y = np.asarray(x, LONG), np.zeros(problem.m, LONG)
    for _ in range(40):
        y = y - solve_long(np.asarray(problem.g_yy(x, y), LONG), problem.g_y(x, y))
    v = solve_long(np.asarray(problem.g_yy(x, y), LONG), problem.f_y(x, y))
    return np.asarray(problem.f_x(x, y) - problem.g_xy(x, y) @ v, float)


def rows_family(rng, n, m):
    """A QP with rows G y + E x <= h and perhaps one equality, whose active set and margins (>= 0.05) are drawn first."""
    P, B = random_spd(m, 10 ** rng.uniform(0, 2), rng), rng.standard_normal((n, m))
    l = int(rng.integers(0, 2)) if m > 1 else 0
    k = int(rng.integers(1, m + 3))
    J = int(rng.integers(0, min(k, m - l) + 1))
    G, E, A = rng.standard_normal((k, m)), rng.standard_normal((k, n)), rng.standard_normal((l, m))
    x, y, nu, t, C = rng.standard_normal(n), rng.standard_normal(m), rng.standard_normal(l), rng.standard_normal(m), rng.standard_normal((n, m))
    mu = np.where(np.arange(k) < J, 0.05 + rng.random(k), 0.0)
    h = G @ y + E @ x + np.where(np.arange(k) < J, 0.0, 0.05 + rng.random(k))
    c, b = -(P @ y + B.T @ x + G.T @ mu + A.T @ nu), A @ y
    equality = dict(q=lambda x, y: A @ y - b, q_x=lambda x, y: np.zeros((l, n)), q_y=lambda x, y: A) if l else {}
    problem = BilevelProblem(
        n=n, m=m, f=lambda x, y: 0.5 * (y - t) @ (y - t) + x @ C @ y, f_x=lambda x, y: C @ y, f_y=lambda x, y: y - t + C.T @ x,
        g=lambda x, y: 0.5 * y @ P @ y + x @ B @ y + c @ y, g_x=lambda x, y: B @ y, g_y=lambda x, y: P @ y + B.T @ x + c,
        g_yy=lambda x, y: P, g_xy=lambda x, y: B, f_yy=lambda x, y: np.eye(m),
        constraints=Constraints(p=lambda x, y: G @ y + E @ x - h, p_x=lambda x, y: E, p_y=lambda x, y: G, linear=True, **equality),
    )  # fmt: skip
    K = np.zeros((m + J + l, m + J + l), LONG)
    rows = np.vstack([G[:J], A])
    K[:m, :m], K[:m, m:], K[m:, :m] = P, rows.T, rows
    z = solve_long(K, np.concatenate([-(B.T @ np.asarray(x, LONG) + c), (h - E @ np.asarray(x, LONG))[:J], b]))
    w = solve_long(K, np.concatenate([z[:m] - t + C.T @ x, np.zeros(J + l, LONG)]))
    truth = C @ z[:m] - B @ w[:m] - np.vstack([E[:J], np.zeros((l, n))]).T @ w[m:]
    return problem, x, np.asarray(truth, float)


def disc_family(rng, n, m):
    """g = h/2 |y - M x|^2 on |y - E x| <= r: y* = M x, or E x + r w / |w| with w = (M - E) x; |w| stays 10 % away from r."""
    M, E, C = rng.standard_normal((m, n)), rng.standard_normal((m, n)), rng.standard_normal((n, m))
    h, x, t = 10 ** rng.uniform(-1, 1), rng.standard_normal(n), rng.standard_normal(m)
    w = np.asarray((M - E) @ x, LONG)
    size = np.sqrt(w @ w)
    r = float(size) / rng.choice([rng.uniform(0.2, 0.9), rng.uniform(1.1, 3.0)])
    problem = BilevelProblem(
        n=n, m=m, f=lambda x, y: 0.5 * (y - t) @ (y - t) + x @ C @ y, f_x=lambda x, y: C @ y, f_y=lambda x, y: y - t + C.T @ x,
        g=lambda x, y: 0.5 * h * (y - M @ x) @ (y - M @ x), g_x=lambda x, y: -h * M.T @ (y - M @ x), g_y=lambda x, y: h * (y - M @ x),
        g_yy=lambda x, y: h * np.eye(m), g_xy=lambda x, y: -h * M.T, f_yy=lambda x, y: np.eye(m),
        constraints=Constraints(
            p=lambda x, y: np.array([0.5 * ((y - E @ x) @ (y - E @ x) - r * r)]), p_x=lambda x, y: -(y - E @ x)[None] @ E,
            p_y=lambda x, y: (y - E @ x)[None], lagrangian_yy=lambda x, y, mu, nu: mu[0] * np.eye(m), lagrangian_xy=lambda x, y, mu, nu: -mu[0] * E.T,
        ),
    )  # fmt: skip
    u = w / size
    y, slope = (E @ x + r * u, E + (r / size) * (np.eye(m) - np.outer(u, u)) @ (M - E)) if size > r else (np.asarray(M @ x, LONG), M)
    return problem, x, np.asarray(C @ y + slope.T @ (y - t + C.T @ x), float)


def logistic_family(rng, n, m):
    """`problems.logistic` with per-feature penalties."""
    stopped = stopped_logistic(rng, 0.0)
    return stopped.problem, stopped.x, stopped.truth


def lasso_family(rng, n, m):
    """`problems.lasso`, "one" penalty for n = 1; data are drawn again until no coordinate is within 1e-3 of a kink."""
    while True:
        A, B, t, s = rng.standard_normal((m + 5, m)), rng.standard_normal((m + 3, m)), rng.standard_normal(m + 5), rng.standard_normal(m + 3)
        x = rng.uniform(-4, -0.5, 1 if n == 1 else m)
        y, signs, margin = _lasso_solution(A, t, np.exp(np.asarray(x, LONG)) * np.ones(m))
        if margin > 1e-3:
            break
    f_y, S, size = B.T @ (B @ y - s) / len(B), np.flatnonzero(signs), np.exp(np.asarray(x, LONG)) * np.ones(m)
    v = np.zeros(m, LONG)
    v[S] = solve_long(np.asarray(A[:, S].T @ A[:, S] / len(A), LONG), f_y[S]) if S.size else 0.0
    each = -size * signs * v
    return lasso(A, t, B, s, penalties="one" if n == 1 else "per-feature"), x, np.asarray(each.sum(keepdims=True) if n == 1 else each, float)


def _lasso_solution(A, t, penalty):
    """(y, signs, margin): the sign pattern whose KKT conditions hold, and by how much they do; margin -1 where rounding hides it."""
    H, c, m = np.asarray(A.T @ A / len(A), LONG), np.asarray(A.T @ t / len(A), LONG), len(penalty)
    for pattern in product((-1, 0, 1), repeat=m):
        signs, y = np.array(pattern), np.zeros(m, LONG)
        S = np.flatnonzero(signs)
        if S.size:
            y[S] = solve_long(H[np.ix_(S, S)], c[S] - penalty[S] * signs[S])
        slack = np.where(signs == 0, penalty - np.abs(H @ y - c), signs * y)
        if (slack > 0).all():
            return y, signs, float(slack.min())
    return np.zeros(m, LONG), np.zeros(m), -1.0


FAMILIES = {
    "quadratic": quadratic_family, "quartic": quartic_family, "rows": rows_family, "disc": disc_family, "logistic": logistic_family,
    "lasso": lasso_family,
}  # fmt: skip

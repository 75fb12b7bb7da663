"""Independent truth for quadratic programs: 40-digit KKT systems, exact rational enumeration, problems with a known answer."""

from fractions import Fraction
from itertools import combinations

import mpmath
import numpy as np

BLOCKS = ("P", "q", "G", "h", "A", "b")


def problem(n, seed=0, m=None, p=None, margin=0.1, semidefinite=False):
    """(blocks, active): random strictly convex QP whose margin is `margin`, taken by one multiplier and by one slack."""
    rng = np.random.default_rng(seed)
    m, p = n // 2 if m is None else m, n // 5 if p is None else p
    B = rng.standard_normal((n, n))
    P = B.T @ B / n + 0.1 * np.eye(n)
    if semidefinite:
        P = B[: n // 2].T @ B[: n // 2] / n
    P = (P + P.T) / 2
    G, A, y = rng.standard_normal((m, n)), rng.standard_normal((p, n)), rng.standard_normal(n)
    active = np.arange(m) < max(1, m // 3)
    if semidefinite:
        active = np.arange(m) < n - n // 2 - p + 2
    mu, slack = np.where(active, rng.uniform(0.1, 1, m), 0), np.where(active, 0, rng.uniform(0.1, 1, m))
    mu[0], slack[-1] = margin, margin
    nu = rng.standard_normal(p)
    return dict(P=P, q=-(P @ y + G.T @ mu + A.T @ nu), G=G, h=G @ y + slack, A=A, b=A @ y), active


def gradients(blocks, active, cotangents, solve):
    """({name: gradient}, y, mu, nu) by the adjoint of the KKT system on a known active set; `solve(K, rhs)` is the arithmetic."""
    P, q, G, h, A, b = (blocks[name] for name in BLOCKS)
    n, J, p = q.size, np.flatnonzero(active), b.size
    N = np.vstack([G[J], A])
    K = np.block([[P, N.T], [N, np.zeros((len(N), len(N)))]])
    y_bar, mu_bar, nu_bar = cotangents
    z, w = solve(K, np.concatenate([-q, h[J], b])), solve(K, np.concatenate([y_bar, mu_bar[J], nu_bar]))
    y, wy = z[:n], w[:n]
    mu, wmu = np.zeros(h.size), np.zeros(h.size)
    mu[J], wmu[J] = z[n : n + J.size], w[n : n + J.size]
    nu, wnu = z[n + J.size :], w[n + J.size :]
    outer = np.multiply.outer
    return {
        "P": -(outer(wy, y) + outer(y, wy)) / 2, "q": -wy, "G": -(outer(mu, wy) + outer(wmu, y)), "h": wmu,
        "A": -(outer(nu, wy) + outer(wnu, y)), "b": wnu,
    }, y, mu, nu  # fmt: skip


def solve_mpmath(K, rhs):
    with mpmath.workdps(40):
        return np.array([float(v) for v in mpmath.lu_solve(mpmath.matrix(K.tolist()), mpmath.matrix(rhs.tolist()))])


def solve_extended(K, rhs):
    """LU with refinement whose residual and solution are in extended precision (longdouble)."""
    from scipy.linalg import lu_factor, lu_solve

    factor, wide = lu_factor(K), np.longdouble
    x, Kw = np.zeros(rhs.size, wide), K.astype(wide)
    for _ in range(6):
        x = x + lu_solve(factor, np.asarray(rhs.astype(wide) - Kw @ x, float))
    return np.asarray(x, float)


def error(got, truth):
    """Largest block-relative error over the six blocks."""
    return max(
        abs(np.asarray(getattr(got, name) if hasattr(got, name) else got[name]) - truth[name]).max() / max(abs(truth[name]).max(), 1e-300)
        for name in BLOCKS
        if truth[name].size
    )


def rational_solve(K, rhs):
    """Exact solution of a square rational system, or None if singular."""
    size = len(rhs)
    rows = [[Fraction(v) for v in row] + [Fraction(r)] for row, r in zip(K, rhs)]
    for c in range(size):
        pivot = next((i for i in range(c, size) if rows[i][c]), None)
        if pivot is None:
            return None
        rows[c], rows[pivot] = rows[pivot], rows[c]
        rows[c] = [v / rows[c][c] for v in rows[c]]
        for i in range(size):
            if i != c and rows[i][c]:
                rows[i] = [v - rows[i][c] * u for v, u in zip(rows[i], rows[c])]
    return [row[-1] for row in rows]


def enumerate_exactly(P, q, G, h, A, b):
    """(y, strict) of a strictly convex QP in rational arithmetic, or None if infeasible: every active set is tried.

    `strict` tells that each row has mu_i > 0 or slack_i > 0 (for the active set found) and that all tight rows are independent.
    """
    n, m, p = len(q), len(h), len(b)
    for size in range(min(m, n) + 1):
        for J in combinations(range(m), size):
            N = [G[i] for i in J] + list(A)
            k = len(N)
            K = [list(P[i]) + [row[i] for row in N] for i in range(n)] + [list(row) + [0] * k for row in N]
            z = rational_solve(K, [-v for v in q] + [h[i] for i in J] + list(b))
            if z is None or any(v < 0 for v in z[n : n + size]):
                continue
            slack = [Fraction(h[i]) - sum(Fraction(int(g)) * v for g, v in zip(G[i], z[:n])) for i in range(m)]
            if any(s < 0 for s in slack):
                continue
            strict = all(v > 0 for v in z[n : n + size]) and all(slack[i] > 0 for i in range(m) if i not in J)
            return [float(v) for v in z[:n]], strict, J
    return None


def cotangents_of(blocks, seed=11):
    """(y_bar, mu_bar, nu_bar) in the shapes of q, h, b."""
    rng = np.random.default_rng(seed)
    return tuple(rng.standard_normal(blocks[name].shape) for name in ("q", "h", "b"))

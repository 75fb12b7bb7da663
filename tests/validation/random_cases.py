"""Random quadratic cases with the truth from 40 digits: full Hessians, m = 1, c I, condition 1e8, near-stationary, with rows."""

import mpmath
import numpy as np

from refbilevel import BilevelProblem, Constraints
from refbilevel.validation.cases import Case, Functions

KINDS = ("full", "scalar", "identity", "ill-conditioned", "near-stationary", "rows")


def random_case(kind, seed):
    """A `Case` of the kind; f = |y - t|^2/2 + a'x, g = y'Hy/2 + x'Cy + b'y, rows Gy <= h."""
    rng = np.random.default_rng([KINDS.index(kind), seed])
    m = 1 if kind == "scalar" else int(rng.integers(2, 8))
    n = int(rng.integers(1, 6))
    H, C = hessian(kind, rng, m), rng.normal(size=(n, m))
    b, t, a, x = rng.normal(size=m), rng.normal(size=m), rng.normal(size=n), rng.normal(size=n)
    G = rng.normal(size=(min(m - 1, 2) + 1, m)) if kind == "rows" else np.zeros((0, m))
    active = np.arange(len(G)) < len(G) - 1
    if kind == "near-stationary":
        a = a - np.array(truth(H, C, b, t, a, x, G[active])[0], float) * (1 - 1e-8)
    h = np.zeros(len(G))
    if len(G):
        h[active] = rng.normal(size=active.sum())
    gradient, y, mu, condition, scale = truth(H, C, b, t, a, x, G[active], h[active])
    if (mu <= 0).any():  # turn the rows whose multiplier came out negative
        G[active] *= np.sign(mu)[:, None]
        h[active] *= np.sign(mu)
        mu = np.abs(mu)
    h[~active] = G[~active] @ y + 1.0
    return record(
        f"{kind}/average/{seed}", H, C, b, t, a, x, G, h, gradient, y, np.concatenate([mu, np.zeros((~active).sum())]), condition, scale
    )


def hessian(kind, rng, m):
    if kind == "identity":
        return float(rng.integers(1, 5)) * np.eye(m)
    Q, _ = np.linalg.qr(rng.normal(size=(m, m)))
    spread = 8.0 if kind == "ill-conditioned" else rng.uniform(0, 2)
    H = Q * np.logspace(0, -spread, m) @ Q.T
    return (H + H.T) / 2


def truth(H, C, b, t, a, x, G, h=None):
    """(gradient, y, mu, condition, |C| |v|) of the active rows G y = h, solved with 40 digits."""
    with mpmath.workdps(40):
        k, m = G.shape
        h = np.zeros(k) if h is None else h
        K = np.block([[H, G.T], [G, np.zeros((k, k))]])
        solve = lambda r: mpmath.lu_solve(mpmath.matrix(K.tolist()), r)  # noqa: E731
        force = [-(mpmath.mpf(b[j]) + mpmath.fdot(x.tolist(), C[:, j].tolist())) for j in range(m)]
        z = solve(mpmath.matrix(force + [mpmath.mpf(v) for v in h]))
        v = solve(mpmath.matrix([z[j] - mpmath.mpf(t[j]) for j in range(m)] + [mpmath.mpf(0)] * k))
        gradient = [mpmath.mpf(a[i]) - mpmath.fdot(C[i].tolist(), list(v)[:m]) for i in range(len(a))]
    values = np.array([float(u) for u in z])
    size = np.linalg.norm(C, 2) * np.linalg.norm([float(u) for u in v])
    return np.array([float(u) for u in gradient]), values[:m], values[m:], np.linalg.cond(K), size


def record(id, H, C, b, t, a, x, G, h, gradient, y, mu, condition, scale):
    n, m = C.shape
    rows = (
        Constraints(p=lambda x, y: G @ y - h, p_x=lambda x, y: np.zeros((len(h), n)), p_y=lambda x, y: G, linear=True) if len(G) else None
    )
    problem = BilevelProblem(
        n=n,
        m=m,
        f=lambda x, y: 0.5 * (y - t) @ (y - t) + a @ x,
        f_x=lambda x, y: a,
        f_y=lambda x, y: y - t,
        g=lambda x, y: 0.5 * y @ H @ y + x @ C @ y + b @ y,
        g_x=lambda x, y: C @ y,
        g_y=lambda x, y: H @ y + x @ C + b,
        g_yy=lambda x, y: H,
        g_xy=lambda x, y: C,
        f_yy=lambda x, y: np.eye(m),
        constraints=rows,
    )
    lost = np.log10(condition) + np.log10((np.linalg.norm(a) + scale) / np.linalg.norm(gradient))
    return Case(
        id,
        id.split("/")[0],
        "average",
        problem,
        Functions(problem.f, problem.g),
        x,
        gradient,
        y,
        mu,
        np.zeros(0),
        "converged",
        condition,
        15.95 - lost,
        a,
        scale,
        frozenset(),
        "random",
    )

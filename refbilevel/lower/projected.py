"""Projected Newton for sets with a cheap projection: boxes and simplices.

    face:   the coordinates that P(y - g_y) holds at a bound are fixed,
    step:   [H_FF  E_F'; E_F  0] (d_F, .) = -(g_F, 0) on the free ones (E: the equality row, if any),
    search: y <- P(y + t d), t halved until g falls by Armijo's rule; the projected gradient step where Newton's does not.

Globally convergent for convex g and quadratic once the face is found; the answer is polished like every other.
Bertsekas, SIAM J. Control Optim. 20 (1982) 221-246; More & Toraldo, SIAM J. Optim. 1 (1991) 93-113.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from .. import kkt
from ..errors import ArgumentError
from ..kkt import conditions
from ..kkt.polish import Polished, solve_symmetric
from .certificates_of_failure import affine
from .convex import finish


@dataclass(frozen=True, eq=False)
class Bounds:
    """lo <= y <= hi (m,), read off rows of p with one entry each."""

    lo: np.ndarray
    hi: np.ndarray


def read_bounds(problem, x, y, at, method):
    """`Bounds` of the rows at y; ArgumentError if some row is curved or has more than one entry."""
    G = sparse.csr_array(at.p_y)
    G.eliminate_zeros()
    if (np.diff(G.indptr) > 1).any() or not affine(problem, x, y):
        raise ArgumentError(f"lower method {method!r} needs rows of p that bound one y_j each; use method 'convex'")
    lo, hi = np.full(y.size, -np.inf), np.full(y.size, np.inf)
    rows = np.flatnonzero(np.diff(G.indptr) == 1)
    for i, j, a in zip(rows, G.indices, G.data):
        bound = y[j] - at.p[i] / a
        if a > 0:
            hi[j] = min(hi[j], bound)
        else:
            lo[j] = max(lo[j], bound)
    return Bounds(lo, hi)


def minimise(problem, x, y0, project, equality, method, tol, maxiter):
    """LowerSolution of min g over the set that `project` projects on; `equality` is its row (m,) or None."""
    maxiter = 200 if maxiter is None else maxiter
    y = project(y0)
    for k in range(maxiter):
        g = problem.g_y(x, y)
        if not np.isfinite(g).all():
            break
        H = conditions.dense(problem.g_yy(x, y))
        scale = 1.0 / max(np.abs(H).sum(axis=1).max(), 1e-300)
        target = project(y - scale * g)
        if np.abs(target - y).max() <= 1e-14 * (1 + np.abs(y).max()):
            break
        new = _search(problem, x, y, g, project, _newton(H, g, y, target, equality)) if problem.g is not None else None
        if new is None:
            new = _search(problem, x, y, g, project, -scale * g) if problem.g is not None else target
        if new is None:
            break
        y = new
    mu, nu = conditions.least_squares_multipliers(problem, x, y)
    polished = kkt.polish(problem, x, y, mu, nu)
    polished = Polished(polished.y, polished.mu, polished.nu, polished.residual, polished.before, k + polished.iterations)
    return finish(problem, x, polished, method, tol, (method,))


def _newton(H, g, y, target, equality):
    """The Newton step on the face that the projected gradient step leaves fixed."""
    moving = target - y
    F = np.flatnonzero(moving)
    K, b = H[np.ix_(F, F)], -g[F]
    if equality is not None:
        K = np.block([[K, equality[F, None]], [equality[None, F], np.zeros((1, 1))]])
        b = np.append(b, 0.0)
    d = np.zeros_like(y)
    d[F] = solve_symmetric(K, b)[: F.size]
    return d


def _search(problem, x, y, g, project, d):
    here = problem.g(x, y)
    for t in 0.5 ** np.arange(30):
        new = project(y + t * d)
        there, fall = problem.g(x, new), g @ (new - y)
        if np.isfinite(there) and fall < 0 and there <= here + 1e-4 * fall:
            return new
    return None

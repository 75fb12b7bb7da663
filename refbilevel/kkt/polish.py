"""Polish: from any solver's (y, mu, nu) to rounding level, by Newton's method on the active-set KKT equations.

    J = {i : mu_i > slack_i};   K (dy, mu_J+ - mu_J, dnu) = -(L_y, p_J, q),   mu_i+ = 0 off J.

This is the semismooth Newton method on the natural residual min(mu, -p), a primal-dual active set method: J is chosen anew at
each step, one step is exact for a QP once J is right, and convergence is quadratic under strict complementarity. A step is kept
only if the natural residual falls, so polishing never harms. Hintermueller, Ito & Kunisch, SIAM J. Optim. 13 (2002) 865-888.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.linalg as la
from scipy import sparse
from scipy.sparse.linalg import minres, splu

from . import conditions
from .system import RANK_TOL, System, stack_rows


@dataclass(frozen=True, eq=False)
class Polished:
    """(y, mu, nu) with its natural residual; `before` is the residual on entry."""

    y: np.ndarray
    mu: np.ndarray
    nu: np.ndarray
    residual: float
    before: float
    iterations: int


def polish(problem, x, y, mu, nu, maxiter=30, hessian=None):
    """Newton on the active-set equations from (y, mu, nu) until the natural residual stops falling."""
    at = conditions.rows(problem, x, y)
    before = residual = conditions.natural_residual(problem, x, y, mu, nu, at)
    iterations = stalled = 0
    best = (y, mu, nu)
    while iterations < maxiter and residual > 0 and np.isfinite(residual):
        y, mu, nu = newton_step(problem, x, y, mu, nu, at, hessian)
        if not (np.isfinite(y).all() and np.isfinite(mu).all() and np.isfinite(nu).all()):
            break
        at = conditions.rows(problem, x, y)
        new = conditions.natural_residual(problem, x, y, mu, nu, at)
        iterations += 1
        stalled = 0 if new < 0.9 * residual else stalled + 1
        if new < residual:
            residual, best = new, (y, mu, nu)
        if stalled >= 8 or stalled and residual <= 1e-13 * (1 + before):
            break
    return Polished(*best, residual, before, iterations)


def newton_step(problem, x, y, mu, nu, at=None, hessian=None, rounding=None):
    """One step of the method; `hessian(x, y, mu, nu)` replaces L_yy where only a model of it is at hand.

    `rounding` (m + r,) is added to the residuals' sizes: the step then leads as far as the solution may be.
    """
    at = conditions.rows(problem, x, y) if at is None else at
    J = np.flatnonzero(conditions.active(mu, at))
    H = (hessian or (lambda *z: conditions.lagrangian_yy(problem, *z)))(x, y, mu, nu)
    A, scale = stack_rows(at, J)
    r = A.shape[0]
    system = System(H, A, None, None, scale, J, mu.size, nu.size)
    p_y, q_y = at.p_y, at.q_y
    mu_J = np.zeros_like(mu)
    mu_J[J] = mu[J]
    top = problem.g_y(x, y) + p_y.T @ mu_J + q_y.T @ nu
    F = np.concatenate([top, np.concatenate([at.p[J], at.q]) / scale])
    if rounding is not None and rounding.shape == F.shape:
        F = F + np.where(F < 0, -rounding, rounding)
    dy, dmu, dnu = system.split(-solve_dense_or_sparse(system, F))
    return y + dy, mu_J + dmu, nu + dnu


def solve_dense_or_sparse(system, b):
    """K^{-1} b for b (N,) or (N, j); the least-norm least-squares solution where K is singular."""
    if not system.explicit:
        columns = [minres(system.operator(), c, rtol=1e-15, maxiter=20 * c.size)[0] for c in np.atleast_2d(b.T)]
        return columns[0] if b.ndim == 1 else np.column_stack(columns)
    K = system.matrix()
    if sparse.issparse(K):
        try:
            x = splu(K).solve(b)
            if np.isfinite(x).all() and la.norm(K @ x - b) <= 1e-8 * (1e-300 + la.norm(b)):
                return x
        except RuntimeError:  # exactly singular
            pass
        K = K.toarray()
    return solve_symmetric(K, b)


def solve_symmetric(K, b):
    """K^{-1} b by LU with one step of refinement; by least squares where K is singular to working precision."""
    if not K.shape[0]:
        return np.zeros_like(b)
    if not (np.isfinite(K).all() and np.isfinite(b).all()):
        return np.full_like(b, np.nan)
    with np.errstate(all="ignore"):
        lu, pivots, info = la.lapack.dgetrf(K)
        rcond = la.lapack.dgecon(lu, la.norm(K, 1))[0] if info == 0 else 0.0
    if info == 0 and rcond > 1e-14:
        x = la.lu_solve((lu, pivots), b)
        return x + la.lu_solve((lu, pivots), b - K @ x)
    return la.lstsq(K, b, cond=RANK_TOL)[0]

"""Newton's method with a globalising line search for min_y g(x, y).

    H s = -r,  r = g_y(x, y), H = g_yy(x, y);    y <- y + t s,  t from Armijo backtracking on g.

Explicit H: Cholesky of H + tau I, tau raised until it succeeds (Nocedal & Wright, Numerical Optimization, alg. 3.3).
Operator H: conjugate gradients truncated at |H s + r| <= eta |r| or at negative curvature (alg. 7.1), eta -> 0 for a
superlinear end. With tol=None the iteration goes on until rounding stops it, so |g_y| ends at about eps |H| |y|.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.linalg as la
from scipy import sparse
from scipy.linalg.blas import dnrm2 as length  # free of over- and underflow, unlike the root of a sum of squares

from ..linear import solve as linear_solve
from ..results import LowerSolution, Status
from .protocol import LowerSolver

EPS = np.finfo(float).eps


@dataclass
class _Direction:
    s: np.ndarray
    convex: bool  # no negative curvature met
    norm_H: float


def _solve(problem, x, y0, *, tol=None, maxiter=None):
    y, status, detail = y0.copy(), None, ""
    maxiter = 200 if maxiter is None else maxiter
    r = problem.g_y(x, y)
    start, best, stalled, floor, d = length(r), (np.inf, y), 0, 0.0, None
    k = 0
    while True:
        norm_r = length(r)
        if not np.isfinite(norm_r):
            return _result(best[1], best[0], k, Status.NONFINITE, f"g_y was not finite at iteration {k}.")
        stalled = 0 if norm_r < 0.5 * best[0] else stalled + 1
        if norm_r < best[0]:
            best = (norm_r, y)
        if norm_r == 0 or (tol is not None and norm_r <= tol):
            status = Status.CONVERGED
        elif norm_r <= floor and (stalled >= (2 if tol is None else 4) or tol is None and norm_r <= 1e-6 * floor):
            status = Status.CONVERGED if tol is None else Status.LOWER_STALLED
        elif stalled >= 30:
            status = Status.LOWER_STALLED
        elif k >= maxiter:
            status = Status.LOWER_MAXITER
        if status is not None and d is not None:
            break
        H = problem.g_yy(x, y)
        d = _direction(H, r, start)
        if status is not None:
            break
        if not np.isfinite(d.s).all():
            return _result(*best[::-1], k, Status.NONFINITE, "g_yy gave a step that is not finite.")
        floor = 100 * EPS * (d.norm_H * length(y) + start) * np.sqrt(y.size)
        if _unbounded(H, r, d.s, y):
            ray = d.s / length(d.s)
            return _result(y, norm_r, k, Status.LOWER_UNBOUNDED, "g has no curvature along a descent direction.", ray)
        t, y_new, r_new = _line_search(problem, x, y, r, d.s)
        if t == 0:
            small = norm_r <= floor or length(d.s) <= 1e-9 * (length(y) + 1e-300)
            status = Status.CONVERGED if tol is None and small else Status.LOWER_STALLED
            break
        y, r, k = y_new, r_new, k + 1
    if status is Status.CONVERGED and not _convex_at(problem, x, best[1], d):
        status = Status.NOT_A_MINIMUM
    if status is Status.CONVERGED and tol is None and _runs_away(problem, x, y0, best[1], d.s):
        status, detail = Status.LOWER_STALLED, "g flattens out along the last Newton step: its infimum may be at infinity, not at a y."
    return _result(best[1], best[0], k, status, detail)


def _result(y, residual, iterations, status, detail="", certificate=None):
    return LowerSolution(
        y=y, residual=float(residual), iterations=iterations, status=status, detail=detail, method="newton", certificate=certificate
    )


def _direction(H, r, start):
    if isinstance(H, np.ndarray):
        return _cholesky_direction(H, r)
    if sparse.issparse(H):
        norm_H = abs(H).sum(axis=0).max()
        solution = linear_solve(H, -r, "sparse_lu")
        s = solution.x
        convex = not solution.negative and s @ r < 0  # False too where s is not finite
        return _Direction(s if convex else -r / max(norm_H, 1e-300), convex, norm_H)
    eta = min(0.1, length(r) / max(start, 1e-300), np.sqrt(length(r)))
    solution = linear_solve(H, -r, "cg", rtol=max(eta, 1e-12))
    s, convex = solution.x, solution.status is not Status.NOT_A_MINIMUM
    norm_H = length(H @ r) / max(length(r), 1e-300)
    if not (np.isfinite(s).all() and s @ r < 0):
        s = -r / max(norm_H, 1e-300)
    return _Direction(s, convex, norm_H)


def _cholesky_direction(H, r):
    norm_H = np.linalg.norm(H)
    if not np.isfinite(norm_H):
        return _Direction(np.full_like(r, np.nan), False, norm_H)
    tau, convex = 0.0, True
    while True:
        try:
            factor = la.cho_factor(H + tau * np.eye(len(r)) if tau else H, check_finite=False)
            return _Direction(-la.cho_solve(factor, r, check_finite=False), convex, norm_H)
        except la.LinAlgError:
            convex = False
            tau = max(10 * tau, 1e-10 * norm_H, 1e-12 * length(r), 1e-300)


def _unbounded(H, r, s, y):
    """A direction of recession: no curvature along s, a real slope, and a step that leaves every scale of y behind."""
    norm_s = length(s)
    if norm_s < 1e8 * (1 + length(y)):
        return False
    u = s / norm_s
    return abs(u @ (H @ u)) <= 100 * EPS * length(H @ r) / max(length(r), 1e-300) and u @ r < 0


def _runs_away(problem, x, y0, y, s):
    """True if the last Newton step is no small part of the way y has come, and g has lost its curvature along it on that way."""
    if length(s) <= 1e-3 * max(length(y), length(y - y0)):
        return False
    return abs(s @ (problem.g_yy(x, y) @ s)) < 1e-6 * abs(s @ (problem.g_yy(x, y0) @ s))


def _line_search(problem, x, y, r, s):
    """Armijo on g; near rounding, where differences of g say nothing, a decrease of |g_y| serves."""
    slope, norm_r = r @ s, length(r)
    value = problem.g(x, y) if problem.g is not None else None
    t = 1.0
    for _ in range(60):
        y_new = y + t * s
        if np.array_equal(y_new, y):
            break
        if value is None:
            r_new = problem.g_y(x, y_new)
            if length(r_new) <= (1 - 1e-4 * t) * norm_r:
                return t, y_new, r_new
        else:
            decrease = problem.g(x, y_new) - value
            if decrease <= 1e-4 * t * slope and decrease < 0:
                return t, y_new, problem.g_y(x, y_new)
            if abs(decrease) <= 1e-9 * abs(value) or abs(t * slope) <= 1e-9 * abs(value):
                r_new = problem.g_y(x, y_new)
                if length(r_new) < norm_r:
                    return t, y_new, r_new
        t *= 0.5
    return 0.0, y, r


def _convex_at(problem, x, y, d):
    """The last Hessian met no negative curvature; a merely singular one is not a failure here (the adjoint judges it)."""
    if d.convex:
        return True
    H = problem.g_yy(x, y)
    if isinstance(H, np.ndarray):
        return la.eigvalsh(0.5 * (H + H.T), subset_by_index=(0, 0))[0] >= -1e-10 * d.norm_H
    if sparse.issparse(H):
        return la.eigvalsh(0.5 * (H + H.T).toarray())[0] >= -1e-10 * d.norm_H if len(y) <= 2000 else False
    return False


newton = LowerSolver("newton", _solve, requires=("g_y", "g_yy"), reference="Nocedal & Wright, alg. 3.3 and 7.1")

"""Implicit differentiation.

    g_yy v = f_y,      gradient = f_x - g_xy v,

all at (x, y), y = y*(x). Assumes g(x, .) strongly convex near y (g_yy positive definite).
Error law: exact at y*; ||gradient - grad F|| = O(|g_y| / mu) at an inexact y, to which a linear solve with residual r adds
(|g_xy| / mu) |r|. The linear method is an option: explicit (cholesky, lu, ...) or matrix-free (cg, minres, ...).
v = +g_yy^{-1} f_y (HOAG's convention); SOBA's and the multiplier convention is w = -v.

A singular g_yy >= 0 has many adjoints or none: the minimum-norm one is taken, and the hypergradient is defined only if f_y and the
rows of g_xy lie in the range of g_yy, for then g_xy v is the same for all of them (Status minimum_norm); else Status undefined.
A Krylov method sees only the eigenvectors that f_y excites; `probe` solves once more, loosely, with a random right-hand side, so
that a null or descending direction of g_yy does not stay hidden (a tenth of the work; probe=False spares it).

Pedregosa, Hyperparameter optimization with approximate gradient, ICML 2016, alg. 1; Bengio, Neural Computation 12, 2000, eq. 7.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy import sparse

from ..linear import solve
from ..linear.operators import not_a_hessian
from ..linear.singular import RANGE_LIMIT, minimum_norm
from ..results import Estimate, Status
from .protocol import Estimator

SINGULAR = (Status.ILL_CONDITIONED, Status.LINEAR_BREAKDOWN)


def _compute(problem, x, lower, *, linear="auto", rtol=None, maxiter=None, preconditioner=None, v0=None, probe=True):
    y = lower.y
    f_x, f_y, H = problem.f_x(x, y), problem.f_y(x, y), problem.g_yy(x, y)
    if linear == "minimum_norm":
        probe, solution = False, minimum_norm(H, f_y)
    else:
        kept = lower.factor if linear in ("auto", getattr(lower.factor, "method", None)) and preconditioner is None else None
        solution = solve(H, f_y, linear, rtol=rtol, maxiter=maxiter, x0=v0, preconditioner=preconditioner, factor=kept)
    if probe and solution.success and (solution.factor is None or solution.negative is None):
        solution = _probed(H, solution, preconditioner)
    g_xy = problem.g_xy(x, y)
    status, detail = solution.status, solution.detail
    if linear == "minimum_norm" or (status in SINGULAR and not _hopeless(solution)):
        solution, status, detail = _singular(H, f_y, g_xy, solution)
    elif status.success and solution.negative:
        status, detail = Status.NOT_A_MINIMUM, f"g_yy has at least {solution.negative} negative eigenvalue(s)."
    if status.success and (defect := not_a_hessian(H, getattr(solution.factor, "asymmetry", None))):
        status, detail = Status.NONSYMMETRIC, defect
    v = solution.x
    return Estimate(gradient=f_x - g_xy @ v, direct=f_x, adjoint=v, linear=solution, status=status, detail=detail)


def _probed(H, solution, preconditioner):
    """The solution, its status lowered if a random right-hand side meets a direction without positive curvature."""
    m = H.shape[0]
    if m == 1 and solution.x.any():
        return solution
    w = np.random.default_rng(0).standard_normal(m)
    found = solve(H, w, "cg", rtol=0.1 / np.sqrt(m), maxiter=2 * solution.iterations + 50, preconditioner=preconditioner)
    if found.status not in (Status.NOT_A_MINIMUM, Status.ILL_CONDITIONED):
        return solution
    return replace(solution, status=found.status, detail=found.detail, negative=found.negative)


def _hopeless(solution):
    """Trouble of the method rather than of the matrix."""
    return solution.status is Status.LINEAR_BREAKDOWN and not solution.condition > 1e15


def _singular(H, f_y, g_xy, solution):
    """The minimum-norm adjoint and what may be said of it; the first solution again if H was only ill conditioned."""
    least = minimum_norm(H, f_y)
    if least.status is Status.CONVERGED:
        return solution, solution.status, solution.detail
    if least.status is not Status.MINIMUM_NORM:
        return least, least.status, f"|f_y - g_yy v| = {least.residual:.1e} |f_y|."
    outside = minimum_norm(H, _some_rows(g_xy)).residual
    if outside > RANGE_LIMIT:
        return least, Status.UNDEFINED, f"A part {outside:.1e} of g_xy lies outside the range of g_yy."
    return least, Status.MINIMUM_NORM, ""


def _some_rows(g_xy):
    """g_xy^T as columns, or three random combinations of its rows where only products are known."""
    if isinstance(g_xy, np.ndarray):
        return g_xy.T
    if sparse.issparse(g_xy) and g_xy.shape[0] <= 100:
        return g_xy.T.toarray()
    return np.asarray(g_xy.T @ np.random.default_rng(0).standard_normal((g_xy.shape[0], 3)))


implicit = Estimator(
    name="implicit",
    family="implicit",
    compute=_compute,
    requires=("f_x", "f_y", "g_y", "g_yy", "g_xy"),
    error="exact",
    linear_solve="any",
    reference="Bengio 2000, eq. 7; Pedregosa 2016, alg. 1",
)

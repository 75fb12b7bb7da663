"""Implicit differentiation.

    g_yy v = f_y,      gradient = f_x - g_xy v,

all at (x, y), y = y*(x). Assumes g(x, .) strongly convex near y (g_yy positive definite).
Error law: exact at y*; ||gradient - grad F|| = O(|g_y| / mu) at an inexact y, to which a linear solve with residual r adds
(|g_xy| / mu) |r|. The linear method is an option: explicit (cholesky, lu, ...) or matrix-free (cg, minres, ...).
v = +g_yy^{-1} f_y (HOAG's convention); SOBA's and the multiplier convention is w = -v.

Pedregosa, Hyperparameter optimization with approximate gradient, ICML 2016, alg. 1; Bengio, Neural Computation 12, 2000, eq. 7.
"""

from __future__ import annotations

from ..linear import solve
from ..results import Estimate
from .protocol import Estimator


def _compute(problem, x, lower, *, linear="auto", rtol=None, maxiter=None, preconditioner=None, v0=None):
    y = lower.y
    f_x, f_y = problem.f_x(x, y), problem.f_y(x, y)
    solution = solve(
        problem.g_yy(x, y), f_y, linear, rtol=rtol, maxiter=maxiter, x0=v0, preconditioner=preconditioner, factor=lower.factor
    )
    v = solution.x
    return Estimate(gradient=f_x - problem.g_xy(x, y) @ v, direct=f_x, adjoint=v, linear=solution, status=solution.status)


implicit = Estimator(
    name="implicit",
    family="implicit",
    compute=_compute,
    requires=("f_x", "f_y", "g_y", "g_yy", "g_xy"),
    error="exact",
    linear_solve="any",
    reference="Bengio 2000, eq. 7; Pedregosa 2016, alg. 1",
)

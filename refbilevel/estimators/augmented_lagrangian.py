"""The augmented Lagrangian of min f subject to g_y = 0, at a fixed rho.

    y_k = argmin_y f + nu_k . g_y + (rho/2) |g_y|^2,     nu_{k+1} = nu_k + rho g_y(x, y_k),     gradient = f_x + g_xy nu_{k+1}.

nu converges linearly to -g_yy^{-1} f_y, the adjoint w = -v, and y_k to y*, with rho fixed: rate |(I + rho g_yy D^{-1} g_yy)^{-1}|, D the
Hessian of the Lagrangian f + nu . g_y, i.e. O(1/rho). Error law: O(q^K), q that rate; the gradient needs no inverse.
K=None goes on until nu no longer moves by rtol |nu| (default: rounding level).

Mehra & Hamm 2021 (arXiv 1911.03432); Bertsekas, Constrained optimization and Lagrange multiplier methods, 1982, chapter 2.
"""

from __future__ import annotations

import numpy as np

from ..errors import ArgumentError
from ..lower.auxiliary import penalised, solve_auxiliary
from ..results import Estimate, Status
from .protocol import Estimator

EPS = np.finfo(float).eps


def _compute(problem, x, lower, *, rho=10.0, K=None, nu0=None, rtol=None, maxiter=200, lower_method="auto"):
    if not (np.isfinite(rho) and rho > 0):
        raise ArgumentError(f"rho must be positive, got {rho!r}")
    if K is not None and (isinstance(K, bool) or not isinstance(K, (int, np.integer)) or K < 1):
        raise ArgumentError(f"K must be a positive integer, got {K!r}")
    y, nu = lower.y, np.zeros(problem.m) if nu0 is None else np.asarray(nu0, float)
    moves, status, detail = [], Status.LINEAR_MAXITER, ""
    for _ in range(maxiter if K is None else K):
        solution = solve_auxiliary(penalised(problem, nu, rho), x, y, lower_method)
        y = solution.y
        nu_new = nu + rho * problem.g_y(x, y)
        moves.append(float(np.linalg.norm(nu_new - nu)))
        nu = nu_new
        if solution.status is Status.NUDGE_TOO_LARGE or not np.isfinite(nu).all():
            status, detail = solution.status, f"f + nu . g_y + (rho/2)|g_y|^2 is not convex in y at rho = {rho:g}; use a larger rho."
            break
        if K is None and _settled(moves, nu, rtol):
            status = Status.CONVERGED
            break
    if K is not None and status is Status.LINEAR_MAXITER:
        status = Status.CONVERGED
    direct = problem.f_x(x, y)
    return Estimate(
        gradient=direct + problem.g_xy(x, y) @ nu, direct=direct, adjoint=-nu, y=y, status=status, detail=detail,
        extra={"rho": float(rho), "iterations": len(moves), "moves": moves},
    )  # fmt: skip


def _settled(moves, nu, rtol):
    """The moves are below rtol |nu|, or at rounding level and no longer falling."""
    size = np.linalg.norm(nu)
    if moves[-1] <= (EPS if rtol is None else rtol) * size:
        return True
    return rtol is None and len(moves) > 2 and moves[-1] <= 1e-9 * size and moves[-1] >= 0.5 * moves[-2]


augmented_lagrangian = Estimator(
    name="augmented_lagrangian",
    family="penalty",
    compute=_compute,
    requires=("f", "f_x", "f_y", "g_y", "g_yy", "g_xy"),
    error="O(q^K)",
    reference="Mehra & Hamm 2021; Bertsekas 1982, ch. 2",
)

"""What is known about the error of a hypergradient, unconstrained lower level.

error_estimate (asymptotically exact): one Newton step y+ = y - g_yy^{-1} g_y, the implicit gradient p+ at y+ and
    estimate = |p - p+|; p+ itself is quadratically better than p at y, so `refine=True` returns it.
attainable_digits = 15.95 - log10 kappa - log10 cancellation,  cancellation = (|f_x| + |g_xy| |v|) / |gradient|,
    kappa the condition number that the linear method sees: what rounding leaves of a well-posed answer.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from ..linear import METHODS, solve
from ..linear.operators import frobenius, length
from ..problem import keep_answers

DIGITS = 15.95  # -log10 of the rounding unit 2^-53
#: relative residual of the Newton step: y+ is to be quadratically better than y, not exact
STEP = 1e-12


@dataclass(frozen=True)
class NewtonDifference:
    """y+ (m,), the implicit gradient p+ (n,) there, its adjoint v+ and linear solution; |g_y| at y, and its scale |g_yy| (1 + |y|)."""

    y: np.ndarray
    gradient: np.ndarray
    adjoint: np.ndarray
    linear: object
    residual: float
    scale: float


def newton_difference(problem, x, y, linear="auto", factor=None, v0=None):
    """The implicit hypergradient after one Newton step from y; `factor`, of g_yy near y, also serves there if g_yy is constant.

    `v0` (m,), the adjoint at y where it is known, starts the one at y+.
    """
    H, g_y = problem.g_yy(x, y), problem.g_y(x, y)
    step = solve(H, g_y, linear, rtol=STEP, factor=factor)
    scale = norm(H, 2, symmetric=True) * (1 + length(y))
    y = y - step.x
    keep_answers(problem, x, y)
    f_x, f_y = problem.f_x(x, y), problem.f_y(x, y)
    H_next = problem.g_yy(x, y)
    same = isinstance(H, np.ndarray) and isinstance(H_next, np.ndarray) and bool((H == H_next).all())
    solution = _adjoint(H, f_y, linear, step.factor, v0) if same else _adjoint(H_next, f_y, linear, None, v0)
    return NewtonDifference(y, f_x - problem.g_xy(x, y) @ solution.x, solution.x, solution, length(g_y), scale)


def _adjoint(H, f_y, linear, factor, v0):
    """H v = f_y; for f_y = 0 a generic right-hand side shows whether H is singular or indefinite, and v = 0."""
    if f_y.any():
        return solve(H, f_y, linear, x0=v0, factor=factor)
    probe = solve(H, np.cos(np.arange(1.0, f_y.size + 1)), linear, factor=factor)
    return replace(probe, x=np.where(np.isfinite(probe.x), 0.0, np.nan))


def corrected_map_gradient(problem, x, lower):
    """(gradient, LowerSolution) at the solution map's own Newton correction of `lower`; (None, None) where the map has none.

    A Newton step stays on the smooth piece it starts from, and the right one is known only of a solution whose residual lies well below
    its margin. For any other y, one given or left by an iteration of fixed length, the map is solved from there; the gradient is None
    where that fails, or ends at a kink.
    """
    correct = getattr(problem.solution_map, "corrected", None)
    if correct is None or not lower.success:
        return None, None
    better = correct(x, lower) if lower.factor is not None and lower.residual <= 0.1 * lower.margin else None
    if better is None:
        better = problem.solution_map.solve(x, y0=lower.y)
        if not better.success:
            return None, better
    reads = getattr(problem.solution_map, "reads", None)
    f_y = problem.f_y.on(x, better.y, None if reads is None else reads(x, better))
    return problem.f_x(x, better.y) + problem.solution_map.vjp(x, better, f_y), better


def norm(A, iterations=8, symmetric=False):
    """|A|: Frobenius for arrays (an upper bound of the 2-norm), power iteration on A'A for operators (A A where symmetric)."""
    if isinstance(A, np.ndarray):
        return frobenius(A)
    if hasattr(A, "power"):  # sparse
        return math.sqrt(A.power(2).sum())
    u, transpose = np.cos(np.arange(1.0, A.shape[1] + 1)), A if symmetric else A.T
    for _ in range(iterations):
        u = transpose @ (A @ (u / max(np.linalg.norm(u), 1e-300)))
    return float(np.sqrt(np.linalg.norm(u)))


def seen_condition(linear):
    """The condition number that the linear method sees: squared for normal equations."""
    squares = linear.method in METHODS and METHODS[linear.method].squares_condition
    return linear.condition * linear.condition if squares else linear.condition  # a product overflows to infinity, a power raises


def attainable_digits(condition, terms, gradient, digits=DIGITS):
    """Digits left of `digits` (those of the derivatives); `terms` = |f_x| + |g_xy| |v|, the sizes that cancel in the gradient."""
    size = length(gradient)
    if not math.isfinite(condition) or not math.isfinite(terms):
        return math.nan
    if terms == 0:
        return digits
    cancellation = terms / size if size > 0 else math.inf
    left = digits - math.log10(max(condition, 1.0)) - math.log10(max(cancellation, 1.0))
    return left if math.isnan(left) else float(min(max(left, 0.0), digits))

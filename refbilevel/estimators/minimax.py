"""MinimaxOPT: min over (x, u), max over omega of L_alpha(u, omega, x) = f(x, u) + alpha [g(x, u) - g(x, omega)].

Partial gradients, at any point (`gradients`):
    L_x = f_x(x, u) + alpha [g_x(x, u) - g_x(x, omega)],     L_u = f_y(x, u) + alpha g_y(x, u),     L_omega = -alpha g_y(x, omega).
At the equilibrium of u and omega for a given alpha, L_x is the hypergradient of min_u max_omega L_alpha. |u - y*| <= |f_y| / (alpha mu),
so its error is O(1/alpha); the minimax problem is the bilevel one as alpha -> infinity. L_alpha is not convex-concave:
omega and u start equal, at y*.

Wang, Pan, Pi & Zhang, Effective bilevel optimization via minimax reformulation, 2023 (arXiv 2305.13153).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import ArgumentError
from ..lower.auxiliary import drowned, noise, nudged, solve_auxiliary
from ..problem import as_vector
from ..results import Estimate, Status
from .protocol import Estimator


@dataclass(frozen=True, eq=False)
class MinimaxGradients:
    """L_alpha and its partial gradients: x (n,), u (m,), omega (m,); `value` is nan where f or g is not given."""

    x: np.ndarray
    u: np.ndarray
    omega: np.ndarray
    value: float


def minimax_gradients(problem, x, u, omega, alpha):
    """L_alpha(u, omega, x) and its three partial gradients.

    x (n,), u (m,), omega (m,), alpha > 0. Raises ShapeError, ArgumentError, MissingDerivative. Source: arXiv 2305.13153.
    """
    problem.needs("f_x", "f_y", "g_x", "g_y", purpose="minimax_gradients")
    x, u, omega = as_vector(x, problem.n, "x"), as_vector(u, problem.m, "u"), as_vector(omega, problem.m, "omega")
    alpha = _positive(alpha)
    value = problem.f(x, u) + alpha * (problem.g(x, u) - problem.g(x, omega)) if problem.has("f", "g") else np.nan
    return MinimaxGradients(
        x=problem.f_x(x, u) + alpha * (problem.g_x(x, u) - problem.g_x(x, omega)),
        u=problem.f_y(x, u) + alpha * problem.g_y(x, u),
        omega=-alpha * problem.g_y(x, omega),
        value=float(value),
    )


def _positive(alpha):
    if not (np.isfinite(alpha) and alpha > 0):
        raise ArgumentError(f"alpha must be positive, got {alpha!r}")
    return float(alpha)


def _compute(problem, x, lower, *, alpha=1e4, lower_method="auto", lower_tol=None):
    alpha = _positive(alpha)
    omega = lower.y
    solution = solve_auxiliary(nudged(problem, 1.0 / alpha), x, omega, lower_method, lower_tol)
    partial = minimax_gradients(problem, x, solution.y, omega, alpha)
    status, detail = solution.status, solution.detail
    trouble = drowned("alpha", alpha, noise(problem, x, omega), problem.g_x(x, omega), partial.x)
    if solution.success and trouble:
        status, detail = Status.CANCELLATION, trouble
    return Estimate(
        gradient=partial.x, direct=problem.f_x(x, omega), status=status, detail=detail,
        extra={"alpha": alpha, "u": solution.y, "omega": omega, "L_u": partial.u, "L_omega": partial.omega},
    )  # fmt: skip


minimax = Estimator(
    name="minimax",
    family="penalty",
    compute=_compute,
    requires=("f", "f_x", "f_y", "g", "g_x", "g_y"),
    error="O(1/alpha)",
    reference="Wang et al. 2023",
)

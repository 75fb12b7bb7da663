"""The value-function penalty: the shared first-order oracle of F2SA, V-PBGD and MinimaxOPT.

    y_gamma = argmin_y f(x, y) + gamma g(x, y),     gradient = f_x(x, y_gamma) + gamma [g_x(x, y_gamma) - g_x(x, y*)]

is the gradient of F_gamma(x) = min_y f + gamma (g - min g), exact for F_gamma and O(1/gamma) from grad F. With
gamma = 1/beta it is one-sided equilibrium propagation. Assumes gamma > L_f / mu (f + gamma g strongly convex in y); an
error delta in either equilibrium adds O(gamma delta), so gamma=None takes gamma ~ delta^(-1/2).

Kwon et al., A fully first-order method for stochastic bilevel optimization, 2023 (arXiv 2301.10945);
Shen & Chen, On penalty-based bilevel gradient descent, 2023 (arXiv 2302.05185).
"""

from __future__ import annotations

import numpy as np

from ..errors import ArgumentError
from ..lower.auxiliary import drowned, noise, nudged, solve_auxiliary
from ..results import Estimate, Status
from .protocol import Estimator


def _compute(problem, x, lower, *, gamma=None, lower_method="auto", lower_tol=None):
    if gamma is not None and not (np.isfinite(gamma) and gamma > 0):
        raise ArgumentError(f"gamma must be positive, got {gamma!r}")
    delta = noise(problem, x, lower.y)
    best = delta**-0.5
    gamma = best if gamma is None else float(gamma)
    solution = solve_auxiliary(nudged(problem, 1.0 / gamma), x, lower.y, lower_method, lower_tol)
    pulled = problem.g_x(x, solution.y)
    gradient = problem.f_x(x, solution.y) + gamma * (pulled - problem.g_x(x, lower.y))
    status, detail = solution.status, solution.detail
    trouble = drowned("gamma", gamma, delta, pulled, gradient)
    if solution.success and trouble:
        status, detail = Status.CANCELLATION, trouble
    return Estimate(
        gradient=gradient, direct=problem.f_x(x, lower.y), status=status, detail=detail,
        extra={"gamma": gamma, "suggested_gamma": best, "y_gamma": solution.y},
    )  # fmt: skip


value_function = Estimator(
    name="value_function",
    family="penalty",
    compute=_compute,
    requires=("f", "f_x", "f_y", "g", "g_x", "g_y"),
    error="O(1/gamma)",
    reference="Kwon et al. 2023; Shen & Chen 2023",
)

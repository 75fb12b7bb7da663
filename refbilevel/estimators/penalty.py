"""The gradient-norm penalty of Mehra and Hamm: y_hat = argmin_y f + (gamma/2) |g_y|^2.

    gradient = f_x + gamma g_xy g_y     at (x, y_hat), the partial gradient of the penalty function in x.

Lemma: at y_hat, gamma g_y = -g_yy^{-1} f_y, so the gradient *is* f_x - g_xy g_yy^{-1} f_y at (x, y_hat), for every gamma and without
a linear solve; only y_hat != y* errs, hence O(1/gamma) against grad F. The inner problem has the squared condition number of
g_yy. A stationary point of it may also be a maximum or saddle of g; starting at y* keeps it near the minimum.

Mehra & Hamm, Penalty method for inversion-free deep bilevel optimization, ACML 2021 (arXiv 1911.03432).
"""

from __future__ import annotations

import numpy as np

from ..errors import ArgumentError
from ..lower.auxiliary import drowned, noise, penalised, solve_auxiliary
from ..results import Estimate, Status
from .protocol import Estimator


def _compute(problem, x, lower, *, gamma=1e4, lower_method="auto", lower_tol=None):
    if not (np.isfinite(gamma) and gamma > 0):
        raise ArgumentError(f"gamma must be positive, got {gamma!r}")
    solution = solve_auxiliary(penalised(problem, np.zeros(problem.m), gamma), x, lower.y, lower_method, lower_tol)
    y = solution.y
    direct, w = problem.f_x(x, y), gamma * problem.g_y(x, y)
    status, detail = solution.status, solution.detail
    trouble = drowned("gamma", gamma, noise(problem, x, lower.y), problem.g_y(x, y + 1.0), w)
    if solution.success and trouble:
        status, detail = Status.CANCELLATION, trouble
    return Estimate(
        gradient=direct + problem.g_xy(x, y) @ w, direct=direct, adjoint=-w, y=y, status=status, detail=detail,
        extra={"gamma": float(gamma)},
    )  # fmt: skip


penalty = Estimator(
    name="penalty",
    family="penalty",
    compute=_compute,
    requires=("f", "f_x", "f_y", "g_y", "g_yy", "g_xy"),
    error="O(1/gamma)",
    reference="Mehra & Hamm 2021",
)

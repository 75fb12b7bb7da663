"""HOAG: hyperparameter optimisation with approximate gradients, lower and adjoint solves to a tolerance eps_k that decreases.

    |g_y| <= eps_k,  |g_yy v - f_y| <= eps_k |f_y|,  p_k = f_x - g_xy v,   x <- P(x - p_k / L),   sum eps_k < infinity
    L <- 0.95 L after a step that decreases F enough, 2 L and eps <- eps / 2 after one that does not (the step is then undone)

|p_k - grad F| = O(eps_k), so that iterates converge. Schedules: "exponential" 0.9^k, "quadratic" k^-2, "cubic" k^-3, times eps_0.
One step an iteration, no clipping but the bounds.

Pedregosa, Hyperparameter optimization with approximate gradient, ICML 2016, alg. 1 and sec. 5.
"""

from __future__ import annotations

import numpy as np

from ..errors import unknown
from ..results import Status
from .protocol import OuterMethod, Outcome
from .single_loop import outer_curvature

SCHEDULES = {"exponential": lambda k: 0.9**k, "quadratic": lambda k: (k + 1.0) ** -2, "cubic": lambda k: (k + 1.0) ** -3}


def _run(objective, x0, *, tol=1e-8, maxiter=500, eps=1e-3, schedule="exponential", L=None):
    if schedule not in SCHEDULES:
        raise unknown("schedule", schedule, SCHEDULES)
    try:
        return _iterate(objective, x0, tol, maxiter, eps, SCHEDULES[schedule], L)
    finally:
        objective.loosen(None, None)


def _iterate(objective, x, tol, maxiter, eps, schedule, L):
    scale = 1.0
    objective.loosen(eps, eps)
    value = objective.record(x).fun
    L = outer_curvature(objective, x) if L is None else L
    for k in range(maxiter):
        accuracy = max(eps * scale * schedule(k), 1e-13)
        objective.loosen(accuracy, accuracy)
        now = objective.evaluate(x)
        if not np.isfinite(now.gradient).all():
            return Outcome(x, now.status, "No hypergradient here.", k)
        if objective.projected_norm(x, now.gradient) <= tol and _confirmed(objective, x, tol):
            return Outcome(x, Status.CONVERGED, f"Last lower tolerance {eps * scale * schedule(k):.1e}.", k)
        x_new = objective.project(x - now.gradient / L)
        h = objective.evaluate(x_new)
        slack = now.lower.residual * (1 + abs(now.objective))  # F is known to the lower residual only
        if np.isfinite(h.objective) and h.objective <= now.objective - 0.25 * L * np.sum((x_new - x) ** 2) + slack:
            x, value, L = x_new, h.objective, 0.95 * L
            objective.record(x)
        else:
            L, scale = 2 * L, 0.5 * scale
        if L > 1e16:
            return Outcome(x, Status.STALLED, "No step length decreases F.", k)
    return Outcome(x, Status.MAXITER, f"F = {value:.6g}.", maxiter)


def _confirmed(objective, x, tol):
    """Whether x is stationary by an exact hypergradient too."""
    objective.loosen(None, None)
    return objective.projected_norm(x, objective.evaluate(x).gradient) <= tol


hoag = OuterMethod("hoag", _run, reference="Pedregosa 2016, alg. 1")

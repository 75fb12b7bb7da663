"""L-BFGS-B on the hypergradient (SciPy's), with lower tolerances that tighten as it converges.

A smooth lower level and its adjoint are solved to 1e-6 r of their gradients' sizes, r the projected hypergradient as a fraction of the
first one, and to rounding at the end. Stops when |P(x - grad F) - x|_inf <= tol. When SciPy's line search gives up above tol, because
differences of F are rounding, projected gradient steps with a Barzilai-Borwein length finish the last digits.

Byrd, Lu, Nocedal & Zhu, A limited memory algorithm for bound constrained optimization, 1995.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import Bounds
from scipy.optimize import minimize as scipy_minimize

from ..driver import kind
from ..results import Status
from .protocol import OuterMethod, Outcome

#: the first relative tolerance of the lower and adjoint solves, and the last one before they go to rounding
LOOSE, TIGHT = 1e-6, 1e-12


def _run(objective, x0, *, tol=1e-8, maxiter=500, memory=20):
    first = objective.record(x0)
    if first.projected_norm <= tol:
        return Outcome(x0, Status.CONVERGED)
    x, restarts, size = x0, 0, _size(objective, x0)
    if size > 0:
        objective.loosen(LOOSE * size, LOOSE)

    def follow(x):
        norm = objective.record(x).projected_norm
        if objective.tolerance is not None and norm < first.projected_norm:
            loose = max(LOOSE * norm / first.projected_norm, TIGHT)
            objective.loosen(loose * size, loose)

    while True:
        result = scipy_minimize(
            objective, x, jac=True, method="L-BFGS-B", bounds=Bounds(objective.lo, objective.hi), callback=follow,
            options={"maxiter": max(maxiter - len(objective.history), 0), "gtol": tol, "ftol": 0.0, "maxcor": memory, "maxls": 40},
        )  # fmt: skip
        x = objective.project(result.x)
        objective.loosen(None, None)
        if objective.projected_norm(x, objective.evaluate(x).gradient) <= tol:
            return Outcome(x, Status.CONVERGED, nit=len(objective.history) - 1)
        if len(objective.history) >= maxiter:
            return Outcome(x, Status.MAXITER, nit=len(objective.history) - 1)
        x, improved = _polish(objective, x, tol)
        restarts += 1
        if objective.projected_norm(x, objective.evaluate(x).gradient) <= tol:
            return Outcome(x, Status.CONVERGED, nit=len(objective.history) - 1)
        if not improved or restarts >= 5:
            return Outcome(x, Status.STALLED, nit=len(objective.history) - 1)


def _size(objective, x0):
    """|g_y(x0, 0)|, or near the start where g has no gradient at zero, which tolerances are fractions of; zero where the lower level is not smooth and is solved to rounding."""
    problem = objective.problem
    if kind(problem) != "smooth" or problem.g_y is None:
        return 0.0
    with np.errstate(all="ignore"):
        sizes = [float(np.linalg.norm(problem.g_y(x0, y))) for y in (np.zeros(problem.m), objective.start + 1.0)]
    return next((size for size in sizes if np.isfinite(size)), 0.0)


def _polish(objective, x, tol, iterations=60):
    """Secant steps on the projected gradient: the best point by its norm where F does not rise, and whether the norm fell by half.

    F decides too, or at a kink the steps run off to a plateau where the gradient vanishes and F is worse.
    """
    first = objective.evaluate(x)
    gradient, ceiling = first.gradient, first.objective + 1e-10 * (1 + abs(first.objective))
    if not np.isfinite(gradient).all():
        return x, False
    start = best = objective.projected_norm(x, gradient)
    best_x, step = x, 1e-3 * (1 + np.linalg.norm(x)) / max(np.linalg.norm(gradient), 1e-300)
    for _ in range(iterations):
        x_new = objective.project(x - step * gradient)
        there = objective.evaluate(x_new)
        new = there.gradient
        if not np.isfinite(new).all():
            break
        s, z = x_new - x, new - gradient
        step = s @ s / (s @ z) if s @ z > 0 else step * 2
        x, gradient = x_new, new
        norm = objective.projected_norm(x, gradient)
        if norm < best and there.objective <= ceiling:
            best, best_x = norm, x
            objective.record(x)
        if best <= tol:
            break
    return best_x, best < 0.5 * start


lbfgs = OuterMethod("lbfgs", _run, reference="Byrd, Lu, Nocedal & Zhu 1995")

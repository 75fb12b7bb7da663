"""Equilibrium propagation: the hypergradient from equilibria of the nudged energy g + beta f, first derivatives only.

    y_beta = argmin_y g(x, y) + beta f(x, y),     t(beta) = g_x(x, y_beta) + beta f_x(x, y_beta),     grad F = t'(0).

(The mixed second derivatives of V(x, beta) = min_y g + beta f commute.) phases=
    "one_sided"    [t(beta) - t(0)] / beta                                              error (beta/2) t''       O(beta)
    "symmetric"    [t(beta) - t(-beta)] / (2 beta)                                      error (beta^2/6) t'''    O(beta^2)
    "richardson"   {8 [t(beta) - t(-beta)] - [t(2 beta) - t(-2 beta)]} / (12 beta)      O(beta^4)

An equilibrium known to |dy| <= delta adds O(delta / beta), so the best is beta ~ delta^(1/(r+1)) for order r, with an error
delta^(r/(r+1)); beta=None takes that, delta being the relative residual the lower solve reached (at least rounding).
Assumes g + beta f strongly convex at every beta used (|beta| < mu / L_f); Status NUDGE_TOO_LARGE says where it was not.
The nudged solves start at y*. Contrastive Hebbian learning and the two-equilibria meta-learning rule are "one_sided".

Scellier & Bengio 2017, theorem 1; Laborieux et al. 2021 ("symmetric"); Zucchet & Sacramento 2022.
"""

from __future__ import annotations

import numpy as np

from ..errors import ArgumentError, unknown
from ..linear.operators import ASYMMETRY_LIMIT, asymmetry
from ..lower.auxiliary import NOISE_LIMIT, noise, nudged, solve_auxiliary
from ..results import Estimate, Status
from .protocol import Estimator

#: phases: (order, {multiple of beta: weight}) with t'(0) ~ sum weight t(multiple beta) / beta
PHASES = {
    "one_sided": (1, {1: 1.0, 0: -1.0}),
    "symmetric": (2, {1: 0.5, -1: -0.5}),
    "richardson": (4, {1: 8 / 12, -1: -8 / 12, 2: -1 / 12, -2: 1 / 12}),
}


def _compute(problem, x, lower, *, beta=None, phases="symmetric", lower_method="auto", lower_tol=None):
    if phases not in PHASES:
        raise unknown("phases", phases, PHASES)
    if beta is not None and not (np.isfinite(beta) and beta != 0):
        raise ArgumentError(f"beta must be finite and not zero, got {beta!r}")
    order, weights = PHASES[phases]
    delta = noise(problem, x, lower.y)
    best = delta ** (1 / (order + 1))
    beta = best if beta is None else float(beta)
    gradient, size, failed, y = np.zeros(problem.n), 0.0, None, lower.y
    for multiple, weight in weights.items():
        energy = nudged(problem, multiple * beta)
        if multiple:
            solution = solve_auxiliary(energy, x, lower.y, lower_method, lower_tol)
            failed = failed or (None if solution.success else solution)
        t = energy.g_x(x, solution.y if multiple else y)
        gradient += weight / beta * t
        size = max(size, np.linalg.norm(t))
    status, detail = _judge(problem, x, lower, gradient, delta * size, beta, best, failed)
    return Estimate(
        gradient=gradient, direct=problem.f_x(x, y), status=status, detail=detail, extra={"beta": beta, "suggested_beta": best}
    )


def _judge(problem, x, lower, gradient, error, beta, best, failed):
    """A failed nudged solve, a difference quotient below the noise of the equilibria, or forces without an energy."""
    if failed is not None:
        return failed.status, f"At beta = {beta:.2g}: {failed.detail} Suggested beta {best:.1e}."
    if error / abs(beta) > NOISE_LIMIT * np.linalg.norm(gradient) and abs(beta) < 0.1 * best:
        return Status.CANCELLATION, f"The noise {error:.1e} over beta = {beta:.1e} is no longer small; suggested beta {best:.1e}."
    if problem.g_yy is not None and asymmetry(problem.g_yy(x, lower.y)) > ASYMMETRY_LIMIT:
        return Status.NONSYMMETRIC, "g_y is not the gradient of an energy, and equilibrium propagation needs one."
    return Status.CONVERGED, ""


equilibrium = Estimator(
    name="equilibrium",
    family="equilibrium",
    compute=_compute,
    requires=("f", "f_x", "f_y", "g", "g_x", "g_y"),
    error="O(beta^2)",
    reference="Scellier & Bengio 2017; Zucchet & Sacramento 2022",
)

"""Equilibrium propagation under lower-level constraints: first derivatives and two constrained equilibria.

    t(beta) = g_x + beta f_x + p_x' mu + q_x' nu at y_beta = argmin { g + beta f : p <= 0, q = 0 },     grad F = t'(0).

phases= "one_sided" [t(beta) - t(0)] / beta, O(beta); "symmetric" [t(beta) - t(-beta)] / (2 beta), O(beta^2); "richardson", O(beta^4).
The law holds while the nudge keeps the active set: beta must stay below the complementarity margin. beta=None starts from the
balance with the equilibrium's own error and shortens it until the set is kept. Without constraints this is `equilibrium`.

Scellier & Bengio 2017, theorem 1, with the envelope theorem of the constrained value; Zucchet & Sacramento, arXiv 2205.03076.
"""

from __future__ import annotations

import numpy as np

from ..errors import ArgumentError, unknown
from ..lower.constrained_auxiliary import lagrangian_x, noise, same_rows, solve_nudged
from ..results import Estimate, Status
from .protocol import Estimator

#: phases: (order, {multiple of beta: weight}) with t'(0) ~ sum weight t(multiple beta) / beta
PHASES = {
    "one_sided": (1, {1: 1.0, 0: -1.0}),
    "symmetric": (2, {1: 0.5, -1: -0.5}),
    "richardson": (4, {1: 8 / 12, -1: -8 / 12, 2: -1 / 12, -2: 1 / 12}),
}


def _compute(problem, x, lower, *, beta=None, phases="symmetric"):
    if phases not in PHASES:
        raise unknown("phases", phases, PHASES)
    if beta is not None and not (np.isfinite(beta) and beta != 0):
        raise ArgumentError(f"beta must be finite and not zero, got {beta!r}")
    order, weights = PHASES[phases]
    delta = noise(problem, x, lower)
    step, tries = (delta ** (1 / (order + 1)), 4) if beta is None else (float(beta), 1)
    for _ in range(tries):
        solutions = {j: solve_nudged(problem, x, lower, j * step) if j else lower for j in weights}
        kept = same_rows(lower, *solutions.values())
        if kept and all(s.success for s in solutions.values()):
            break
        step *= 0.1 if _ + 1 < tries else 1.0
    gradient = sum(w / step * lagrangian_x(problem, x, solutions[j], j * step) for j, w in weights.items())
    failed = next((s for s in solutions.values() if not s.success), None)
    status, detail = (failed.status, failed.detail) if failed is not None else (Status.CONVERGED, "")
    if status.success and not kept:
        status, detail = Status.INACCURATE, f"At beta = {step:.1e} the nudge changes the active set (margin {lower.margin:.1e}); use a smaller beta."
    size = max(np.linalg.norm(lagrangian_x(problem, x, s, j * step)) for j, s in solutions.items())
    if status.success and beta is not None and delta * size / abs(step) > 1e-2 * np.linalg.norm(gradient):
        status, detail = Status.CANCELLATION, f"The equilibria's noise over beta = {step:.1e} is no longer small; use a larger beta."
    return Estimate(gradient=gradient, direct=problem.f_x(x, lower.y), status=status, detail=detail, extra={"beta": step})


constrained_equilibrium = Estimator(
    name="constrained_equilibrium",
    family="equilibrium",
    compute=_compute,
    requires=("f", "f_x", "f_y", "g", "g_x", "g_y", "g_yy"),
    error="O(beta^2)",
    reference="Scellier & Bengio 2017; Zucchet & Sacramento 2205.03076",
    classes=("constrained",),
)

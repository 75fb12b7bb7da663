"""The gradient approximation method's estimator: the least-norm element of the gradients around x.

    G(x, epsilon) = { grad_S : S subset of I },     grad_S = f_x - N_S' K_S^{-1} (f_y; 0),     gradient = argmin { |h| : h in conv G },

I the rows whose status may change within epsilon of x (to first order: epsilon |d mu_j/dx| > mu_j if active,
epsilon |d p_j/dx| > -p_j if not), S the ones of them that are held. If I is empty this is the hypergradient, exactly; near a kink it
is zero where conv G holds zero, and otherwise minus it is a descent direction in the epsilon-neighbourhood (Goldstein).
The element is the true least-norm one, found by non-negative least squares, not the mean of G.

Xu & Zhu, Efficient gradient approximation method for constrained bilevel optimization, AAAI 2023 (arXiv 2302.01970), eq. 9, alg. 1.
"""

from __future__ import annotations

import numpy as np

from .. import kkt
from ..errors import ArgumentError
from ..results import Estimate, Status
from .protocol import Estimator


def _compute(problem, x, lower, *, epsilon=1e-3, max_ambiguous=8, weak_tol=None):
    if not (np.isfinite(epsilon) and epsilon >= 0):
        raise ArgumentError(f"epsilon must be non-negative, got {epsilon!r}")
    f_x, f_y = problem.f_x(x, lower.y), problem.f_y(x, lower.y)
    c = kkt.unit(problem, x, lower.y)
    problem = kkt.in_units(problem, c)
    local = kkt.analyse(problem, x, kkt.solution_in_units(lower, c), weak_tol)
    rows, distance = kkt.ambiguous_rows(problem, local, epsilon)
    capped = rows.size > max_ambiguous
    clarke = kkt.clarke_set(problem, local, f_x, f_y, ambiguous=rows[:max_ambiguous], max_weak=max_ambiguous, realised_only=False)
    if clarke is None:
        return Estimate(gradient=np.full(problem.n, np.nan), direct=f_x, status=Status.DEGENERATE, detail="No branch of y* follows x.")
    detail = f"Least-norm element of {len(clarke.generators)} gradients within epsilon = {epsilon:.1e}." if rows.size else ""
    if capped:
        detail += f" {rows.size} rows are ambiguous; the nearest max_ambiguous={max_ambiguous} were branched on."
    split = local.sets.weak.size and clarke.spread > 1e-9 * (np.abs(f_x).max() + np.abs(clarke.generators).max())
    status = Status.DEGENERATE if split else Status.NONUNIQUE if local.flat and kkt.flat_direction(local) is not None else Status.CONVERGED
    return Estimate(
        gradient=clarke.least_norm, direct=f_x, adjoint=clarke.weights @ clarke.adjoints / c, status=status, detail=detail,
        extra={
            "ambiguous": rows, "distance": distance, "generators": clarke.generators, "held": clarke.held, "weights": clarke.weights,
            "epsilon": epsilon, "capped": capped,
        },
    )  # fmt: skip


gam = Estimator(
    name="gam",
    family="implicit",
    compute=_compute,
    requires=("f_x", "f_y", "g_y", "g_yy", "g_xy"),
    error="zero if no row changes status within epsilon of x, else the least-norm element of the gradients there",
    reference="Xu & Zhu 2302.01970, eq. 9, alg. 1",
    linear_solve="symmetric indefinite",
    classes=("constrained", "smooth"),
)

"""Projected descent on a biased first-order oracle whose bias is driven to zero: BLOCC and Kornowski's methods.

    x <- P(x - t p(x; parameter)),  t by Barzilai and Borwein's quotient;  parameter <- next one when the steps have settled

`blocc`: p = grad F_gamma of the max-min value function, gamma = 10, 100, ..., bias O(1/gamma).
`kornowski`: p from the perturbed lower level, delta (equalities) or alpha (inequalities) = 1e-1, 1e-2, ..., bias O(delta), O(alpha).

Jiang, Xiao, Tian, Chen et al., arXiv 2406.10148, alg. 1 (BLOCC); Kornowski, Padmanabhan, Wang, Zhang & Sra, arXiv 2406.12771, alg. 1-3.
"""

from __future__ import annotations

import numpy as np

from ..driver import hypergradient
from ..results import Status
from .protocol import OuterMethod, Outcome


def _descend(objective, x0, estimator, parameter, values, tol, maxiter):
    x, t, k = x0, None, 0
    objective.record(x)
    for value in values:
        old_x = old_p = None
        while k < maxiter:
            h = hypergradient(objective.problem, x, estimator, y0=objective.lower, diagnostics=False, **{parameter: value})
            objective.counts.update(h.cost)
            p = h.gradient
            if not np.isfinite(p).all():
                return Outcome(x, h.status, h.detail, k)
            if old_p is not None and (x - old_x) @ (p - old_p) > 0:
                t = (x - old_x) @ (x - old_x) / ((x - old_x) @ (p - old_p))
            t = 1e-2 * (1 + np.linalg.norm(x)) / max(np.linalg.norm(p), 1e-300) if t is None else t
            old_x, old_p, x = x, p, objective.project(x - t * p)
            k += 1
            if objective.record(x).projected_norm <= tol:
                return Outcome(x, Status.CONVERGED, f"{parameter} = {value:.0e}.", k)
            if np.abs(x - objective.project(x - p)).max() <= 0.1 * abs(objective.history[-1].projected_norm) or np.abs(x - old_x).max() <= 1e-14:
                break
    status = Status.MAXITER if k >= maxiter else Status.STALLED
    return Outcome(x, status, f"The oracle's bias at {parameter} = {value:.0e} leaves {objective.history[-1].projected_norm:.1e}.", k)


def _blocc(objective, x0, *, tol=1e-6, maxiter=500, gammas=(1e1, 1e2, 1e3, 1e4, 1e5, 1e6)):
    return _descend(objective, x0, "blocc", "gamma", gammas, tol, maxiter)


def _kornowski(objective, x0, *, tol=1e-6, maxiter=500, deltas=(1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6)):
    constraints = objective.problem.constraints
    if constraints is not None and constraints.p is not None:
        return _descend(objective, x0, "kornowski_inequality", "alpha", [max(d, 1e-3) for d in deltas], tol, maxiter)
    return _descend(objective, x0, "kornowski_equality", "delta", deltas, tol, maxiter)


blocc = OuterMethod("blocc", _blocc, reference="Jiang et al. 2406.10148, alg. 1", classes=("constrained",))
kornowski = OuterMethod("kornowski", _kornowski, reference="Kornowski et al. 2406.12771, alg. 1-3", classes=("constrained",))

"""Sequential least-squares programming (SciPy's SLSQP) on F(x) = f(x, y*(x)) with G(x, y*(x)) <= 0, H(x, y*(x)) = 0 and bounds.

Stops when the KKT residual of the upper level is at most tol: |P(x - grad F - C' lambda) - x|, with lambda >= 0 on the rows of G in
force by non-negative least squares, and violations at most tol.

Kraft, A software package for sequential quadratic programming, 1988.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import Bounds, lsq_linear
from scipy.optimize import minimize as scipy_minimize

from ..results import Status
from . import coupling
from .protocol import OuterMethod, Outcome


def _run(objective, x0, *, tol=1e-8, maxiter=500):
    objective.record(x0)
    result = scipy_minimize(
        objective, x0, jac=True, method="SLSQP", bounds=Bounds(objective.lo, objective.hi), callback=objective.record,
        constraints=_constraints(objective), options={"maxiter": maxiter, "ftol": 1e-16},
    )  # fmt: skip
    return verdict(objective, objective.project(result.x), tol, infeasible=result.status in (4, 8), stopped=result.status == 9)


def verdict(objective, x, tol, *, infeasible=False, stopped=False):
    """The Outcome at x by its upper KKT residual, whatever SciPy says of it."""
    residual, violation = kkt_residual(objective, x)
    nit = len(objective.history) - 1
    if violation > max(tol, 1e-7):
        why = "; from here the constraints, linearised, have no common point (start elsewhere)" if infeasible else ""
        return Outcome(x, Status.STALLED, f"Upper constraints violated by {violation:.1e}{why}.", nit)
    if residual <= max(tol, 1e-7 * (1 + np.linalg.norm(objective.evaluate(x).gradient))):
        return Outcome(x, Status.CONVERGED, f"Upper KKT residual {residual:.1e}, violation {violation:.1e}.", nit)
    return Outcome(x, Status.MAXITER if stopped else Status.STALLED, f"Upper KKT residual {residual:.1e}.", nit)


def _constraints(objective):
    """SciPy's dictionaries; values and Jacobians at the lower solution that the objective already has."""
    problem = objective.problem

    def value(which, sign):
        def call(x):
            h = objective.evaluate(np.asarray(x, float))
            return sign * coupling.values(problem, h.x, h.lower.y)[which]

        return call

    def jacobian(which, sign):
        def call(x):
            h = objective.evaluate(np.asarray(x, float))
            return sign * coupling.total_jacobians(problem, h.x, h.lower, objective.estimator, objective.options)[which]

        return call

    u = problem.upper_constraints
    rows = [("ineq", 0, -1.0)] if u is not None and u.G is not None else []
    rows += [("eq", 1, 1.0)] if u is not None and u.H is not None else []
    return [{"type": kind, "fun": value(which, sign), "jac": jacobian(which, sign)} for kind, which, sign in rows]


def kkt_residual(objective, x):
    """(|P(x - grad L) - x|_inf with the best multipliers lambda of the upper rows, violation) at x."""
    h = objective.evaluate(x)
    problem = objective.problem
    G, H = coupling.values(problem, x, h.lower.y)
    C_G, C_H = coupling.total_jacobians(problem, x, h.lower, objective.estimator, objective.options)
    in_force = G >= -1e-6 * (1 + np.abs(G).max(initial=0.0))
    C = np.vstack([C_G[in_force], C_H])
    p = h.gradient
    if len(C):
        near = 1e-5 * (1 + np.abs(x))
        free = (x > objective.lo + near) & (x < objective.hi - near)
        low = np.r_[np.zeros(int(in_force.sum())), np.full(len(H), -np.inf)]
        multipliers = lsq_linear(C[:, free].T, -p[free], bounds=(low, np.inf), tol=1e-15).x if free.any() else np.zeros(len(C))
        p = p + C.T @ multipliers
    return objective.projected_norm(x, p), coupling.violation(problem, x, h.lower.y)


slsqp = OuterMethod("slsqp", _run, reference="Kraft 1988", constraints=("bounds", "linear", "nonlinear", "coupling"))

"""SciPy's trust-region interior point (trust-constr) on F with bounds and upper constraints, Hessians by quasi-Newton updates.

Byrd, Hribar & Nocedal, An interior point algorithm for large-scale nonlinear programming, 1999.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import BFGS, Bounds, NonlinearConstraint
from scipy.optimize import minimize as scipy_minimize

from . import coupling
from .protocol import OuterMethod
from .slsqp import verdict


def _run(objective, x0, *, tol=1e-8, maxiter=500):
    objective.record(x0)
    result = scipy_minimize(
        objective, x0, jac=True, method="trust-constr", hess=BFGS(), constraints=_constraints(objective), callback=lambda x, state: objective.record(x) and None,
        bounds=Bounds(objective.lo, objective.hi), options={"maxiter": maxiter, "gtol": 0.1 * tol, "xtol": 1e-14, "barrier_tol": 1e-4 * tol},
    )  # fmt: skip
    return verdict(objective, objective.project(result.x), tol, stopped=result.status == 0)


def _constraints(objective):
    problem, u = objective.problem, objective.problem.upper_constraints
    if u is None:
        return []

    def row(which):
        def value(x):
            h = objective.evaluate(np.asarray(x, float))
            return coupling.values(problem, h.x, h.lower.y)[which]

        def jacobian(x):
            h = objective.evaluate(np.asarray(x, float))
            return coupling.total_jacobians(problem, h.x, h.lower, objective.estimator, objective.options)[which]

        return value, jacobian

    rows = []
    for letter, which, low in (("G", 0, -np.inf), ("H", 1, 0.0)):
        if getattr(u, letter) is not None:
            value, jacobian = row(which)
            rows.append(NonlinearConstraint(value, low, 0.0, jac=jacobian, hess=BFGS()))
    return rows


trust_constr = OuterMethod("trust-constr", _run, reference="Byrd, Hribar & Nocedal 1999", constraints=("bounds", "linear", "nonlinear", "coupling"))

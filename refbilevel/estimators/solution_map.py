"""Implicit differentiation through a lower level that owns its adjoint.

    gradient = f_x + (dy/dx)^T f_y,      (dy/dx)^T y_bar = solution_map.vjp(x, lower, y_bar).

For problems with a `solution_map` (CVXPY programs, proximal problems, layers): the map knows its own optimality system and
solves its adjoint. Error law: exact where the map is differentiable; the map's own status and margin say where it is not. At a
kink, a map with `branches(x, lower, y_bar) -> (r, n)` gives the generators of the Clarke set in `extra`, with the weights of their
hull's element of least norm; the status is a success only if they agree.
"""

from __future__ import annotations

import numpy as np

from ..kkt.clarke import least_norm_weights
from ..results import Estimate, Status
from .protocol import Estimator


def _compute(problem, x, lower, *, linear=None):
    y = lower.y
    reads = getattr(problem.solution_map, "reads", None)  # f_y costs a pass over the data, and a map may need few entries
    f_x, f_y = problem.f_x(x, y), problem.f_y.on(x, y, None if reads is None else reads(x, lower))
    options = {} if linear is None else {"linear": linear}
    adjoint = getattr(problem.solution_map, "adjoint", None)
    if adjoint is None:
        return Estimate(gradient=f_x + problem.solution_map.vjp(x, lower, f_y, **options), direct=f_x)
    indirect, solution = adjoint(x, lower, f_y, **options)
    status = Status.CONVERGED if solution is None else solution.status
    detail = "" if solution is None else solution.detail
    if status is Status.DEGENERATE and hasattr(problem.solution_map, "branches"):
        branches = problem.solution_map.branches(x, lower, f_y)
        if branches is not None and len(branches):
            status, detail, extra = _clarke(f_x + branches, detail)
            return Estimate(gradient=f_x + indirect, direct=f_x, linear=solution, status=status, detail=detail, extra=extra)
    return Estimate(gradient=f_x + indirect, direct=f_x, linear=solution, status=status, detail=detail)


def _clarke(generators, detail):
    """(status, detail, extra) with the generators (r, n), and the weights of the element of least norm in their hull."""
    agree = np.ptp(generators, axis=0).max() <= 1e-9 * np.abs(generators).max()
    detail += f" {len(generators)} branch(es)" + (" that agree." if agree else ".")
    extra = {"generators": generators, "weights": least_norm_weights(generators)}
    return Status.CONVERGED if agree else Status.DEGENERATE, detail, extra


solution_map = Estimator(
    name="solution_map",
    family="implicit",
    compute=_compute,
    requires=("f_x", "f_y"),
    error="exact",
    linear_solve="the map's own",
    reference="Dontchev & Rockafellar, Implicit functions and solution mappings, 2014",
    classes=("map",),
)

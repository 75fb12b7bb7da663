"""Hypergradients of proximal problems (Lasso and its kin): on the support, or through K sweeps of coordinate descent.

    lasso_support          A v = (f_y)_S on the free coordinates S of y*:  gradient = f_x - (dr_S/dx)' v
    coordinate_forward     Y_{k+1} = derivative of one sweep at (y_k, Y_k):  gradient = f_x + Y_K' f_y(y_K)
    coordinate_reverse     the same number, by one pass back over the recorded sweeps

For a problem whose `solution_map` knows its kinks (problems.lasso, elastic_net, group_lasso, svm_dual). Error law: the first is
exact where no coordinate is weakly held; the others give the exact gradient of f(x, y_K(x)), and tend to the first as O(q^K) once the
support is found, q the rate of the descent on it.

Bertrand, Klopfenstein, Massias, Blondel, Vaiter, Gramfort, Salmon, "Implicit differentiation for fast hyperparameter selection in
non-smooth convex learning", JMLR 23, 2022: Theorem 3, algorithms 2 and 3.
"""

from __future__ import annotations

from ..errors import ArgumentError
from ..results import Estimate
from .protocol import Estimator

REFERENCE = "Bertrand et al. 2022"


def _map(problem, needed):
    solution_map = problem.solution_map
    if not hasattr(solution_map, needed):
        kind = type(solution_map).__name__
        raise ArgumentError(f"this method differentiates proximal problems (problems.lasso and its kin); {kind} is not one")
    return solution_map


def _support(problem, x, lower, *, linear=None):
    solution_map, f_x = _map(problem, "free_matrix"), problem.f_x(x, lower.y)
    f_y = problem.f_y.on(x, lower.y, solution_map.reads(x, lower))
    indirect, solution = solution_map.adjoint(x, lower, f_y, linear=linear)
    return Estimate(gradient=f_x + indirect, direct=f_x, linear=solution, status=solution.status, detail=solution.detail)


def _forward(problem, x, lower, *, K=100):
    y, Y = _map(problem, "forward").forward(x, lower.y, _count(K))
    f_x = problem.f_x(x, y)
    return Estimate(gradient=f_x + Y.T @ problem.f_y(x, y), direct=f_x, y=y)


def _reverse(problem, x, lower, *, K=100):
    solution_map = _map(problem, "recorded")
    y, record = solution_map.recorded(x, lower.y, _count(K))
    f_x = problem.f_x(x, y)
    return Estimate(gradient=f_x + solution_map.reverse(x, record, problem.f_y(x, y)), direct=f_x, y=y)


def _count(K):
    if isinstance(K, bool) or int(K) != K or K < 0:
        raise ArgumentError(f"K must be a non-negative integer, got {K!r}")
    return int(K)


def _entry(name, family, compute, error, **data):
    return Estimator(name, family, compute, ("f_x", "f_y"), error, REFERENCE, classes=("map",), **data)


lasso_support = _entry("lasso_support", "implicit", _support, "exact", linear_solve="any")
coordinate_forward = _entry("coordinate_forward", "unrolled", _forward, "O(q^K)", lower="start")
coordinate_reverse = _entry("coordinate_reverse", "unrolled", _reverse, "O(q^K)", lower="start")

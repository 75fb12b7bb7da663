"""Tangents and cotangents of the lower solution map X -> y*(X), whichever kind of lower level it is.

    lower_vjp: y_bar -> (dy/dX)' y_bar = the indirect term of the hypergradient of y_bar.y;    lower_jvp: dX -> (dy/dX) dX.
"""

from __future__ import annotations

import numpy as np

from ..driver import hypergradient
from ..kkt_sensitivity import kkt_sensitivity
from ..linear import solve
from ..problem import replace


def lower_vjp(problem, X, lower, y_bar):
    """(dy/dX)' y_bar, (n + k,)."""
    if not np.any(y_bar):
        return np.zeros(problem.n)
    linear = replace(problem, f=lambda X, y: float(y_bar @ y), f_x=lambda X, y: np.zeros(problem.n), f_y=lambda X, y: y_bar.copy())
    return hypergradient(linear, X, lower=lower, diagnostics=False).gradient


def lower_jvp(problem, X, lower, dX):
    """(dy/dX) dX, (m,)."""
    if problem.solution_map is not None:
        return problem.solution_map.jvp(X, lower, dX)
    if problem.constraints is not None:
        return kkt_sensitivity(problem, X, lower=lower).jvp(dX)[0]
    return -solve(problem.g_yy(X, lower.y), problem.g_xy(X, lower.y).T @ dX).x

"""Cotangents of the lower solution map X -> y*(X), whichever kind of lower level it is.

    y_bar -> (dy/dX)' y_bar = the indirect term of the hypergradient of y_bar.y
"""

from __future__ import annotations

import numpy as np

from ..driver import hypergradient
from ..problem import replace


def lower_vjp(problem, X, lower, y_bar):
    """(dy/dX)' y_bar, (n + k,)."""
    if not np.any(y_bar):
        return np.zeros(problem.n)
    linear = replace(problem, f=lambda X, y: float(y_bar @ y), f_x=lambda X, y: np.zeros(problem.n), f_y=lambda X, y: y_bar.copy())
    return hypergradient(linear, X, lower=lower, diagnostics=False).gradient

"""Finite differences of x -> f(x, y*(x)) with re-solved lower levels: SciPy's forward difference and numdifftools' extrapolation."""

import numpy as np
from scipy.optimize import approx_fprime

import refbilevel as rb


def _curve(problem):
    def value(x):
        found = rb.solve_lower(problem, np.asarray(x, float))
        if found.y is None or not np.isfinite(found.y).all():
            raise ArithmeticError(f"no lower solution: {found.status.code}")
        return float(problem.f(np.asarray(x, float), found.y))

    return value


def scipy_forward(problem, x):
    """`scipy.optimize.approx_fprime` at its default step."""
    return approx_fprime(x, _curve(problem))


def numdifftools_gradient(problem, x):
    """`numdifftools.Gradient` at its defaults."""
    import numdifftools

    return np.atleast_1d(numdifftools.Gradient(_curve(problem))(x))

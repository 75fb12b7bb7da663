"""`complete(problem)`: supply missing derivatives from those that are there, and say what that costs in digits.

A vector function phi of one variable z is differentiated column by column:

    complex step         Im phi(z + i h e) / h,                                        h = 1e-100,  exact to rounding
    central differences  [45 (phi_1 - phi_-1) - 9 (phi_2 - phi_-2) + (phi_3 - phi_-3)] / (60 h),    about 10 digits

The complex step is taken only where a probe shows the oracle to be analytic (it agrees with the differences); an oracle that
casts to float, takes |.| or compares is differenced. What was completed stands in `problem.completed` and in every result.

Squire & Trapp, Using complex variables to estimate derivatives of real functions, SIAM Review 40, 1998.
"""

from __future__ import annotations

import warnings

import numpy as np

from .problem import BilevelProblem, as_vector, replace

#: missing derivative -> (function, variable, transposed): the sources, best first
SOURCES = {
    "f_x": [("f", "x", False)], "f_y": [("f", "y", False)], "g_x": [("g", "x", False)], "g_y": [("g", "y", False)],
    "g_yy": [("g_y", "y", False)], "g_xy": [("g_x", "y", False), ("g_y", "x", True)], "g_xx": [("g_x", "x", False)],
    "f_xx": [("f_x", "x", False)], "f_xy": [("f_x", "y", False), ("f_y", "x", True)], "f_yy": [("f_y", "y", False)],
}  # fmt: skip
ORDER = ("f_x", "f_y", "g_x", "g_y", "g_yy", "g_xy", "g_xx", "f_xx", "f_xy", "f_yy")
WANTED = ("f_x", "f_y", "g_y", "g_yy", "g_xy")


class Completed:
    """An oracle that differentiates another one; (x, y) -> array. Symmetric second derivatives are symmetrised."""

    def __init__(self, source, variable, transposed, complex_step, symmetric):
        self.source, self.variable, self.transposed = source, variable, transposed
        self.complex_step, self.symmetric = complex_step, symmetric

    def __call__(self, x, y):
        z = x if self.variable == "x" else y
        slope = _complex_step if self.complex_step else _central
        J = np.array([slope(lambda z: self._at(x, y, z), z, e) for e in np.eye(len(z))])
        J = J if J.ndim == 1 or self.transposed else J.T
        return 0.5 * (J + J.T) if self.symmetric else J

    def _at(self, x, y, z):
        return np.asarray(self.source(z, y) if self.variable == "x" else self.source(x, z))


def _complex_step(phi, z, e, h=1e-100):
    return np.imag(phi(z + 1j * h * e)) / h


def _central(phi, z, e):
    h = 2e-3 * max(1.0, abs(float(z @ e)))

    def at(j):
        return phi(z + j * h * e)

    return (45 * (at(1) - at(-1)) - 9 * (at(2) - at(-2)) + (at(3) - at(-3))) / (60 * h)


def complete(problem, wanted=WANTED, *, x=None, y=None):
    """A copy of `problem` whose missing derivatives are completed by complex step or central differences.

    Parameters
    ----------
    problem : BilevelProblem
    wanted : names of the derivatives to have; those present are left alone.
    x, y : (n,), (m,) array_like, optional
        Where analyticity is probed; generic points by default.

    Returns
    -------
    BilevelProblem
        With `.completed = {name: digits}`; hypergradients name it in their message and cap their attainable digits by it.

    Raises
    ------
    MissingDerivative
        If there is nothing to complete a wanted derivative from.
    """
    x = 0.5 + 0.3 * np.sin(1.0 + np.arange(problem.n)) if x is None else as_vector(x, problem.n, "x")
    y = 0.5 + 0.3 * np.cos(1.0 + np.arange(problem.m)) if y is None else as_vector(y, problem.m, "y")
    completed = dict(problem.completed or {})
    for name in ORDER:
        if name in wanted and not problem.has(name):
            problem, digits = _add(problem, name, x, y, wanted)
            completed[name] = digits
    return replace(problem, completed=completed)


def _add(problem, name, x, y, wanted):
    source = next((s for s in SOURCES[name] if problem.has(s[0])), None)
    if source is None:
        first = SOURCES[name][0][0]
        if first not in SOURCES:
            problem.needs(first, purpose=f"completing {name}")
        problem, _ = _add(problem, first, x, y, wanted)
        source = SOURCES[name][0]
    function, variable, transposed = source
    symmetric = name in ("g_yy", "g_xx", "f_xx", "f_yy")
    inner = getattr(problem, function)
    analytic = not isinstance(inner, Completed) and _analytic(inner, variable, transposed, x, y)
    digits = 15.0 if analytic else (6.0 if isinstance(inner, Completed) and not inner.complex_step else 10.0)
    return replace(problem, **{name: Completed(inner, variable, transposed, analytic, symmetric)}), digits


def _analytic(source, variable, transposed, x, y):
    """True if the complex step along generic directions agrees with central differences to 6 digits."""
    z = x if variable == "x" else y
    e = np.cos(np.arange(len(z)))

    def phi(z):
        return np.asarray(source(z, y) if variable == "x" else source(x, z))

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", np.exceptions.ComplexWarning)
            slope = _complex_step(phi, z, e)
    except (TypeError, ValueError, np.exceptions.ComplexWarning):
        return False
    reference = _central(phi, z, e)
    return bool(np.linalg.norm(slope - reference) <= 1e-6 * np.linalg.norm(reference) + 1e-12)

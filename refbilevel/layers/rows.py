"""The upper constraints in force at a point of the joint problem: bounds of x, rows of G that are active, all rows of H.

Each row's *total* derivative through y*(X) is a row of C (rows, n + k): for a row r(x, y, z), C_i = r_X + (dy/dX)' r_y, the
hypergradient of the joint problem with r in place of f. Multipliers are those of stationarity, C_x' lambda = -grad_x F.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.linalg as la

from ..driver import hypergradient
from ..problem import replace
from .problem import _in_z

ACTIVE = 1e-7  # relative distance below which an upper row counts as in force


@dataclass(frozen=True)
class UpperRows:
    """Values c (r,), total derivatives C (r, n + k), names, which rows are inequalities, and scalar functions for those with y."""

    n: int
    gradient: np.ndarray
    c: np.ndarray
    C: np.ndarray
    names: tuple
    inequality: np.ndarray
    functions: tuple

    def multipliers(self, gradient):
        """lambda of least squares: C_x' lambda = -gradient."""
        return np.linalg.lstsq(self.C[:, : self.n].T, -gradient, rcond=None)[0] if len(self.c) else np.zeros(0)

    def null_space(self):
        """Orthonormal basis (n, n - rank) of the null space of C_x."""
        return la.null_space(self.C[:, : self.n]) if len(self.c) else np.eye(self.n)

    def restore(self):
        """The least x-step that puts the rows back to zero."""
        return self.pseudo(-self.c)

    def pseudo(self, right):
        """C_x^+ right."""
        return np.linalg.lstsq(self.C[:, : self.n], right, rcond=None)[0] if len(self.c) else np.zeros(self.n)

    def pseudo_transpose(self, right):
        """(C_x')^+ right."""
        return np.linalg.lstsq(self.C[:, : self.n].T, right, rcond=None)[0] if len(self.c) else np.zeros(0)

    def weak(self, multipliers, scale):
        """Names of the inequality rows in force whose multiplier vanishes or has the wrong sign."""
        small = multipliers <= 1e-7 * max(scale, 1e-300)
        return [name for name, i, s in zip(self.names, self.inequality, small) if i and s]

    def terms(self, multipliers):
        """(lambda_i, r_X, r_y) of the rows that are functions: the upper Lagrangian's part beside f (bounds have no curvature)."""
        return tuple((float(weight), r[1], r[2]) for weight, r in zip(multipliers, self.functions) if r is not None)


def upper_rows(problem, X, h, start):
    """The `UpperRows` of a LayerProblem at X, where h is the joint hypergradient."""
    n, x = problem.n, X[: problem.n]
    rows = [*_bound_rows(problem, x), *_function_rows(problem, X, h)]
    if not rows:
        nothing = np.zeros(0)
        return UpperRows(n, h.gradient[:n], nothing, np.zeros((0, len(X))), (), nothing.astype(bool), ())
    c, C, names, inequality, functions = zip(*rows)
    return UpperRows(n, h.gradient[:n], np.array(c), np.array(C), names, np.array(inequality), functions)


def _bound_rows(problem, x):
    if problem.bounds is None:
        return
    lo, hi = problem.bounds
    size = len(x) + problem.k
    for i in range(len(x)):
        for bound, sign, side in ((lo[i], -1.0, "lower"), (hi[i], 1.0, "upper")):
            if abs(x[i] - bound) <= ACTIVE * (1 + abs(bound)):
                yield sign * (x[i] - bound), sign * np.eye(size)[i], f"{side} bound of x[{i}]", True, None


def _function_rows(problem, X, h):
    u = problem.upper_constraints
    if u is None:
        return
    n, x, z, y = problem.n, X[: problem.n], X[problem.n :], h.lower.y
    for letter, inequality in (("G", True), ("H", False)):
        value = getattr(u, letter)
        if value is None:
            continue
        values = np.asarray(value(x, y, z), float)
        for i in range(len(values)):
            if inequality and values[i] < -ACTIVE * (1 + np.abs(values).max()):
                continue
            functions = _row(u, letter, i, n, problem.m)
            scalar = replace(_joint(problem), f=functions[0], f_x=functions[1], f_y=functions[2])
            total = hypergradient(scalar, X, lower=h.lower, diagnostics=False).gradient
            yield values[i], total, f"{letter}[{i}]", inequality, functions


def _joint(problem):
    return problem.joint()


def _row(u, letter, i, n, m):
    """(r, r_X, r_y) of row i as functions of (X, y)."""
    value, d_x, d_y = (getattr(u, letter + s) for s in ("", "_x", "_y"))
    d_z = getattr(u, letter + "_z", None) or (lambda x, y, z: _in_z(value)(x, y, z).T)

    def r(X, y):
        return float(np.asarray(value(X[:n], y, X[n:]))[i])

    def r_X(X, y):
        parts = (X[:n], y, X[n:])
        return np.concatenate([np.asarray(d_x(*parts), float)[i], np.asarray(d_z(*parts), float)[i]])

    def r_y(X, y):
        return np.zeros(m) if d_y is None else np.asarray(d_y(X[:n], y, X[n:]), float)[i]

    return r, r_X, r_y

"""Upper constraints along the solution map: G(x, y*(x)) <= 0, H(x, y*(x)) = 0 and their total Jacobians.

Row i has the total derivative G_x,i + (dy/dx)' G_y,i, the hypergradient of the problem with G_i in place of f at the same lower
solution: one adjoint a row, and whatever kind of lower level.
"""

from __future__ import annotations

import numpy as np

from ..driver import hypergradient
from ..problem import replace


def values(problem, x, y):
    """(G (k,), H (l,)) at (x, y); empty where absent."""
    u = problem.upper_constraints
    nothing = np.zeros(0)
    if u is None:
        return nothing, nothing
    return tuple(nothing if row is None else np.atleast_1d(np.asarray(row(x, y), float)) for row in (u.G, u.H))


def total_jacobians(problem, x, lower, estimator="auto", options=None):
    """(dG/dx (k, n), dH/dx (l, n)), total derivatives at the lower solution given."""
    u = problem.upper_constraints
    return tuple(_rows(problem, x, lower, u, letter, estimator, options or {}) for letter in ("G", "H"))


def _rows(problem, x, lower, u, letter, estimator, options):
    if u is None or getattr(u, letter) is None:
        return np.zeros((0, problem.n))
    partial_x = np.atleast_2d(dense(getattr(u, letter + "_x")(x, lower.y)))
    by_y = getattr(u, letter + "_y")
    if by_y is None:
        return partial_x
    partial_y = np.atleast_2d(dense(by_y(x, lower.y)))
    rows = partial_x.copy()
    for i in np.flatnonzero(np.any(partial_y != 0, axis=1)):
        rows[i] = _one(problem, x, lower, letter, i, partial_x[i], partial_y[i], estimator, options)
    return rows


def _one(problem, x, lower, letter, i, row_x, row_y, estimator, options):
    """Gradient of row i; row_x and row_y stand for its partial derivatives at this one point."""
    scalar = replace(
        problem, f=lambda x, y: 0.0, f_x=lambda x, y: row_x.copy(), f_y=lambda x, y: row_y.copy(), upper_constraints=None
    )
    return hypergradient(scalar, x, estimator, lower=lower, diagnostics=False, **options).gradient


def violation(problem, x, y):
    """The largest violation of the upper rows at (x, y), 0 if none."""
    G, H = values(problem, x, y)
    return float(max(G.max(initial=0.0), np.abs(H).max(initial=0.0), 0.0))


def dense(A):
    return A.toarray() if hasattr(A, "toarray") else np.asarray(A, float)

"""Lower levels over a box lo(x) <= y <= hi(x), read off the rows of p: projected Newton (projected.py)."""

from __future__ import annotations

import numpy as np

from .. import kkt
from ..errors import ArgumentError
from .projected import minimise, read_bounds
from .protocol import LowerSolver


def _solve(problem, x, y0, *, tol=None, maxiter=None):
    at = kkt.rows(problem, x, y0)
    if at.q.size:
        raise ArgumentError("lower method 'box' takes no equalities q; use 'simplex' or 'convex'")
    bounds = read_bounds(problem, x, y0, at, "box")
    if (bounds.lo > bounds.hi).any():
        return _empty(problem, x, y0)
    return minimise(problem, x, y0, lambda y: np.clip(y, bounds.lo, bounds.hi), None, "box", tol, maxiter)


def _empty(problem, x, y0):
    """lo > hi: the general solver finds the certificate."""
    from .convex import convex

    return convex.solve(problem, x, y0)


box = LowerSolver(
    name="box", solve=_solve, classes=("constrained",), requires=("g", "g_y", "g_yy"), reference="Bertsekas 1982"
)

"""Lower levels over a simplex {y >= lo(x), sum y = c(x)}: projected Newton (projected.py) with the sorted projection.

    P(z) = max(z - tau, lo),  tau the root of sum max(z - tau, lo) = c, found after sorting z - lo.
Held, Wolfe & Crowder, Math. Prog. 6 (1974) 62-88.
"""

from __future__ import annotations

import numpy as np

from .. import kkt
from ..errors import ArgumentError
from ..kkt.conditions import dense
from .convex import convex
from .projected import minimise, read_bounds
from .protocol import LowerSolver


def project_simplex(z, lo, total):
    """The nearest point to z (m,) with y >= lo and sum y = total >= sum lo."""
    room, v = total - lo.sum(), np.sort(z - lo)[::-1]
    tau = (np.cumsum(v) - room) / np.arange(1, v.size + 1)
    tau = tau[np.flatnonzero(v > tau)[-1]] if (v > tau).any() else v[0]
    return lo + np.maximum(z - lo - tau, 0.0)


def _solve(problem, x, y0, *, tol=None, maxiter=None):
    at = kkt.rows(problem, x, y0)
    bounds, q_y = read_bounds(problem, x, y0, at, "simplex"), dense(at.q_y)
    one_row = q_y.shape[0] == 1 and q_y[0, 0] != 0 and np.ptp(q_y) == 0
    if not one_row or not np.isfinite(bounds.lo).all() or np.isfinite(bounds.hi).any():
        raise ArgumentError("lower method 'simplex' needs y >= lo for every coordinate and one row sum(y) = c; use 'convex'")
    total = y0.sum() - at.q[0] / q_y[0, 0]
    if total <= bounds.lo.sum():
        return convex.solve(problem, x, y0)
    return minimise(problem, x, y0, lambda z: project_simplex(z, bounds.lo, total), q_y[0] / q_y[0, 0], "simplex", tol, maxiter)


simplex = LowerSolver(
    name="simplex", solve=_solve, classes=("constrained",), requires=("g", "g_y", "g_yy"), reference="Held, Wolfe & Crowder 1974"
)

"""The optimality system of the layer as it stands, for an unconstrained lower level: unknowns (x, y) not reduced to x.

    F(x, y, z) = f_x - g_xy g_yy^{-1} f_y = 0,    G(x, y, z) = g_y = 0        (F at any y, not only at y*)
    [F_x' G_x'; F_y' G_y'] (b_F; b_G) = (x_bar; y_bar),    z_bar = -F_z' b_F - G_z' b_G.

F's blocks are differences of F, G's are second derivatives of g. Its Schur complement F_x - F_y G_y^{-1} G_x is the Hessian of
x -> f(x, y*(x)), which the Schur form of continuous.py uses at once; the block matrix itself is not symmetric.

Alesiani 2023, eq. 4-6.
"""

from __future__ import annotations

import numpy as np
from scipy import sparse

from ..driver import hypergradient
from ..errors import ArgumentError
from ..linear import solve
from ..results import LowerSolution
from .differences import directional


def blocks(layer, s):
    """(F_s (n, n + m + k), G_s (m, n + m + k)): derivatives with respect to (x, y, z)."""
    n, m = layer.problem.n, layer.problem.m
    X = np.concatenate([s.x, s.z])
    S0 = np.concatenate([s.x, s.y, s.z])

    def F(v):
        Xv = np.concatenate([v[:n], v[n + m :]])
        lower = LowerSolution(y=v[n : n + m], residual=0.0)
        return hypergradient(layer.joint, Xv, lower=lower, diagnostics=False).gradient[:n]

    F_s = np.array([directional(F, S0, e)[0] for e in np.eye(len(S0))]).T
    cross = _dense(layer.joint.g_xy(X, s.y), len(X), m).T
    G_s = np.hstack([cross[:, :n], _dense(layer.joint.g_yy(X, s.y), m, m), cross[:, n:]])
    return F_s, G_s


def block_vjp(layer, s, x_bar, y_bar):
    """z_bar (k,) by one solve of the whole system."""
    if layer.problem.constraints is not None or len(s.rows.c):
        raise ArgumentError("linear='block' is for unconstrained levels; use linear='schur' under constraints")
    n, m = layer.problem.n, layer.problem.m
    A = np.vstack(blocks(layer, s))
    b = solve(A[:, : n + m].T.copy(), np.concatenate([x_bar, y_bar]), "lu").x
    return -A[:, n + m :].T @ b


def _dense(A, rows, columns):
    if sparse.issparse(A):
        return A.toarray()
    return np.asarray(A @ np.eye(columns)).reshape(rows, columns) if not isinstance(A, np.ndarray) else A

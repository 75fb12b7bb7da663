"""K w = b for the indefinite KKT matrix: LDL', LU, sparse LU, Schur complement, MINRES, GMRES; never CG or a plain fixed point.

Schur complement (needs L_yy positive definite):  S = A L_yy^{-1} A',  S w_lam = A L_yy^{-1} b_y - b_lam,
L_yy w_y = b_y - A' w_lam.  Nocedal & Wright, section 16.2.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy import sparse

from .. import linear
from ..errors import ArgumentError, unknown
from ..results import LinearSolution, Status
from . import conditions
from .polish import solve_symmetric

METHODS = ("auto", "ldl", "lu", "sparse_lu", "schur", "minres", "gmres", "lsmr")
DEFINITE_ONLY = ("cg", "cholesky", "fixed_point", "neumann", "one_step")


def solve(system, b, method="auto", rtol=None, maxiter=None, factor=None):
    """LinearSolution of K w = b, b (N,) or (N, j); "auto": LDL' dense (`factor` if given), LU sparse, MINRES for operators."""
    if method in DEFINITE_ONLY:
        raise ArgumentError(f"linear={method!r} needs a definite matrix and the KKT matrix is indefinite; use one of {', '.join(METHODS)}")
    if method not in METHODS:
        raise unknown("linear method for KKT systems", method, METHODS)
    if not system.A.shape[0] and method in ("auto", "ldl", "lu", "sparse_lu"):
        return linear.solve(system.H, b, method if system.explicit else "auto", rtol=rtol, maxiter=maxiter)
    if method == "schur":
        return _schur(system, b)
    if not system.explicit or method in ("minres", "gmres", "lsmr"):
        name = "minres" if method == "auto" else method
        if name in ("minres", "gmres", "lsmr"):
            return linear.solve(system.operator(), b, name, rtol=rtol, maxiter=maxiter)
    K = system.matrix()
    if method == "auto":
        method = "sparse_lu" if sparse.issparse(K) else "ldl"
    return linear.solve(K, b, method, rtol=rtol, maxiter=maxiter, factor=factor if method == "ldl" else None)


def least_squares(system, b):
    """The least-norm solution where K is singular; its status is UNDEFINED unless b lies in the range of K."""
    K = conditions.dense(system.matrix() if system.explicit else system.operator())
    w = solve_symmetric(K, b)
    residual = np.linalg.norm(K @ w - b) / max(np.linalg.norm(b), 1e-300)
    status = Status.CONVERGED if residual <= 1e-9 else Status.UNDEFINED
    return LinearSolution(x=w, residual=float(residual), condition=np.nan, status=status, method="lstsq")


def _schur(system, b):
    factor = linear.factorize(conditions.dense(system.H), "cholesky")
    if factor.negative or factor.singular:
        raise ArgumentError("linear='schur' needs L_yy positive definite, and it is not here; use 'ldl'")
    A, m = conditions.dense(system.A), system.m
    V = factor.solve(A.T)
    lower = linear.solve(A @ V, A @ factor.solve(b[:m]) - b[m:], "cholesky")
    w = np.concatenate([factor.solve(b[:m] - A.T @ lower.x), lower.x])
    K = system.operator()
    r = b - (K @ w)
    correction = factor.solve(r[:m])  # one step of refinement
    step = np.linalg.solve(A @ V, A @ correction - r[m:]) if A.shape[0] else lower.x
    w = w + np.concatenate([correction - V @ step, step])
    residual = np.linalg.norm(b - K @ w) / max(np.linalg.norm(b), 1e-300)
    condition = factor.condition * max(lower.condition, 1.0) if A.shape[0] else factor.condition
    return replace(lower, x=w, residual=float(residual), condition=condition, method="schur", negative=A.shape[0], factor=None)

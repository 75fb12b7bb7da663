"""Singular symmetric systems: the minimum-norm solution, and whether there is a solution at all.

    x = A^+ b,     consistent if |b - A x| <= RANGE_LIMIT |b|, i.e. b lies in the range of A.

Explicit A up to EIGEN_LIMIT: eigenvalues below 10 N eps |A| count as zero. Larger operators: LSMR from zero, which converges to
the minimum-norm least-squares solution (Fong & Saunders 2011).
"""

from __future__ import annotations

import numpy as np
from scipy import linalg, sparse
from scipy.sparse.linalg import lsmr

from ..results import LinearSolution, Status
from .operators import Watched, checked, explicit

EPS = np.finfo(float).eps
EIGEN_LIMIT = 1500
#: relative residual of the least-squares solution above which b counts as outside the range
RANGE_LIMIT = 1e-8


def minimum_norm(A, b):
    """A^+ b as a LinearSolution: MINIMUM_NORM if A is singular and b in its range, UNDEFINED if b is not, else CONVERGED.

    A symmetric (N, N), b (N,) or (N, k). NOT_A_MINIMUM where an eigenvalue is negative beyond rounding, NONFINITE for NaN.
    """
    A, b = checked(A), np.asarray(b, np.float64)
    if A.shape[0] > EIGEN_LIMIT:
        return _iterative(A, b)
    H = explicit(A)
    H = H.toarray() if sparse.issparse(H) else H
    if not (np.isfinite(H).all() and np.isfinite(b).all()):
        return LinearSolution(np.full(b.shape, np.nan), np.nan, status=Status.NONFINITE, method="minimum_norm")
    values, Q = linalg.eigh(0.5 * (H + H.T))
    size = np.abs(values).max()
    zero = np.abs(values) <= 10 * len(values) * EPS * size
    inverse = np.where(zero, 0.0, 1.0 / np.where(zero, 1.0, values))
    x = Q @ (inverse * (Q.T @ b).T).T
    negative = int((values[~zero] < 0).sum())
    kept = np.abs(values[~zero])
    condition = np.inf if zero.any() else float(kept.max() / kept.min())
    return _judged(H, x, b, condition, negative, bool(zero.any()))


def _iterative(A, b):
    watched = Watched(A)
    columns = b.reshape(b.shape[0], -1)
    found = [lsmr(watched.operator(), c, atol=1e-14, btol=1e-14, conlim=0, maxiter=20_000) for c in columns.T]
    x = np.column_stack([f[0] for f in found]).reshape(b.shape)
    return _judged(watched, x, b, np.nan, None, True)


def _judged(A, x, b, condition, negative, singular):
    sizes = np.linalg.norm(b.reshape(len(b), -1), axis=0)
    errors = np.linalg.norm((b - A @ x).reshape(len(b), -1), axis=0)
    residual = float(np.max(errors[sizes > 0] / sizes[sizes > 0], initial=0.0))
    if negative:
        status = Status.NOT_A_MINIMUM
    elif residual > RANGE_LIMIT:
        status = Status.UNDEFINED
    else:
        status = Status.MINIMUM_NORM if singular else Status.CONVERGED
    return LinearSolution(x, residual, condition=condition, status=status, method="minimum_norm", negative=negative)

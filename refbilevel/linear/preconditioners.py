"""What serves as a preconditioner: an approximate inverse of A, in any of the forms people have it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import LinearOperator

from ..errors import ArgumentError, DtypeError, ShapeError
from .nystrom import nystrom


@dataclass(frozen=True, eq=False)
class Jacobi:
    """z = inverse * r, inverse (N,) the reciprocal diagonal."""

    inverse: np.ndarray

    def __call__(self, r):
        return self.inverse * r


def preconditioner_of(M, A):
    """`M` (an approximation of the inverse of A) as a function r -> z, or None.

    M: LinearOperator, ndarray, sparse array, callable, an object with `.solve`, "jacobi" (1 / diagonal of A, which a
    LinearOperator must offer as `.diagonal()`), or "nystrom" (from 50 columns of A, damped by the smallest eigenvalue they show:
    Frangella, Tropp & Udell 2023).
    """
    if M is None:
        return None
    if isinstance(M, str):
        if M == "nystrom":
            return _nystrom(A)
        if M != "jacobi":
            raise ArgumentError(f"preconditioner must be 'jacobi', 'nystrom', a matrix, a LinearOperator or a callable, got {M!r}")
        return Jacobi(_inverse_diagonal(A))
    if isinstance(M, LinearOperator) or sparse.issparse(M) or isinstance(M, np.ndarray):
        if M.shape != A.shape:
            raise ShapeError(f"preconditioner must have shape {A.shape}, got {M.shape}")
        return lambda r: np.asarray(M @ r)
    if hasattr(M, "solve"):
        return M.solve
    if callable(M):
        return lambda r: np.asarray(M(r), np.float64)
    raise DtypeError(f"preconditioner must be 'jacobi', a matrix, a LinearOperator or a callable, got {type(M).__name__}")


def _nystrom(A):
    inverse = nystrom(A, min(50, A.shape[0]), rho=1.0, rng=0)
    return replace(inverse, rho=float(inverse.s2.min())).solve


def _inverse_diagonal(A):
    diagonal = getattr(A, "diagonal", None)
    if diagonal is None:
        raise ArgumentError("preconditioner='jacobi' needs the diagonal: give the LinearOperator a .diagonal() method")
    d = np.asarray(diagonal() if callable(diagonal) else diagonal, np.float64)
    if not (d > 0).all():
        raise ArgumentError(f"preconditioner='jacobi' needs a positive diagonal, but entry {int(np.argmin(d))} is {d.min():g}")
    return 1.0 / d

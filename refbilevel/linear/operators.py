"""A matrix seen through its products: counted, watched for NaN, its norm estimated as it goes."""

from __future__ import annotations

import math

import numpy as np
from scipy import sparse
from scipy.linalg.lapack import dlange
from scipy.sparse.linalg import LinearOperator

from ..errors import ArgumentError, DtypeError, ShapeError

#: a LinearOperator up to this size is made explicit by A @ I for the direct methods
EXPLICIT_LIMIT = 4000
#: relative asymmetry above which a matrix does not count as symmetric
ASYMMETRY_LIMIT = 1e-10
#: relative asymmetry that no rounding explains, not even that of single precision
NOT_A_HESSIAN = 1e-5


class NonFinite(ArithmeticError):
    """A product A v was not finite; internal: `solve` turns it into Status.NONFINITE."""


def checked(A):
    """A as a float64 ndarray, a CSR array or a LinearOperator; ShapeError unless square."""
    if A.__class__ is np.ndarray and A.dtype == np.float64:
        pass
    elif not isinstance(A, LinearOperator):
        A = sparse.csr_array(A) if sparse.issparse(A) else np.asarray(A)
        if A.dtype.kind not in "fiub":
            raise DtypeError(f"A must be real, got dtype {A.dtype}")
        A = A.astype(np.float64, copy=False)
    elif np.dtype(A.dtype or float).kind == "c":
        raise DtypeError(f"A must be real, got dtype {A.dtype}")
    if len(A.shape) != 2 or A.shape[0] != A.shape[1]:
        raise ShapeError(f"A must be square (N, N), got shape {A.shape}")
    return A


def explicit(A):
    """A as an ndarray or CSC array; a LinearOperator is multiplied by I, up to EXPLICIT_LIMIT columns."""
    if isinstance(A, np.ndarray):
        return A
    if sparse.issparse(A):
        return sparse.csc_array(A)
    if A.shape[1] > EXPLICIT_LIMIT:
        raise ArgumentError(
            f"a direct method would need the LinearOperator of size {A.shape[1]} as an explicit matrix (limit {EXPLICIT_LIMIT}); "
            "use linear='cg', 'minres' or 'gmres', or return an ndarray or sparse array"
        )
    return np.ascontiguousarray(A @ np.eye(A.shape[1]), np.float64)


class Watched:
    """Products with A: counted, finite (NonFinite otherwise), with the extremes of |A v| / |v| on record.

    `norm` and `smallest` bound |A|_2 from below and 1/|A^{-1}|_2 from above, so norm / smallest never exceeds cond(A); `norm`
    starts from the longest column where the matrix is explicit (within sqrt(N) of |A|_2).
    """

    dtype = np.dtype(np.float64)

    def __init__(self, A):
        self.A, self.shape = A, A.shape
        self.matvecs, self.norm, self.smallest = 0, 0.0, np.inf

    def measure(self, factor=None):
        """Start `norm`; a factor of A itself knows its longest column, one of an operator has its matrix."""
        matrix = getattr(factor, "matrix", None)
        known = matrix is self.A or matrix is not None and isinstance(self.A, LinearOperator)
        self.norm = max(self.norm, factor.longest_column if known else longest_column(self.A))

    def __matmul__(self, v):
        self.matvecs += 1 if v.ndim == 1 else v.shape[1]
        return self._watch(v, np.asarray(self.A @ v))

    def times(self, v):
        """A v for one vector (N,), counted; the caller watches it."""
        self.matvecs += 1
        return np.asarray(self.A @ v)

    def rmatvec(self, v):
        """A' v; operators without rmatvec count as symmetric (the caller has probed)."""
        self.matvecs += 1
        if not isinstance(self.A, LinearOperator):
            return self._watch(v, self.A.T @ v)
        try:
            return self._watch(v, self.A.rmatvec(v))
        except NotImplementedError:
            if asymmetry(self.A) > ASYMMETRY_LIMIT:
                raise ArgumentError("this linear method needs A' v: give the LinearOperator an rmatvec, or use 'gmres'") from None
            return self._watch(v, np.asarray(self.A @ v))

    def _watch(self, v, w):
        above, below = np.linalg.norm(w, axis=0), np.linalg.norm(v, axis=0)
        if not np.isfinite(above).all():
            raise NonFinite("a product with A is not finite")
        ratio = above[below > 0] / below[below > 0] if v.ndim == 2 else np.atleast_1d(above / below if below > 0 else [])
        if ratio.size:
            self.norm, self.smallest = max(self.norm, ratio.max()), min(self.smallest, ratio.min())
        return w

    def operator(self):
        """The same products as a SciPy LinearOperator."""
        return LinearOperator(self.shape, matvec=lambda v: self @ v.ravel(), rmatvec=lambda v: self.rmatvec(v.ravel()), dtype=self.dtype)


def length(v):
    """|v| of a vector."""
    return math.sqrt(v.dot(v))


def frobenius(A):
    """|A|_F of an ndarray."""
    return length(A.ravel(order="K"))


def all_finite(A):
    """Whether every entry of an explicit A is finite; a finite sum of their squares says so in one pass."""
    entries = A.ravel(order="K") if isinstance(A, np.ndarray) else A.data
    return math.isfinite(entries.dot(entries)) or bool(np.isfinite(entries).all())


def norm_1(A):
    """|A|_1, the largest column sum of an explicit matrix."""
    if isinstance(A, np.ndarray):
        return float(dlange("I", A.T) if A.flags.c_contiguous else dlange("1", A))  # as it lies in memory
    return float(abs(A).sum(axis=0).max())


def longest_column(A):
    """max_j |A e_j| of an explicit matrix, 0 for an operator."""
    if isinstance(A, LinearOperator):
        return 0.0
    squares = np.einsum("ij,ij->j", A, A) if isinstance(A, np.ndarray) else A.power(2).sum(axis=0)
    top = math.sqrt(squares.max())
    return top if math.isfinite(top) else 0.0


def asymmetry(A):
    """|A - A'| / |A| if A is explicit; else |u'A w - w'A u| / (|u'A w| + |A u||w| + |A w||u|) on two fixed random vectors."""
    if isinstance(A, np.ndarray):
        return _ratio(frobenius(A - A.T), frobenius(A))
    if sparse.issparse(A):
        return _ratio(sparse.linalg.norm(A - A.T), sparse.linalg.norm(A))
    u, w = np.random.default_rng(0).standard_normal((2, A.shape[0]))
    Au, Aw = np.asarray(A @ u).ravel(), np.asarray(A @ w).ravel()
    scale = np.linalg.norm(Au) * np.linalg.norm(w) + np.linalg.norm(Aw) * np.linalg.norm(u)
    return _ratio(abs(u @ Aw - w @ Au) * np.sqrt(A.shape[0]), scale)


def not_a_hessian(H, skew=None):
    """A sentence if H, meant as a Hessian, is not symmetric (relative asymmetry `skew` where already known); else ""."""
    skew = asymmetry(H) if skew is None else skew
    if not skew > NOT_A_HESSIAN:
        return ""
    return f"|H - H'| is {skew:.1e} |H| for H = g_yy, so it is no Hessian: check g_yy, is one triangle missing?"


def _ratio(part, whole):
    return float(part / whole) if whole > 0 else 0.0

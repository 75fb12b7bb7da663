"""Design matrices: dense or CSR data behind the same few products, each one fused kernel (or BLAS where that is better).

`loss(t, w, y, kind)` gives (L, L_y, d) of sum_i w_i l(a_i'y, t_i) in one pass; `product(d, v)` is A' (d * (A v));
`gram(d)` is A' diag(d) A as an ndarray; `gram_diagonal(d)` its diagonal.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numba import get_num_threads
from scipy import sparse
from scipy.sparse.linalg import LinearOperator

from ..errors import ArgumentError, DtypeError, ShapeError
from ..kernels import glm, glm_newton
from .hessian_factor import rounded_copy

#: below so many entries (a fifth of a millisecond) a kernel stays on the calling thread: waking another one may take longer than that
SERIAL = 200_000
#: with hessian="auto", a Hessian of at most so many rows is given as an ndarray, and lower solves factor it
DENSE_UP_TO = 200


def threads_for(entries):
    """Number of row blocks for a pass over so many entries."""
    return 1 if entries < SERIAL else get_num_threads()


class Design:
    """What all designs share. `explicit_up_to`: features up to which the Hessian is formed; `compiled`: its sums are kernels'."""

    explicit_up_to = DENSE_UP_TO
    compiled = True
    rounded = None

    def products(self, d, V):
        """A' (d * (A V)), V (m, k)."""
        return self.A.T @ (d[:, None] * (self.A @ V))


@dataclass(frozen=True, eq=False)
class DenseDesign(Design):
    """A (N, m), float64 and C-contiguous."""

    A: np.ndarray

    @property
    def size(self):
        return self.A.size

    @property
    def shape(self):
        return self.A.shape

    def loss(self, t, w, y, kind):
        return glm.dense_loss(self.A, t, w, np.ascontiguousarray(y, np.float64), kind, threads_for(self.size))

    def product(self, d, v):
        return glm.dense_product(self.A, d, np.ascontiguousarray(v, np.float64), threads_for(self.size))

    def gram(self, d):
        if self.shape[1] <= 32:
            return glm.dense_gram(self.A, d)
        scaled = np.sqrt(d)[:, None] * self.A  # d >= 0: every loss here is convex
        return scaled.T @ scaled

    def gram_diagonal(self, d):
        return glm_newton.dense_gram_diagonal(self.A, d, threads_for(self.size))

    def gram_float32(self, d):
        return glm_newton.gram_float32(self.A, d, threads_for(self.size))

    def weights(self, d):
        """What the kernels of glm_newton.py take for A' diag(d) A."""
        return (self.A, d)

    def predict(self, y):
        return self.A @ y

    def transpose_times(self, r):
        return self.A.T @ r

    @cached_property
    def rounded(self):
        """A in float32 for the iterations of a solve, kept once one was made."""
        return rounded_copy(self.A)

    def spectral_bound(self, d):
        """Upper bound of the largest eigenvalue of A' diag(d) A: it, rounded up, for few features, else |M|_1 of |A|' d |A|."""
        if self.shape[1] <= DENSE_UP_TO:
            return float(np.linalg.eigvalsh(self.gram(d))[-1]) * (1 + 1e-12)
        absolute = np.abs(self.A)
        return float((absolute.T @ (d * absolute.sum(axis=1))).max())

    def row_norms(self):
        return np.linalg.norm(self.A, axis=1)


@dataclass(frozen=True, eq=False)
class SparseDesign(Design):
    """A (N, m) in CSR; the kernels see its indices as unsigned."""

    A: sparse.csr_array
    csr: tuple = field(init=False, repr=False)

    def __post_init__(self):
        object.__setattr__(self, "csr", (self.A.data, self.A.indices.view(np.uint32), self.A.indptr.view(np.uint32)))

    @property
    def size(self):
        return self.A.nnz

    @property
    def shape(self):
        return self.A.shape

    def loss(self, t, w, y, kind):
        return glm.sparse_loss(*self.csr, t, w, np.ascontiguousarray(y, np.float64), kind, threads_for(self.size))

    def product(self, d, v):
        return glm.sparse_product(*self.csr, d, np.ascontiguousarray(v, np.float64), threads_for(self.size))

    def gram(self, d):
        return (self.A.T @ (sparse.diags_array(d) @ self.A)).toarray()

    def gram_float32(self, d):
        return self.gram(d).astype(np.float32)

    def weights(self, d):
        return (*self.csr, d)

    def gram_diagonal(self, d):
        return glm_newton.sparse_gram_diagonal(*self.csr, d, self.shape[1], threads_for(self.size))

    def predict(self, y):
        return self.A @ y

    def transpose_times(self, r):
        return self.A.T @ r

    def spectral_bound(self, d):
        """Upper bound of the largest eigenvalue of A' diag(d) A: the norm bound |M|_1 of the nonnegative |A|' d |A|."""
        absolute = abs(self.A)
        return float((absolute.T @ (d * (absolute @ np.ones(self.shape[1])))).max(initial=0.0))

    def row_norms(self):
        return np.sqrt(np.asarray((self.A**2).sum(axis=1)).ravel())


def as_design(A, name, blocks=False):
    """DenseDesign or SparseDesign of `A` (N, m), checked by `as_matrix`.

    A design is returned as it is; one in blocks of rows only where the caller can use it (`blocks`).
    """
    if isinstance(A, Design):
        if not (A.compiled or blocks):
            raise ArgumentError(f"{name} is in blocks of rows, which only ridge and logistic read; pass an array")
        return A
    A = as_matrix(A, name)
    return SparseDesign(A) if sparse.issparse(A) else DenseDesign(np.ascontiguousarray(A))


def as_matrix(A, name):
    """`A` (N, m) as a float64 ndarray in either order, copied only where it must be, or as CSR; real, finite, at least 1 x 1."""
    if sparse.issparse(A):
        A = sparse.csr_array(A, dtype=np.float64)
        if A.indices.dtype != np.int32:
            if A.nnz > np.iinfo(np.int32).max:
                raise ArgumentError(f"{name} has more than 2^31 entries; split it")
            A = sparse.csr_array((A.data, A.indices.astype(np.int32), A.indptr.astype(np.int32)), A.shape)
        A.sum_duplicates()
        values = A.data
    else:
        A = np.asarray(A)
        if A.dtype.kind not in "fiub":
            raise DtypeError(f"{name} must be a real matrix, got dtype {A.dtype}; convert it to float64")
        if A.ndim != 2:
            raise ShapeError(f"{name} must be two-dimensional (samples, features), got shape {A.shape}")
        values = A = np.asarray(A if A.flags.f_contiguous else np.ascontiguousarray(A), np.float64)
    if min(A.shape) < 1:
        raise ShapeError(f"{name} needs at least one row and one column, got shape {A.shape}")
    if not np.isfinite(values).all():
        raise ArgumentError(f"{name} must be finite; drop or fill the samples with NaN or infinity")
    return A


class GramOperator(LinearOperator):
    """A' diag(d) A + diag(c), symmetric (m, m), never formed unless asked: `todense()`, `toarray()`, `diagonal()`.

    With its model, c > 0, it also brings the Newton solver's preconditioned iteration: `preconditioned()`.
    """

    def __init__(self, design, d, c, model=None):
        super().__init__(np.float64, (design.shape[1],) * 2)
        self.design, self.d, self.c, self.model = design, d, c, model

    def preconditioned(self):
        from .hessian_factor import hessian_factor

        return None if self.model is None else hessian_factor(self.model, self.design.weights(self.d), self.c)

    def _matvec(self, v):
        v = np.asarray(v, np.float64).ravel()
        return self.design.product(self.d, v) + self.c * v

    _rmatvec = _matvec

    def _matmat(self, V):
        if V.shape[1] == 1:
            return self._matvec(V)[:, None]
        return self.design.products(self.d, V) + self.c[:, None] * V

    _rmatmat = _matmat

    def _adjoint(self):
        return self

    _transpose = _adjoint

    def todense(self):
        H = self.design.gram(self.d)
        H[np.diag_indices_from(H)] += self.c
        return H

    toarray = todense

    def diagonal(self):
        return self.design.gram_diagonal(self.d) + self.c


def hessian(operator, kind):
    """The operator, or its ndarray: kind "operator", "dense" or "auto" (by size)."""
    if kind == "dense" or (kind == "auto" and operator.shape[0] <= operator.design.explicit_up_to):
        return operator.todense()
    return operator

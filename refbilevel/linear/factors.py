"""Direct methods: factor once, solve often. Cholesky, LU, LDL (with Sylvester's inertia) and sparse LU.

The condition number is estimated in the 1-norm from a few solves with A and A' (Hager 1984, Higham 1988): by LAPACK's pocon and gecon
for Cholesky and LU, by the same method written out for the others. LDL' = A has the inertia of D (Sylvester): the negative
eigenvalues of D count those of A.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from scipy import linalg, sparse
from scipy.linalg.blas import dtrsv
from scipy.sparse.linalg import splu

from ..errors import ArgumentError
from .methods import method_named
from .operators import ASYMMETRY_LIMIT, asymmetry, checked, explicit, longest_column, norm_1


@dataclass(frozen=True, eq=False)
class Factor:
    """A factorised matrix. `.solve(b)` and `.solve(b, transpose=True)` take (N,) or (N, k).

    `negative` counts the negative eigenvalues where the factorisation shows it (None otherwise); `condition` estimates the
    1-norm condition number, inf if `singular`; `asymmetry` is |A - A'| / |A|.
    """

    method: str
    matrix: Any
    parts: tuple = field(repr=False)
    negative: int | None = None
    asymmetry: float = 0.0
    singular: bool = False

    @property
    def shape(self):
        return self.matrix.shape

    def solve(self, b, transpose=False):
        if self.singular:
            return np.full(np.shape(b), np.nan)
        return _SOLVES[self.method](self.parts, np.asarray(b, np.float64), transpose)

    @cached_property
    def longest_column(self):
        """max_j |A e_j|."""
        return longest_column(self.matrix)

    @cached_property
    def condition(self):
        if self.singular:
            return np.inf
        norm = norm_1(self.matrix)
        if self.method in ("cholesky", "lu"):
            parts, lapack = self.parts[0], linalg.lapack
            reciprocal = (lapack.dpocon(parts, norm, uplo="L") if self.method == "cholesky" else lapack.dgecon(parts, norm))[0]
            return 1.0 / reciprocal if reciprocal > 0 else np.inf
        return norm * _inverse_norm(self.solve, self.shape[0])

    def __getstate__(self):  # SuperLU objects do not pickle; factor again on arrival
        state = dict(self.__dict__)
        if self.method == "sparse_lu":
            state["parts"] = ()
        return state

    def __setstate__(self, state):
        self.__dict__.update(state)
        if self.method == "sparse_lu" and not self.singular:
            self.__dict__["parts"] = _sparse_lu(self.matrix, self.asymmetry)[0]


def factorize(A, method="auto"):
    """Factor A (ndarray, sparse, or a LinearOperator small enough to be made explicit).

    "auto" takes Cholesky for a symmetric dense matrix, LDL if that finds it indefinite, LU if it is not symmetric, and sparse
    LU for a sparse one. "cholesky" of a matrix that is not positive definite returns its LDL factor, `negative` telling so.
    """
    A = explicit(checked(A))
    skew = asymmetry(A)
    if method == "auto":
        method = "sparse_lu" if sparse.issparse(A) else "cholesky" if skew <= ASYMMETRY_LIMIT else "lu"
    if not method_named(method).direct:
        raise ArgumentError(f"factorize: {method!r} is iterative; direct methods are cholesky, lu, ldl, sparse_lu")
    if method == "sparse_lu":
        A = sparse.csc_array(A)
        parts, negative = _sparse_lu(A, skew)
        return Factor(method, A, parts, negative, skew, singular=not parts)
    A = A.toarray() if sparse.issparse(A) else A
    if method == "cholesky":
        c, info = linalg.lapack.dpotrf(A.T, lower=1, clean=0)  # A' = A lies in memory as LAPACK reads it
        if info == 0:
            return Factor(method, A, (c,), 0, skew)
        method = "ldl"
    parts, negative, singular = (_ldl if method == "ldl" else _lu)(A)
    return Factor(method, A, parts, negative, skew, singular)


def _lu(A):
    lu, pivots, info = linalg.lapack.dgetrf(A)
    return (lu, pivots), None, info > 0


def _ldl(A):
    L, D, order = linalg.ldl(A, lower=True)
    d, e = np.diagonal(D).copy(), np.diagonal(D, -1).copy()
    eigenvalues = linalg.eigvalsh_tridiagonal(d, e) if len(d) > 1 else d
    singular = not np.abs(eigenvalues).min() > 0
    return (np.ascontiguousarray(L[order]), d, e, order), int((eigenvalues < 0).sum()), singular


def _sparse_lu(A, skew):
    """((SuperLU,), negative): symmetric elimination without row exchanges first, whose pivots then are D of LDL'."""
    try:
        if skew <= ASYMMETRY_LIMIT:
            lu = splu(A, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True})
            if np.array_equal(lu.perm_r, lu.perm_c):
                negative = int((lu.U.diagonal() < 0).sum())
                return ((lu,) if negative == 0 else (splu(A),)), negative
        return (splu(A),), None
    except RuntimeError as error:
        if "singular" not in str(error):
            raise
        return (), None


def _cholesky_solve(parts, b, transpose):
    L = parts[0]
    if b.ndim == 1:  # faster than potrs, which is made for many columns
        return dtrsv(L, dtrsv(L, b, lower=1), lower=1, trans=1, overwrite_x=1)
    return linalg.lapack.dpotrs(L, b, lower=1)[0]


def _lu_solve(parts, b, transpose):
    return linalg.lapack.dgetrs(*parts, b, trans=int(transpose))[0].reshape(b.shape)


def _ldl_solve(parts, b, transpose):
    L, d, e, order = parts
    z = linalg.solve_triangular(L, b[order], lower=True, unit_diagonal=True, check_finite=False)
    bands = np.array([np.append(0.0, e), d, np.append(e, 0.0)])
    z = linalg.solve_banded((1, 1), bands, z, check_finite=False) if len(d) > 1 else z / d[0]
    x = np.empty_like(z)
    x[order] = linalg.solve_triangular(L, z, lower=True, trans=1, unit_diagonal=True, check_finite=False)
    return x


def _sparse_lu_solve(parts, b, transpose):
    return parts[0].solve(np.asfortranarray(b), "T" if transpose else "N")


_SOLVES = {"cholesky": _cholesky_solve, "lu": _lu_solve, "ldl": _ldl_solve, "sparse_lu": _sparse_lu_solve}


def _inverse_norm(solve, size):
    """Lower estimate of |A^{-1}|_1: Higham 1988, with his alternating vector as a last try."""
    x, estimate = np.full(size, 1.0 / size), 0.0
    for _ in range(5):
        y = solve(x)
        z = solve(np.where(y >= 0, 1.0, -1.0), transpose=True)
        j, grew = int(np.argmax(np.abs(z))), np.abs(y).sum() > estimate
        estimate = max(estimate, np.abs(y).sum())
        if not grew or np.abs(z[j]) <= z @ x:
            break
        x = np.zeros(size)
        x[j] = 1.0
    alternating = (-1.0) ** np.arange(size) * np.linspace(1.0, 2.0, size)
    return max(estimate, 2.0 * np.abs(solve(alternating)).sum() / (3.0 * size))

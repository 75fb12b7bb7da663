"""Factors of K = [P N'; N 0], N (k, n) the active rows: one solve each, refined with residuals in higher precision.

`RangeFactor` (P positive definite: Cholesky and Schur complement, kept from the active-set method), `LUFactor` (K dense,
equilibrated), `SparseFactor` (SuperLU), `PseudoFactor` (K singular: K^+, minimum-norm solutions).
All have `.solve(a, c) -> (w, u)` with P w + N'u = a, N w = c, and `.condition`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from scipy import linalg, sparse
from scipy.sparse.linalg import LinearOperator, onenormest, splu

from ..kernels import range_space as kernel

EPS = np.finfo(float).eps


class _Factor:
    """Shared: the condition number of K in the 1-norm, estimated with a few solves (Higham, Tisseur 2000).

    `rough` is a cheaper figure for the same, of K as it was scaled for the factorisation.
    """

    @cached_property
    def condition(self):
        n, size = self.P.shape[0], self.P.shape[0] + self.N.shape[0]
        norm = max(abs(self.P).sum(0).max() if n == size else (abs(self.P).sum(0) + abs(self.N).sum(0)).max(), _largest_row(self.N))
        if not norm:
            return np.inf

        def apply(z):
            return np.concatenate(self.solve(np.ascontiguousarray(z.ravel()[:n]), np.ascontiguousarray(z.ravel()[n:])))

        inverse = LinearOperator((size, size), matvec=apply, rmatvec=apply, dtype=float)
        return float(norm * (onenormest(inverse) if size > 4 else abs(inverse @ np.eye(size)).sum(0).max()))


def _largest_row(N):
    return abs(N).sum(1).max() if N.shape[0] else 0.0


@dataclass(frozen=True, eq=False)
class RangeFactor(_Factor):
    """P = L L', M = diag(1/sigma) N L^{-T}, R R' = M M': what the dual active-set method leaves behind."""

    P: np.ndarray
    N: np.ndarray
    L: np.ndarray
    M: np.ndarray
    R: np.ndarray
    sigma: np.ndarray

    @property
    def rough(self):
        return self.condition

    def solve(self, a, c, refine=1):
        return kernel.refined_solve(self.P, self.N, self.L, self.M, self.R, self.sigma, a, c, refine)


class _Refined(_Factor):
    """Solve by `_apply`, refined until the residual (doubled precision) stops falling."""

    def solve(self, a, c, refine=3):
        w, u = self._apply(a, c)
        best = np.inf
        for _ in range(refine):
            top, bottom = self.residual(w, u, a, c)
            size = max(abs(top).max(initial=0.0), abs(bottom).max(initial=0.0))
            if not size < 0.5 * best:
                break
            best = size
            dw, du = self._apply(top, bottom)
            w, u = w + dw, u + du
        return w, u

    def residual(self, w, u, a, c):
        return kernel.kkt_residual(self.P, self.N, w, u, a, c)


@dataclass(frozen=True, eq=False)
class LUFactor(_Refined):
    """Dense K, symmetrically equilibrated, LU with partial pivoting."""

    P: np.ndarray
    N: np.ndarray
    scale: np.ndarray
    lu: Any
    rcond: float

    @property
    def rough(self):
        return 1.0 / self.rcond

    def _apply(self, a, c):
        z = self.scale * linalg.lu_solve(self.lu, self.scale * np.concatenate([a, c]), check_finite=False)
        return np.ascontiguousarray(z[: a.size]), np.ascontiguousarray(z[a.size :])


@dataclass(frozen=True, eq=False)
class PseudoFactor(_Refined):
    """K^+ by the spectral decomposition of K: minimum-norm solutions when rows are dependent or y is not unique."""

    P: np.ndarray
    N: np.ndarray
    vectors: np.ndarray
    values: np.ndarray

    def _apply(self, a, c):
        z = self.vectors @ ((self.vectors.T @ np.concatenate([a, c])) / self.values)
        return np.ascontiguousarray(z[: a.size]), np.ascontiguousarray(z[a.size :])

    condition = rough = np.inf


@dataclass(frozen=True, eq=False)
class SparseFactor(_Refined):
    """Sparse K, equilibrated, SuperLU; residuals in extended precision."""

    P: Any
    N: Any
    scale: np.ndarray
    lu: Any
    extended: Any
    rough: float

    def _apply(self, a, c):
        z = self.scale * self.lu.solve(self.scale * np.concatenate([a, c]))
        return z[: a.size], z[a.size :]

    def residual(self, w, u, a, c):
        r = np.concatenate([a, c]) - self.extended @ np.concatenate([w, u]).astype(np.longdouble)
        r = r.astype(float)
        return r[: a.size], r[a.size :]


def equilibrate(K):
    """s > 0 with the largest |s_i K_ij s_j| of every row near one (Ruiz, three sweeps)."""
    s, size = np.ones(K.shape[0]), abs(K)
    for _ in range(3):
        largest = _dense((size * s).max(axis=1)) * s if not sparse.issparse(size) else _dense((size @ sparse.diags_array(s)).max(axis=1)) * s
        s = s / np.sqrt(np.where(largest > 0, largest, 1.0))
    return s


def _dense(column):
    return column.toarray().ravel() if sparse.issparse(column) else np.asarray(column).ravel()


def factorize(P, N):
    """LUFactor or SparseFactor of K, or None if K is singular to working precision."""
    n, k = P.shape[0], N.shape[0]
    if sparse.issparse(P):
        K = sparse.block_array([[P, N.T], [N, sparse.csr_array((k, k))]], format="csc")
        s = equilibrate(K)
        D = sparse.diags_array(s)
        lu, pivots = _sparse_lu(sparse.csc_matrix(D @ K @ D))
        if lu is None:
            return None
        return SparseFactor(P, N, s, lu, sparse.csr_matrix(K).astype(np.longdouble), pivots.max() / pivots.min())
    K = np.block([[P, N.T], [N, np.zeros((k, k))]])
    s = equilibrate(K)
    scaled = s[:, None] * K * s
    lu, piv, info = linalg.lapack.dgetrf(scaled)
    rcond = linalg.lapack.dgecon(lu, abs(scaled).sum(0).max(), norm="1")[0] if info == 0 else 0.0
    if info != 0 or not rcond > 1e-14:
        return None
    return LUFactor(P, np.ascontiguousarray(N), s, (lu, piv), rcond)


def _sparse_lu(K):
    """(SuperLU, |pivots|) of symmetric K, or (None, None) if singular: nearly symmetric pivoting first, it fills least."""
    for options in (dict(permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.01, options={"SymmetricMode": True}), {}):
        try:
            lu = splu(K, **options)
        except RuntimeError:
            continue
        pivots = abs(lu.U.diagonal())
        if pivots.min() > 1e-12 * pivots.max() or (not options and pivots.min() > 1e-14 * pivots.max()):
            return lu, pivots
    return None, None


def pseudo(P, N, rtol=1e-11):
    """PseudoFactor of K (made dense); eigenvalues below rtol max|eigenvalue| count as zero."""
    P, N = (M.toarray() if sparse.issparse(M) else M for M in (P, N))
    k = N.shape[0]
    values, vectors = linalg.eigh(np.block([[P, N.T], [N, np.zeros((k, k))]]))
    kept = abs(values) > rtol * max(abs(values).max(), 1e-300)
    return PseudoFactor(P, np.ascontiguousarray(N), np.ascontiguousarray(vectors[:, kept]), values[kept])

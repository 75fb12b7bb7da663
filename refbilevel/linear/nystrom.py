"""The Nystrom approximation of a symmetric positive semidefinite A from k of its columns, and its damped inverse.

    A_k = C W^+ C',   C = A[:, J],  W = A[J, J]          (A_k = A once k reaches the rank)
    (A_k + rho I)^{-1} b = U diag(1 / (s^2 + rho)) U'b + (b - U U'b) / rho,          C W^{-1/2} = U diag(s) V'.

The second line is the Woodbury formula of Hataya & Yamada 2023 in the basis U, where nothing cancels as rho -> 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import ArgumentError
from .operators import checked, explicit

EPS = np.finfo(float).eps


@dataclass(frozen=True, eq=False)
class Nystrom:
    """`.solve(b)` applies (A_k + rho I)^{-1}; U (N, r) orthonormal, s2 (r,) the eigenvalues of A_k, columns (k,)."""

    U: np.ndarray
    s2: np.ndarray
    rho: float
    columns: np.ndarray

    def solve(self, b):
        inside = self.U.T @ b
        weights = 1.0 / (self.s2 + self.rho)
        rest = b - self.U @ inside
        return self.U @ (weights * inside.T).T + (rest / self.rho if self.U.shape[1] < self.U.shape[0] else 0.0)


def nystrom(A, rank, rho, columns=None, rng=None):
    """The Nystrom inverse of A (N, N) from `rank` random columns (or the given `columns`), damped by rho > 0."""
    A = checked(A)
    N = A.shape[0]
    if not rho > 0:
        raise ArgumentError(f"rho must be positive, got {rho!r}")
    if columns is None:
        if isinstance(rank, bool) or not isinstance(rank, (int, np.integer)) or not 1 <= rank <= N:
            raise ArgumentError(f"rank must be an integer in 1..{N}, got {rank!r}")
        columns = np.sort(np.random.default_rng(rng).choice(N, rank, replace=False))
    columns = np.asarray(columns)
    C = _columns(A, columns)
    W = 0.5 * (C[columns] + C[columns].T)
    eigenvalues, Q = np.linalg.eigh(W)
    keep = eigenvalues > N * EPS * max(eigenvalues[-1], 0.0)
    B = C @ (Q[:, keep] / np.sqrt(eigenvalues[keep]))
    U, s, _ = np.linalg.svd(B, full_matrices=False)
    return Nystrom(U, s**2, float(rho), columns)


def _columns(A, columns):
    if isinstance(A, np.ndarray):
        return A[:, columns]
    if columns.size == A.shape[0]:
        whole = explicit(A)
        return np.asarray(whole.todense() if hasattr(whole, "todense") else whole)[:, columns]
    E = np.zeros((A.shape[0], columns.size))
    E[columns, np.arange(columns.size)] = 1.0
    return np.asarray(A @ E)

"""Solves with one symmetric indefinite matrix M, singular or not.

Direct: LU (dense) or SuperLU, one step of refinement. A solve with a fixed vector tells a singular M by the size of the answer;
then the minimum-norm least-squares solution takes over, from the eigenvalues of M, or from LSMR where M is too large for that.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
from scipy import linalg, sparse
from scipy.sparse.linalg import LinearOperator, splu

from .. import linear

#: order up to which a singular M is resolved by its eigenvalues
EIGEN = 2000
#: relative residual above which a direct solve is not believed; |M^-1 r| |M| / |r| above which M is taken to be singular
BELIEVED, SINGULAR = 1e-9, 1e13
#: eigenvalues below this times the largest count as zero
RANK = 1e-13


class Factored:
    """M, dense or sparse, factored directly."""

    def __init__(self, M):
        self.M = M
        self.size = M.shape[0]
        self._direct = _dense(M) if isinstance(M, np.ndarray) else _sparse(M)

    def solve(self, r):
        """x with M x = r; of least norm, and least |M x - r|, where M is singular."""
        if not self.singular:
            x = self._refined(r)
            if x is not None:
                return x
        return self._least_squares(r)

    @cached_property
    def singular(self):
        if self._direct is None:
            return True
        probe = np.cos(np.arange(self.size) + 1.0)
        answer = self._direct(probe)
        if not np.isfinite(answer).all():
            return True
        norm = np.abs(self.M).max() if isinstance(self.M, np.ndarray) else np.abs(self.M.data).max(initial=0.0)
        return bool(np.linalg.norm(answer) * norm > SINGULAR * np.linalg.norm(probe))

    @cached_property
    def null_space(self):
        """(N, r) orthonormal null vectors, or None where M is regular or too large to tell."""
        if not self.singular or self.size > EIGEN:
            return None
        values, V, keep = self._spectrum
        return V[:, ~keep]

    def _refined(self, r):
        x = self._direct(r)
        x = x + self._direct(r - self.M @ x)
        left = np.linalg.norm(r - self.M @ x)
        return x if left <= BELIEVED * np.linalg.norm(r) else None

    @cached_property
    def _spectrum(self):
        values, V = linalg.eigh(self.M if isinstance(self.M, np.ndarray) else self.M.toarray())
        return values, V, np.abs(values) > RANK * np.abs(values).max(initial=0.0)

    def _least_squares(self, r):
        if self.size > EIGEN:
            return linear.solve(self.M, r, "lsmr").x if r.any() else np.zeros_like(r)
        values, V, keep = self._spectrum
        return V[:, keep] @ ((V[:, keep].T @ r) / values[keep])


class Products:
    """M known by its products alone, solved by a Krylov method of `refbilevel.linear`."""

    singular, null_space = True, None  # nothing is known, so nothing is taken for granted

    def __init__(self, apply, size, method):
        self.M = LinearOperator((size, size), matvec=apply, rmatvec=apply, dtype=float)
        self.size, self.method = size, method

    def solve(self, r):
        return linear.solve(self.M, r, self.method).x if r.any() else np.zeros(self.size)


def _dense(M):
    lu, pivots, info = linalg.lapack.dgetrf(M)
    return (lambda r: linalg.lapack.dgetrs(lu, pivots, r)[0]) if info == 0 else None


def _sparse(M):
    try:
        return splu(sparse.csc_array(M)).solve
    except RuntimeError as error:
        if "singular" not in str(error):
            raise
        return None

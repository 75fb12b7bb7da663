"""The smooth part 1/2 y'H y - q'y of a proximal problem: least squares, or an explicit matrix.

`gram(rows, columns)` is a block of H, `gradient(y)` is H y - q, `product(v)` is H v.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse


@dataclass(frozen=True, eq=False)
class LeastSquares:
    """1/(2N) |t - A y|^2 less its constant: H = A'A/N, q = A't/N. A (N, m) Fortran-ordered or CSC: columns are what is read."""

    A: object
    t: np.ndarray
    q: np.ndarray

    @classmethod
    def of(cls, A, t):
        A = sparse.csc_array(A) if sparse.issparse(A) else np.asfortranarray(A)
        return cls(A, t, A.T @ t / len(t))

    def value(self, y):
        return 0.5 * np.sum((self.t - self.A @ y) ** 2) / len(self.t)

    def product(self, v):
        return self.A.T @ (self.A @ v) / len(self.t)

    def gradient(self, y):
        """A'(A y - t)/N by the residual, which loses no digits near a fit; only the columns of nonzeros are read for A y."""
        held = np.flatnonzero(y)
        residual = self.columns(held) @ y[held] - self.t if held.size < len(y) // 2 else self.A @ y - self.t
        return self.A.T @ residual / len(self.t)

    def columns(self, indices):
        return self.A[:, indices]

    def gram(self, rows, columns):
        block = self.columns(rows).T @ self.columns(columns)
        return (block.toarray() if sparse.issparse(block) else block) / len(self.t)

    def on(self, free):
        """v -> H_SS v without forming H_SS."""
        B = self.columns(free)
        return lambda v: B.T @ (B @ v) / len(self.t)


@dataclass(frozen=True, eq=False)
class Explicit:
    """1/2 y'Q y - q'y with Q (m, m) given."""

    Q: np.ndarray
    q: np.ndarray

    def value(self, y):
        return 0.5 * y @ (self.Q @ y) - self.q @ y

    def product(self, v):
        return self.Q @ v

    def gradient(self, y):
        return self.Q @ y - self.q

    def gram(self, rows, columns):
        return self.Q[np.ix_(rows, columns)]

    def on(self, free):
        return lambda v, block=self.gram(free, free): block @ v

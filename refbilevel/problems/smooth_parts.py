"""The smooth part 1/2 y'H y - q'y of a proximal problem: least squares, or an explicit matrix.

`gradient(y)` is H y - q, `product(v)` is H v. A working set W reads its columns once, as `block(W)`: then `gram(block, other)` is a
block of H, `image(block, y_W)` what the gradients at y have in common, `gradient_on(image, other)` their entries in another block, and
`gradients(image)` all of them with a bound on their error.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from .screening import Screen


@dataclass(frozen=True, eq=False)
class LeastSquares:
    """1/(2N) |t - A y|^2 less its constant: H = A'A/N, q = A't/N. A (N, m) an ndarray in either order, or CSC; a block is A_W."""

    A: object
    t: np.ndarray
    q: np.ndarray
    screen: Screen | None = None

    @classmethod
    def of(cls, A, t, screened=False):
        """`screened`: with the columns in 16 bits too, for solvers that look at all of them often."""
        A = sparse.csc_array(A) if sparse.issparse(A) else A
        return cls(A, t, A.T @ t / len(t), Screen.of(A) if screened and not sparse.issparse(A) else None)

    def value(self, y):
        return 0.5 * np.sum(self._residual(y) ** 2) / len(self.t)

    def product(self, v):
        return self.A.T @ (self.A @ v) / len(self.t)

    def gradient(self, y):
        """A'(A y - t)/N by the residual, which loses no digits near a fit."""
        return self.A.T @ self._residual(y) / len(self.t)

    def _residual(self, y):
        """A y - t; only the columns of nonzeros are read."""
        held = np.flatnonzero(y)
        return self.image(self.block(held), y[held]) if held.size < len(y) // 2 else self.image(self.A, y)

    def block(self, indices):
        return self.A if np.array_equal(indices, np.arange(self.A.shape[1])) else self.A[:, indices]

    def join(self, block, other):
        return (sparse.hstack if sparse.issparse(block) else np.hstack)([block, other])

    def gram(self, block, other):
        product = block.T @ other
        return (product.toarray() if sparse.issparse(product) else product) / len(self.t)

    def image(self, block, y):
        return block @ y - self.t

    def gradient_on(self, image, block):
        return block.T @ image / len(self.t)

    def gradients(self, image):
        if self.screen is None:
            return self.gradient_on(image, self.A), 0.0
        r, error = self.screen.products(image)
        return r / len(self.t), error / len(self.t)

    def on(self, free):
        """v -> H_SS v without forming H_SS."""
        B = self.block(free)
        return lambda v: B.T @ (B @ v) / len(self.t)


@dataclass(frozen=True, eq=False)
class Explicit:
    """1/2 y'Q y - q'y with Q (m, m) given; a block is its indices."""

    Q: np.ndarray
    q: np.ndarray

    def value(self, y):
        return 0.5 * y @ (self.Q @ y) - self.q @ y

    def product(self, v):
        return self.Q @ v

    def gradient(self, y):
        return self.Q @ y - self.q

    def block(self, indices):
        return indices

    def join(self, block, other):
        return np.concatenate([block, other])

    def gram(self, block, other):
        return self.Q[np.ix_(block, other)]

    def image(self, block, y):
        held = y != 0.0
        return y[held] @ self.Q[block[held]] - self.q

    def gradient_on(self, image, block):
        return image[block]

    def gradients(self, image):
        return image, 0.0

    def on(self, free):
        return lambda v, block=self.gram(free, free): block @ v

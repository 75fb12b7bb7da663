"""Design matrices in blocks of rows, for data that do not fit in memory: one pass over the blocks for each sum over samples.

    L_y = sum_b A_b' r_b,      L_yy v = sum_b A_b' (d_b * (A_b v)),      A' diag(d) A = sum_b A_b' diag(d_b) A_b

`chunked(A)` wraps anything that has `shape` and `dtype` and gives rows by A[lo:hi] (a NumPy memmap, an HDF5 or Zarr dataset); blocks are
read, converted to float64 and let go one after the other. `problems.ridge` and `problems.logistic` take such a design in the place of an
array and agree with it to rounding. Up to `explicit_up_to` features the Hessian is formed, one pass, and factored: cheaper than a
pass for each Krylov step; beyond, conjugate gradients with the diagonal preconditioner, all right-hand sides of a block in one pass.
Targets and weights, one number a sample, stay in memory. frontends/dask.py does the same on a cluster.

Golub & Van Loan, Matrix Computations, 4th ed., Section 11.5 (preconditioned conjugate gradients).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ..errors import ArgumentError, DtypeError, ShapeError
from .design import Design

#: entries of a block by default: 32 MB
BLOCK = 2**22


def load(A):
    return np.ascontiguousarray(A, np.float64)


def block_loss(A, t, w, y, kind):
    """(L, L_y, d) of one block; kind 0 squared, 1 logistic, as in kernels/glm.py."""
    A = load(A)
    z = A @ y
    if kind == 0:
        return w @ (0.5 * (z - t) ** 2), A.T @ (w * (z - t)), w
    u = t * z
    e = np.exp(-np.abs(u))
    slope = -t * np.where(u > 0, e, 1.0) / (1.0 + e)
    return w @ (np.log1p(e) + np.maximum(-u, 0.0)), A.T @ (w * slope), w * e / (1.0 + e) ** 2


def block_product(A, d, V):
    """A' (d * (A V)), V (m,) or (m, k)."""
    A = load(A)
    return A.T @ (d * (A @ V).T).T


def block_gram(A, d):
    scaled = np.sqrt(d)[:, None] * load(A)
    return scaled.T @ scaled


def block_gram_diagonal(A, d):
    return d @ load(A) ** 2


def block_absolute_row_sums(A, d):
    """|A|' d |A| 1."""
    A = np.abs(load(A))
    return A.T @ (d * A.sum(axis=1))


def block_squares(A):
    return np.sum(load(A) ** 2, axis=1)


def block_nonfinite(A):
    return np.count_nonzero(~np.isfinite(load(A)))


@dataclass(frozen=True, eq=False)
class RowBlocks(Design):
    """A (N, m) in blocks of rows cuts[b] .. cuts[b + 1]. Vectors over the samples are (N,) arrays or tuples of one part a block."""

    A: object
    cuts: tuple

    explicit_up_to = 2000
    compiled = False

    @property
    def shape(self):
        return (int(self.A.shape[0]), int(self.A.shape[1]))

    @property
    def size(self):
        return self.shape[0] * self.shape[1]

    def blocks(self):
        for lo, hi in zip(self.cuts, self.cuts[1:]):
            yield self.A[lo:hi]

    def parts(self, vector):
        return vector if isinstance(vector, tuple) else np.split(vector, self.cuts[1:-1])

    def total(self, function, *vectors, more=()):
        """sum_b function(A_b, parts of the vectors, *more)."""
        return sum(function(block, *rows, *more) for block, *rows in zip(self.blocks(), *map(self.parts, vectors)))

    def each(self, function):
        """function(A_b) of every block, end to end."""
        return np.concatenate([function(block) for block in self.blocks()])

    def loss(self, t, w, y, kind):
        losses, gradients, d = zip(*(block_loss(*rows, y, kind) for rows in zip(self.blocks(), self.parts(t), self.parts(w))))
        return float(sum(losses)), sum(gradients), d

    def product(self, d, V):
        return self.total(block_product, d, more=(np.asarray(V, np.float64),))

    products = product

    def gram(self, d):
        return self.total(block_gram, d)

    def gram_diagonal(self, d):
        return self.total(block_gram_diagonal, d)

    def weights(self, d):
        return RowWeights(self, d)

    def spectral_bound(self, d):
        """The norm bound |M|_1 of the nonnegative |A|' d |A|, above the largest eigenvalue of A' diag(d) A."""
        return float(self.total(block_absolute_row_sums, d).max())

    def row_norms(self):
        return np.sqrt(self.each(block_squares))

    def checked(self, name="A"):
        """Itself; raises for what is not a finite real matrix (one pass)."""
        if len(self.A.shape) != 2 or min(self.A.shape) < 1:
            raise ShapeError(f"{name} must be (samples, features) with at least one of each, got shape {tuple(self.A.shape)}")
        if np.dtype(self.A.dtype).kind not in "fiub":
            raise DtypeError(f"{name} must be a real matrix, got dtype {self.A.dtype}; convert it to float64")
        if self.total(block_nonfinite):
            raise ArgumentError(f"{name} must be finite; drop or fill the samples with NaN or infinity")
        return self


class RowWeights(NamedTuple):
    """What newton_pcg.py carries from the gradient to the Hessian: L_yy = A' diag(d) A in blocks."""

    design: RowBlocks
    d: object

    def product(self, v):
        return self.design.product(self.d, v)

    def pcg(self, c, B, inverse, goals, maxiter):
        """X (m, k) with |B_j - H X_j| <= goals[j], H = L_yy + diag(c): all columns in step, one pass over the data for each.

        Returns (X, iterations, residual norms, largest and smallest p'Hp / p'p met). Stops at p'Hp <= 0 as well.
        """
        X, R, high, low = np.zeros_like(B), B.copy(), 0.0, np.inf
        P = inverse[:, None] * R
        rz = np.sum(R * P, axis=0)
        for k in range(maxiter + 1):
            norms = np.linalg.norm(R, axis=0)
            active = norms > goals
            if not active.any() or k == maxiter:
                break
            Q = self.product(P) + c[:, None] * P
            curved, squared = np.sum(P * Q, axis=0), np.sum(P * P, axis=0)
            ratios = curved[active] / squared[active]
            high, low = max(high, ratios.max()), min(low, ratios.min())
            if not low > 0.0:
                break
            alpha = np.divide(rz, curved, out=np.zeros_like(rz), where=active)
            X, R = X + alpha * P, R - alpha * Q
            Z = inverse[:, None] * R
            before, rz = rz, np.sum(R * Z, axis=0)
            P = Z + np.divide(rz, before, out=np.zeros_like(rz), where=active) * P
        return X, k, norms, high, low


def chunked(A, rows=None):
    """A design whose rows are read in blocks, for `ridge` and `logistic`.

    Parameters
    ----------
    A : (N, m) array, np.memmap or anything sliced by rows
        Never copied whole.
    rows : int, optional
        Rows of a block; by default a block is some 32 MB.

    Raises
    ------
    ShapeError, DtypeError, ArgumentError

    Examples
    --------
    >>> import numpy as np
    >>> from refbilevel import problems
    >>> A, t = np.random.default_rng(0).standard_normal((50, 3)), np.arange(50.0)
    >>> problem = problems.ridge(problems.chunked(A[:30], rows=8), t[:30], problems.chunked(A[30:], rows=8), t[30:])
    """
    if rows is not None and not (isinstance(rows, (int, np.integer)) and rows >= 1):
        raise ArgumentError(f"rows must be an integer of at least 1, got {rows!r}")
    if len(A.shape) == 2 and rows is None:
        rows = max(1, BLOCK // max(A.shape[1], 1))
    return RowBlocks(A, (*range(0, A.shape[0], rows or 1), A.shape[0])).checked()

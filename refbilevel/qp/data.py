"""What a quadratic program is made of: blocks read, checked, and brought to one form before any work.

Rows are kept as N = [A; G], r = (b, h), equalities first. Rows of G with h = +inf are no constraints and are dropped.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from ..errors import ArgumentError, DtypeError, ShapeError


@dataclass(frozen=True, eq=False)
class QPData:
    """min 1/2 y'Py + q'y, Gy <= h, Ay = b. P (n, n) symmetric; G (m, n), A (p, n) may have no rows.

    `kept` (m,) are the indices of the caller's inequality rows that remain (None: all of `rows`).
    `given` tells which of P, G, A the caller gave, and the sparse ones keep their pattern in the gradient.
    """

    P: np.ndarray
    q: np.ndarray
    G: np.ndarray
    h: np.ndarray
    A: np.ndarray
    b: np.ndarray
    given: tuple = (True, True, True)
    rows: int = 0
    kept: np.ndarray | None = None
    patterns: tuple = (None, None, None)

    @property
    def n(self):
        return self.q.shape[0]

    @property
    def sparse(self):
        return sparse.issparse(self.P)

    @property
    def N(self):
        """(p + m, n): the rows of A over those of G."""
        return sparse.vstack([self.A, self.G], format="csr") if self.sparse else np.concatenate([self.A, self.G])

    @property
    def r(self):
        """(p + m,): b over h."""
        return np.concatenate([self.b, self.h])


def read(P, q, G, h, A, b, densify=200):
    """QPData from what the caller gave; typed errors name the argument and the mend.

    Sparse blocks stay sparse if n > `densify`; below that a dense solve is faster.
    """
    q = _array(q, "q", 1)
    n = q.shape[0]
    if n == 0:
        raise ShapeError("q must have at least one element")
    if (G is None) != (h is None):
        raise ArgumentError("G and h must be given together (or both None)")
    if (A is None) != (b is None):
        raise ArgumentError("A and b must be given together (or both None)")
    given = (P is not None, G is not None, A is not None)
    P, G, A = (_matrix(M, name) for M, name in ((_zero(P, n), "P"), (G, "G"), (A, "A")))
    patterns = tuple(M if sparse.issparse(M) else None for M in (P, G, A))
    keep_sparse = n > densify and any(M is not None for M in patterns)
    P, G, A = (_form(M, n, keep_sparse) for M in (P, G, A))
    if P.shape != (n, n):
        raise ShapeError(f"P must be (n, n) = ({n}, {n}) to match q, got {P.shape}")
    h = np.zeros(0) if h is None else _array(h, "h", 1, finite=False)
    b = np.zeros(0) if b is None else _array(b, "b", 1)
    _check_rows(G, h, n, "G", "h")
    _check_rows(A, b, n, "A", "b")
    P = _symmetric(P)
    G, h, kept = _bounded(G, h)
    return QPData(P, q, G, h, A, b, given, kept.size, None if kept.all() else np.flatnonzero(kept), patterns)


def _zero(P, n):
    if P is None or (np.isscalar(P) and P == 0):
        return np.zeros((n, n)) if n <= 200 else sparse.csr_array((n, n))
    return P


def _array(value, name, ndim, finite=True):
    if type(value).__module__.split(".")[0] in ("torch", "jax", "jaxlib"):
        raise DtypeError(f"{name} is a {type(value).__module__.split('.')[0]} array; pass numpy.asarray({name})")
    try:
        array = np.asarray(value)
    except ValueError:
        raise ShapeError(f"{name} must be a {ndim}-D array, got a ragged sequence") from None
    if array.dtype.kind not in "fiub":
        raise DtypeError(f"{name} must hold real numbers, got dtype {array.dtype}")
    if array.ndim != ndim:
        raise ShapeError(f"{name} must be {ndim}-D, got shape {array.shape}")
    array = np.require(array, np.float64, ["C", "W"])  # a read-only array would be one more specialisation to compile
    if np.isnan(array).any() or (finite and np.isinf(array).any()):
        index = np.unravel_index(int(np.argmin(np.isfinite(array))), array.shape)
        raise ArgumentError(f"{name} must be finite, but {name}[{', '.join(map(str, index))}] is {array[index]}; mend the data")
    return array


def _matrix(value, name):
    if value is None:
        return None
    if sparse.issparse(value):
        value = sparse.csr_array(value)
        _array(value.data, f"{name}.data", 1)
        return value
    return _array(value, name, 2)


def _form(M, n, keep_sparse):
    if M is None:
        M = np.zeros((0, n))
    if keep_sparse:
        return sparse.csr_array(M, dtype=np.float64)
    return np.require(M.toarray() if sparse.issparse(M) else M, np.float64, ["C", "W"])


def _check_rows(matrix, vector, n, names, right):
    if matrix.shape[1] != n:
        hint = "; it looks transposed" if matrix.shape[0] == n and matrix.shape[1] == vector.shape[0] else ""
        raise ShapeError(f"{names} must have n = {n} columns to match q, got shape {matrix.shape}{hint}")
    if matrix.shape[0] != vector.shape[0]:
        raise ShapeError(f"{right} must have one element for each of the {matrix.shape[0]} rows of {names}, got {vector.shape[0]}")


def _symmetric(P):
    gap = abs(P - P.T).max()
    if gap == 0:
        return P
    if gap > 1e-8 * abs(P).max():
        raise ArgumentError("P must be symmetric (both triangles filled); pass (P + P.T) / 2, which gives the same objective")
    return (P + P.T) / 2


def _bounded(G, h):
    if np.isneginf(h).any():
        raise ArgumentError(f"h[{int(np.argmax(np.isneginf(h)))}] is -inf, which no y satisfies; use +inf for an absent bound")
    kept = np.isfinite(h)
    return (G, h, kept) if kept.all() else (G[kept], np.ascontiguousarray(h[kept]), kept)

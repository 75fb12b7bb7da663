"""Gradients by block, from the adjoint (w, v) of K: in the caller's rows, and on the pattern of sparse blocks."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from scipy import sparse


class QPGradient(NamedTuple):
    """Gradients of a loss by block: P (n, n) Frobenius-symmetric, q (n,), G (m, n), h (m,), A (p, n), b (p,).

    A block that was absent (None) has gradient None.
    """

    P: Any
    q: np.ndarray
    G: Any
    h: Any
    A: Any
    b: Any


def pull_back(data, y, multipliers, W, w, v):
    """QPGradient from the adjoint (w, v); sparse blocks on their pattern, without forming the dense ones."""
    lam = multipliers[W]
    p, m = data.b.size, data.h.size
    rows, r_bar = np.full(p + m, -1), np.zeros(p + m)
    rows[W], r_bar[W] = np.arange(W.size), v

    def entries(i, j):
        k = rows[i]
        return np.where(k >= 0, -(lam[k] * w[j] + v[k] * y[j]), 0.0) if W.size else np.zeros(i.size)

    def block(pattern, first, count):
        if pattern is None:
            i, j = np.divmod(np.arange(count * data.n), data.n)
            return entries(first + i, j).reshape(count, data.n)
        pattern = sparse.csr_array(pattern if pattern.shape[0] == count or data.kept is None else sparse.csr_array(pattern)[data.kept])
        i = np.repeat(np.arange(count), np.diff(pattern.indptr))
        return sparse.csr_array((entries(first + i, pattern.indices), pattern.indices, pattern.indptr), shape=pattern.shape)

    if data.patterns[0] is None and data.given[0]:
        P_bar = -0.5 * (np.multiply.outer(w, y) + np.multiply.outer(y, w))
    elif data.given[0]:
        pattern = sparse.coo_array(data.patterns[0])
        i, j = pattern.coords
        P_bar = sparse.csr_array((-0.5 * (w[i] * y[j] + y[i] * w[j]), (i, j)), shape=pattern.shape)
    else:
        P_bar = None
    A_bar, G_bar = block(data.patterns[2], 0, p), block(data.patterns[1], p, m)
    return _gradient(data, P_bar, -w, A_bar, G_bar, r_bar)


def expand(values, data, fill):
    """Values on the kept inequality rows, in the caller's rows."""
    if data.kept is None:
        return values
    full = np.full(data.rows, fill, values.dtype)
    full[data.kept] = values
    return full


def record(data, P_bar, q_bar, N_bar, r_bar):
    """QPGradient from the gradients of P, q, N = [A; G], r = (b, h)."""
    p = data.b.size
    return _gradient(data, P_bar, q_bar, N_bar[:p], N_bar[p:], r_bar)


def _gradient(data, P_bar, q_bar, A_bar, G_bar, r_bar):
    p = data.b.size
    h_bar = r_bar[p:]
    if data.kept is not None:
        h_bar, G_bar = expand(h_bar, data, 0.0), _spread(G_bar, data)
    has_P, has_G, has_A = data.given
    P_bar, G_bar, A_bar = (
        M if pattern is None or sparse.issparse(M) else _on_pattern(M, pattern)
        for M, pattern in zip((P_bar, G_bar, A_bar), data.patterns)
    )
    return QPGradient(
        P_bar if has_P else None, q_bar, G_bar if has_G else None, h_bar if has_G else None,
        A_bar if has_A else None, r_bar[:p] if has_A else None,
    )  # fmt: skip


def _spread(G_bar, data):
    if sparse.issparse(G_bar):
        lift = sparse.csr_array((np.ones(data.kept.size), (data.kept, np.arange(data.kept.size))), shape=(data.rows, data.kept.size))
        return lift @ G_bar
    full = np.zeros((data.rows, data.n))
    full[data.kept] = G_bar
    return full


def _on_pattern(M, pattern):
    pattern = sparse.coo_array(pattern)
    return sparse.csr_array((M[pattern.coords], pattern.coords), shape=pattern.shape)


def not_a_number(data):
    """QPGradient of NaN, in the shapes and patterns of the blocks."""
    nan, rows = np.full(data.n, np.nan), np.full(data.r.size, np.nan)
    return pull_back(data, nan, rows, np.arange(rows.size), nan, rows)

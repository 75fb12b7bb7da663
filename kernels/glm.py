"""Generalised linear models: one pass over the rows of the data for loss, gradient, curvature and Hessian products.

With z = A y, A (N, m), and a pointwise loss l(z, t), the sum L(y) = sum_i w_i l(z_i, t_i) has
L_y = A' r, r_i = w_i l'(z_i, t_i), and L_yy = A' diag(d) A, d_i = w_i l''(z_i, t_i). Every kernel reads A once: a block of
rows gives z, then the pointwise terms, then its contribution to the accumulator of its thread, while still in cache.
Data: dense (N, m) C-contiguous, or CSR as (data, indices, indptr), both uint32: unsigned ones spare
the inner loops a sign extension and the test for negative indices (2.2x).
`threads` is the number of row blocks, one accumulator each (Numba's thread count is not readable in a cached kernel).
`kind`: 0 squared loss (z - t)^2 / 2, 1 logistic loss log(1 + exp(-t z)), t = -1 or 1.
"""

import math

import numpy as np
from numba import njit, prange

#: sums may be reordered (so loops vectorise); NaN and infinity keep their meaning
FAST = {"reassoc", "contract", "arcp", "nsz"}


@njit(cache=True)
def zeros(shape, dtype):
    """np.zeros on the calling thread; inside a parallel kernel NumPy's is itself a parallel loop, and wakes every thread."""
    return np.zeros(shape, dtype)


@njit(cache=True)
def add_up(partial):
    """partial.sum(axis=0), on the calling thread as well."""
    return partial.sum(axis=0)


@njit(cache=True)
def pointwise(kind, z, t):
    """(l, l', l'') of the loss at z, scalars."""
    if kind == 0:
        return 0.5 * (z - t) * (z - t), z - t, 1.0
    u = t * z
    e = math.exp(-abs(u))
    s = e / (1.0 + e) if u > 0 else 1.0 / (1.0 + e)  # sigma(-u)
    return math.log1p(e) + max(-u, 0.0), -t * s, e / ((1.0 + e) * (1.0 + e))


@njit(cache=True, fastmath=FAST)
def _dense_product_rows(A, d, v, lo, hi, out):
    """out += A[lo:hi]' (d * (A[lo:hi] v)) in place, four rows at a time; all float64 or all float32."""
    m, zero = A.shape[1], A.dtype.type(0)
    i = lo
    while i + 4 <= hi:
        a, b, c, e = A[i], A[i + 1], A[i + 2], A[i + 3]
        za = zb = zc = ze = zero
        for j in range(m):
            za += a[j] * v[j]
            zb += b[j] * v[j]
            zc += c[j] * v[j]
            ze += e[j] * v[j]
        za, zb, zc, ze = d[i] * za, d[i + 1] * zb, d[i + 2] * zc, d[i + 3] * ze
        for j in range(m):
            out[j] += za * a[j] + zb * b[j] + zc * c[j] + ze * e[j]
        i += 4
    while i < hi:
        a = A[i]
        za = zero
        for j in range(m):
            za += a[j] * v[j]
        za *= d[i]
        for j in range(m):
            out[j] += za * a[j]
        i += 1


@njit(cache=True, parallel=True, fastmath=FAST)
def dense_product(A, d, v, threads):
    """A' (d * (A v)): A (N, m), d (N,), v (m,) -> (m,), all float64 or all float32."""
    N, m = A.shape
    if threads == 1:
        out = zeros(m, A.dtype)
        _dense_product_rows(A, d, v, 0, N, out)
        return out
    partial = zeros((threads, m), A.dtype)
    for k in prange(threads):
        _dense_product_rows(A, d, v, k * N // threads, (k + 1) * N // threads, partial[k])
    return add_up(partial)


@njit(cache=True, fastmath=FAST)
def _dense_loss_rows(A, t, w, y, kind, lo, hi, gradient, curvature):
    """sum of w l over rows lo..hi; gradient += A' r and curvature[lo:hi] = d in place, four rows at a time."""
    m = A.shape[1]
    loss = 0.0
    i = lo
    while i + 4 <= hi:
        a, b, c, e = A[i], A[i + 1], A[i + 2], A[i + 3]
        za = zb = zc = ze = 0.0
        for j in range(m):
            za += a[j] * y[j]
            zb += b[j] * y[j]
            zc += c[j] * y[j]
            ze += e[j] * y[j]
        la, ra, da = pointwise(kind, za, t[i])
        lb, rb, db = pointwise(kind, zb, t[i + 1])
        lc, rc, dc = pointwise(kind, zc, t[i + 2])
        le, re, de = pointwise(kind, ze, t[i + 3])
        loss += w[i] * la + w[i + 1] * lb + w[i + 2] * lc + w[i + 3] * le
        ra, rb, rc, re = w[i] * ra, w[i + 1] * rb, w[i + 2] * rc, w[i + 3] * re
        curvature[i] = w[i] * da
        curvature[i + 1] = w[i + 1] * db
        curvature[i + 2] = w[i + 2] * dc
        curvature[i + 3] = w[i + 3] * de
        for j in range(m):
            gradient[j] += ra * a[j] + rb * b[j] + rc * c[j] + re * e[j]
        i += 4
    while i < hi:
        a = A[i]
        za = 0.0
        for j in range(m):
            za += a[j] * y[j]
        la, ra, da = pointwise(kind, za, t[i])
        loss += w[i] * la
        curvature[i] = w[i] * da
        ra *= w[i]
        for j in range(m):
            gradient[j] += ra * a[j]
        i += 1
    return loss


@njit(cache=True, parallel=True, fastmath=FAST)
def dense_loss(A, t, w, y, kind, threads):
    """(L, L_y (m,), d (N,)) in one pass: A (N, m), targets t (N,), sample weights w (N,), y (m,), kind int."""
    N, m = A.shape
    curvature = np.empty(N)
    if threads == 1:
        gradient = zeros(m, np.float64)
        loss = _dense_loss_rows(A, t, w, y, kind, 0, N, gradient, curvature)
        return loss, gradient, curvature
    partial = zeros((threads, m), np.float64)
    losses = zeros(threads, np.float64)
    for k in prange(threads):
        losses[k] = _dense_loss_rows(A, t, w, y, kind, k * N // threads, (k + 1) * N // threads, partial[k], curvature)
    return add_up(losses), add_up(partial), curvature


@njit(cache=True, fastmath=FAST)
def _sparse_product_rows(data, indices, indptr, d, v, lo, hi, out):
    """out += A[lo:hi]' (d * (A[lo:hi] v)) in place; all float64 or all float32."""
    for i in range(lo, hi):
        z = data.dtype.type(0)
        for k in range(indptr[i], indptr[i + 1]):
            z += data[k] * v[indices[k]]
        z *= d[i]
        for k in range(indptr[i], indptr[i + 1]):
            out[indices[k]] += z * data[k]


@njit(cache=True, parallel=True, fastmath=FAST)
def sparse_product(data, indices, indptr, d, v, threads):
    """A' (d * (A v)) for CSR A (N, m): d (N,), v (m,) -> (m,), all float64 or all float32."""
    N, m = indptr.size - 1, v.size
    if threads == 1:
        out = zeros(m, data.dtype)
        _sparse_product_rows(data, indices, indptr, d, v, 0, N, out)
        return out
    partial = zeros((threads, m), data.dtype)
    for k in prange(threads):
        _sparse_product_rows(data, indices, indptr, d, v, k * N // threads, (k + 1) * N // threads, partial[k])
    return add_up(partial)


@njit(cache=True, fastmath=FAST)
def _sparse_loss_rows(data, indices, indptr, t, w, y, kind, lo, hi, gradient, curvature):
    """sum of w l over rows lo..hi; gradient += A' r and curvature[lo:hi] = d in place."""
    loss = 0.0
    for i in range(lo, hi):
        z = 0.0
        for k in range(indptr[i], indptr[i + 1]):
            z += data[k] * y[indices[k]]
        li, ri, di = pointwise(kind, z, t[i])
        loss += w[i] * li
        curvature[i] = w[i] * di
        ri *= w[i]
        for k in range(indptr[i], indptr[i + 1]):
            gradient[indices[k]] += ri * data[k]
    return loss


@njit(cache=True, parallel=True, fastmath=FAST)
def sparse_loss(data, indices, indptr, t, w, y, kind, threads):
    """(L, L_y (m,), d (N,)) in one pass over CSR A (N, m)."""
    N, m = indptr.size - 1, y.size
    curvature = np.empty(N)
    if threads == 1:
        gradient = zeros(m, np.float64)
        loss = _sparse_loss_rows(data, indices, indptr, t, w, y, kind, 0, N, gradient, curvature)
        return loss, gradient, curvature
    partial = zeros((threads, m), np.float64)
    losses = zeros(threads, np.float64)
    for k in prange(threads):
        losses[k] = _sparse_loss_rows(
            data, indices, indptr, t, w, y, kind, k * N // threads, (k + 1) * N // threads, partial[k], curvature
        )
    return add_up(losses), add_up(partial), curvature


@njit(cache=True, fastmath=FAST)
def dense_gram(A, d):
    """A' diag(d) A in one pass: A (N, m), d (N,) -> (m, m). For small m; LAPACK's syrk is better above some 32."""
    N, m = A.shape
    out = np.zeros((m, m))
    for i in range(N):
        a = A[i]
        for j in range(m):
            c = d[i] * a[j]
            row = out[j]
            for k in range(j + 1):
                row[k] += c * a[k]
    for j in range(m):
        for k in range(j):
            out[k, j] = out[j, k]
    return out

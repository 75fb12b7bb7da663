"""Gradient descent and its reverse sweep, whole, for quadratics and generalised linear models: no Python between the steps.

    forward   y_{k+1} = y_k - s g_y(y_k),  k = 0..K-1
    reverse   a_k = a_{k+1} - s g_yy(y_k) a_{k+1},  from a_K down

quadratic   g_y = A y - b,  g_yy = A  (m, m):                      the sum of a_{k+1} is what g_xy, constant, multiplies
GLM         g_y = X' r + c y,  g_yy = X' diag(d) X + diag(c):      r, d of glm.pointwise, X (N, m) dense or CSR; the sum of
            y_k a_{k+1} (entry by entry) is what g_xy = diag(c y_k) multiplies
"""

import numpy as np
from numba import njit

from .glm import FAST, pointwise


@njit(cache=True, fastmath=FAST)
def quadratic_path(A, b, y0, s, K):
    """y_{k+1} = y_k - s (A y_k - b): A (m, m), b, y0 (m,) -> (K + 1, m)."""
    m = y0.size
    path = np.empty((K + 1, m))
    path[0] = y0
    for k in range(K):
        for i in range(m):
            r = 0.0
            for j in range(m):
                r += A[i, j] * path[k, j]
            path[k + 1, i] = path[k, i] - s * (r - b[i])
    return path


@njit(cache=True, fastmath=FAST)
def quadratic_adjoint(A, a, s, K):
    """sum_{k=1..K} a_k with a_{k-1} = a_k - s A a_k, a_K = a: A (m, m), a (m,) -> (m,)."""
    m = a.size
    now, before, total = a.copy(), np.empty(m), np.zeros(m)
    for _ in range(K):
        for i in range(m):
            r = 0.0
            for j in range(m):
                r += A[i, j] * now[j]
            before[i] = now[i] - s * r
        for i in range(m):
            total[i] += now[i]
            now[i] = before[i]
    return total


@njit(cache=True, fastmath=FAST)
def dense_path(X, t, w, c, kind, y0, s, K):
    """y_{k+1} = y_k - s (X' r(X y_k) + c y_k): X (N, m), t, w (N,), c, y0 (m,) -> (K + 1, m)."""
    N, m = X.shape
    path, slope = np.empty((K + 1, m)), np.empty(m)
    path[0] = y0
    for k in range(K):
        for j in range(m):
            slope[j] = c[j] * path[k, j]
        for i in range(N):
            z = 0.0
            for j in range(m):
                z += X[i, j] * path[k, j]
            r = w[i] * pointwise(kind, z, t[i])[1]
            for j in range(m):
                slope[j] += r * X[i, j]
        for j in range(m):
            path[k + 1, j] = path[k, j] - s * slope[j]
    return path


@njit(cache=True, fastmath=FAST)
def dense_adjoint(X, t, w, c, kind, path, a, s):
    """sum_{k=0..K-1} y_k a_{k+1}, a_k = a_{k+1} - s (X' diag(d_k) X + diag(c)) a_{k+1}, a_K = a (m,) -> (m,)."""
    N, m = X.shape
    now, product, total = a.copy(), np.empty(m), np.zeros(m)
    for k in range(path.shape[0] - 2, -1, -1):
        for j in range(m):
            total[j] += path[k, j] * now[j]
            product[j] = c[j] * now[j]
        for i in range(N):
            z = u = 0.0
            for j in range(m):
                z += X[i, j] * path[k, j]
                u += X[i, j] * now[j]
            u *= w[i] * pointwise(kind, z, t[i])[2]
            for j in range(m):
                product[j] += u * X[i, j]
        for j in range(m):
            now[j] -= s * product[j]
    return total


@njit(cache=True, fastmath=FAST)
def sparse_path(data, indices, indptr, t, w, c, kind, y0, s, K):
    """As dense_path, X in CSR: data, indices (nnz,), indptr (N + 1,)."""
    m = y0.size
    path, slope = np.empty((K + 1, m)), np.empty(m)
    path[0] = y0
    for k in range(K):
        for j in range(m):
            slope[j] = c[j] * path[k, j]
        for i in range(t.size):
            z = 0.0
            for p in range(indptr[i], indptr[i + 1]):
                z += data[p] * path[k, indices[p]]
            r = w[i] * pointwise(kind, z, t[i])[1]
            for p in range(indptr[i], indptr[i + 1]):
                slope[indices[p]] += r * data[p]
        for j in range(m):
            path[k + 1, j] = path[k, j] - s * slope[j]
    return path


@njit(cache=True, fastmath=FAST)
def sparse_adjoint(data, indices, indptr, t, w, c, kind, path, a, s):
    """As dense_adjoint, X in CSR."""
    m = a.size
    now, product, total = a.copy(), np.empty(m), np.zeros(m)
    for k in range(path.shape[0] - 2, -1, -1):
        for j in range(m):
            total[j] += path[k, j] * now[j]
            product[j] = c[j] * now[j]
        for i in range(t.size):
            z = u = 0.0
            for p in range(indptr[i], indptr[i + 1]):
                z += data[p] * path[k, indices[p]]
                u += data[p] * now[indices[p]]
            u *= w[i] * pointwise(kind, z, t[i])[2]
            for p in range(indptr[i], indptr[i + 1]):
                product[indices[p]] += u * data[p]
        for j in range(m):
            now[j] -= s * product[j]
    return total

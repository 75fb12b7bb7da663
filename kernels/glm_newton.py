"""Preconditioned conjugate gradients on the Hessians of linear and multinomial models, whole solves in one kernel.

H = L_yy + diag(c) with L_yy the fused products of glm.py and softmax.py. `weights` says which, by its length:
    (A, d)                           dense linear model        A' diag(d) A
    (data, indices, indptr, d)       CSR linear model          A' diag(d) A
    (A, P, w)                        softmax, y = Y.ravel()    sum_i w_i (diag(p_i) - p_i p_i') (x) a_i a_i'
The preconditioner is the inverse diagonal, or a float32 Cholesky factor L of H at a nearby y (for softmax, of one matrix that
serves every class). beta is Polak and Ribiere's, which forgives a preconditioner that is only nearly linear.
"""

import math

import numpy as np
from numba import njit, prange
from numba.extending import overload

from .glm import FAST, add_up, dense_product, sparse_product, zeros
from .softmax import softmax_product


def hessian_product(weights, v, threads):
    """L_yy v, (m,) -> (m,), by the kind of `weights`."""
    if len(weights) == 2:
        return dense_product(weights[0], weights[1], v, threads)
    if len(weights) == 4:
        return sparse_product(weights[0], weights[1], weights[2], weights[3], v, threads)
    V = v.reshape(weights[1].shape[1], weights[0].shape[1])
    return softmax_product(weights[0], weights[1], weights[2], V, threads).ravel()


@overload(hessian_product)
def _compiled_product(weights, v, threads):
    if len(weights) == 2:
        return lambda weights, v, threads: dense_product(weights[0], weights[1], v, threads)
    if len(weights) == 4:
        return lambda weights, v, threads: sparse_product(weights[0], weights[1], weights[2], weights[3], v, threads)

    def multinomial(weights, v, threads):
        V = v.reshape((weights[1].shape[1], weights[0].shape[1]))
        return softmax_product(weights[0], weights[1], weights[2], V, threads).ravel()

    return multinomial


@njit(cache=True, fastmath=FAST)
def triangular_solves(L, r, z):
    """z = (L L')^{-1} r in place, L (q, q) float32 lower, r and z (q,); r is scaled to stay within float32."""
    q = r.size
    scale = 0.0
    for i in range(q):
        scale = max(scale, abs(r[i]))
    if scale == 0.0:
        z[:] = 0.0
        return
    u = np.empty(q, np.float32)
    for i in range(q):
        row = L[i]
        total = np.float32(0.0)
        for j in range(i):
            total += row[j] * u[j]
        u[i] = (np.float32(r[i] / scale) - total) / row[i]
    for i in range(q - 1, -1, -1):
        row = L[i]
        u[i] /= row[i]
        t = u[i]
        for j in range(i):
            u[j] -= row[j] * t
    for i in range(q):
        z[i] = scale * u[i]


@njit(cache=True, fastmath=FAST)
def four_solves(L, R, Z):
    """Z' = (L L')^{-1} R' in place, R and Z (4, q), as triangular_solves: L is read once for the four (nearly twice as fast)."""
    q, scale, U = L.shape[0], np.ones(4), np.empty((4, L.shape[0]), np.float32)
    for b in range(4):
        top = 0.0
        for i in range(q):
            top = max(top, abs(R[b, i]))
        if top > 0.0:
            scale[b] = top
    u0, u1, u2, u3 = U[0], U[1], U[2], U[3]
    for i in range(q):
        row = L[i]
        t0 = t1 = t2 = t3 = np.float32(0.0)
        for j in range(i):
            t0 += row[j] * u0[j]
            t1 += row[j] * u1[j]
            t2 += row[j] * u2[j]
            t3 += row[j] * u3[j]
        u0[i] = (np.float32(R[0, i] / scale[0]) - t0) / row[i]
        u1[i] = (np.float32(R[1, i] / scale[1]) - t1) / row[i]
        u2[i] = (np.float32(R[2, i] / scale[2]) - t2) / row[i]
        u3[i] = (np.float32(R[3, i] / scale[3]) - t3) / row[i]
    for i in range(q - 1, -1, -1):
        row = L[i]
        t0, t1, t2, t3 = u0[i] / row[i], u1[i] / row[i], u2[i] / row[i], u3[i] / row[i]
        u0[i], u1[i], u2[i], u3[i] = t0, t1, t2, t3
        for j in range(i):
            u0[j] -= row[j] * t0
            u1[j] -= row[j] * t1
            u2[j] -= row[j] * t2
            u3[j] -= row[j] * t3
    for b in range(4):
        for i in range(q):
            Z[b, i] = scale[b] * U[b, i]


@njit(cache=True)
def center(R, mean):
    """R - mean in place, R (k, q), mean (q,) its mean over the rows, written into the second argument."""
    k, q = R.shape
    mean[:] = 0.0
    for b in range(k):
        for j in range(q):
            mean[j] += R[b, j] / k
    for b in range(k):
        for j in range(q):
            R[b, j] -= mean[j]


@njit(cache=True, parallel=True)
def group_solves(L, R, Z):
    """Z' = (L L')^{-1} R' in place, R and Z (k, q), four rows at a time in parallel."""
    k = R.shape[0]
    for g in prange((k + 3) // 4):
        if 4 * g + 4 <= k:
            four_solves(L, R[4 * g : 4 * g + 4], Z[4 * g : 4 * g + 4])
        else:
            for b in range(4 * g, k):
                triangular_solves(L, R[b], Z[b])


@njit(cache=True)
def block_solves(L, r, c, z):
    """z = M^{-1} r in place, both (m,): (L L')^{-1} r for one block; for k = m / q > 1 classes, (L L')^{-1} on the rows less their mean.

    On what all classes share a softmax Hessian has no curvature, H = c I: there M^{-1} = 1 / c.
    """
    q = L.shape[0]
    k = r.size // q
    if k == 1:
        triangular_solves(L, r, z)
        return
    R, Z, shared, mean = r.reshape(k, q).copy(), z.reshape(k, q), np.empty(q), np.empty(q)
    center(R, shared)
    group_solves(L, R, Z)
    center(Z, mean)
    for b in range(k):
        for j in range(q):
            Z[b, j] += shared[j] / c


@njit(cache=True)
def precondition(inverse, L, c, r, z):
    """z = inverse * r, or the solve with L, in place (allocating large arrays in a loop costs more than the arithmetic)."""
    if L.shape[0] > 0:
        block_solves(L, r, c[0], z)
    else:
        for j in range(r.size):
            z[j] = inverse[j] * r[j]


@njit(cache=True, fastmath=FAST)
def pcg(weights, c, b, inverse, L, goal, maxiter, threads):
    """x with |b - H x| <= goal from x = 0, H = L_yy + diag(c); c, b, inverse (m,); all float64 or all float32.

    Returns (x, iterations, recursive residual norm, largest and smallest p'Hp / p'p met). Stops at p'Hp <= 0 as well.
    An L with no rows means the diagonal preconditioner z = inverse * r.
    """
    m = b.size
    x, r, z = np.zeros_like(b), b.copy(), np.empty_like(b)
    norm = math.sqrt(np.dot(r, r))
    high, low = 0.0, np.inf
    precondition(inverse, L, c, r, z)
    p = z.copy()
    rz = np.dot(r, z)
    k = 0
    while norm > goal and k < maxiter:
        q = hessian_product(weights, p, threads)
        pq = pp = 0.0
        for j in range(m):
            q[j] += c[j] * p[j]
            pq += p[j] * q[j]
            pp += p[j] * p[j]
        if not pq > 0.0:
            low = min(low, pq / pp) if pp > 0.0 else 0.0
            break
        high, low = max(high, pq / pp), min(low, pq / pp)
        alpha = rz / pq
        rr = 0.0
        for j in range(m):
            x[j] += alpha * p[j]
            r[j] -= alpha * q[j]
            rr += r[j] * r[j]
        norm = math.sqrt(rr)
        k += 1
        if norm <= goal:
            break
        precondition(inverse, L, c, r, z)
        zq = rz_new = 0.0
        for j in range(m):
            zq += z[j] * q[j]
            rz_new += z[j] * r[j]
        beta = max(-alpha * zq / rz, 0.0)
        rz = rz_new
        for j in range(m):
            p[j] = z[j] + beta * p[j]
    return x, k, norm, high, low


@njit(cache=True, parallel=True)
def panels(A, d, width, threads):
    """sqrt(d_i) A_ij as float32 panels of `width` columns, (ceil(m / width), N, width), zero-padded."""
    N, m = A.shape
    count = (m + width - 1) // width
    B = np.zeros((count, N, width), np.float32)
    for k in prange(threads):
        for i in range(k * N // threads, (k + 1) * N // threads):
            s = np.float32(math.sqrt(d[i]))
            for I in range(count):
                for j in range(I * width, min(m, (I + 1) * width)):
                    B[I, i, j - I * width] = s * np.float32(A[i, j])
    return B


@njit(cache=True, parallel=True)
def gram_float32(A, d, threads):
    """Lower blocks of A' diag(d) A (m, m) in float32, d >= 0; the blocks run in parallel, each one matrix product."""
    m = A.shape[1]
    width = 128
    B = panels(A, d, width, threads)
    count = B.shape[0]
    out = np.zeros((count * width, count * width), np.float32)
    for t in prange(count * (count + 1) // 2):
        I = int((math.sqrt(8.0 * t + 1.0) - 1.0) / 2.0)
        J = t - I * (I + 1) // 2
        out[I * width : (I + 1) * width, J * width : (J + 1) * width] = np.dot(B[I].T, B[J])
    return out[:m, :m].copy()


@njit(cache=True, fastmath=FAST)
def _dense_diagonal_rows(A, d, lo, hi, out):
    """out += diag(A' diag(d) A) of rows lo..hi in place."""
    for i in range(lo, hi):
        a = A[i]
        for j in range(a.size):
            out[j] += d[i] * a[j] * a[j]


@njit(cache=True, parallel=True)
def dense_gram_diagonal(A, d, threads):
    """diag(A' diag(d) A), (m,)."""
    N, m = A.shape
    if threads == 1:
        out = zeros(m, np.float64)
        _dense_diagonal_rows(A, d, 0, N, out)
        return out
    partial = zeros((threads, m), np.float64)
    for k in prange(threads):
        _dense_diagonal_rows(A, d, k * N // threads, (k + 1) * N // threads, partial[k])
    return add_up(partial)


@njit(cache=True)
def _sparse_diagonal_rows(data, indices, indptr, d, lo, hi, out):
    """out += diag(A' diag(d) A) of rows lo..hi in place."""
    for i in range(lo, hi):
        for j in range(indptr[i], indptr[i + 1]):
            out[indices[j]] += d[i] * data[j] * data[j]


@njit(cache=True, parallel=True)
def sparse_gram_diagonal(data, indices, indptr, d, m, threads):
    """diag(A' diag(d) A), (m,), for CSR A (N, m)."""
    N = indptr.size - 1
    if threads == 1:
        out = zeros(m, np.float64)
        _sparse_diagonal_rows(data, indices, indptr, d, 0, N, out)
        return out
    partial = zeros((threads, m), np.float64)
    for k in prange(threads):
        _sparse_diagonal_rows(data, indices, indptr, d, k * N // threads, (k + 1) * N // threads, partial[k])
    return add_up(partial)

"""Multinomial (softmax) regression: one pass over the rows for losses, gradient, probabilities and Hessian products.

Weights Y (k, d) are class-major, so that each class's row is contiguous. With Z = A Y' (N, k), p_i = softmax(Z_i) and labels c_i,
L(Y) = sum_i w_i l_i, l_i = logsumexp(Z_i) - Z_i[c_i]:
    L_Y = R' A,  R_i = w_i (p_i - e_{c_i});      L_YY[V] = Q' A,  Q_i = w_i (p_i * u_i - (p_i.u_i) p_i),  u_i = V a_i.
Rows are taken four at a time, one accumulator (k, d) for each of `threads` row blocks.
"""

import math

import numpy as np
from numba import njit, prange

from .glm import FAST, add_up, zeros


@njit(cache=True, fastmath=FAST)
def _four_products(A, i, V, u):
    """u[r, c] = A[i + r] . V[c] for r = 0..3, in place."""
    a, b, g, e = A[i], A[i + 1], A[i + 2], A[i + 3]
    for c in range(V.shape[0]):
        v = V[c]
        ua = ub = ug = ue = V.dtype.type(0)
        for j in range(v.size):
            ua += a[j] * v[j]
            ub += b[j] * v[j]
            ug += g[j] * v[j]
            ue += e[j] * v[j]
        u[0, c], u[1, c], u[2, c], u[3, c] = ua, ub, ug, ue


@njit(cache=True, fastmath=FAST)
def _four_outer(A, i, u, out):
    """out[c] += sum_r u[r, c] A[i + r] for r = 0..3, in place."""
    a, b, g, e = A[i], A[i + 1], A[i + 2], A[i + 3]
    for c in range(out.shape[0]):
        o = out[c]
        ua, ub, ug, ue = u[0, c], u[1, c], u[2, c], u[3, c]
        for j in range(o.size):
            o[j] += ua * a[j] + ub * b[j] + ug * g[j] + ue * e[j]


@njit(cache=True, fastmath=FAST)
def _product_rows(A, P, w, V, lo, hi, out):
    """out += L_YY[V] of rows lo..hi, in place; all float64 or all float32."""
    k = V.shape[0]
    u = np.empty((4, k), V.dtype)
    for i in range(lo, hi - (hi - lo) % 4, 4):
        _four_products(A, i, V, u)
        for r in range(4):
            _curvature(P[i + r], w[i + r], u[r])
        _four_outer(A, i, u, out)
    for i in range(hi - (hi - lo) % 4, hi):
        for c in range(k):
            u[0, c] = np.dot(A[i], V[c])
        _curvature(P[i], w[i], u[0])
        for c in range(k):
            out[c] += u[0, c] * A[i]


@njit(cache=True, fastmath=FAST)
def _curvature(p, w, u):
    """u = w (p * u - (p.u) p) in place."""
    mean = 0.0
    for c in range(p.size):
        mean += p[c] * u[c]
    for c in range(p.size):
        u[c] = w * p[c] * (u[c] - mean)


@njit(cache=True, parallel=True, fastmath=FAST)
def softmax_product(A, P, w, V, threads):
    """L_YY[V]: A (N, d), probabilities P (N, k), sample weights w (N,), V (k, d) -> (k, d), all float64 or all float32."""
    N, d = A.shape
    k = V.shape[0]
    if threads == 1:
        out = zeros((k, d), V.dtype)
        _product_rows(A, P, w, V, 0, N, out)
        return out
    partial = zeros((threads, k, d), V.dtype)
    for b in prange(threads):
        _product_rows(A, P, w, V, b * N // threads, (b + 1) * N // threads, partial[b])
    return add_up(partial)


@njit(cache=True)
def _softmax_row(z, label, p):
    """p = softmax(z) in place; returns logsumexp(z) - z[label]."""
    top = z.max()
    others = 0.0
    for c in range(z.size):
        p[c] = math.exp(z[c] - top)
        if c != label:
            others += p[c]
    total = others + p[label]
    loss = math.log1p(others) if z[label] == top else math.log(total) + top - z[label]
    for c in range(z.size):
        p[c] /= total
    return loss


@njit(cache=True, fastmath=FAST)
def _loss_rows(A, labels, w, Y, lo, hi, losses, P, gradient):
    """losses and P of rows lo..hi, and gradient += R' A, in place."""
    k = Y.shape[0]
    u = np.empty((4, k))
    for i in range(lo, hi - (hi - lo) % 4, 4):
        _four_products(A, i, Y, u)
        for r in range(4):
            losses[i + r] = _softmax_row(u[r], labels[i + r], P[i + r])
            _residual(P[i + r], labels[i + r], w[i + r], u[r])
        _four_outer(A, i, u, gradient)
    for i in range(hi - (hi - lo) % 4, hi):
        for c in range(k):
            u[0, c] = np.dot(A[i], Y[c])
        losses[i] = _softmax_row(u[0], labels[i], P[i])
        _residual(P[i], labels[i], w[i], u[0])
        for c in range(k):
            gradient[c] += u[0, c] * A[i]


@njit(cache=True)
def _residual(p, label, w, u):
    """u = w (p - e_label) in place; the label's entry is minus the sum of the others, which does not cancel."""
    others = 0.0
    for c in range(p.size):
        if c != label:
            u[c] = w * p[c]
            others += u[c]
    u[label] = -others


@njit(cache=True, parallel=True, fastmath=FAST)
def softmax_loss(A, labels, w, Y, threads):
    """(l (N,), L_Y (k, d), P (N, k)): A (N, d), labels (N,) int64, w (N,), Y (k, d)."""
    N, d = A.shape
    k = Y.shape[0]
    losses, P = np.empty(N), np.empty((N, k))
    if threads == 1:
        gradient = zeros((k, d), np.float64)
        _loss_rows(A, labels, w, Y, 0, N, losses, P, gradient)
        return losses, gradient, P
    partial = zeros((threads, k, d), np.float64)
    for b in prange(threads):
        _loss_rows(A, labels, w, Y, b * N // threads, (b + 1) * N // threads, losses, P, partial[b])
    return losses, add_up(partial), P

"""Conjugate gradients with the products inside: no Python between the iterations."""

import numpy as np
from numba import njit

MET, NEGATIVE, SINGULAR, NONFINITE, LIMIT = 0, 1, 2, 3, 4


@njit(cache=True)
def product(A, data, indices, indptr, v, out):
    """out = A v in place: A (N, N), or if that is empty the CSR triple; v, out (N,)."""
    for i in range(v.size):
        s = 0.0
        if A.shape[0] > 0:
            for j in range(v.size):
                s += A[i, j] * v[j]
        else:
            for p in range(indptr[i], indptr[i + 1]):
                s += data[p] * v[indices[p]]
        out[i] = s


@njit(cache=True)
def cg(A, data, indices, indptr, b, inverse, goal, maxiter, norm):
    """x with |b - A x| <= goal by Hestenes & Stiefel 1952 (3:1), preconditioned by z = inverse * r; all vectors (N,).

    A (N, N), or empty with the CSR triple. Returns x, alphas (k,), betas (k,), the state, and the extremes (norm, smallest) of
    |A p| / |p|; `norm` starts them. p'Ap <= eps norm p'p ends it: SINGULAR if A p vanishes as well, NEGATIVE if not.
    """
    N, eps = b.size, 2.0**-52
    x, r, z, p, q = np.zeros(N), b.copy(), inverse * b, inverse * b, np.empty(N)
    alphas, betas = np.empty(maxiter), np.empty(maxiter)
    smallest, rho, k, state = np.inf, np.dot(b, z), 0, LIMIT
    while True:
        if np.sqrt(np.dot(r, r)) <= goal:
            state = MET
            break
        if k == maxiter:
            break
        product(A, data, indices, indptr, p, q)
        curvature, pp, qq = np.dot(p, q), np.dot(p, p), np.dot(q, q)
        if not np.isfinite(qq):
            state = NONFINITE
            break
        norm, smallest = max(norm, np.sqrt(qq / pp)), min(smallest, np.sqrt(qq / pp))
        if curvature <= eps * norm * pp:
            state = NEGATIVE if curvature < -eps * norm * pp or qq > 1e4 * eps * norm * norm * pp else SINGULAR
            break
        alpha = rho / curvature
        for i in range(N):
            x[i] += alpha * p[i]
            r[i] -= alpha * q[i]
            z[i] = inverse[i] * r[i]
        rho, rho_old = np.dot(r, z), rho
        beta = rho / rho_old
        for i in range(N):
            p[i] = z[i] + beta * p[i]
        alphas[k], betas[k] = alpha, beta
        k += 1
    return x, alphas[:k], betas[:k], state, norm, smallest

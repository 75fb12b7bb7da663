"""Solves with K = [P N'; N 0] from P = L L', M = diag(1/sigma) N L^{-T}, R R' = M M' (L, R lower triangular).

Two triangular solves with L, two with R: O(n^2 + kn) once (L, M, R) are there. Each solve is followed by refinement with
residuals accumulated in twice the working precision (dot2 of Ogita, Rump, Oishi, SIAM J. Sci. Comput. 26, 2005), so that
the answer is right to rounding while cond(P) eps < 1. Loops are written out: slices and ufuncs triple the compile time.

Numba's disk cache of qp.py and qp_batch.py does not see changes here: remove their *.nbi files after an edit.
"""

import numpy as np
from numba import njit

REASSOCIATE = {"reassoc", "contract", "nsz"}  # sums may be vectorised; NaN and inf keep their meaning
EPS = 2.220446049250313e-16


@njit(cache=True, fastmath=REASSOCIATE)
def dot(a, b, size):
    """sum_i<size a_i b_i"""
    total = 0.0
    for i in range(size):
        total += a[i] * b[i]
    return total


@njit(cache=True)
def copy_row(a, b, size):
    """b_i <- a_i for i < size, in place. (Slice assignment would triple the compile time.)"""
    for i in range(size):
        b[i] = a[i]


@njit(cache=True)
def copy_block(A, B):
    """B <- A on the leading block of A's shape (k, n), in place."""
    for i in range(A.shape[0]):
        for j in range(A.shape[1]):
            B[i, j] = A[i, j]


@njit(cache=True)
def largest(a):
    """max_i |a_i| of a (n,), 0 if empty."""
    value = 0.0
    for i in range(a.shape[0]):
        value = max(value, abs(a[i]))
    return value


@njit(cache=True)
def all_finite(a):
    """True if no element of a (n,) is NaN or infinite."""
    total = 0.0
    for i in range(a.shape[0]):
        total += a[i] * 0.0
    return total == 0.0


@njit(cache=True)
def is_symmetric(P):
    """True if P (n, n) equals its transpose exactly."""
    for i in range(P.shape[0]):
        for j in range(i):
            if P[i, j] != P[j, i]:
                return False
    return True


@njit(cache=True)
def cholesky(P):
    """(L, ok): P = L L', P (n, n), L lower; ok is False if a pivot falls below n eps max diag(P)."""
    n = P.shape[0]
    L = np.zeros((n, n))
    floor = 0.0
    for i in range(n):
        floor = max(floor, P[i, i])
    floor *= n * EPS
    for i in range(n):
        for j in range(i):
            L[i, j] = (P[i, j] - dot(L[i], L[j], j)) / L[j, j]
        pivot = P[i, i] - dot(L[i], L[i], i)
        if not pivot > floor:
            return L, False
        L[i, i] = np.sqrt(pivot)
    return L, True


@njit(cache=True)
def lower_solve(L, size, b):
    """b <- L^{-1} b with the leading (size, size) block of L, in place."""
    for i in range(size):
        b[i] = (b[i] - dot(L[i], b, i)) / L[i, i]


@njit(cache=True)
def upper_solve(L, size, b):
    """b <- L^{-T} b with the leading (size, size) block of L, in place."""
    for i in range(size - 1, -1, -1):
        b[i] /= L[i, i]
        for j in range(i):
            b[j] -= L[i, j] * b[i]


@njit(cache=True)
def remove_row(R, k, j):
    """R (k, k) lower <- factor of R R' without row and column j, in place (Givens rotations)."""
    for i in range(j + 1, k):
        for c in range(i + 1):
            R[i - 1, c] = R[i, c]
    for c in range(j, k - 1):
        rho = np.hypot(R[c, c], R[c, c + 1])
        cosine, sine = R[c, c] / rho, R[c, c + 1] / rho
        for i in range(c, k - 1):
            left, right = R[i, c], R[i, c + 1]
            R[i, c] = cosine * left + sine * right
            R[i, c + 1] = cosine * right - sine * left


@njit(cache=True)
def add_product(hi, lo, row, x):
    """hi + lo <- hi + lo - row x in twice the working precision, in place; row, hi, lo (n,), x a scalar."""
    t = 134217729.0 * x
    xh = t - (t - x)
    xl = x - xh
    for i in range(row.shape[0]):
        a = row[i]
        t = 134217729.0 * a
        ah = t - (t - a)
        al = a - ah
        product = -a * x
        error = -(((ah * xh + product) + ah * xl + al * xh) + al * xl)
        total = hi[i] + product
        back = total - hi[i]
        lo[i] += (hi[i] - (total - back)) + (product - back) + error
        hi[i] = total


@njit(cache=True)
def residual_dot(c, row, x):
    """c - row'x in twice the working precision; row, x (n,)."""
    hi, lo = c, 0.0
    for i in range(row.shape[0]):
        a, b = row[i], x[i]
        t = 134217729.0 * a
        ah = t - (t - a)
        al = a - ah
        t = 134217729.0 * b
        bh = t - (t - b)
        bl = b - bh
        product = -a * b
        error = -(((ah * bh + product) + ah * bl + al * bh) + al * bl)
        total = hi + product
        back = total - hi
        lo += (hi - (total - back)) + (product - back) + error
        hi = total
    return hi + lo


@njit(cache=True)
def kkt_residual(P, N, w, u, a, c):
    """(a - P w - N'u, c - N w) in twice the working precision; P (n, n) symmetric, N (k, n)."""
    n, k = P.shape[0], N.shape[0]
    hi, lo, bottom = np.empty(n), np.zeros(n), np.empty(k)
    copy_row(a, hi, n)
    for j in range(n):
        add_product(hi, lo, P[j], w[j])
    for j in range(k):
        add_product(hi, lo, N[j], u[j])
    for j in range(k):
        bottom[j] = residual_dot(c[j], N[j], w)
    for i in range(n):
        hi[i] += lo[i]
    return hi, bottom


@njit(cache=True)
def range_solve(L, MW, R, sigma, a, c):
    """(w, u) with P w + N'u = a, N w = c (k,) from P = L L', N = diag(sigma) M_W L', R R' = M_W M_W' (leading k rows of each)."""
    n, k = L.shape[0], c.shape[0]
    w, u = np.empty(n), np.empty(k)
    copy_row(a, w, n)
    lower_solve(L, n, w)
    for j in range(k):
        u[j] = dot(MW[j], w, n) - c[j] / sigma[j]
    lower_solve(R, k, u)
    upper_solve(R, k, u)
    for j in range(k):
        for i in range(n):
            w[i] -= u[j] * MW[j, i]
        u[j] /= sigma[j]
    upper_solve(L, n, w)
    return w, u


@njit(cache=True)
def refined_solve(P, N, L, MW, R, sigma, a, c, steps):
    """(w, u) with P w + N'u = a, N w = c: range-space solve and up to `steps` refinements with doubled residuals."""
    w, u = range_solve(L, MW, R, sigma, a, c)
    for _ in range(steps):
        top, bottom = kkt_residual(P, N, w, u, a, c)
        dw, du = range_solve(L, MW, R, sigma, top, bottom)
        last = largest(dw) <= 1e-10 * largest(w) and largest(du) <= 1e-10 * largest(u)
        for i in range(w.shape[0]):
            w[i] += dw[i]
        for j in range(u.shape[0]):
            u[j] += du[j]
        if last:  # the next correction would be below the rounding of w and u
            break
    return w, u

"""Dense strictly convex quadratic programs: dual active set, polish, adjoint.

    min 1/2 y'Py + q'y   subject to  N y {=, <=} r,      rows 0..p-1 of N equalities, the others inequalities.

With P = L L' and M = N L^{-T} (rows scaled to length one, `sigma` their lengths) the dual method of Goldfarb and Idnani
(Math. Program. 27, 1983) only needs the Gram matrix S = M M': the working set W keeps the triangular R, R R' = S_WW, and
every full step solves R R' lam = -d_W afresh, so rounding does not build up from step to step. (L, M_W, R) is then the
factor of K = [P N_W'; N_W 0] that polish and adjoint share (range_space.py).
"""

import numpy as np
from numba import njit

from .range_space import (
    EPS, all_finite, cholesky, copy_block, copy_row, dot, is_symmetric, kkt_residual, largest, lower_solve, refined_solve, remove_row,
    upper_solve,
)  # fmt: skip

__all__ = ["dual_active_set", "kkt_residual", "refined_solve", "solve_dense", "solve_factored", "vjp_dense"]

OPTIMAL, INFEASIBLE, MAXITER, NOT_CONVEX, NOT_FINITE, INACCURATE, NOT_SYMMETRIC = 0, 1, 2, 3, 4, 5, 6
WEAK = 1e-12  # relative level below which a multiplier or a slack counts as zero


@njit(cache=True)
def dual_active_set(M, S, d, p, tol, maxiter):
    """(code, W (k,), R (k, k) in the corner of its array, ray (m,)): min 1/2 |u|^2 with M_i u = d_i (i < p), M_i u <= d_i (i >= p).

    M (m, n) has rows of length one (or zero); S = M M' (m, m), or (0, 0) to form its rows when needed. A row counts as
    violated below -tol_i. u = -M_W' lam. If infeasible, `ray` has ray'M = 0, ray'd < 0 and ray_i >= 0 for i >= p.
    """
    m, n = M.shape
    cap = min(m, n)
    full = S.shape[0] == m
    rows = S if full else np.empty((cap + 1, m))
    slot, free = np.arange(m), np.arange(cap + 1)
    W, lam, R = np.empty(cap, np.int64), np.zeros(cap), np.zeros((cap, cap))
    done = np.zeros(m, np.bool_)
    s, r, column, ray = np.empty(m), np.empty(cap), np.empty(cap), np.zeros(m)
    k = 0
    i, own, code = -1, 0.0, MAXITER
    for iteration in range(maxiter):
        copy_row(d, s, m)
        for j in range(k):
            row, value = rows[slot[W[j]]], lam[j]
            for c in range(m):
                s[c] += value * row[c]
        if i < 0:  # choose the next row: equalities in order, then the most violated inequality
            own = 0.0
            for c in range(p):
                if not done[c]:
                    i = c
                    break
            if i < 0:
                worst = 0.0
                for c in range(p, m):
                    if not done[c] and s[c] + tol[c] < worst:
                        worst, i = s[c] + tol[c], c
            if i < 0:
                code = OPTIMAL
                break
            if not full:
                slot[i] = free[k]
                for c in range(m):
                    rows[slot[i], c] = dot(M[c], M[i], n)
        gram = rows[slot[i]]
        for j in range(k):
            r[j] = gram[W[j]]
        lower_solve(R, k, r)
        copy_row(r, column, k)
        pivot = gram[i] - dot(r, r, k)
        upper_solve(R, k, r)
        slack = s[i] + own * gram[i]
        dependent = k == cap or not pivot > 1e-12 * gram[i]
        if dependent and i < p:
            done[i] = True
            if abs(slack) > tol[i]:
                sign = 1.0 if slack < 0.0 else -1.0
                ray[i] = sign
                for j in range(k):
                    ray[W[j]] = -sign * r[j]
                code = INFEASIBLE
                break
            i = -1
            continue
        step, leaving = np.inf, -1
        if i >= p:
            for j in range(k):
                if W[j] >= p and r[j] > 0.0 and max(lam[j], 0.0) < step * r[j]:
                    step, leaving = max(lam[j], 0.0) / r[j], j
        if dependent and leaving < 0:
            ray[i] = 1.0
            for j in range(k):
                ray[W[j]] = -r[j]
            code = INFEASIBLE
            break
        if dependent or step < -slack / pivot:  # partial step: one row leaves, row i keeps pressing
            own += step
            for j in range(k):
                lam[j] -= step * r[j]
            done[W[leaving]] = False
            remove_row(R, k, leaving)
            released = slot[W[leaving]]
            for j in range(leaving, k - 1):
                W[j], lam[j] = W[j + 1], lam[j + 1]
            k -= 1
            if not full:
                free[k + 1] = released
        else:  # full step: row i enters, the multipliers are solved afresh
            copy_row(column, R[k], k)
            R[k, k] = np.sqrt(pivot)
            W[k], done[i] = i, True
            k += 1
            for j in range(k):
                lam[j] = -d[W[j]]
            lower_solve(R, k, lam)
            upper_solve(R, k, lam)
            i = -1
    return code, W[:k], R, ray


@njit(cache=True)
def transform(L, q, N, r):
    """(M (m, n), sigma (m,), d (m,), size (m,)): M = N L^{-T} with rows of length one, d the shifted right-hand side."""
    m, n = N.shape
    M, sigma = np.empty((m, n)), np.ones(m)
    copy_block(N, M)
    for i in range(m):
        lower_solve(L, n, M[i])
        length = np.sqrt(dot(M[i], M[i], n))
        if length > 0.0:
            sigma[i] = length
            for j in range(n):
                M[i, j] /= length
    d, size = shift(L, q, M, sigma, r)
    return M, sigma, d, size


@njit(cache=True)
def shift(L, q, M, sigma, r):
    """(d, size): d = r / sigma + M c, c = L^{-1} q, and what its rounding is relative to, size = |r| / sigma + max|c|; (m,).

    If q = 0, the largest |r| / sigma stands in for |c|, and 1 if that is zero too.
    """
    m, n = M.shape
    c = np.empty(n)
    copy_row(q, c, n)
    lower_solve(L, n, c)
    d, size, high = np.empty(m), np.empty(m), largest(c)
    for i in range(m):
        d[i] = r[i] / sigma[i] + dot(M[i], c, n)
        size[i] = abs(r[i]) / sigma[i]
    if high == 0.0:
        high = largest(size)
    for i in range(m):
        size[i] += high if high > 0.0 else 1.0
    return d, size


@njit(cache=True)
def audit(P, minus_q, N, r, p, y, multipliers, slack, W, NW):
    """(residual, margin, weak): the largest relative KKT residual, min_i max(mu_i, slack_i), the count of weak rows.

    A row is weak if it is active with a multiplier, or inactive with a slack, below WEAK relative to the terms it sums, in
    the norms |y| = max |y_j| s_j, |q| = max |q_j| / s_j, s_j = P_jj^{1/2} (diagonal scalings of y or of the rows change
    nothing). Equalities left out as redundant count too.
    """
    m, n = N.shape
    k, worst, margin, weak, length, force = W.shape[0], 0.0, np.inf, 0, 0.0, 0.0
    u, inside, scale = np.empty(k), np.zeros(m, np.bool_), np.empty(n)
    for j in range(n):
        scale[j] = np.sqrt(P[j, j])
        terms = abs(minus_q[j])
        for i in range(n):
            terms += abs(P[j, i] * y[i])
        length, force = max(length, abs(y[j]) * scale[j]), max(force, terms / scale[j])
    length = max(length, 1e-8 * force)
    for j in range(k):
        u[j], inside[W[j]] = multipliers[W[j]], True
    for i in range(m):
        reach, pull = 0.0, 0.0
        for j in range(n):
            reach, pull = reach + abs(N[i, j]) / scale[j], max(pull, abs(N[i, j]) / scale[j])
        size, gap = reach * length + abs(r[i]), abs(slack[i]) if i < p else -slack[i]
        if gap > 0.0:
            worst = max(worst, gap / size)
        if i >= p and inside[i]:
            if multipliers[i] < 0.0:
                worst = max(worst, -multipliers[i] * pull / (force + 1e-300))
            weak += multipliers[i] * pull <= WEAK * force
            margin = min(margin, max(multipliers[i], slack[i]))
        elif i >= p:
            weak += slack[i] <= WEAK * size
            margin = min(margin, max(slack[i], 0.0))
        else:
            weak += not inside[i]
    for i in range(n):  # stationarity, each component relative to the terms it sums
        total, terms = minus_q[i], abs(minus_q[i])
        for j in range(n):
            total -= P[i, j] * y[j]
            terms += abs(P[i, j] * y[j])
        for j in range(k):
            total -= u[j] * NW[j, i]
            terms += abs(u[j] * NW[j, i])
        if terms > 0.0:
            worst = max(worst, abs(total) / terms)
    return worst, margin, weak


@njit(cache=True)
def solve_factored(P, q, N, r, p, L, M, S, sigma, d, size):
    """(code, y, multipliers (m,), active (m - p,), residual, margin, weak, pivot, W, N_W, M_W, R, sigma_W, ray).

    Active set, polish on it, audit. The code is INACCURATE if the audit contradicts the active set. `pivot` is the smallest
    relative pivot of L and R: below 1e-4 the factor has lost half the digits and another one should serve the adjoint.
    """
    m, n = N.shape
    code, W, R, ray = dual_active_set(M, S, d, p, size * (100.0 * np.sqrt(n) * EPS), 50 + 10 * (m + n))
    k = W.shape[0]
    NW, MW, scale, c = np.empty((k, n)), np.empty((k, n)), np.empty(k), np.empty(k)
    minus_q = np.empty(n)
    for i in range(n):
        minus_q[i] = -q[i]
    for j in range(k):
        copy_row(N[W[j]], NW[j], n)
        copy_row(M[W[j]], MW[j], n)
        scale[j], c[j] = sigma[W[j]], r[W[j]]
    y, u = refined_solve(P, NW, L, MW, R, scale, minus_q, c, 2)
    multipliers, slack = np.zeros(m), np.empty(m)
    active, low, high, pivot = np.zeros(m - p, np.bool_), np.inf, 0.0, 1.0
    for j in range(n):
        low, high = min(low, L[j, j]), max(high, L[j, j])
    for j in range(k):
        multipliers[W[j]] = u[j]
        pivot = min(pivot, R[j, j])
        if W[j] >= p:
            active[W[j] - p] = True
    for i in range(m):
        slack[i] = r[i] - dot(N[i], y, n)
    residual, margin, weak = audit(P, minus_q, N, r, p, y, multipliers, slack, W, NW)
    if code == OPTIMAL and not (residual < 1e-11 and all_finite(y) and all_finite(u)):
        code = INACCURATE
    for i in range(m):
        ray[i] /= sigma[i]
    return code, y, multipliers, active, residual, margin, weak, min(pivot, low / high), W, NW, MW, R, scale, ray


@njit(cache=True)
def stack(A, b, G, h):
    """(N, r): the rows of A over those of G, and b over h."""
    p, m, n = A.shape[0], A.shape[0] + G.shape[0], A.shape[1]
    N, r = np.empty((m, n)), np.empty(m)
    copy_block(A, N)
    copy_block(G, N[p:])
    copy_row(b, r, p)
    copy_row(h, r[p:], m - p)
    return N, r


@njit(cache=True)
def solve_dense(P, q, G, h, A, b):
    """All of one small dense QP: solve_factored's answer and L."""
    N, r = stack(A, b, G, h)
    L, ok = cholesky(P)
    code = OPTIMAL if ok else NOT_CONVEX
    if not is_symmetric(P):
        code = NOT_SYMMETRIC
    if not (all_finite(P.ravel()) and all_finite(q) and all_finite(N.ravel()) and all_finite(r)):
        code = NOT_FINITE
    if code != OPTIMAL:
        none, empty = np.zeros((0, P.shape[0])), np.zeros(0)
        idle, W = np.zeros(h.shape[0], np.bool_), np.zeros(0, np.int64)
        return code, q, r, idle, np.inf, 0.0, 0, 0.0, W, none, none, np.zeros((0, 0)), empty, r, L
    M, sigma, d, size = transform(L, q, N, r)
    code, y, u, active, residual, margin, weak, pivot, W, NW, MW, R, scale, ray = solve_factored(
        P, q, N, r, A.shape[0], L, M, np.zeros((0, 0)), sigma, d, size
    )
    return code, y, u, active, residual, margin, weak, pivot, W, NW, MW, R, scale, ray, L


@njit(cache=True)
def vjp_dense(P, N, L, MW, R, sigma, W, m, y, multipliers, y_bar, row_bar, refine):
    """(P_bar, q_bar, N_bar, r_bar): P_bar = -(w y' + y w')/2, q_bar = -w, N_bar = -(lam w' + v y'), r_bar = v.

    K (w, v_W) = (y_bar, row_bar_W); rows outside W have zero gradients. N (k, n) are the rows of W; N_bar (m, n).
    """
    n, k = y.shape[0], N.shape[0]
    c = np.empty(k)
    for j in range(k):
        c[j] = row_bar[W[j]]
    w, v = refined_solve(P, N, L, MW, R, sigma, y_bar, c, refine)
    P_bar, N_bar, r_bar = np.empty((n, n)), np.zeros((m, n)), np.zeros(m)
    for i in range(n):
        for j in range(n):
            P_bar[i, j] = -0.5 * (w[i] * y[j] + y[i] * w[j])
    for j in range(k):
        i = W[j]
        r_bar[i] = v[j]
        lam, vj = multipliers[i], v[j]
        for c_ in range(n):
            N_bar[i, c_] = -(lam * w[c_] + vj * y[c_])
    for i in range(n):
        w[i] = -w[i]
    return P_bar, w, N_bar, r_bar

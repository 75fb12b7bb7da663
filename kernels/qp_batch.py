"""Stacks of small quadratic programs: shares of a batch for one thread each (no lock is held, outputs are filled in place)."""

import numpy as np
from numba import njit

from .qp import OPTIMAL, solve_dense, vjp_dense
from .range_space import copy_block, copy_row


@njit(cache=True, nogil=True)
def solve_range(first, last, P, q, G, h, A, b, plain, y, lam, active, residual, margin, count, W, M, R, sigma, L):
    """solve_dense for the members first <= i < last of stacks, into the arrays from `plain` on, in place.

    P (B, n, n), q (B, n), G (B, m, n), h (B, m), A (B, p, n), b (B, p); a stack of one is shared. Working rows are padded
    to min(n, p + m). `plain` (B,) is False where the member needs a closer look.
    """
    n, m = q.shape[1], b.shape[1] + h.shape[1]
    for i in range(first, last):
        answer = solve_dense(
            P[i % P.shape[0]], q[i % q.shape[0]], G[i % G.shape[0]], h[i % h.shape[0]], A[i % A.shape[0]], b[i % b.shape[0]]
        )
        plain[i] = answer[0] == OPTIMAL and answer[6] == 0 and answer[7] > 1e-4
        count[i], residual[i], margin[i] = answer[8].shape[0], answer[4], answer[5]
        copy_row(answer[1], y[i], n)
        copy_row(answer[2], lam[i], m)
        copy_row(answer[3], active[i], h.shape[1])
        copy_row(answer[8], W[i], count[i])
        copy_row(answer[12], sigma[i], count[i])
        copy_block(answer[10], M[i])
        copy_block(answer[11], R[i])
        copy_block(answer[14], L[i])


@njit(cache=True, nogil=True)
def vjp_range(
    first, last, P, G, A, y, lam, count, W, M, R, sigma, L, y_bar, row_bar, refine, P_bar, q_bar, N_bar, r_bar
):
    """vjp_dense for the members first <= i < last from what `solve_range` left, into the arrays from `P_bar` on, in place.

    Members with count < 0 are left alone.
    """
    n, m, p = y.shape[1], lam.shape[1], A.shape[1]
    for i in range(first, last):
        if count[i] < 0:
            continue
        N = np.empty((count[i], n))
        for j in range(count[i]):
            row = W[i, j]
            copy_row(A[i % A.shape[0], row] if row < p else G[i % G.shape[0], row - p], N[j], n)
        answer = vjp_dense(
            P[i % P.shape[0]], N, L[i], M[i], R[i], sigma[i], W[i], m, y[i], lam[i], y_bar[i], row_bar[i], refine
        )
        copy_block(answer[0], P_bar[i])
        copy_row(answer[1], q_bar[i], n)
        copy_block(answer[2], N_bar[i])
        copy_row(answer[3], r_bar[i], m)

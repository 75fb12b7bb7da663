"""Single-loop stochastic methods on finite sums g = mean_i g_i, f = mean_j f_j: many steps in one call.

kind 0, quadratic: inner = (A (N, m, m), B (N, m, n), b (N, m)),  g_i = y'A_i y / 2 - y'(B_i x + b_i);
                   outer = (P (M, m, m), Q (M, m, n), R (M, n, n), p (M, m), r (M, n)),
                   f_j = y'P_j y / 2 + y'Q_j x + x'R_j x / 2 + p_j'y + r_j'x.
kind 1, logistic:  inner A = (1, N, m) rows a_i, b = (1, N) labels, g_i = log(1 + exp(-t_i a_i'y)) + sum exp(x_j) y_j^2 / 2, n = m;
                   outer P = (1, M, m), p = (1, M), f_j the same loss without penalty.

Every method updates x (n,), y (m,), v (m,) in place; v tends to g_yy^{-1} f_y. Indices are drawn by the caller: rows of
`inner` and `outer` index arrays (K, batch). Steps are step / (k0 + k + 1)^power. The terms of a batch are computed in parallel, each into
a row of its own, by `threads` threads, and summed in order: the digits do not depend on their number.
"""

import numpy as np
from numba import njit, prange

from .glm import FAST


@njit(cache=True)
def logistic_slope(z, t):
    """(-t / (1 + exp(t z)), its derivative) without overflow."""
    s = t * z
    e = np.exp(-abs(s))
    sigma = (e if s > 0 else 1.0) / (1.0 + e)
    return -t * sigma, sigma * (1.0 - sigma)


@njit(cache=True, fastmath=FAST)
def inner_terms(kind, A, B, b, i, x, y, v, g_y, Hv, Jv):
    """g_i's g_y (m,), g_yy v (m,), g_xy v (n,) written into the last three arguments, in place; A_i and B_i are read once, by rows."""
    m, n = y.shape[0], x.shape[0]
    if kind == 0:
        Jv[:] = 0.0
        for a in range(m):
            A_row, B_row, weight = A[i, a], B[i, a], v[a]
            Ay = Av = Bx = 0.0
            for c in range(m):
                Ay += A_row[c] * y[c]
                Av += A_row[c] * v[c]
            for c in range(n):
                Bx += B_row[c] * x[c]
                Jv[c] -= B_row[c] * weight
            g_y[a] = Ay - Bx - b[i, a]
            Hv[a] = Av
        return
    z, zv = 0.0, 0.0
    for a in range(m):
        z += A[0, i, a] * y[a]
        zv += A[0, i, a] * v[a]
    slope, curve = logistic_slope(z, b[0, i])
    for a in range(m):
        e = np.exp(x[a])
        g_y[a] = slope * A[0, i, a] + e * y[a]
        Hv[a] = curve * zv * A[0, i, a] + e * v[a]
        Jv[a] = e * y[a] * v[a]


@njit(cache=True, fastmath=FAST)
def outer_terms(kind, P, Q, R, p, r, j, x, y, f_y, f_x):
    """f_j's f_y (m,) and f_x (n,) written into the last two arguments, in place."""
    m, n = y.shape[0], x.shape[0]
    if kind == 0:
        for c in range(n):
            R_row, Rx = R[j, c], 0.0
            for d in range(n):
                Rx += R_row[d] * x[d]
            f_x[c] = r[j, c] + Rx
        for a in range(m):
            P_row, Q_row, weight = P[j, a], Q[j, a], y[a]
            Py = Qx = 0.0
            for c in range(m):
                Py += P_row[c] * y[c]
            for c in range(n):
                Qx += Q_row[c] * x[c]
                f_x[c] += Q_row[c] * weight
            f_y[a] = p[j, a] + Py + Qx
        return
    z = 0.0
    for a in range(m):
        z += P[0, j, a] * y[a]
    slope, _ = logistic_slope(z, p[0, j])
    for a in range(m):
        f_y[a] = slope * P[0, j, a]
        f_x[a] = 0.0


@njit(cache=True, parallel=True)
def inner_rows(kind, A, B, b, batch, x, y, v, rows, threads):
    """inner_terms of each index of a batch (K,) as rows (K, 2m + n) = (g_y, g_yy v, g_xy v), in place."""
    m, K = y.shape[0], batch.shape[0]
    if threads == 1:
        for a in range(K):
            inner_terms(kind, A, B, b, batch[a], x, y, v, rows[a, :m], rows[a, m : 2 * m], rows[a, 2 * m :])
        return
    for t in prange(threads):
        for a in range(t * K // threads, (t + 1) * K // threads):
            inner_terms(kind, A, B, b, batch[a], x, y, v, rows[a, :m], rows[a, m : 2 * m], rows[a, 2 * m :])


@njit(cache=True, parallel=True)
def outer_rows(kind, P, Q, R, p, r, batch, x, y, rows, threads):
    """outer_terms of each index of a batch (K,) as rows (K, m + n) = (f_y, f_x), in place."""
    m, K = y.shape[0], batch.shape[0]
    if threads == 1:
        for a in range(K):
            outer_terms(kind, P, Q, R, p, r, batch[a], x, y, rows[a, :m], rows[a, m:])
        return
    for t in prange(threads):
        for a in range(t * K // threads, (t + 1) * K // threads):
            outer_terms(kind, P, Q, R, p, r, batch[a], x, y, rows[a, :m], rows[a, m:])


@njit(cache=True)
def batch_inner(kind, A, B, b, batch, x, y, v, g_y, Hv, Jv, threads):
    """Means of inner_terms over a batch of indices, in place."""
    m, K = y.shape[0], batch.shape[0]
    rows = np.empty((K, 2 * m + x.shape[0]))
    inner_rows(kind, A, B, b, batch, x, y, v, rows, threads)
    mean = rows.sum(axis=0) / K
    g_y[:], Hv[:], Jv[:] = mean[:m], mean[m : 2 * m], mean[2 * m :]


@njit(cache=True)
def batch_outer(kind, P, Q, R, p, r, batch, x, y, f_y, f_x, threads):
    """Means of outer_terms over a batch of indices, in place."""
    m, K = y.shape[0], batch.shape[0]
    rows = np.empty((K, m + x.shape[0]))
    outer_rows(kind, P, Q, R, p, r, batch, x, y, rows, threads)
    mean = rows.sum(axis=0) / K
    f_y[:], f_x[:] = mean[:m], mean[m:]


@njit(cache=True)
def project(x, lo, hi):
    """Clip x (n,) to [lo, hi], in place."""
    for c in range(x.shape[0]):
        x[c] = min(max(x[c], lo[c]), hi[c])


@njit(cache=True)
def soba(kind, A, B, b, P, Q, R, p, r, x, y, v, lo, hi, inner, outer, step_y, step_x, power, k0, threads):
    """D_y = g_y, D_v = g_yy v - f_y, D_x = f_x - g_xy v at one point, all moved at once (SOBA)."""
    m, n = y.shape[0], x.shape[0]
    g_y, Hv, Jv, f_y, f_x = np.zeros(m), np.zeros(m), np.zeros(n), np.zeros(m), np.zeros(n)
    for k in range(inner.shape[0]):
        batch_inner(kind, A, B, b, inner[k], x, y, v, g_y, Hv, Jv, threads)
        batch_outer(kind, P, Q, R, p, r, outer[k], x, y, f_y, f_x, threads)
        decay = (k0 + k + 1.0) ** power
        for a in range(m):
            y[a] -= step_y / decay * g_y[a]
            v[a] -= step_y / decay * (Hv[a] - f_y[a])
        for c in range(n):
            x[c] -= step_x / decay * (f_x[c] - Jv[c])
        project(x, lo, hi)


@njit(cache=True)
def saga(batch, rows, memory, mean, d):
    """d = mean + the batch's mean of rows - memory[batch]; then memory[batch] = rows and `mean` again its mean, in place.

    An index that comes twice changes the memory once, and counts as no change the second time.
    """
    d[:] = mean
    for a in range(batch.shape[0]):
        old = memory[batch[a]]
        for c in range(d.shape[0]):
            change = rows[a, c] - old[c]
            d[c] += change / batch.shape[0]
            mean[c] += change / memory.shape[0]
            old[c] = rows[a, c]


@njit(cache=True)
def saba(kind, A, B, b, P, Q, R, p, r, x, y, v, lo, hi, inner, outer, step_y, step_x, M_in, M_out, mean_in, mean_out, threads):
    """SOBA with SAGA memories M_in (N, 2m + n), M_out (M, m + n) and their means, in place: direction = new - old + mean (SABA)."""
    m, n = y.shape[0], x.shape[0]
    rows_in, rows_out = np.empty((inner.shape[1], 2 * m + n)), np.empty((outer.shape[1], m + n))
    d_in, d_out = np.empty(2 * m + n), np.empty(m + n)
    for k in range(inner.shape[0]):
        inner_rows(kind, A, B, b, inner[k], x, y, v, rows_in, threads)
        outer_rows(kind, P, Q, R, p, r, outer[k], x, y, rows_out, threads)
        saga(inner[k], rows_in, M_in, mean_in, d_in)
        saga(outer[k], rows_out, M_out, mean_out, d_out)
        for a in range(m):
            y[a] -= step_y * d_in[a]
            v[a] -= step_y * (d_in[m + a] - d_out[a])
        for c in range(n):
            x[c] -= step_x * (d_out[m + c] - d_in[2 * m + c])
        project(x, lo, hi)


@njit(cache=True)
def saba_memory(kind, A, B, b, P, Q, R, p, r, x, y, v, M_in, M_out):
    """Fill the SAGA memories at (x, y, v), in place; returns their means (2m + n,), (m + n,)."""
    inner_rows(kind, A, B, b, np.arange(M_in.shape[0]), x, y, v, M_in, 1)
    outer_rows(kind, P, Q, R, p, r, np.arange(M_out.shape[0]), x, y, M_out, 1)
    mean_in, mean_out = np.zeros(M_in.shape[1]), np.zeros(M_out.shape[1])
    for i in range(M_in.shape[0]):
        mean_in += M_in[i] / M_in.shape[0]
    for j in range(M_out.shape[0]):
        mean_out += M_out[j] / M_out.shape[0]
    return mean_in, mean_out


@njit(cache=True)
def fsla(kind, A, B, b, P, Q, R, p, r, x, y, v, lo, hi, inner, outer, step_y, step_x, power, k0, eta, momentum, before, threads):
    """y, v one step each; momentum m <- d(now) + (1 - eta) (m - d(before)), x <- x - step m (FSLA); `momentum`, `before` in place."""
    m, n = y.shape[0], x.shape[0]
    g_y, Hv, Jv, f_y, f_x = np.zeros(m), np.zeros(m), np.zeros(n), np.zeros(m), np.zeros(n)
    x_old, y_old, v_old = before[:n].copy(), before[n : n + m].copy(), before[n + m :].copy()
    d_old = np.zeros(n)
    for k in range(inner.shape[0]):
        batch_inner(kind, A, B, b, inner[k], x_old, y_old, v_old, g_y, Hv, Jv, threads)
        batch_outer(kind, P, Q, R, p, r, outer[k], x_old, y_old, f_y, f_x, threads)
        d_old[:] = f_x - Jv
        batch_inner(kind, A, B, b, inner[k], x, y, v, g_y, Hv, Jv, threads)
        batch_outer(kind, P, Q, R, p, r, outer[k], x, y, f_y, f_x, threads)
        first = k0 + k == 0
        decay = (k0 + k + 1.0) ** power
        x_old[:], y_old[:], v_old[:] = x, y, v
        for c in range(n):
            d = f_x[c] - Jv[c]
            momentum[c] = d if first else d + (1.0 - eta) * (momentum[c] - d_old[c])
            x[c] -= step_x / decay * momentum[c]
        for a in range(m):
            y[a] -= step_y / decay * g_y[a]
            v[a] -= step_y / decay * (Hv[a] - f_y[a])
        project(x, lo, hi)
    before[:n], before[n : n + m], before[n + m :] = x_old, y_old, v_old


@njit(cache=True)
def stocbio(kind, A, B, b, P, Q, R, p, r, x, y, v, lo, hi, inner, outer, step_y, step_x, T, S, threads):
    """T steps on y, then v = step_y sum_{q = 0}^{S} prod (I - step_y g_yy) f_y with fresh batches, then x (stocBiO); inner has
    T + S + 1 rows a step of x, outer one."""
    m, n = y.shape[0], x.shape[0]
    g_y, Hv, Jv, f_y, f_x = np.zeros(m), np.zeros(m), np.zeros(n), np.zeros(m), np.zeros(n)
    rows, at = outer.shape[0], 0
    for k in range(rows):
        for _ in range(T):
            batch_inner(kind, A, B, b, inner[at], x, y, v, g_y, Hv, Jv, threads)
            at += 1
            for a in range(m):
                y[a] -= step_y * g_y[a]
        batch_outer(kind, P, Q, R, p, r, outer[k], x, y, f_y, f_x, threads)
        term = f_y.copy()
        v[:] = step_y * term
        for _ in range(S):
            batch_inner(kind, A, B, b, inner[at], x, y, term, g_y, Hv, Jv, threads)
            at += 1
            term -= step_y * Hv
            v += step_y * term
        batch_inner(kind, A, B, b, inner[at], x, y, v, g_y, Hv, Jv, threads)
        at += 1
        for c in range(n):
            x[c] -= step_x * (f_x[c] - Jv[c])
        project(x, lo, hi)


@njit(cache=True)
def ttsa(kind, A, B, b, P, Q, R, p, r, x, y, v, lo, hi, inner, outer, counts, N, step_y, step_x, k0, threads):
    """One step on y (k^-2/5), v = N step_y prod_{i <= counts[k]} (I - step_y g_yy) f_y (HIA), one on x (k^-3/5) (TTSA); inner has N + 1
    rows a step."""
    m, n = y.shape[0], x.shape[0]
    g_y, Hv, Jv, f_y, f_x = np.zeros(m), np.zeros(m), np.zeros(n), np.zeros(m), np.zeros(n)
    for k in range(outer.shape[0]):
        base = k * (N + 1)
        batch_inner(kind, A, B, b, inner[base], x, y, v, g_y, Hv, Jv, threads)
        for a in range(m):
            y[a] -= step_y / (k0 + k + 1.0) ** 0.4 * g_y[a]
        batch_outer(kind, P, Q, R, p, r, outer[k], x, y, f_y, f_x, threads)
        v[:] = f_y
        for q in range(counts[k]):
            batch_inner(kind, A, B, b, inner[base + 1 + q], x, y, v, g_y, Hv, Jv, threads)
            v -= step_y * Hv
        v *= N * step_y
        batch_inner(kind, A, B, b, inner[base], x, y, v, g_y, Hv, Jv, threads)
        for c in range(n):
            x[c] -= step_x / (k0 + k + 1.0) ** 0.6 * (f_x[c] - Jv[c])
        project(x, lo, hi)

"""Single-loop stochastic methods on finite sums g = mean_i g_i, f = mean_j f_j: many steps in one call.

kind 0, quadratic: inner = (A (N, m, m), B (N, m, n), b (N, m)),  g_i = y'A_i y / 2 - y'(B_i x + b_i);
                   outer = (P (M, m, m), Q (M, m, n), R (M, n, n), p (M, m), r (M, n)),
                   f_j = y'P_j y / 2 + y'Q_j x + x'R_j x / 2 + p_j'y + r_j'x.
kind 1, logistic:  inner A = (1, N, m) rows a_i, b = (1, N) labels, g_i = log(1 + exp(-t_i a_i'y)) + sum exp(x_j) y_j^2 / 2, n = m;
                   outer P = (1, M, m), p = (1, M), f_j the same loss without penalty.

Every method updates x (n,), y (m,), v (m,) in place; v tends to g_yy^{-1} f_y. Indices are drawn by the caller: rows of
`inner` and `outer` index arrays (K, batch). Steps are step / (k0 + k + 1)^power.
"""

import numpy as np
from numba import njit

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


@njit(cache=True)
def batch_inner(kind, A, B, b, batch, x, y, v, g_y, Hv, Jv, work):
    """Means of inner_terms over a batch of indices, in place; work (3, max(m, n))."""
    m, n = y.shape[0], x.shape[0]
    g_y[:] = 0.0
    Hv[:] = 0.0
    Jv[:] = 0.0
    for i in batch:
        inner_terms(kind, A, B, b, i, x, y, v, work[0, :m], work[1, :m], work[2, :n])
        for a in range(m):
            g_y[a] += work[0, a] / batch.shape[0]
            Hv[a] += work[1, a] / batch.shape[0]
        for c in range(n):
            Jv[c] += work[2, c] / batch.shape[0]


@njit(cache=True)
def batch_outer(kind, P, Q, R, p, r, batch, x, y, f_y, f_x, work):
    """Means of outer_terms over a batch of indices, in place; work (3, max(m, n))."""
    m, n = y.shape[0], x.shape[0]
    f_y[:] = 0.0
    f_x[:] = 0.0
    for j in batch:
        outer_terms(kind, P, Q, R, p, r, j, x, y, work[0, :m], work[1, :n])
        for a in range(m):
            f_y[a] += work[0, a] / batch.shape[0]
        for c in range(n):
            f_x[c] += work[1, c] / batch.shape[0]


@njit(cache=True)
def project(x, lo, hi):
    """Clip x (n,) to [lo, hi], in place."""
    for c in range(x.shape[0]):
        x[c] = min(max(x[c], lo[c]), hi[c])


@njit(cache=True)
def soba(kind, A, B, b, P, Q, R, p, r, x, y, v, lo, hi, inner, outer, step_y, step_x, power, k0):
    """D_y = g_y, D_v = g_yy v - f_y, D_x = f_x - g_xy v at one point, all moved at once (SOBA)."""
    m, n = y.shape[0], x.shape[0]
    g_y, Hv, Jv, f_y, f_x, work = np.zeros(m), np.zeros(m), np.zeros(n), np.zeros(m), np.zeros(n), np.zeros((3, max(m, n)))
    for k in range(inner.shape[0]):
        batch_inner(kind, A, B, b, inner[k], x, y, v, g_y, Hv, Jv, work)
        batch_outer(kind, P, Q, R, p, r, outer[k], x, y, f_y, f_x, work)
        decay = (k0 + k + 1.0) ** power
        for a in range(m):
            y[a] -= step_y / decay * g_y[a]
            v[a] -= step_y / decay * (Hv[a] - f_y[a])
        for c in range(n):
            x[c] -= step_x / decay * (f_x[c] - Jv[c])
        project(x, lo, hi)


@njit(cache=True)
def saba(kind, A, B, b, P, Q, R, p, r, x, y, v, lo, hi, inner, outer, step_y, step_x, M_in, M_out, mean_in, mean_out):
    """SOBA with SAGA memories M_in (N, 2m + n), M_out (M, m + n) and their means, in place: direction = new - old + mean (SABA)."""
    m, n = y.shape[0], x.shape[0]
    N, M = M_in.shape[0], M_out.shape[0]
    size_in, size_out = 2 * m + n, m + n
    d_in, d_out = np.zeros(size_in), np.zeros(size_out)
    new_in, new_out = np.zeros(size_in), np.zeros(size_out)
    for k in range(inner.shape[0]):
        d_in[:] = mean_in
        d_out[:] = mean_out
        for i in inner[k]:
            inner_terms(kind, A, B, b, i, x, y, v, new_in[:m], new_in[m : 2 * m], new_in[2 * m :])
            for a in range(size_in):
                change = new_in[a] - M_in[i, a]
                d_in[a] += change / inner.shape[1]
                mean_in[a] += change / N
                M_in[i, a] = new_in[a]
        for j in outer[k]:
            outer_terms(kind, P, Q, R, p, r, j, x, y, new_out[:m], new_out[m:])
            for a in range(size_out):
                change = new_out[a] - M_out[j, a]
                d_out[a] += change / outer.shape[1]
                mean_out[a] += change / M
                M_out[j, a] = new_out[a]
        for a in range(m):
            y[a] -= step_y * d_in[a]
            v[a] -= step_y * (d_in[m + a] - d_out[a])
        for c in range(n):
            x[c] -= step_x * (d_out[m + c] - d_in[2 * m + c])
        project(x, lo, hi)


@njit(cache=True)
def saba_memory(kind, A, B, b, P, Q, R, p, r, x, y, v, M_in, M_out):
    """Fill the SAGA memories at (x, y, v), in place; returns their means (2m + n,), (m + n,)."""
    m = y.shape[0]
    for i in range(M_in.shape[0]):
        inner_terms(kind, A, B, b, i, x, y, v, M_in[i, :m], M_in[i, m : 2 * m], M_in[i, 2 * m :])
    for j in range(M_out.shape[0]):
        outer_terms(kind, P, Q, R, p, r, j, x, y, M_out[j, :m], M_out[j, m:])
    mean_in, mean_out = np.zeros(M_in.shape[1]), np.zeros(M_out.shape[1])
    for i in range(M_in.shape[0]):
        mean_in += M_in[i] / M_in.shape[0]
    for j in range(M_out.shape[0]):
        mean_out += M_out[j] / M_out.shape[0]
    return mean_in, mean_out


@njit(cache=True)
def fsla(kind, A, B, b, P, Q, R, p, r, x, y, v, lo, hi, inner, outer, step_y, step_x, power, k0, eta, momentum, before):
    """y, v one step each; momentum m <- d(now) + (1 - eta) (m - d(before)), x <- x - step m (FSLA); `momentum`, `before` in place."""
    m, n = y.shape[0], x.shape[0]
    g_y, Hv, Jv, f_y, f_x, work = np.zeros(m), np.zeros(m), np.zeros(n), np.zeros(m), np.zeros(n), np.zeros((3, max(m, n)))
    x_old, y_old, v_old = before[:n].copy(), before[n : n + m].copy(), before[n + m :].copy()
    d_old = np.zeros(n)
    for k in range(inner.shape[0]):
        batch_inner(kind, A, B, b, inner[k], x_old, y_old, v_old, g_y, Hv, Jv, work)
        batch_outer(kind, P, Q, R, p, r, outer[k], x_old, y_old, f_y, f_x, work)
        d_old[:] = f_x - Jv
        batch_inner(kind, A, B, b, inner[k], x, y, v, g_y, Hv, Jv, work)
        batch_outer(kind, P, Q, R, p, r, outer[k], x, y, f_y, f_x, work)
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
def stocbio(kind, A, B, b, P, Q, R, p, r, x, y, v, lo, hi, inner, outer, step_y, step_x, T, S):
    """T steps on y, then v = step_y sum_{q = 0}^{S} prod (I - step_y g_yy) f_y with fresh batches, then x (stocBiO); inner has
    T + S + 1 rows a step of x, outer one."""
    m, n = y.shape[0], x.shape[0]
    g_y, Hv, Jv, f_y, f_x, work = np.zeros(m), np.zeros(m), np.zeros(n), np.zeros(m), np.zeros(n), np.zeros((3, max(m, n)))
    rows, at = outer.shape[0], 0
    for k in range(rows):
        for _ in range(T):
            batch_inner(kind, A, B, b, inner[at], x, y, v, g_y, Hv, Jv, work)
            at += 1
            for a in range(m):
                y[a] -= step_y * g_y[a]
        batch_outer(kind, P, Q, R, p, r, outer[k], x, y, f_y, f_x, work)
        term = f_y.copy()
        v[:] = step_y * term
        for _ in range(S):
            batch_inner(kind, A, B, b, inner[at], x, y, term, g_y, Hv, Jv, work)
            at += 1
            term -= step_y * Hv
            v += step_y * term
        batch_inner(kind, A, B, b, inner[at], x, y, v, g_y, Hv, Jv, work)
        at += 1
        for c in range(n):
            x[c] -= step_x * (f_x[c] - Jv[c])
        project(x, lo, hi)


@njit(cache=True)
def ttsa(kind, A, B, b, P, Q, R, p, r, x, y, v, lo, hi, inner, outer, counts, N, step_y, step_x, k0):
    """One step on y (k^-2/5), v = N step_y prod_{i <= counts[k]} (I - step_y g_yy) f_y (HIA), one on x (k^-3/5) (TTSA); inner has N + 1
    rows a step."""
    m, n = y.shape[0], x.shape[0]
    g_y, Hv, Jv, f_y, f_x, work = np.zeros(m), np.zeros(m), np.zeros(n), np.zeros(m), np.zeros(n), np.zeros((3, max(m, n)))
    for k in range(outer.shape[0]):
        base = k * (N + 1)
        batch_inner(kind, A, B, b, inner[base], x, y, v, g_y, Hv, Jv, work)
        for a in range(m):
            y[a] -= step_y / (k0 + k + 1.0) ** 0.4 * g_y[a]
        batch_outer(kind, P, Q, R, p, r, outer[k], x, y, f_y, f_x, work)
        v[:] = f_y
        for q in range(counts[k]):
            batch_inner(kind, A, B, b, inner[base + 1 + q], x, y, v, g_y, Hv, Jv, work)
            v -= step_y * Hv
        v *= N * step_y
        batch_inner(kind, A, B, b, inner[base], x, y, v, g_y, Hv, Jv, work)
        for c in range(n):
            x[c] -= step_x / (k0 + k + 1.0) ** 0.6 * (f_x[c] - Jv[c])
        project(x, lo, hi)

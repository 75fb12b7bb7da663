"""Coordinate descent on quadratics with separable kinks and boxes, and its derivative sweeps, on an explicit Gram matrix.

    min_y  1/2 y'G y - q'y + sum_j (l1_j |y_j| + l2_j y_j^2 / 2),   lo <= y <= hi
One step: y_j <- clip(soft(G_jj y_j - h_j, l1_j) / (G_jj + l2_j), lo_j, hi_j), h = G y - q kept up to date.
Group steps: y_g <- prox of (l1_g / L_g) |.| at y_g - h_g / L_g, L_g >= the largest eigenvalue of G_gg.
Forward sweeps carry dy/dx along; reverse sweeps replay the recorded steps backwards (Bertrand et al., arXiv 2105.01637, Algorithms
2 and 3, here with G in place of the residual).
"""

import math

import numpy as np
from numba import njit


@njit(cache=True)
def _step(u, l1, curvature, lo, hi):
    """(new y_j, slope): the coordinate minimiser at u = G_jj y_j - h_j; slope 1 if it is free, 0 at a kink or bound."""
    if u > l1:
        y, slope = (u - l1) / curvature, 1.0
    elif u < -l1:
        y, slope = (u + l1) / curvature, 1.0
    else:
        y, slope = 0.0, 0.0
    if y >= hi:
        return hi, 0.0
    if y <= lo:
        return lo, 0.0
    return y, slope


@njit(cache=True)
def descend(G, q, l1, l2, lo, hi, y0, tol, sweeps):
    """Sweeps until no step exceeds tol (in sqrt(curvature) units): (y (m,), sweeps done). G (m, m), the others (m,)."""
    m = q.size
    y = y0.copy()
    h = np.dot(G, y) - q
    live = np.arange(m)
    count, full = m, True
    for k in range(sweeps):
        biggest = 0.0
        for a in range(count):
            j = live[a]
            curvature = G[j, j] + l2[j]
            if curvature <= 0.0:
                continue
            new, _ = _step(G[j, j] * y[j] - h[j], l1[j], curvature, lo[j], hi[j])
            delta = new - y[j]
            if delta != 0.0:
                y[j] = new
                row = G[j]
                for i in range(m):
                    h[i] += delta * row[i]
                biggest = max(biggest, abs(delta) * math.sqrt(curvature))
        if biggest <= tol:
            if full:
                return y, k + 1
            count, full = m, True  # the free ones have settled: look at all again
            for j in range(m):
                live[j] = j
        elif full:
            count, full = 0, False
            for j in range(m):
                if y[j] != 0.0 and lo[j] < y[j] < hi[j]:
                    live[count] = j
                    count += 1
            if count == 0:
                count, full = m, True
                for j in range(m):
                    live[j] = j
    return y, sweeps


@njit(cache=True)
def descend_groups(G, q, starts, l1, L, y0, tol, sweeps):
    """Block sweeps; group g is starts[g]:starts[g + 1]; l1, L (groups,). (y (m,), sweeps done)."""
    y = y0.copy()
    h = np.dot(G, y) - q
    for k in range(sweeps):
        biggest = 0.0
        for g in range(l1.size):
            lo, hi = starts[g], starts[g + 1]
            if L[g] <= 0.0:
                continue
            z = y[lo:hi] - h[lo:hi] / L[g]
            norm = math.sqrt(np.dot(z, z))
            shrink = max(0.0, 1.0 - l1[g] / (L[g] * norm)) if norm > 0.0 else 0.0
            for j in range(lo, hi):
                delta = shrink * z[j - lo] - y[j]
                if delta != 0.0:
                    y[j] += delta
                    for i in range(q.size):
                        h[i] += delta * G[j, i]
                    biggest = max(biggest, abs(delta) * math.sqrt(L[g]))
        if biggest <= tol:
            return y, k + 1
    return y, sweeps


@njit(cache=True)
def forward_sweeps(G, q, l1, l2, lo, hi, dl1, dl2, dhi, y0, sweeps):
    """K sweeps from y0 and their derivative: (y (m,), Y (m, n) = dy/dx), given dl1, dl2, dhi (m, n)."""
    m, n = dl1.shape
    y, Y = y0.copy(), np.zeros((m, n))
    h, H = np.dot(G, y) - q, np.zeros((m, n))
    for _ in range(sweeps):
        for j in range(m):
            curvature = G[j, j] + l2[j]
            u = G[j, j] * y[j] - h[j]
            new, slope = _step(u, l1[j], curvature, lo[j], hi[j])
            sign = 1.0 if u > 0.0 else -1.0
            for k in range(n):
                d = 0.0
                if slope == 1.0:
                    d = (G[j, j] * Y[j, k] - H[j, k] - sign * dl1[j, k] - new * dl2[j, k]) / curvature
                elif new == hi[j] and new != 0.0:
                    d = dhi[j, k]
                change = d - Y[j, k]
                Y[j, k] = d
                for i in range(m):
                    H[i, k] += change * G[j, i]
            delta = new - y[j]
            y[j] = new
            for i in range(m):
                h[i] += delta * G[j, i]
    return y, Y


@njit(cache=True)
def recorded_sweeps(G, q, l1, l2, lo, hi, y0, sweeps):
    """K sweeps from y0: (y (m,), values (K, m) after each step, kinds (K, m): +1, -1 free by sign, 0 at zero, 2 at hi)."""
    m = q.size
    y = y0.copy()
    h = np.dot(G, y) - q
    values, kinds = np.empty((sweeps, m)), np.zeros((sweeps, m), np.int8)
    for k in range(sweeps):
        for j in range(m):
            u = G[j, j] * y[j] - h[j]
            new, slope = _step(u, l1[j], G[j, j] + l2[j], lo[j], hi[j])
            values[k, j] = new
            if slope == 1.0:
                kinds[k, j] = 1 if u > 0.0 else -1
            elif new == hi[j] and new != 0.0:
                kinds[k, j] = 2
            delta = new - y[j]
            y[j] = new
            for i in range(m):
                h[i] += delta * G[j, i]
    return y, values, kinds


@njit(cache=True)
def reverse_sweeps(G, l2, values, kinds, y_bar):
    """Cotangents of (l1, l2, hi), each (m,), for the cotangent y_bar (m,) of the last sweep's y.

    A free step is y_j <- -(sum_{i != j} G_ji y_i - q_j + sign l1_j) / (G_jj + l2_j): its own old value drops out.
    """
    m = y_bar.size
    bar = y_bar.copy()
    l1_bar, l2_bar, hi_bar = np.zeros(m), np.zeros(m), np.zeros(m)
    for k in range(values.shape[0] - 1, -1, -1):
        for j in range(m - 1, -1, -1):
            w, kind = bar[j], kinds[k, j]
            bar[j] = 0.0
            if kind == 2:
                hi_bar[j] += w
            elif kind != 0:
                w /= G[j, j] + l2[j]
                l1_bar[j] -= kind * w
                l2_bar[j] -= values[k, j] * w
                for i in range(m):
                    if i != j:
                        bar[i] -= G[j, i] * w
    return l1_bar, l2_bar, hi_bar


@njit(cache=True)
def gauss_seidel(A, b, tol, sweeps):
    """x with A x = b by forward sweeps, A (m, m) symmetric positive definite: (x, sweeps done), until |b - A x| <= tol."""
    m = b.size
    x, r = np.zeros(m), b.copy()
    for k in range(sweeps):
        if math.sqrt(np.dot(r, r)) <= tol:
            return x, k
        for j in range(m):
            delta = r[j] / A[j, j]
            x[j] += delta
            for i in range(m):
                r[i] -= delta * A[j, i]
    return x, sweeps

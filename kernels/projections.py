"""Euclidean projections: thresholds and derivatives on plain arrays."""

import numpy as np
from numba import njit


@njit(cache=True)
def simplex_threshold(x, total):
    """(tau, count): sum_i max(x_i - tau, 0) = total > 0, x (n,); count of x_i > tau.

    Newton's method on the piecewise linear equation (Michelot, JOTA 50, 1986): tau rises monotonically and the steps end
    when the support stops shrinking. Sums are taken relative to max x, so that large x lose no digits.
    """
    n, top = x.shape[0], x[0]
    for i in range(n):
        top = max(top, x[i])
    tau, count = -np.inf, n + 1
    while True:
        kept, total_kept = 0, 0.0
        for i in range(n):
            if x[i] - top > tau:
                kept += 1
                total_kept += x[i] - top
        if kept == count:
            return top + tau, count
        count, tau = kept, (total_kept - total) / kept


@njit(cache=True)
def support_product(signs, count, v):
    """(I_S - s s'/|S|) v with s = signs (n,) in {-1, 0, 1} and S its support: the derivative on a face of a simplex or l1 ball."""
    n, mean = v.shape[0], 0.0
    for i in range(n):
        mean += signs[i] * v[i]
    mean /= max(count, 1)
    out = np.zeros(n)
    for i in range(n):
        if signs[i] != 0.0:
            out[i] = v[i] - signs[i] * mean
    return out


@njit(cache=True)
def second_order_cone(x):
    """(y, case, length): projection on {|z| <= t}, x = (t, z) (n,); case 0 inside, 1 in the polar cone, 2 on the boundary."""
    n, total, scale = x.shape[0], 0.0, 0.0
    for i in range(1, n):
        scale = max(scale, abs(x[i]))
    for i in range(1, n):
        total += (x[i] / scale) ** 2 if scale > 0.0 else 0.0
    length, y = scale * np.sqrt(total), np.zeros(n)
    if length <= x[0]:
        for i in range(n):
            y[i] = x[i]
        return y, 0, length
    if length <= -x[0]:
        return y, 1, length
    y[0] = 0.5 * (x[0] + length)
    for i in range(1, n):
        y[i] = y[0] * (x[i] / length)
    return y, 2, length


@njit(cache=True)
def second_order_cone_product(x, length, v):
    """D v on the boundary case, u = z/|z|: D = 1/2 [1 u'; u (1 + t/|z|) I - (t/|z|) u u'], symmetric; x, v (n,)."""
    n, along, ratio = x.shape[0], 0.0, x[0] / length
    for i in range(1, n):
        along += (x[i] / length) * v[i]
    out = np.empty(n)
    out[0] = 0.5 * (v[0] + along)
    for i in range(1, n):
        out[i] = 0.5 * ((x[i] / length) * (v[0] - ratio * along) + (1.0 + ratio) * v[i])
    return out


@njit(cache=True)
def positive_part_differences(values):
    """(n, n): (max(a, 0) - max(b, 0)) / (a - b) for a, b in values (n,), without cancellation; on the diagonal 1 where a > 0."""
    n = values.shape[0]
    B = np.zeros((n, n))
    for i in range(n):
        for j in range(n):
            a, b = values[i], values[j]
            if a > 0.0 and b > 0.0:
                B[i, j] = 1.0
            elif a > 0.0 or b > 0.0:
                B[i, j] = max(a, b) / abs(a - b)
    return B

"""Euclidean projections: thresholds and derivatives on plain arrays."""

import math

import numpy as np
from numba import njit

#: for loops over finite numbers: sums may be reordered, so that they vectorise
FAST = {"reassoc", "contract", "nsz", "nnan"}


@njit(cache=True, fastmath=FAST)
def _largest(x, first):
    """max_i |x_i| over i >= first, 0 if there is none."""
    largest = 0.0
    for i in range(first, x.shape[0]):
        largest = max(largest, abs(x[i]))
    return largest


@njit(cache=True)
def simplex_threshold(x, total):
    """(tau, count): sum_i max(x_i - tau, 0) = total > 0, x (n,); count of x_i > tau.

    Newton's method on the piecewise linear equation (Michelot, JOTA 50, 1986) from max x - total, below which tau cannot lie: tau
    rises monotonically, those below it are dropped, and the steps end when none is. Sums are taken relative to max x, so that large x
    lose no digits.
    """
    top, kept, tau = x.max(), 0, -total
    above = np.empty(x.shape[0])
    for i in range(x.shape[0]):
        if x[i] - top > tau:
            above[kept] = x[i] - top
            kept += 1
    while True:
        count, sum_above = kept, 0.0
        for i in range(count):
            sum_above += above[i]
        tau, kept = (sum_above - total) / count, 0
        for i in range(count):
            if above[i] > tau:
                above[kept] = above[i]
                kept += 1
        if kept == count:
            return top + tau, count


@njit(cache=True, fastmath=FAST)
def face(x, tau, tolerance):
    """(max(x - tau, 0), support, its size, margin): x (n,); support (n,) is 1 where x_i - tau > tolerance; margin = min_i |x_i - tau|."""
    n, count, margin = x.shape[0], 0.0, np.inf
    y, support = np.empty(n), np.empty(n)
    for i in range(n):
        gap = x[i] - tau
        y[i] = max(gap, 0.0)
        support[i] = 1.0 if gap > tolerance else 0.0
        count += support[i]
        margin = min(margin, abs(gap))
    return y, support, int(count), margin


@njit(cache=True, fastmath=FAST)
def support_product(signs, count, v):
    """(I_S - s s'/|S|) v with s = signs (n,) in {-1, 0, 1} and S its support: the derivative on a face of a simplex or l1 ball."""
    n, mean = v.shape[0], 0.0
    for i in range(n):
        mean += signs[i] * v[i]
    mean /= max(count, 1)
    out = np.empty(n)
    for i in range(n):
        out[i] = signs[i] * (signs[i] * v[i] - mean)
    return out


@njit(cache=True, fastmath=FAST)
def second_order_cone(x):
    """(y, u, case, |z|): projection on {|z| <= t}, x = (t, z) (n,), u = (1, z/|z|); case 0 inside, 1 in the polar cone, 2 on the boundary.

    A power of two brings z to size 1, so that squares neither over- nor underflow.
    """
    n, total = x.shape[0], 0.0
    exponent = max(math.frexp(_largest(x, 1))[1], -1000)
    unit = math.ldexp(1.0, -exponent)
    for i in range(1, n):
        total += (unit * x[i]) * (unit * x[i])
    root, y, u = math.sqrt(total), np.zeros(n), np.zeros(n)
    length = math.ldexp(root, exponent)
    if length <= x[0]:
        return x.copy(), u, 0, length
    if length <= -x[0]:
        return y, u, 1, length
    u[0], y[0], inverse = 1.0, 0.5 * (x[0] + length), 1.0 / root
    for i in range(1, n):
        u[i] = (unit * x[i]) * inverse
        y[i] = y[0] * u[i]
    return y, u, 2, length


@njit(cache=True, fastmath=FAST)
def second_order_cone_product(u, ratio, v):
    """D v on the boundary case, u = (1, z/|z|), ratio = t/|z|: D = 1/2 [1 z'/|z|; z/|z| (1 + ratio) I - ratio z z'/|z|^2]; u, v (n,)."""
    n, along = u.shape[0], 0.0
    for i in range(1, n):
        along += u[i] * v[i]
    out = np.empty(n)
    out[0] = 0.5 * (v[0] + along)
    turned = 0.5 * (v[0] - ratio * along)
    stretch = 0.5 * (1.0 + ratio)
    for i in range(1, n):
        out[i] = turned * u[i] + stretch * v[i]
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

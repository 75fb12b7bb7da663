"""The exact solution of a small quadratic with separable kinks and boxes: descent, then an active-set method.

    min_y 1/2 y'G y - q'y + sum_j (l1_j |y_j| + l2_j y_j^2 / 2),   lo <= y <= hi
`violation` and `margin` say how far each coordinate is from its optimality condition, and how strictly it keeps it, both in
units of the gradient. Feature-sign search: Lee, Battle, Raina, Ng, "Efficient sparse coding algorithms", NIPS 2006.
"""

from __future__ import annotations

import numpy as np
from scipy.linalg.lapack import dpotrf, dpotrs

from ..kernels.coordinate import descend

EPS = np.finfo(float).eps


def violation(r, y, l1, lo, hi):
    """How far each coordinate is from its optimality condition, r the gradient of the smooth part with the l2 term."""
    free = np.abs(r + l1 * np.sign(y))
    zero = np.maximum(np.abs(r) - l1, 0.0)
    zero = np.where(lo == 0.0, np.maximum(-r - l1, 0.0), zero)
    top = np.maximum(r + l1, 0.0)
    return np.where(y == 0.0, zero, np.where(y >= hi, top, free))


def margin(r, y, l1, lo, hi, curvature):
    """The strictness of each coordinate's state, in units of r."""
    slack_zero = np.where(lo == 0.0, l1 + r, l1 - np.abs(r))
    slack_top = -(r + l1)
    to_zero, to_top = np.abs(y) * curvature, np.where(np.isfinite(hi), hi - y, np.inf) * curvature
    kinked = (l1 > 0.0) | (lo == 0.0)
    zero = np.where(kinked, np.maximum(to_zero, slack_zero), np.inf)
    return np.minimum(zero, np.maximum(to_top, slack_top))


def solve_small(G, q, l1, l2, lo, hi, y, scale):
    """The solution on one working set: descent to ever smaller steps until the active set finishes from there."""
    if y.size == 0:
        return y
    tol = 1e-3
    root = scale / np.sqrt(max(np.diag(G).max(initial=0.0), 1e-300))
    while tol > 1e-15:
        y, _ = descend(G, q, l1, l2, lo, hi, y, tol * root, 1000)
        for start in (y, np.zeros_like(y)):  # from zero where descent has more free coordinates than the data's rank
            exact = _active_set(G, q, l1, l2, lo, hi, start, (1e-12 + 100 * EPS) * scale)
            if exact is not None:
                return exact
        tol *= 1e-2
    return y


def _active_set(G, q, l1, l2, lo, hi, y, slack):
    """The solution from y by exact solves on the free coordinates, or None where their matrix is singular or steps run out.

    Solve with the present signs; if a coordinate would cross its kink or bound, stop there and hold it; else release the held
    coordinate that violates its condition most (feature-sign search, with bounds).
    """
    y, free = y.copy(), (y != 0.0) & (y > lo) & (y < hi)
    sign, released = np.sign(y), -1
    for _ in range(50 + 2 * q.size):
        S = np.flatnonzero(free)
        z = _free_solution(G, q - l1 * sign, l2, S, np.where(free, 0.0, y))
        if z is None and free[released]:
            z = _flat_direction(G, l2, S, released, sign[released], y)
        if z is None:
            return None
        end = np.where(z * sign[S] < 0.0, 0.0, np.clip(z, lo[S], hi[S]))
        short = end != z
        steps = np.where(short, (end - y[S]) / np.where(short, z - y[S], 1.0), 1.0)
        t = steps.min(initial=1.0)
        if t < 1.0:
            y[S] += t * (z - y[S])
            stopped = S[steps == t]
            y[stopped], free[stopped] = end[steps == t], False
            continue
        if np.abs(z).max(initial=0.0) > 1e50:
            return None  # nothing stops the flat direction
        y[S] = z
        r = G @ y - q + l2 * y
        off = np.where(free, 0.0, violation(r, y, l1, lo, hi))
        worst = int(np.argmax(off))
        if off[worst] <= slack:
            return y if violation(r, y, l1, lo, hi).max() <= slack else None
        free[worst], released = True, worst
        sign[worst] = sign[worst] if y[worst] else -np.sign(r[worst])
    return None


def _flat_direction(G, l2, S, released, sign, y):
    """Far along the direction that releasing one coordinate opens without changing H y (S had as many as H's rank), or None."""
    rest = S[S != released]
    back = _free_solution(G, -sign * G[:, released], l2, rest, np.zeros_like(y))
    if back is None:
        return None
    d = np.where(S == released, sign, 0.0)
    d[S != released] = back
    return y[S] + 1e60 * d


def _free_solution(G, b, l2, S, fixed):
    """z with (G_SS + l2) z = b_S - G_S. fixed, refined once; None if the matrix is singular to working precision."""
    if S.size == 0:
        return np.zeros(0)
    A = G[np.ix_(S, S)]
    A[np.diag_indices_from(A)] += l2[S]
    L, info = dpotrf(A, lower=1)
    if info or np.diag(L).min() <= 1e-7 * np.diag(L).max():
        return None
    b = b[S] - (G[S] @ fixed if fixed.any() else 0.0)
    z = dpotrs(L, b, lower=1)[0]
    return z + dpotrs(L, b - A @ z, lower=1)[0]

"""The exact solution of a small quadratic with separable kinks and boxes: descent, then an active-set method with an updated factor.

    min_y 1/2 y'G y - q'y + sum_j (l1_j |y_j| + l2_j y_j^2 / 2),   lo <= y <= hi,   h = (G + l2) y - q
With the free coordinates' signs s, the minimiser is a Newton step away: (G_SS + l2) d = -(h + l1 s)_S. Feature-sign search: stop where
a coordinate meets its kink or bound and hold it; after a full step release the held coordinate that violates its condition most
(Lee, Battle, Raina, Ng, "Efficient sparse coding algorithms", NIPS 2006; here with bounds and with G of any rank). R'R = G_SS + l2,
R upper triangular, gains a column with every coordinate released and loses one with every coordinate held: O(|S|^2) a step.
"""

import math

import numpy as np
from numba import njit

from .coordinate import descend
from .glm import FAST

#: a column closer than this (as a sine) to the span of the free ones counts as dependent on them
DEPENDENT = 1e-7


@njit(cache=True)
def _off(r, y, l1, lo, hi):
    """How far one coordinate is from its optimality condition: scalars."""
    if y == 0.0:
        return max((-r if lo == 0.0 else abs(r)) - l1, 0.0)
    if y >= hi:
        return max(r + l1, 0.0)
    return abs(r + math.copysign(l1, y))


@njit(cache=True)
def violation(r, y, l1, lo, hi):
    """How far each coordinate is from its optimality condition (m,), r the gradient of the smooth part with the l2 term."""
    off = np.empty(r.size)
    for j in range(r.size):
        off[j] = _off(r[j], y[j], l1[j], lo[j], hi[j])
    return off


@njit(cache=True)
def margin(r, y, l1, lo, hi, curvature):
    """The strictness of each coordinate's state (m,) in units of r: the distance to a kink or bound, or the slack there if larger."""
    strict = np.full(r.size, np.inf)
    for j in range(r.size):
        if l1[j] > 0.0 or lo[j] == 0.0:
            slack = l1[j] + r[j] if lo[j] == 0.0 else l1[j] - abs(r[j])
            strict[j] = max(abs(y[j]) * curvature[j], slack)
        if hi[j] < np.inf:
            strict[j] = min(strict[j], max((hi[j] - y[j]) * curvature[j], -(r[j] + l1[j])))
    return strict


@njit(cache=True, fastmath=FAST)
def _forward(R, k, b):
    """x with R'x = b, in place of b[:k]."""
    for a in range(k):
        b[a] /= R[a, a]
        for i in range(a + 1, k):
            b[i] -= R[a, i] * b[a]


@njit(cache=True, fastmath=FAST)
def _solve(R, k, b):
    """x with R'R x = b, in place of b[:k]."""
    _forward(R, k, b)
    for a in range(k - 1, -1, -1):
        total = b[a]
        for i in range(a + 1, k):
            total -= R[a, i] * b[i]
        b[a] = total / R[a, a]


@njit(cache=True)
def _append(R, S, k, G, l2):
    """R[:k + 1, k] in place for the coordinate S[k]: True unless its column depends on those of S[:k]."""
    j = S[k]
    w, whole = np.empty(k), G[j, j] + l2[j]
    for a in range(k):
        w[a] = G[j, S[a]]
    rest = whole
    _forward(R, k, w)
    for a in range(k):
        R[a, k] = w[a]
        rest -= w[a] * w[a]
    R[k, k] = math.sqrt(max(rest, 0.0))
    return rest > DEPENDENT * DEPENDENT * whole


@njit(cache=True)
def _remove(R, S, k, place):
    """R and S in place without S[place]: its column goes, Givens rotations of rows restore the triangle."""
    for b in range(place + 1, k):
        S[b - 1] = S[b]
    for a in range(k):
        for b in range(max(a, place + 1), k):
            R[a, b - 1] = R[a, b]
    for a in range(place, k - 1):
        length = math.hypot(R[a, a], R[a + 1, a])
        c, s = R[a, a] / length, R[a + 1, a] / length
        for b in range(a, k - 1):
            upper, lower = R[a, b], R[a + 1, b]
            R[a, b], R[a + 1, b] = c * upper + s * lower, c * lower - s * upper


@njit(cache=True)
def _gradient(G, q, l2, y):
    """h = (G + l2) y - q, (m,)."""
    h = np.empty(q.size)
    for j in range(q.size):
        h[j] = l2[j] * y[j] - q[j]
    for j in range(q.size):
        if y[j] != 0.0:
            for i in range(q.size):
                h[i] += y[j] * G[j, i]
    return h


@njit(cache=True)
def _newton(R, S, k, h, l1, sign):
    """d (k,) with (G_SS + l2) d = -(h + l1 s)_S."""
    d = np.empty(k)
    for a in range(k):
        d[a] = -(h[S[a]] + l1[S[a]] * sign[S[a]])
    _solve(R, k, d)
    return d


@njit(cache=True)
def _flat_direction(R, S, k, G, h, l1, sign):
    """d (k + 1,) along which G y stays as it is, S[k] depending on S[:k], and the objective does not grow: a minimum has no use for it."""
    d, slope = np.ones(k + 1), 0.0
    for a in range(k):
        d[a] = -G[S[k], S[a]]
    _solve(R, k, d)
    for a in range(k + 1):
        slope += d[a] * (h[S[a]] + l1[S[a]] * sign[S[a]])
    for a in range(k + 1):
        d[a] *= -1.0 if slope > 0.0 else 1.0
    return d


@njit(cache=True)
def _end(y, d, sign, lo, hi):
    """(where y is stopped on its way along d, the multiple of d to there): scalars; (nan, inf) if nothing stops it."""
    end = max(lo, min(hi, 0.0)) if d * sign < 0.0 else lo if d < 0.0 else hi
    if d == 0.0 or not math.isfinite(end):
        return np.nan, np.inf
    return end, max((end - y) / d, 0.0)


@njit(cache=True)
def _advance(y, S, d, longest, sign, lo, hi):
    """y_S += t d in place, t <= longest the step to the first kink or bound: (t, which of S are stopped (k,)), d (k,)."""
    t, stopped = longest, np.zeros(d.size, np.bool_)
    for a in range(d.size):
        t = min(t, _end(y[S[a]], d[a], sign[S[a]], lo[S[a]], hi[S[a]])[1])
    for a in range(d.size):
        j = S[a]
        end, step = _end(y[j], d[a], sign[j], lo[j], hi[j])
        stopped[a] = step <= t and step < longest
        y[j] = end if stopped[a] else y[j] + t * d[a]
    return t, stopped


@njit(cache=True)
def _polish(R, S, k, G, q, l1, l2, sign, y):
    """y with Newton's equations on S met to rounding: steps while they halve the residual and cross no kink."""
    left = np.inf
    for _ in range(10):
        h = _gradient(G, q, l2, y)
        size = 0.0
        for a in range(k):
            size = max(size, abs(h[S[a]] + l1[S[a]] * sign[S[a]]))
        if not size < 0.5 * left:
            break
        left, d = size, _newton(R, S, k, h, l1, sign)
        for a in range(k):
            if (y[S[a]] + d[a]) * sign[S[a]] <= 0.0:
                return y
        for a in range(k):
            y[S[a]] += d[a]
    return y


@njit(cache=True)
def active_set(G, q, l1, l2, lo, hi, y0, slack):
    """(y (m,), whether it is the solution) from y0; G (m, m), the others (m,). False: steps ran out, or nothing stops a flat direction."""
    m = q.size
    y, sign = y0.copy(), np.zeros(m)
    free, R, S, k = np.zeros(m, np.bool_), np.zeros((m, m)), np.empty(m, np.int64), 0
    start, count, at = np.empty(m, np.int64), 0, 0
    for j in range(m):
        if y[j] != 0.0:
            sign[j] = math.copysign(1.0, y[j])
            if lo[j] < y[j] < hi[j]:
                start[count] = j
                count += 1
    flat = False  # S[k] is free and its column depends on those of S[:k]
    h = _gradient(G, q, l2, y)
    for _ in range(50 + 3 * m):
        while at < count and not flat:
            S[k] = start[at]
            free[S[k]], flat = True, not _append(R, S, k, G, l2)
            k, at = k + (not flat), at + 1
        if flat:
            d, longest = _flat_direction(R, S, k, G, h, l1, sign), np.inf
        else:
            d, longest = _newton(R, S, k, h, l1, sign), 1.0
        t, stopped = _advance(y, S, d, longest, sign, lo, hi)
        if t == np.inf:
            return y, False
        h = h if flat else _gradient(G, q, l2, y)
        if stopped.any():
            for a in range(k - 1, -1, -1):
                if stopped[a]:
                    free[S[a]] = False
                    _remove(R, S, k, a)
                    S[k - 1] = S[k] if flat else S[k - 1]
                    k -= 1
            if flat and stopped[-1]:
                free[S[k]] = flat = False
            elif flat and _append(R, S, k, G, l2):
                k, flat = k + 1, False
            continue
        worst, most = 0, 0.0
        for j in range(m):
            off = 0.0 if free[j] else _off(h[j], y[j], l1[j], lo[j], hi[j])
            if off > most:
                worst, most = j, off
        if most <= slack:
            y = _polish(R, S, k, G, q, l1, l2, sign, y)
            return y, violation(_gradient(G, q, l2, y), y, l1, lo, hi).max() <= slack
        if y[worst] == 0.0:
            sign[worst] = -math.copysign(1.0, h[worst])
        S[k] = worst
        free[worst], flat = True, not _append(R, S, k, G, l2)
        k += not flat
    return y, False


@njit(cache=True)
def minimise(G, q, l1, l2, lo, hi, y0, scale):
    """y (m,): descent to ever smaller steps until the active set finishes from there; G (m, m), the others (m,), scale that of q."""
    m, y, top = q.size, y0, 1e-300
    if m == 0:
        return y
    for j in range(m):
        top = max(top, G[j, j])
    step, slack = 1e-3 * scale / math.sqrt(top), 1e-12 * scale
    for _ in range(7):
        y, _ = descend(G, q, l1, l2, lo, hi, y, step, 1000)
        for start in (y, np.zeros(m)):
            exact, found = active_set(G, q, l1, l2, lo, hi, start, slack)
            if found:
                return exact
        step *= 1e-2
    return y

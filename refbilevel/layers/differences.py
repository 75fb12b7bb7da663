"""Directional derivatives of an exact gradient, with an error estimate.

    D8(h) = [672 s_1 - 168 s_2 + 32 s_3 - 3 s_4] / (840 h),    s_j = phi(X + j h d) - phi(X - j h d),    error O(h^8) + O(noise / h),

and D6(h) from the first three of the same differences; |D8 - D6| estimates the error, safely. Steps run from long (exact for
polynomial phi, and the least noise) to short (inside a neighbourhood of constant active sets) until the estimate is at rounding
or grows again; the best is kept.

Fornberg, Generation of finite difference formulas on arbitrarily spaced grids, Math. Comp. 51, 1988, table 1.
"""

from __future__ import annotations

import numpy as np

STEPS = (0.5, 0.04, 5e-3, 6e-4)
EPS = np.finfo(float).eps


def directional(phi, X, d, through=lambda value: value):
    """(derivative of the vector function through(phi) at X along d, error estimate); `through` is linear, and applied last."""
    size = np.abs(d).max()
    if size == 0:
        return through(np.zeros_like(phi(X))), 0.0
    best, error = None, np.inf
    for step in STEPS:
        value, estimate, noise = _central(phi, X, d, step * max(1.0, np.abs(X).max()) / size, through)
        if best is None or estimate < error:
            best, error = value, estimate
        elif np.isfinite(estimate):
            break
        if estimate <= 4 * noise:
            break
    return best, max(float(error), float(noise))


def _central(phi, X, d, h, through):
    """(D8, |D8 - D6|, rounding noise) at step h, all of through(phi)."""
    with np.errstate(all="ignore"):  # a long step may leave the domain of phi; its estimate is then infinite and a shorter one is taken
        ends = [(phi(X + j * h * d), phi(X - j * h * d)) for j in (1, 2, 3, 4)]
        s = [up - down for up, down in ends]
        D8 = (672 * s[0] - 168 * s[1] + 32 * s[2] - 3 * s[3]) / (840 * h)
        D6 = (45 * s[0] - 9 * s[1] + s[2]) / (60 * h)
    noise = EPS * np.linalg.norm(ends[0][0]) / h
    if not np.isfinite(D8).all():
        return np.full_like(through(np.zeros_like(D8)), np.nan), np.inf, noise
    value = through(D8)
    gain = np.linalg.norm(value) / max(np.linalg.norm(D8), np.finfo(float).tiny)
    return value, np.linalg.norm(through(D8 - D6)), noise * max(1.0, gain)

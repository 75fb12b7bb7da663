"""g in units of its own size, so that a multiplier can be compared with a slack whatever the scale of g.

    g -> g / c,   mu -> mu / c,   nu -> nu / c;      y*, and with it F and its gradient, stay what they are.

Deciding by mu_i > slack_i (conditions.py), and every tolerance on L_y, takes a curvature of about one: with g scaled by 1e-13 every
multiplier looks weak. c is the power of two next to max(|g_yy|, |g_y| / (1 + |y|)), so that dividing is exact, and 1 where that lies
within 2^+-13 of 1: the usual problem is left alone.
"""

from __future__ import annotations

from dataclasses import replace as changed

import numpy as np
from scipy import sparse

from ..problem import replace

NEAR_ONE = 13


def unit(problem, x, y):
    """c at (x, y); 1.0 without rows, or where the size of g is not known there."""
    if problem.constraints is None or problem.g_yy is None:
        return 1.0
    with np.errstate(all="ignore"):
        size = max(_largest(problem.g_yy(x, y), y.size), np.abs(problem.g_y(x, y)).max() / (1.0 + np.abs(y).max()))
    if not (np.isfinite(size) and size > 0):
        return 1.0
    exponent = int(np.frexp(size)[1])
    return 1.0 if abs(exponent) <= NEAR_ONE else float(np.ldexp(1.0, np.clip(exponent, -1000, 1000)))


def _largest(H, m):
    """The largest entry of an array, sparse or not; of an operator its largest on one generic vector."""
    if sparse.issparse(H):
        H = H.data
    return float(np.abs(H if isinstance(H, np.ndarray) else H @ np.cos(1.0 + np.arange(m))).max(initial=0.0))


def in_units(problem, c):
    """The problem with g / c."""
    if c == 1.0:
        return problem
    names = [name for name in ("g", "g_x", "g_y", "g_yy", "g_xy") if getattr(problem, name) is not None]
    return replace(problem, **{name: _divided(getattr(problem, name), c) for name in names})


def _divided(oracle, c):
    return lambda x, y: oracle(x, y) * (1.0 / c)


def solution_in_units(lower, c):
    """A LowerSolution of the problem as one of the problem with g / c."""
    return lower if c == 1.0 else changed(lower, mu=lower.mu / c, nu=lower.nu / c)

"""Iterative refinement in extended precision: the hypergradient to the last double digit on ill-conditioned, smooth lower levels.

    y <- y - H^{-1} g_y(x, y),     v <- v + H^{-1} (f_y - H v),     gradient = f_x - g_xy v,

H^{-1} one factorisation in double; residuals, y and v in NumPy's longdouble (64-bit mantissa on x86, where it is wider than double).
Each round multiplies the error by about kappa 2^-53 until it is at kappa 2^-64. The oracles are called with longdouble arrays: those
that answer in double limit the refinement, and the note says which. Wilkinson 1963; Higham 2002, section 12.1.
"""

from __future__ import annotations

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import LinearOperator

from ..linear import solve

ROUNDS = 12


def extended(view, x, y, gradient):
    """(gradient (n,) float64, |last change|, a sentence): refined in longdouble from y."""
    x, y = np.asarray(x, np.longdouble), np.asarray(y, np.longdouble)
    H = view.g_yy(np.asarray(x, float), np.asarray(y, float))
    first = solve(H, np.asarray(view.g_y(np.asarray(x, float), np.asarray(y, float)), float))
    short = []
    y = _refined(y, lambda y: -_call(view, "g_y", x, y, short), H, first.factor)
    H_long, f_y = _call(view, "g_yy", x, y, short), _call(view, "f_y", x, y, short)
    v = _refined(np.zeros_like(y), lambda v: f_y - H_long @ v, H, first.factor)
    answer = _call(view, "f_x", x, y, short) - _call(view, "g_xy", x, y, short) @ v
    if not np.isfinite(answer).all():
        return gradient, np.inf, "Extended precision gave no finite answer; the double one is kept."
    rounded = np.asarray(answer, float)
    change = float(np.linalg.norm(np.asarray(answer - rounded, float)))
    note = f"Refined in {np.finfo(np.longdouble).nmant + 1}-bit arithmetic."
    if short:
        note += f" {', '.join(sorted(set(short)))} answered in double."
    return rounded, change, note


def _refined(z, residual, H, factor):
    """z + sum of corrections while they shrink by half."""
    last = np.inf
    for _ in range(ROUNDS):
        r = residual(z)
        size = float(np.linalg.norm(np.asarray(r, float)))
        if size == 0 or not np.isfinite(size):
            break
        step = solve(H, np.asarray(r / size, float), factor=factor).x * np.longdouble(size)
        length = float(np.linalg.norm(np.asarray(step, float)))
        if not length < 0.5 * last:
            break
        z, last = z + step, length
    return z


def _call(view, name, x, y, short):
    """The oracle itself (the view would round to double), as a longdouble array; notes in `short` an answer in double."""
    oracle = getattr(view, name)
    oracle.counts[name] += 1
    value = oracle.call(x, y)
    if isinstance(value, LinearOperator):
        value = value @ np.eye(value.shape[1])
    elif sparse.issparse(value):
        value = value.toarray()
    value = np.asarray(value)
    if value.dtype != np.longdouble and name in ("g_y", "f_y", "f_x"):
        short.append(name)
    return value.astype(np.longdouble)

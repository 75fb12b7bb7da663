r"""Digits of agreement: the log relative error of NIST's Statistical Reference Datasets.

    LRE(a, ref) = -log10(|a - ref| / |ref|),   or  -log10 |a|  where ref = 0,

capped at 15.95 = -log10(2^-53), the most a float64 can show. Norms are Euclidean, so one wrong small component of a long
vector is not hidden by the cap. The number is scale-free: a loss multiplied by 1e-6 has the same digits.
"""

from __future__ import annotations

import math

import numpy as np

CAP = 15.95


def digits(a, ref):
    """Digits to which `a` agrees with `ref`; -inf if `a` has another shape, or holds NaN, infinity or anything but real numbers.

    Parameters
    ----------
    a : array_like
        The answer; a scalar is accepted where ref has one entry.
    ref : array_like
        The reference.

    Returns
    -------
    float
        At most 15.95; negative if `a` is off by more than its own size.

    Examples
    --------
    >>> round(digits([3.0, 4.005], [3.0, 4.0]), 12)
    3.0
    >>> digits(1e-7, 0.0)
    7.0
    """
    ref = np.asarray(ref, float)
    a = a.detach() if hasattr(a, "detach") else a  # a torch tensor that still requires its gradient
    try:
        a = np.asarray(a)
        a = a.astype(float, casting="same_kind" if a.dtype.kind == "c" else "unsafe")
    except (TypeError, ValueError):
        return -math.inf
    if a.size == ref.size == 1:
        a = a.reshape(ref.shape)
    if a.shape != ref.shape or not np.isfinite(a).all():
        return -math.inf
    return -_log10_ratio(_norm(a - ref), _norm(ref))


def _norm(a):
    """(mantissa, scale) with |a| = mantissa * scale, free of overflow and underflow."""
    scale = float(np.max(np.abs(a), initial=0.0))
    return (0.0, 0.0) if scale == 0 else (float(np.linalg.norm(a / scale)), scale)


def _log10_ratio(error, size):
    if error[1] == 0:
        return -CAP
    value = math.log10(error[0]) + math.log10(error[1])
    if size[1] > 0:
        value -= math.log10(size[0]) + math.log10(size[1])
    return max(value, -CAP) + 0.0

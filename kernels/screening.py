"""Products with all columns of a matrix kept in 16 bits: a quarter of the bytes of one pass in double precision.

    out_j = s_j sum_i c_ji d_i,   c (m, N) int16, s (m,), d (N,) float32
summed in single precision over BLOCK rows at a time and in double over the blocks, so that a bound on the rounding does not grow with N.
"""

import numpy as np
from numba import njit

from .glm import FAST

#: rows whose products are summed in single precision
BLOCK = 1024


@njit(cache=True, fastmath=FAST)
def _sum(c, d):
    """c'd of one block (b,), in float32."""
    total = np.float32(0.0)
    for i in range(c.size):
        total += np.float32(c[i]) * d[i]
    return total


@njit(cache=True)
def coded_products(codes, steps, direction):
    """s_j c_j'd, (m,): codes (m, N) int16, steps (m,), direction (N,) float32."""
    m, N = codes.shape
    out = np.empty(m)
    for j in range(m):
        total = 0.0
        for lo in range(0, N, BLOCK):
            total += _sum(codes[j, lo : lo + BLOCK], direction[lo : lo + BLOCK])
        out[j] = steps[j] * total
    return out

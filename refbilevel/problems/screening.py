"""Products with all columns in 16 bits, and a bound on their error: what need not be computed in double precision.

With a_j = s_j c_j + e_j, c_j of integers up to TOP in size, and r = |r| d,
    | a_j'r - |r| s_j fl(c_j'd) |  <=  |r| (|e_j| + |s_j c_j| SUM),   SUM = (BLOCK + 8) 2^-24,
|e_j| known from the conversion, SUM for the rounding of d to single precision and of sums of BLOCK products in any order (Cauchy and
Schwarz; Higham, "Accuracy and stability of numerical algorithms", 2002, section 3.1). A condition |a_j'r| < l_j that the estimate
meets with this much to spare holds: a solver reads a quarter of the bytes, and few columns in full. The idea of safe screening (El Ghaoui,
Viallon, Rabbani, 2012), with rounding in the place of the distance to the solution.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..kernels.screening import BLOCK, coded_products

TOP = 32767
SUM = (BLOCK + 8) * 2.0**-24
#: entries converted at a time
CHUNK = 2**18


@dataclass(frozen=True, eq=False)
class Screen:
    """`codes` (m, N) int16, c_j; `steps` (m,), s_j; `doubt` (m,), the bound at |r| = 1, infinite for columns of subnormal numbers."""

    codes: np.ndarray
    steps: np.ndarray
    doubt: np.ndarray

    @classmethod
    def of(cls, A):
        N, m = A.shape
        codes, tops, doubt, width = np.empty((m, N), np.int16), np.empty(m), np.empty(m), max(1, CHUNK // N)
        for start in range(0, m, width):
            part = slice(start, start + width)
            scaled, tops[part] = _scaled(A[:, part])
            code = np.rint(TOP * scaled)
            lost = np.linalg.norm(scaled - code / TOP, axis=0) + np.sqrt(N) * 2.0**-50
            codes[part], doubt[part] = code.T, lost + (np.linalg.norm(scaled, axis=0) + lost) * SUM
        with np.errstate(over="ignore"):
            return cls(codes, tops / TOP, np.where((tops > 0.0) & (tops < 1e-290), np.inf, tops * doubt))

    def products(self, r):
        """(estimate of A'r (m,), bound on its error (m,)); a product or bound that overflows is infinite or NaN, which clears nothing."""
        scaled, top = _scaled(r)
        length = np.linalg.norm(scaled) or 1.0
        with np.errstate(over="ignore", invalid="ignore"):
            estimate = coded_products(self.codes, self.steps, (scaled / length).astype(np.float32))
            return top * length * estimate, top * length * self.doubt


def _scaled(A):
    """(A / top, top), top the largest entry in size of a vector or of each column; zeros stay zeros."""
    top = np.abs(A).max(axis=0)
    return A / np.where(top > 0.0, top, 1.0), top

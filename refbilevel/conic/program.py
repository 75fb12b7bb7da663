"""The cone program: min 1/2 x'Px + q'x  s.t.  A x + s = b,  s in K, with multipliers z in the dual cone K*.

K is a product in this row order: zero, nonnegative, second-order, semidefinite, exponential, power (three rows, then any
number); the orientation of each is that of `refbilevel.kernels.cones`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Cones:
    """K: `zero` and `nonneg` rows, sizes `soc`, orders `psd`, `exp` triples, `power` = exponents of each cone's x (z is one more row)."""

    zero: int = 0
    nonneg: int = 0
    soc: tuple[int, ...] = ()
    psd: tuple[int, ...] = ()
    exp: int = 0
    power: tuple[tuple[float, ...], ...] = ()

    @property
    def sizes(self):
        """Rows of every cone that is neither zero nor nonnegative, in order."""
        semidefinite = tuple(k * (k + 1) // 2 for k in self.psd)
        return self.soc + semidefinite + (3,) * self.exp + tuple(len(a) + 1 for a in self.power)

    @property
    def rows(self):
        return self.zero + self.nonneg + sum(self.sizes)

    @property
    def polyhedral(self):
        return not self.sizes


@dataclass(frozen=True, eq=False)
class ConeProgram:
    """P (n, n) symmetric and A (k, n) sparse csc; q (n,), b (k,); `offset` is added to the objective.

    `upper` is the upper triangle of P where the maker has it at hand (solvers want it).
    """

    P: Any
    q: np.ndarray
    A: Any
    b: np.ndarray
    cones: Cones
    offset: float = 0.0
    upper: Any = None

    @cached_property
    def dense_P(self):
        return self.P.toarray()

    @cached_property
    def dense_A(self):
        return self.A.toarray()

    @cached_property
    def scale(self):
        """Size of the data that a residual is compared with."""
        return 1.0 + max(np.abs(self.q).max(initial=0.0), np.abs(self.b).max(initial=0.0))

    def objective(self, x):
        return float(0.5 * x @ (self.P @ x) + self.q @ x + self.offset)

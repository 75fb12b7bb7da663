"""z = Pi_{K*}(u) for a product cone, and D = DPi_{K*}(u) as its spectrum: D = Q diag(d) Q', Q block diagonal."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
from scipy import sparse

from ..kernels import cones as kernels


@dataclass(frozen=True, eq=False)
class Projection:
    """z (k,), eigenvalues d (k,) and e = 1 - d, Q' sparse (k, k) or None for the identity, and the margin.

    `cone_margin` is the distance from u to a kink over the cones that are neither zero nor nonnegative.
    """

    z: np.ndarray
    d: np.ndarray
    e: np.ndarray
    Q_transpose: Any
    cone_margin: float

    def held(self, rows, choice):
        """This projection with d = choice (0 or 1) on weakly active nonnegative rows: another element of the Clarke Jacobian."""
        d = self.d.copy()
        d[rows] = choice
        return replace(self, d=d, e=1.0 - d)

    def to_spectrum(self, v):
        """Q' v."""
        return v if self.Q_transpose is None else self.Q_transpose @ v

    def from_spectrum(self, c):
        """Q c."""
        return c if self.Q_transpose is None else self.Q_transpose.T @ c

    def derivative(self, v):
        """D v."""
        return self.from_spectrum(self.d * self.to_spectrum(v))


def project_dual(u, cones):
    """The `Projection` of u (k,) on K*."""
    z, d, e = u.copy(), np.ones_like(u), np.zeros_like(u)
    start, stop = cones.zero, cones.zero + cones.nonneg
    z[start:stop], d[start:stop], e[start:stop] = kernels.nonnegative(u[start:stop])
    margin, blocks = np.inf, [np.ones(stop)]
    for size, kernel, data in _families(cones):
        start, stop = stop, stop + size
        z[start:stop], d[start:stop], e[start:stop], Q, distance = kernel(u[start:stop], *data)
        blocks.append(Q)
        margin = min(margin, distance)
    Q_transpose = None
    if len(blocks) > 1:
        indices, indptr = _pattern(cones)
        Q_transpose = sparse.csc_array((np.concatenate(blocks), indices, indptr), shape=(u.size, u.size))
    return Projection(z, d, e, Q_transpose, margin)


@lru_cache(maxsize=64)
def _families(cones):
    """(rows, kernel, its data) of each family present, in row order."""
    families = []
    if cones.soc:
        families.append((sum(cones.soc), kernels.second_order, (np.array(cones.soc),)))
    if cones.psd:
        families.append((sum(k * (k + 1) // 2 for k in cones.psd), kernels.semidefinite, (np.array(cones.psd),)))
    if cones.exp:
        families.append((3 * cones.exp, kernels.exponential, (cones.exp,)))
    if cones.power:
        sizes = np.array([len(a) + 1 for a in cones.power])
        families.append((int(sizes.sum()), kernels.power, (np.concatenate([np.array(a, float) for a in cones.power]), sizes)))
    return tuple(families)


@lru_cache(maxsize=64)
def _pattern(cones):
    """(indices, indptr) of Q' by columns: column i holds row i of Q, a row-major block."""
    simple = cones.zero + cones.nonneg
    indices, counts, start = [np.arange(simple)], [np.ones(simple, int)], simple
    for k in cones.sizes:
        indices.append(np.tile(np.arange(start, start + k), k))
        counts.append(np.full(k, k))
        start += k
    return np.concatenate(indices).astype(np.int32), np.concatenate([[0], np.cumsum(np.concatenate(counts))]).astype(np.int32)

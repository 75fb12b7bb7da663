"""Flat vectors and CVXPY leaves: x (n,) is the upper leaves one after another, each by columns; y (m,) the lower variables.

A symmetric (or PSD) leaf of order k takes k*k entries and the model sees (X + X')/2; a diagonal or sparse leaf sees its own
entries only. Both maps are orthogonal projections, so the gradient of the composed function is the *Frobenius* gradient:
g with df = sum_ij g_ij dX_ij for every admissible dX, itself symmetric (or zero off the pattern).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ...errors import ArgumentError
from . import internals

REFUSED = ("boolean", "integer", "complex", "imag", "hermitian")


@dataclass(frozen=True, eq=False)
class Block:
    """One leaf in a flat vector."""

    leaf: Any
    start: int
    stop: int
    symmetric: bool
    mask: np.ndarray | None

    def project(self, array):
        """The admissible part of an array of the leaf's shape; self-adjoint."""
        if self.symmetric:
            return 0.5 * (array + array.T)
        return array if self.mask is None else array * self.mask


class Layout:
    """The leaves of a flat vector, in order."""

    def __init__(self, leaves):
        self.blocks, start = [], 0
        for leaf in leaves:
            _check(leaf)
            given = internals.attributes(leaf)
            symmetric = any(given.get(name) for name in ("symmetric", "PSD", "NSD"))
            self.blocks.append(Block(leaf, start, start + leaf.size, symmetric, _mask(leaf, given)))
            start += leaf.size
        self.size = start

    @property
    def leaves(self):
        return [block.leaf for block in self.blocks]

    def unpack(self, flat):
        """{leaf.id: array of the leaf's shape}."""
        return {
            b.leaf.id: b.project(np.asarray(flat[b.start : b.stop], float).reshape(b.leaf.shape, order="F")) for b in self.blocks
        }

    def pack(self, arrays):
        """The adjoint of `unpack`: a flat vector from {leaf.id: array}; absent leaves count as zero."""
        flat = np.zeros(self.size)
        for b in self.blocks:
            if b.leaf.id in arrays:
                flat[b.start : b.stop] = np.ravel(b.project(np.asarray(arrays[b.leaf.id], float)), order="F")
        return flat


def _check(leaf):
    for name in REFUSED:
        if internals.attributes(leaf).get(name):
            raise ArgumentError(f"the variable {leaf.name()} is declared {name}; from_cvxpy takes real continuous variables only")


def _mask(leaf, given):
    if given.get("diag"):
        return np.eye(leaf.shape[0])
    if internals.sparse_index(leaf) is not None:
        mask = np.zeros(leaf.shape)
        mask[internals.sparse_index(leaf)] = 1.0
        return mask
    return None

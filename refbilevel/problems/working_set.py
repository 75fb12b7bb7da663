"""A large quadratic with separable kinks and boxes, solved on a working set of its coordinates.

    min_y 1/2 y'H y - q'y + sum_j (l1_j |y_j| + l2_j y_j^2 / 2),   lo <= y <= hi
The coordinates of the set and their Gram matrix make a small problem, solved exactly (kernels/active_set.py); the others are zero, and
those that violate their optimality condition most enter the set until none does. Where the smooth part has a screen (screening.py),
only the coordinates that its error leaves in doubt are looked at in full. The last Newton step takes the gradient from the residual,
which has digits that H y - q has lost.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ..kernels.active_set import margin, minimise, violation
from .proximal import factored

#: problems up to so many coordinates use all of them at once
WHOLE = 300
#: coordinates in the first working set of the others
FIRST = 64
#: working sets tried
MOST_ROUNDS = 51


class Parameters(NamedTuple):
    """The sizes of the kinks, of the l2 terms and of the boxes of some coordinates."""

    l1: np.ndarray
    l2: np.ndarray
    lo: np.ndarray
    hi: np.ndarray

    def on(self, indices):
        return Parameters(*(p[indices] for p in self))

    @property
    def sides(self):
        """What the optimality conditions are made of: (l1, lo, hi)."""
        return self.l1, self.lo, self.hi


@dataclass(frozen=True, eq=False)
class WorkingSet:
    """Coordinates in any order, with their block of the smooth part, G = H there, and their parameters."""

    indices: np.ndarray
    block: object
    G: np.ndarray
    parameters: Parameters

    @classmethod
    def of(cls, smooth, parameters, indices):
        block = smooth.block(indices)
        return cls(indices, block, smooth.gram(block, block), parameters.on(indices))

    def grown(self, smooth, other):
        """This and `other` together."""
        side = smooth.gram(self.block, other.block)
        return WorkingSet(
            np.concatenate([self.indices, other.indices]), smooth.join(self.block, other.block),
            np.block([[self.G, side], [side.T, other.G]]), Parameters(*map(np.append, self.parameters, other.parameters)),
        )  # fmt: skip

    def gradient(self, smooth, z):
        """(what the gradients at z have in common, the gradient on the set)."""
        image = smooth.image(self.block, z)
        return image, smooth.gradient_on(image, self.block) + self.parameters.l2 * z


def solve(smooth, parameters, y, tol=None):
    """(y (m,), SupportFactor, KKT residual, margin, scale of the gradient, working sets) from the start y."""
    q, m = smooth.q, y.size
    scale = max(np.abs(q).max(), 1e-300)
    W = WorkingSet.of(smooth, parameters, _first(smooth, parameters, y))
    for rounds in range(1, MOST_ROUNDS + 1):
        z = minimise(W.G, q[W.indices], *W.parameters, y[W.indices], scale)
        image, r = W.gradient(smooth, z)
        y = np.zeros(m)
        y[W.indices] = z
        strictness = margin(r, z, *W.parameters.sides, np.diag(W.G) + W.parameters.l2).min(initial=np.inf)
        off, strictness = _outside(smooth, parameters, image, W.indices, strictness)
        if rounds == MOST_ROUNDS or not (off > max(1e-13 * scale, 0.1 * (tol or 0.0))).any():
            break
        W = W.grown(smooth, WorkingSet.of(smooth, parameters, _worst(off, max(FIRST, W.indices.size))))
    support, z, r = _on_support(smooth, W, z, r)
    y[W.indices] = z
    residual = np.hypot(np.linalg.norm(violation(r, z, *W.parameters.sides)), np.linalg.norm(off))
    return y, support, residual, strictness, scale, rounds


def _first(smooth, parameters, y):
    """The first working set: everything, or the nonzeros of y and the worst at y."""
    if y.size <= WHOLE:
        return np.arange(y.size)
    held = np.flatnonzero(y)
    r = smooth.gradients(smooth.image(smooth.block(held), y[held]))[0] if held.size else -smooth.q
    off = violation(r, y, *parameters.sides)
    off[held] = 0.0
    return np.concatenate([held, _worst(off, max(FIRST, held.size))])


def _worst(off, count):
    """The coordinates of the `count` largest positive entries of off, largest first."""
    positive = np.flatnonzero(off > 0.0)
    return positive[np.argsort(-off[positive])[:count]]


def _outside(smooth, parameters, image, chosen, strictness):
    """(violation (m,) of the coordinates not chosen, all of them zero, and the least margin of all, `strictness` on the chosen).

    Their gradients may be estimates: those whose error leaves open whether they violate their condition or are the least strict
    are computed.
    """
    l1, _, lo, hi = parameters
    if chosen.size == l1.size:
        return np.zeros(0), strictness
    r, error = smooth.gradients(image)
    if np.any(error):
        clear = l1 - np.abs(r) - error > max(strictness, 0.0)
        clear[chosen] = True
        doubtful = np.flatnonzero(~clear)
        doubtful = doubtful if doubtful.size < l1.size // 4 else np.arange(l1.size)
        r[doubtful] = smooth.gradient_on(image, smooth.block(doubtful))
    zero = np.zeros(l1.size)
    off, margins = violation(r, zero, l1, lo, hi), margin(r, zero, l1, lo, hi, zero + 1.0)
    off[chosen], margins[chosen] = 0.0, np.inf
    return off, min(strictness, margins.min())


def _on_support(smooth, W, z, r):
    """(SupportFactor, z, r): one Newton step on the free coordinates on, with r by the residual, where that lowers it."""
    l1, l2, lo, hi = W.parameters
    free = np.flatnonzero((z != 0.0) & (z < hi) & (z > lo))
    free = free[np.argsort(W.indices[free])]
    A = W.G[np.ix_(free, free)]
    A[np.diag_indices_from(A)] += l2[free]
    support = factored(W.indices[free], A)
    if free.size == 0:
        return support, z, r
    kinks, moved = l1 * np.sign(z), z.copy()
    moved[free] -= support.factor.solve((r + kinks)[free])
    after = W.gradient(smooth, moved)[1]
    same = ((moved * z > 0.0) & (moved < hi))[free].all()
    lower = np.abs(after + kinks)[free].max() < np.abs(r + kinks)[free].max()
    return (support, moved, after) if same and lower else (support, z, r)

"""Data on more than one machine: a design whose blocks of rows live in a Dask array, for `problems.ridge` and `problems.logistic`.

    L_yy v = sum_b A_b' (d_b * (A_b v))

is one task a block and a tree of additions: one reduction for each product, whether v is one vector or a block of right-hand sides. The
weights d_b stay where their blocks are; only v and the sums, (m,) or (m, k), travel. Up to 2000 features the Hessian is formed in one
pass instead, (m, m), and factored here. The sums differ from those in memory by their order alone, so by rounding.

    client = distributed.Client(...)                                       # or none: Dask's threads on this machine
    train, val = (refbilevel.from_dask(A.persist()) for A in (A_train, A_val))
    problem = refbilevel.problems.logistic(train, t_train, val, t_val, penalties="per-feature", prior=(1e-2, 0.0))
    refbilevel.minimize(problem, x0)

Many problems, each of the size of one machine, need no Dask array: problems pickle, so

    with joblib.parallel_config(backend="dask"):                           # or backend="loky", n_jobs=8, on one machine
        results = joblib.Parallel()(joblib.delayed(refbilevel.minimize)(problem, x0) for problem in problems)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import ArgumentError, require
from ..problems.row_blocks import RowBlocks, block_loss

#: sums are added in groups of so many
FAN_IN = 8


def _added(parts):
    return sum(parts[1:], parts[0])


def _paired(parts):
    return sum(p[0] for p in parts), sum(p[1] for p in parts)


def _tree(parts, combine):
    """One delayed value from many, combined FAN_IN at a time."""
    delayed = require("dask", "dask", "from_dask").delayed
    while True:
        parts = [delayed(combine)(parts[i : i + FAN_IN]) for i in range(0, len(parts), FAN_IN)]
        if len(parts) == 1:
            return parts[0]


@dataclass(frozen=True, eq=False)
class DaskRows(RowBlocks):
    """RowBlocks over a Dask array with one chunk of columns; every sum is one graph, computed by Dask's scheduler."""

    def blocks(self):
        return list(self.A.to_delayed().ravel())

    def total(self, function, *vectors, more=()):
        task = require("dask", "dask", "from_dask").delayed(function, pure=False)
        rows = zip(self.blocks(), *map(self.parts, vectors))
        return _tree([task(*row, *more) for row in rows], _added).compute()

    def each(self, function):
        dask = require("dask", "dask", "from_dask")
        return np.concatenate(dask.compute(*(dask.delayed(function)(block) for block in self.blocks())))

    def loss(self, t, w, y, kind):
        """(L, L_y, d): d is left with the workers, a delayed part for each block."""
        dask = require("dask", "dask", "from_dask")
        task = dask.delayed(block_loss, nout=3, pure=False)
        parts = [task(*row, y, kind) for row in zip(self.blocks(), self.parts(t), self.parts(w))]
        total, *d = dask.persist(_tree([(L, L_y) for L, L_y, _ in parts], _paired), *(p[2] for p in parts))
        loss, gradient = total.compute()
        return float(loss), gradient, tuple(d)


def from_dask(A):
    """A design of a Dask array, to be given to `problems.ridge` or `problems.logistic` in the place of X.

    Parameters
    ----------
    A : dask.array.Array (N, m)
        Chunked by rows with known sizes; columns are gathered into one chunk. Persist it first if it is expensive to make: every sum
        over the samples reads it. Targets are given to the problem as ordinary arrays (N,).

    Raises
    ------
    MissingDependency, ArgumentError, ShapeError, DtypeError
    """
    array = require("dask.array", "dask", "from_dask")
    if not isinstance(A, array.Array):
        raise ArgumentError(f"from_dask takes a dask.array.Array, got {type(A).__name__}; use problems.chunked for data on one machine")
    if any(np.isnan(size) for size in A.shape):
        raise ArgumentError("from_dask needs known chunk sizes; call A.compute_chunk_sizes() first")
    if A.ndim == 2 and A.numblocks[1] > 1:
        A = A.rechunk({1: -1})
    cuts = np.concatenate([[0], np.cumsum(A.chunks[0])]) if A.ndim else np.zeros(1)
    return DaskRows(A, tuple(int(cut) for cut in cuts)).checked()

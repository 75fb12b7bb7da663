"""Many quadratic programs at once: stacked blocks, one kernel call a thread, and a careful second look where one is due.

The kernel takes every member that is strictly convex and regular; a member that is not (degenerate, infeasible, P singular)
is solved by `solve_qp` on its own, so that a batch says exactly what single calls say.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
from numba import get_num_threads

from ..errors import ArgumentError, ShapeError
from ..kernels import qp_batch as kernel
from ..results import Status
from .data import _array
from .driver import solve_qp
from .gradient import QPGradient


@dataclass(frozen=True, eq=False)
class QPBatchSolution:
    """y (B, n), mu (B, m), nu (B, p), active (B, m), margin (B,), residual (B,), status: a list of B `Status`.

    `singles` maps the members that needed more than the kernel to their own `QPSolution`.
    """

    y: np.ndarray
    mu: np.ndarray
    nu: np.ndarray
    active: np.ndarray
    margin: np.ndarray
    residual: np.ndarray
    status: list
    singles: dict
    blocks: tuple = field(repr=False)
    factors: tuple = field(repr=False)
    given: tuple = (True, True, True)

    @property
    def success(self):
        """(B,) bool."""
        return np.array([s.success for s in self.status])

    def __len__(self):
        return self.y.shape[0]

    def __getitem__(self, i):
        """QPSolution of member i (solved anew, with its own factor)."""
        if i in self.singles:
            return self.singles[i]
        return _single(self.blocks, self.given, i)

    def vjp(self, y_bar, mu_bar=None, nu_bar=None):
        """QPGradient of stacks, leading axis B (also for blocks that were shared: sum over it for their gradient).

        y_bar (B, n), mu_bar (B, m), nu_bar (B, p).
        """
        B, p = self.y.shape[0], self.nu.shape[1]
        y_bar = _stack(y_bar, self.y.shape, "y_bar")
        row_bar = np.zeros((B, p + self.mu.shape[1]))
        if nu_bar is not None:
            row_bar[:, :p] = _stack(nu_bar, self.nu.shape, "nu_bar")
        if mu_bar is not None:
            row_bar[:, p:] = _stack(mu_bar, self.mu.shape, "mu_bar")
        P, _, G, _, A, _ = self.blocks
        lam = np.concatenate([self.nu, self.mu], axis=1)
        n, m = self.y.shape[1], lam.shape[1]
        P_bar, q_bar, N_bar, r_bar = np.empty((B, n, n)), np.empty((B, n)), np.empty((B, m, n)), np.empty((B, m))
        arguments = (P, G, A, self.y, lam, *self.factors, y_bar, row_bar, 1, P_bar, q_bar, N_bar, r_bar)
        _in_threads(kernel.vjp_range, B, 100_000 // n**2, arguments)
        for i, solution in self.singles.items():
            g = solution.vjp(y_bar[i], row_bar[i, p:], row_bar[i, :p])
            q_bar[i] = g.q
            for there, block in ((P_bar[i], g.P), (N_bar[i, p:], g.G), (r_bar[i, p:], g.h), (N_bar[i, :p], g.A), (r_bar[i, :p], g.b)):
                if block is not None:
                    there[...] = block
        has_P, has_G, has_A = self.given
        return QPGradient(
            P_bar if has_P else None, q_bar, N_bar[:, p:] if has_G else None, r_bar[:, p:] if has_G else None,
            N_bar[:, :p] if has_A else None, r_bar[:, :p] if has_A else None,
        )  # fmt: skip


def solve_qp_batch(P, q, G=None, h=None, A=None, b=None):
    """min 1/2 y'Py + q'y, Gy <= h, Ay = b for a stack of programs, in parallel.

    Parameters
    ----------
    P : (B, n, n) or (n, n); q : (B, n) or (n,); G : (B, m, n) or (m, n); h : (B, m) or (m,); A, b likewise
        A block without the leading axis (or with B = 1) is shared by all. None for absent blocks.

    Returns
    -------
    QPBatchSolution

    Raises
    ------
    ShapeError, ArgumentError
        Blocks that do not fit together, NaN data.
    """
    given = (P is not None, G is not None, A is not None)
    blocks = _read(P, q, G, h, A, b)
    B = max(block.shape[0] for block in blocks)
    p = blocks[5].shape[1]
    out = _outputs(B, blocks[1].shape[1], p, blocks[3].shape[1])
    _in_threads(kernel.solve_range, B, 40_000 // blocks[1].shape[1] ** 2, (*blocks, *out))
    plain, y, lam, active, residual, margin, *factors = out
    status, singles, count = [Status.CONVERGED] * B, {}, factors[0]
    batch = QPBatchSolution(y, lam[:, p:], lam[:, :p], active, margin, residual, status, singles, blocks, tuple(factors), given)
    for i in np.flatnonzero(~plain):
        single = singles[int(i)] = _single(blocks, given, i)
        status[i], count[i] = single.status, -1
        for name in ("y", "mu", "nu", "active", "margin", "residual"):
            getattr(batch, name)[i] = getattr(single, name)
    return batch


def _outputs(B, n, p, m):
    """(plain, y, lam, active, residual, margin, count, W, M, R, sigma, L) to be filled by the kernel."""
    cap = min(n, p + m)
    return (
        np.zeros(B, bool), np.empty((B, n)), np.empty((B, p + m)), np.zeros((B, m), bool), np.empty(B), np.empty(B), np.zeros(B, np.int64),
        np.zeros((B, cap), np.int64), np.empty((B, cap, n)), np.empty((B, cap, cap)), np.empty((B, cap)), np.empty((B, n, n)),
    )  # fmt: skip


def workers_for(B, least):
    """Threads for B members: each has at least `least`, a millisecond's work, for to start one takes a quarter of that."""
    return min(get_num_threads(), max(1, B // max(least, 1)))


def _in_threads(call, B, least, arguments):
    """call(first, last, *arguments) over equal shares of B members, one thread each (the kernels hold no lock)."""
    workers = workers_for(B, least)
    edges = np.linspace(0, B, workers + 1).astype(int).tolist()
    if workers == 1:
        call(0, B, *arguments)
        return
    with ThreadPoolExecutor(workers) as pool:
        for share in [pool.submit(call, first, last, *arguments) for first, last in zip(edges, edges[1:])]:
            share.result()


def _single(blocks, given, i):
    P, q, G, h, A, b = (block[i % block.shape[0]] for block in blocks)
    has_P, has_G, has_A = given
    return solve_qp(P if has_P else None, q, G if has_G else None, h if has_G else None, A if has_A else None, b if has_A else None)


def _read(P, q, G, h, A, b):
    q = _lift(q, "q", 1)
    n = q.shape[1]
    if (G is None) != (h is None) or (A is None) != (b is None):
        raise ArgumentError("G and h, and A and b, must be given together (or both None)")
    P = np.zeros((1, n, n)) if P is None else _lift(P, "P", 2)
    G, h = (np.zeros((1, 0, n)), np.zeros((1, 0))) if G is None else (_lift(G, "G", 2), _lift(h, "h", 1, finite=False))
    A, b = (np.zeros((1, 0, n)), np.zeros((1, 0))) if A is None else (_lift(A, "A", 2), _lift(b, "b", 1))
    shapes = {"P": (P, (n, n)), "G": (G, (h.shape[1], n)), "A": (A, (b.shape[1], n))}
    for name, (block, shape) in shapes.items():
        if block.shape[1:] != shape:
            raise ShapeError(f"each member of {name} must be {shape} to match q, h and b, got {block.shape[1:]}")
    sizes = {block.shape[0] for block in (P, q, G, h, A, b)} - {1}
    if len(sizes) > 1:
        raise ShapeError(f"the blocks' leading (batch) axes must agree or be one, got {sorted(sizes)}")
    return P, q, G, h, A, b


def _lift(value, name, ndim, finite=True):
    array = np.asarray(value)
    return _array(array[None] if array.ndim == ndim else array, name, ndim + 1, finite)


def _stack(value, shape, name):
    array = np.require(value, np.float64, ["C", "W"])
    if array.shape != shape:
        raise ShapeError(f"{name} must have shape {shape}, got {array.shape}")
    if not np.isfinite(array).all():
        raise ArgumentError(f"{name} must be finite; it has NaN or infinite elements")
    return array

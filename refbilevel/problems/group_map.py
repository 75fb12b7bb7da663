"""The group Lasso's solution map.

    min_y 1/2 y'H y - q'y + sum_g l_g |y_g|,   l_g = exp(x[i]) sqrt(|g|), i = x_of[g].
Optimality: H_g y - q_g + l_g u_g = 0, u_g = y_g / |y_g| on the nonzero groups, |H_g y - q_g| <= l_g on the others. Block descent
finds the groups; Newton's method on the nonzero ones, with A = H_SS + diag_g(l_g / |y_g| (I - u_g u_g')), gives the digits and
the matrix of the implicit derivative; dr_S/dx_i = l_g u_g.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from scipy.linalg import cho_factor, cho_solve

from ..kernels.coordinate import descend_groups
from ..linear import solve
from .proximal import KINK, MOST_WEAK, ProximalMap


@dataclass(frozen=True, eq=False)
class GroupMap(ProximalMap):
    """`order` sorts the coordinates by group, `starts` (G + 1,) bounds the groups in that order, `groups` (m,) is each one's."""

    smooth: object
    n: int
    m: int
    groups: np.ndarray
    order: np.ndarray
    starts: np.ndarray
    x_of: np.ndarray

    @classmethod
    def of(cls, smooth, labels, x_of):
        starts = np.append(0, np.cumsum(np.bincount(labels)))
        return cls(smooth, int(x_of[-1]) + 1, len(labels), labels, np.argsort(labels, kind="stable"), starts, x_of)

    def penalty(self, x):
        """l (G,)."""
        return np.exp(x)[self.x_of] * np.sqrt(np.diff(self.starts))

    def norms(self, y):
        """|y_g|, (G,)."""
        return np.sqrt(np.bincount(self.groups, y**2, len(self.x_of)))

    def value(self, x, y):
        return self.smooth.value(y) + self.penalty(x) @ self.norms(y)

    def _solve(self, x, y, tol):
        l, o = self.penalty(x), self.order
        block = self.smooth.block(o)
        G = np.ascontiguousarray(self.smooth.gram(block, block))
        q = self.smooth.q[o]
        L = np.array([np.linalg.eigvalsh(G[a:b, a:b])[-1] for a, b in zip(self.starts, self.starts[1:])])
        scale, sweeps, step, z = max(np.abs(q).max(), 1e-300), 0, 1e-3, y[o]
        y = np.empty(self.m)
        while True:
            z, more = descend_groups(G, q, self.starts, l, L, z, step * scale / np.sqrt(max(L.max(), 1e-300)), 5000)
            sweeps += more
            y[o] = z
            polished = self._newton(x, y, scale)
            residual, margin = self._check(x, y if polished is None else polished, l, L)
            if polished is not None and residual <= 1e-12 * scale:
                y = polished
                break
            step *= 1e-2
            if step < 1e-15:
                residual, margin = self._check(x, y, l, L)
                break
        dust = self.norms(y) * L <= KINK * scale  # a group at its kink: rounding alone keeps it off zero
        y[dust[self.groups]] = 0.0
        residual, margin = self._check(x, y, l, L)
        return y, self._factor(x, y, self.free(x, y)), residual, margin, scale, sweeps

    def _newton(self, x, y, scale):
        """Newton on the nonzero groups; None where it leaves them."""
        free, y = self.free(x, y), y.copy()
        for _ in range(30 if free.size else 0):
            r = self.stationarity(x, y)[free]
            if np.linalg.norm(r) <= 1e-15 * scale:
                break
            try:
                step = -cho_solve(cho_factor(self.free_matrix(x, y, free)), r)
            except np.linalg.LinAlgError:
                return None
            moved = y.copy()
            moved[free] += step
            norms = self.norms(y)
            if (self.norms(moved - y) > 0.9 * norms)[norms > 0].any():
                return None
            before, y = y, moved
            if np.linalg.norm(self.stationarity(x, y)[free]) >= np.linalg.norm(r):
                return before
        return y

    def stationarity(self, x, y):
        """H y - q + l_g u_g, u_g = 0 on zero groups."""
        return self.smooth.gradient(y) + self.penalty(x)[self.groups] * self._directions(y)

    def _directions(self, y):
        norms = self.norms(y)[self.groups]
        return np.divide(y, norms, out=np.zeros(self.m), where=norms > 0)

    def _check(self, x, y, l, L):
        """(KKT residual, margin)."""
        pull, zero = self.norms(self.smooth.gradient(y)), self.norms(y) == 0
        on = self.norms(self.stationarity(x, y))
        residual = np.linalg.norm(np.where(zero, np.maximum(pull - l, 0.0), on))
        return residual, np.maximum(self.norms(y) * L, np.where(zero, l - pull, 0.0)).min()

    def free(self, x, y):
        return np.flatnonzero(self.norms(y)[self.groups] > 0)

    def free_matrix(self, x, y, free):
        u, groups = self._directions(y)[free], self.groups[free]
        ratio = (self.penalty(x) / np.where(self.norms(y) > 0, self.norms(y), 1.0))[groups]
        same = groups[:, None] == groups
        block = self.smooth.block(free)
        return self.smooth.gram(block, block) + np.diag(ratio) - same * (ratio[:, None] * np.outer(u, u))

    def branches(self, x, lower, y_bar):
        """x_bar of every choice of which weakly held groups leave zero, (2^k, n); None beyond MOST_WEAK of them.

        A group leaves zero along -(H y - q)_g only, so it enters by that one direction.
        """
        y, l = lower.y, self.penalty(x)
        h = self.smooth.gradient(y)
        pulls = self.norms(h)
        close = KINK * np.abs(self.smooth.q).max()
        held = np.flatnonzero((self.norms(y) <= close) & (l - pulls <= close))
        if held.size > MOST_WEAK:
            return None
        y = np.where(np.isin(self.groups, held), 0.0, y)
        strong, rows = self.free(x, y), []
        for choice in itertools.product((False, True), repeat=held.size):
            loose = held[list(choice)]
            leaving = [np.where(self.groups == g, -h / pulls[g], 0.0) for g in loose]
            B = np.column_stack([np.eye(self.m)[:, strong], *leaving])
            A = B.T @ np.column_stack([self.smooth.product(b) for b in B.T]) if B.shape[1] else np.zeros((0, 0))
            A[: strong.size, : strong.size] = self.free_matrix(x, y, strong)
            w = solve(A, B.T @ y_bar).x if B.shape[1] else np.zeros(0)
            x_bar = self.pull(x, y, strong, w[: strong.size], y_bar)
            np.subtract.at(x_bar, self.x_of[loose], l[loose] * w[strong.size :])
            rows.append(x_bar)
        return np.array(rows)

    def pull(self, x, y, free, v, y_bar):
        weights = (self.penalty(x)[self.groups] * self._directions(y))[free] * v
        return -np.bincount(self.x_of[self.groups[free]], weights, self.n)

    def push(self, x, y, free, dx):
        change = (self.penalty(x) * dx[self.x_of])[self.groups]
        return -(change * self._directions(y))[free], np.zeros(self.m)

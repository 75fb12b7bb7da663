"""Quadratics with separable kinks and boxes whose sizes are exp(x): Lasso, weighted Lasso, elastic net, box-constrained SVM dual.

    min_y 1/2 y'H y - q'y + sum_j (l1_j |y_j| + l2_j y_j^2 / 2),   lo <= y <= hi,
with l1_j = exp(x[i]) for i = l1_of[j] (0 if i < 0), l2 and hi likewise. The solver is working_set.py's; its last equations,
    (H_SS + l2) y_S = q_S - H_SB y_B - l1_S sign(y_S),
S the free coordinates and B those at a bound, are what is differentiated.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from scipy.sparse.linalg import LinearOperator

from ..kernels.active_set import margin
from ..kernels.coordinate import descend, forward_sweeps, recorded_sweeps, reverse_sweeps
from ..linear import solve
from . import working_set
from .proximal import KINK, MOST_WEAK, ProximalMap
from .working_set import Parameters


@dataclass(frozen=True, eq=False)
class SeparableMap(ProximalMap):
    """`l1_of`, `l2_of`, `hi_of`: (m,) int, the index in x of each coordinate's parameter, -1 for none; lo is -inf or 0."""

    smooth: object
    n: int
    m: int
    l1_of: np.ndarray
    l2_of: np.ndarray
    hi_of: np.ndarray
    lo: float = -np.inf
    quadratic = True

    def parameters(self, x):
        """(l1, l2, lo, hi), each (m,)."""
        size = np.append(np.exp(x), 0.0)  # index -1: absent
        l1, l2 = size[self.l1_of], size[self.l2_of]
        hi = np.where(self.hi_of >= 0, size[self.hi_of], np.inf)
        return Parameters(l1, l2, np.full(self.m, self.lo), hi)

    def value(self, x, y):
        """g(x, y); the box is a constraint, not a value."""
        l1, l2, *_ = self.parameters(x)
        return self.smooth.value(y) + l1 @ np.abs(y) + 0.5 * l2 @ y**2

    def stationarity(self, x, y):
        """H y - q + l1 sign(y) + l2 y, (m,)."""
        l1, l2, *_ = self.parameters(x)
        return self.smooth.gradient(y) + l1 * np.sign(y) + l2 * y

    def stationarity_on(self, x, y, free):
        held, (l1, l2, *_) = np.flatnonzero(y), self.parameters(x).on(free)
        image = self.smooth.image(self.smooth.block(held), y[held])
        return self.smooth.gradient_on(image, self.smooth.block(free)) + l1 * np.sign(y[free]) + l2 * y[free]

    def _solve(self, x, y, tol):
        parameters = self.parameters(x)
        return working_set.solve(self.smooth, parameters, np.clip(y, parameters.lo, parameters.hi), tol)

    def free(self, x, y):
        _, _, lo, hi = self.parameters(x)
        return np.flatnonzero((y != 0.0) & (y < hi) & (y > lo))

    def free_matrix(self, x, y, free):
        block = self.smooth.block(free)
        H = np.array(self.smooth.gram(block, block))
        H[np.diag_indices_from(H)] += self.parameters(x)[1][free]
        return H

    def free_operator(self, x, y, free):
        product, l2 = self.smooth.on(free), self.parameters(x)[1][free]
        operator = lambda v: product(v.ravel()) + l2 * v.ravel()  # noqa: E731
        return LinearOperator((free.size, free.size), matvec=operator, rmatvec=operator, dtype=np.float64)

    def _bound(self, x, y):
        return np.flatnonzero(y >= self.parameters(x).hi) if (self.hi_of >= 0).any() else np.zeros(0, int)

    def pull(self, x, y, free, v, y_bar):
        l1, l2, _, hi = self.parameters(x)
        parts = np.zeros(self.n + 1)
        np.subtract.at(parts, self.l1_of[free], v * l1[free] * np.sign(y[free]))
        np.subtract.at(parts, self.l2_of[free], v * l2[free] * y[free])
        held = self._bound(x, y)
        if held.size:
            spread = np.zeros(self.m)
            spread[free] = v
            np.add.at(parts, self.hi_of[held], hi[held] * (y_bar - self.smooth.product(spread))[held])
        return parts[: self.n]

    def push(self, x, y, free, dx):
        l1, l2, _, hi = self.parameters(x)
        change = np.append(dx, 0.0)
        dy, held = np.zeros(self.m), self._bound(x, y)
        dy[held] = hi[held] * change[self.hi_of[held]]
        rhs = -(l1 * np.sign(y) * change[self.l1_of] + l2 * y * change[self.l2_of])[free]
        return (rhs - self.smooth.product(dy)[free] if held.size else rhs), dy

    def directional(self, x, lower, dx):
        """The one-sided derivative of y*(x + t dx) at t = 0+, (m,), at kinks too.

        It minimises 1/2 d'A d - b'd over the free and the weakly held coordinates, each weak one confined to the side it may
        leave to (the sensitivity quadratic program); off kinks it is `jvp`.
        """
        y, dx = lower.y, np.asarray(dx, np.float64)
        l1, l2, _, hi = self.parameters(x)
        weak, at_zero, side = self._weak(x, y)
        moving = np.union1d(self.free(x, y), np.flatnonzero(weak))
        signs = np.where(at_zero, side, np.sign(y))
        change = np.append(dx, 0.0)
        d_hi = np.where(np.isfinite(hi), hi, 0.0) * change[self.hi_of]
        d = np.where((y >= hi) & ~weak, d_hi, 0.0)
        b = (-l1 * signs * change[self.l1_of] - l2 * y * change[self.l2_of] - (self.smooth.product(d) if d.any() else 0.0))[moving]
        low = np.where(at_zero & (side > 0), 0.0, -np.inf)[moving]
        high = np.where(at_zero & (side < 0), 0.0, np.where(weak & ~at_zero, d_hi, np.inf))[moving]
        A = np.ascontiguousarray(self.free_matrix(x, y, moving))
        none = np.zeros(moving.size)
        d[moving] = descend(A, b, none, none, low, high, none, 1e-16 * (np.abs(b).max(initial=0.0) + 1e-300), 100_000)[0]
        return d

    def _weak(self, x, y):
        """(weakly held, those of them at zero, the sign each of the latter would take), (m,) each."""
        l1, l2, lo, hi = self.parameters(x)
        r = self.smooth.gradient(y) + l2 * y
        weak = margin(r, y, l1, lo, hi, np.ones(self.m)) <= KINK * np.abs(self.smooth.q).max()
        at_zero = weak & (np.abs(y) <= np.abs(hi - y))
        return weak, at_zero, np.where(at_zero & (l1 > 0.0), -np.sign(r), 1.0)

    def branches(self, x, lower, y_bar):
        """x_bar of every choice of which weakly held coordinates are free, (2^k, n); None beyond MOST_WEAK of them."""
        weak, at_zero, side = self._weak(x, lower.y)
        hi, held = self.parameters(x)[3], np.flatnonzero(weak)
        if held.size > MOST_WEAK:
            return None
        strong, rows = np.setdiff1d(self.free(x, lower.y), held), []
        for choice in itertools.product((False, True), repeat=held.size):
            loose = np.zeros(self.m, bool)
            loose[held] = choice
            y = np.where(at_zero, np.where(loose, side * 1e-300, 0.0), np.where(weak, hi, lower.y))
            y = np.where(loose & ~at_zero, np.nextafter(hi, 0.0), y)
            free = np.union1d(strong, np.flatnonzero(loose)).astype(int)
            v = solve(self.free_matrix(x, y, free), y_bar[free]).x if free.size else np.zeros(0)
            rows.append(self.pull(x, y, free, v, y_bar))
        return np.array(rows)

    def _sweep_data(self, x):
        everything = self.smooth.block(np.arange(self.m))
        return np.ascontiguousarray(self.smooth.gram(everything, everything)), self.smooth.q, *self.parameters(x)

    def forward(self, x, y0, sweeps):
        """(y, dy/dx (m, n)) of `sweeps` cyclic sweeps of coordinate descent from y0 (forward mode: n columns)."""
        data = self._sweep_data(x)
        _, _, l1, l2, _, hi = data
        columns = [np.zeros((self.m, self.n)) for _ in range(3)]
        for column, index, value in zip(columns, (self.l1_of, self.l2_of, self.hi_of), (l1, l2, hi)):
            there = np.flatnonzero(index >= 0)
            column[there, index[there]] = value[there]
        return forward_sweeps(*data, *columns, y0, sweeps)

    def recorded(self, x, y0, sweeps):
        """(y, record) of `sweeps` cyclic sweeps from y0, for `reverse`."""
        y, values, kinds = recorded_sweeps(*self._sweep_data(x), y0, sweeps)
        return y, (values, kinds)

    def reverse(self, x, record, y_bar):
        """x_bar (n,) of the recorded sweeps for the cotangent y_bar of their last y (reverse mode: one pass back)."""
        G, _, l1, l2, _, hi = self._sweep_data(x)
        bars = reverse_sweeps(G, l2, *record, np.ascontiguousarray(y_bar))
        x_bar = np.zeros(self.n + 1)
        for bar, index, value in zip(bars, (self.l1_of, self.l2_of, self.hi_of), (l1, l2, np.where(np.isfinite(hi), hi, 0.0))):
            np.add.at(x_bar, index, bar * value)
        return x_bar[: self.n]

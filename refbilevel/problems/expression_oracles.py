"""Oracles of (x, y) from the tapes of expressions.py: values, gradients and Hessians, of one function or of many rows.

Each derivative is a tape of its own, so no evaluation pays for what it does not use. z = (x, y), N = n + m.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Expression:
    """One function of (x, y): value, gradient blocks and Hessian blocks as tapes; the methods are oracles."""

    n: int
    m: int
    tapes: tuple  # value, gradient, Hessian
    places: tuple  # variables of the gradient's outputs, (i, j) of the Hessian's

    @classmethod
    def record(cls, graph, node, n):
        gradient = graph.gradient(node)
        second = {(i, j): curve for i, slope in gradient.items() for j, curve in graph.gradient(slope).items() if j <= i}
        tapes = (graph.tape([node]), graph.tape(list(gradient.values())), graph.tape(list(second.values())))
        return cls(n, graph.size - n, tapes, (np.array(list(gradient), int), tuple(np.array(list(second), int).reshape(-1, 2).T)))

    def gradient(self, z):
        full = np.zeros(self.n + self.m, np.result_type(z, float))
        full[self.places[0]] = self.tapes[1].run(z)
        return full

    def hessian(self, z):
        full = np.zeros((self.n + self.m,) * 2, np.result_type(z, float))
        i, j = self.places[1]
        full[i, j] = full[j, i] = self.tapes[2].run(z)
        return full

    def value(self, x, y):
        return self.tapes[0].run(np.concatenate([x, y]))[0]

    def x(self, x, y):
        return self.gradient(np.concatenate([x, y]))[: self.n]

    def y(self, x, y):
        return self.gradient(np.concatenate([x, y]))[self.n :]

    def xx(self, x, y):
        return self.hessian(np.concatenate([x, y]))[: self.n, : self.n]

    def xy(self, x, y):
        return self.hessian(np.concatenate([x, y]))[: self.n, self.n :]

    def yy(self, x, y):
        return self.hessian(np.concatenate([x, y]))[self.n :, self.n :]


@dataclass(frozen=True, eq=False)
class ExpressionRows:
    """Several expressions as the rows of a constraint."""

    rows: tuple

    def __len__(self):
        return len(self.rows)

    def value(self, x, y):
        return np.array([row.value(x, y) for row in self.rows])

    def x(self, x, y):
        return np.array([row.x(x, y) for row in self.rows])

    def y(self, x, y):
        return np.array([row.y(x, y) for row in self.rows])


@dataclass(frozen=True, eq=False)
class ExpressionLagrangian:
    """Multiplier-weighted second derivatives of the rows p and q."""

    n: int
    m: int
    p: ExpressionRows
    q: ExpressionRows

    def _total(self, x, y, mu, nu):
        z = np.concatenate([x, y])
        total = np.zeros((self.n + self.m,) * 2, np.result_type(z, float))
        for weights, rows in ((mu, self.p.rows), (nu, self.q.rows)):
            for weight, row in zip(weights, rows):
                total += weight * row.hessian(z)
        return total

    def yy(self, x, y, mu, nu):
        return self._total(x, y, mu, nu)[self.n :, self.n :]

    def xy(self, x, y, mu, nu):
        return self._total(x, y, mu, nu)[: self.n, self.n :]

    def xx(self, x, y, mu, nu):
        return self._total(x, y, mu, nu)[: self.n, : self.n]

"""What a framework bridge needs: `forward(*arrays) -> (outputs, context)` and `backward(context, cotangents) -> input cotangents`.

A `BilevelLayer` (z -> x, y), the lower solution map of a `BilevelProblem` (x -> y) and `solve_qp` ((P, q, G, h, A, b) -> y, mu, nu) as
such pairs, on NumPy arrays in float64. A context whose status is not a success raises StatusError on the way back: no silent gradient.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..errors import DtypeError
from ..layers.combinatorial import CombinatorialLayer
from ..layers.continuous import BilevelLayer
from ..layers.tangent import lower_vjp
from ..lower.solve import solve_lower
from ..problem import BilevelProblem, counted
from ..results import Status


@dataclass(frozen=True)
class Primitive:
    """`ndims` are the dimensions of each unbatched input; more dimensions in front are a batch."""

    forward: Callable
    backward: Callable
    ndims: tuple
    shapes: Callable  # input arrays' shapes (unbatched) -> output shapes

    def run(self, arrays):
        """(outputs, contexts) for one instance or a batch; outputs are tuples of arrays."""
        if not self._batched(arrays):
            outputs, context = self.forward(*arrays)
            return outputs, [context]
        results = [self.forward(*row) for row in self._rows(arrays)]
        return tuple(np.stack(c) for c in zip(*(outputs for outputs, _ in results))), [context for _, context in results]

    def pull(self, arrays, contexts, cotangents):
        """Input cotangents; an input shared by the batch gets the sum."""
        if not self._batched(arrays):
            return self.backward(contexts[0], *cotangents)
        rows = [self.backward(context, *(c[i] for c in cotangents)) for i, context in enumerate(contexts)]
        stacked = [None if column[0] is None else np.stack(column) for column in zip(*rows)]
        return tuple(
            c if c is None or a is None or a.ndim > d else c.sum(axis=0) for c, a, d in zip(stacked, arrays, self.ndims)
        )

    def _batched(self, arrays):
        return any(a is not None and a.ndim > d for a, d in zip(arrays, self.ndims))

    def _rows(self, arrays):
        size = next(a.shape[0] for a, d in zip(arrays, self.ndims) if a is not None and a.ndim > d)
        for i in range(size):
            yield tuple(a if a is None or a.ndim == d else a[i] for a, d in zip(arrays, self.ndims))


def as_primitive(target):
    """The Primitive of a BilevelLayer, a CombinatorialLayer, a BilevelProblem (its map x -> y*(x)), or a Primitive itself."""
    if isinstance(target, Primitive):
        return target
    if isinstance(target, BilevelLayer):
        return _of_layer(target)
    if isinstance(target, BilevelProblem):
        return _of_map(target)
    if isinstance(target, CombinatorialLayer):
        return Primitive(lambda c: ((target.solve(c),), c), lambda c, y_bar: (target.vjp(c, y_bar),), (1,), lambda c: (c,))
    raise DtypeError(f"layer() takes a BilevelLayer, a CombinatorialLayer or a BilevelProblem, got {type(target).__name__}")


def _of_layer(layer):
    def forward(z):
        solution = layer.solution(z)
        if solution.status not in (Status.DEGENERATE, Status.NOT_STRICT):
            solution.raise_for_status()
        return (solution.x, solution.y), solution

    def backward(solution, x_bar, y_bar):
        return (layer.vjp(solution.z, x_bar, y_bar, solution=solution),)

    return Primitive(forward, backward, (1,), lambda z: ((layer.problem.n,), (layer.problem.m,)))


def _of_map(problem):
    def forward(x):
        lower = solve_lower(problem, x)
        if lower.status is not Status.DEGENERATE:
            lower.raise_for_status()
        return (lower.y,), (x, lower)

    def backward(context, y_bar):
        x, lower = context
        return (lower_vjp(counted(problem)[0], x, lower, np.ascontiguousarray(y_bar)),)

    return Primitive(forward, backward, (1,), lambda x: ((problem.m,),))


def qp_primitive():
    """solve_qp as a Primitive: (P, q, G, h, A, b), None for absent blocks -> (y, mu, nu)."""
    from .. import solve_qp

    def forward(P, q, G, h, A, b):
        solution = solve_qp(P, q, G, h, A, b)
        if solution.status is not Status.DEGENERATE:
            solution.raise_for_status()
        return (solution.y, solution.mu, solution.nu), (solution, G is None, A is None, P is None)

    def backward(context, y_bar, mu_bar, nu_bar):
        solution, no_G, no_A, no_P = context
        solution.raise_for_status()
        bars = solution.vjp(y_bar, None if no_G else mu_bar, None if no_A else nu_bar)
        return (
            None if no_P else _array(bars.P), bars.q, None if no_G else _array(bars.G), None if no_G else bars.h,
            None if no_A else _array(bars.A), None if no_A else bars.b,
        )  # fmt: skip

    def shapes(P, q, G, h, A, b):
        return q, (0,) if h is None else h, (0,) if b is None else b

    return Primitive(forward, backward, (2, 1, 2, 1, 2, 1), shapes)


def _array(block):
    return block.toarray() if hasattr(block, "toarray") else np.asarray(block)

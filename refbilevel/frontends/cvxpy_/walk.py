"""Reverse-mode differentiation of a CVXPY expression: values forward through the tree, cotangents back, one rule an atom.

    node = atom(args):   arg_bar += (d atom / d arg)' node_bar

Products, quotients, sums and powers have their own NumPy rules; every other atom gives its transposed Jacobian, which for
affine atoms is constant and kept. Outside an atom's domain the answer is NaN. (CVXPY's own `expr.grad` is wrong for quotients.)
At a kink the answer is one subgradient.
"""

from __future__ import annotations

import numpy as np
from scipy import sparse

from ...errors import ArgumentError
from . import internals


class Walk:
    """One expression as a function of the leaves of some layouts.

    `value(arrays)` and `gradient(arrays, bar)` take {leaf.id: array}; the gradient comes back by leaf id. What is not among
    the leaves is constant, at its value when the walk was made.
    """

    def __init__(self, expression, leaves):
        self.shape = expression.shape
        self.size = expression.size
        self.leaf_ids = {leaf.id for leaf in leaves}
        self.nodes, self._places, self._constants = [], {}, {}
        self._visit(expression)
        self._linear = {}

    def _visit(self, node):
        """Topological order; subtrees without a leaf of ours become constants."""
        if id(node) in self._places:
            return self._places[id(node)]
        if internals.is_leaf(node):
            args = ()
            if internals.leaf_id(node) not in self.leaf_ids:
                self._constants[len(self.nodes)] = _constant(node)
        else:
            args = tuple(self._visit(arg) for arg in node.args)
            if args and all(a in self._constants for a in args):
                self._constants[len(self.nodes)] = internals.numeric(node, [self._constants[a] for a in args])
        self._places[id(node)] = place = len(self.nodes)
        self.nodes.append((node, args))
        return place

    @property
    def constant(self):
        return len(self.nodes) - 1 in self._constants

    def depends_on(self, leaves):
        """True if one of the leaves occurs."""
        ids = {leaf.id for leaf in leaves}
        return any(internals.is_leaf(node) and internals.leaf_id(node) in ids for node, _ in self.nodes)

    def _forward(self, arrays):
        values = []
        with np.errstate(all="ignore"):
            for place, (node, args) in enumerate(self.nodes):
                if place in self._constants:
                    values.append(self._constants[place])
                elif internals.is_leaf(node):
                    values.append(arrays[node.id])
                else:
                    values.append(internals.numeric(node, [values[a] for a in args]))
        return values

    def value(self, arrays):
        """The expression at {leaf.id: array}."""
        value = self._forward(arrays)[-1]
        return np.asarray(value.toarray() if sparse.issparse(value) else value, float)

    def gradient(self, arrays, bar=1.0):
        """{leaf.id: array}: the cotangents of the leaves for the cotangent `bar` of the expression."""
        return self._backward(self._forward(arrays), bar)

    def jacobian(self, arrays, layout):
        """(size, layout.size): the derivative of the expression, by columns, with respect to a layout's flat vector."""
        values, rows = self._forward(arrays), np.zeros((self.size, layout.size))
        for i in range(self.size):
            bar = np.zeros(self.size)
            bar[i] = 1.0
            rows[i] = layout.pack(self._backward(values, bar.reshape(self.shape, order="F")))
        return rows

    def _backward(self, values, bar):
        bars = {len(self.nodes) - 1: np.broadcast_to(np.asarray(bar, float), self.shape)}
        leaves = {}
        for place in range(len(self.nodes) - 1, -1, -1):
            node, args = self.nodes[place]
            if place not in bars or place in self._constants:
                continue
            if internals.is_leaf(node):
                leaves[node.id] = leaves.get(node.id, 0.0) + bars[place]
                continue
            live = [a not in self._constants for a in args]
            with np.errstate(all="ignore"):
                given = self._pull(place, node, [values[a] for a in args], values[place], bars.pop(place), live)
            for a, is_live, arg_bar in zip(args, live, given):
                if is_live:
                    bars[a] = bars[a] + arg_bar if a in bars else arg_bar
        return leaves

    def _pull(self, place, node, values, value, bar, live):
        rule = RULES.get(internals.atom_name(node))
        if rule is not None:
            return rule(node, values, value, bar, live)
        if internals.is_affine_atom(node):
            if place not in self._linear:
                self._linear[place] = internals.partials(node, values)
            blocks = self._linear[place]
        else:
            blocks = internals.partials(node, values)
        flat = np.ravel(bar, order="F")
        return [
            np.full(arg.shape, np.nan) if block is None else (block @ flat).reshape(arg.shape, order="F")
            for arg, block in zip(node.args, blocks)
        ]


def _constant(leaf):
    if leaf.variables():
        raise ArgumentError(f"the variable {leaf.name()} is neither an upper nor a lower variable")
    return internals.constant_value(leaf)


def _fit(array, shape):
    """Sum a cotangent over the axes along which its argument was broadcast."""
    array = np.asarray(array)
    while array.ndim > len(shape):
        array = array.sum(axis=0)
    for axis, size in enumerate(shape):
        if size == 1 and array.shape[axis] != 1:
            array = array.sum(axis=axis, keepdims=True)
    return array


def _dense(value):
    return value.toarray() if sparse.issparse(value) else np.asarray(value)


def _add(node, values, value, bar, live):
    return [_fit(bar, arg.shape) if on else None for arg, on in zip(node.args, live)]


def _negative(node, values, value, bar, live):
    return [-bar]


def _multiply(node, values, value, bar, live):
    a, b = (_dense(v) for v in values)
    return [_fit(bar * b, a.shape) if live[0] else None, _fit(bar * a, b.shape) if live[1] else None]


def _divide(node, values, value, bar, live):
    a, b = (_dense(v) for v in values)
    return [_fit(bar / b, a.shape) if live[0] else None, _fit(-bar * value / b, b.shape) if live[1] else None]


def _matmul(node, values, value, bar, live):
    """A @ B for vectors and matrices, as NumPy reads them."""
    a, b = values
    if a.ndim > 2 or b.ndim > 2:
        raise ArgumentError(f"the product {node} has more than two dimensions; write it with matrices")
    A = a.reshape(1, -1) if a.ndim < 2 else a
    B = b.reshape(-1, 1) if b.ndim < 2 else b
    C = np.reshape(bar, (A.shape[0], B.shape[1]))
    a_bar = np.reshape((B @ C.T).T, a.shape) if live[0] else None
    b_bar = np.reshape(A.T @ C, b.shape) if live[1] else None
    return [a_bar, b_bar]


def _power(node, values, value, bar, live):
    p = internals.exponent(node)
    return [bar * (0.0 if p == 0 else p * np.power(_dense(values[0]), p - 1.0))]


def _norm_inf(node, values, value, bar, live):
    """One maximiser along the axis takes the cotangent."""
    a, axis = _dense(values[0]), node.axis
    flat = np.ravel(a)[None] if axis is None else np.moveaxis(a, axis, -1).reshape(-1, a.shape[axis])
    out = np.zeros_like(flat)
    best = np.argmax(np.abs(flat), axis=1)
    rows = np.arange(flat.shape[0])
    out[rows, best] = np.sign(flat[rows, best]) * np.ravel(bar)
    if axis is None:
        return [out.reshape(a.shape)]
    return [np.moveaxis(out.reshape(np.moveaxis(a, axis, -1).shape), -1, axis)]


RULES = {
    "AddExpression": _add,
    "NegExpression": _negative,
    "multiply": _multiply,
    "DivExpression": _divide,
    "MulExpression": _matmul,
    "Power": _power,
    "PowerApprox": _power,
    "power": _power,
    "norm_inf": _norm_inf,
    "sinh": lambda node, values, value, bar, live: [bar * np.cosh(values[0])],
    "tanh": lambda node, values, value, bar, live: [bar * (1.0 - value * value)],
    "asinh": lambda node, values, value, bar, live: [bar / np.sqrt(1.0 + np.square(values[0]))],
    "atanh": lambda node, values, value, bar, live: [bar / (1.0 - np.square(values[0]))],
}

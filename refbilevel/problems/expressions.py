"""Expressions of x[i] and y[j] as data: a safe parser and exact derivatives of every order.

A text such as ``"x[0]**2 * np.exp(y[1]) - 3"`` is parsed by Python's own parser into a syntax tree of which only a
whitelist is read (numbers, ``x[i]``, ``y[j]``, + - * / **, and the functions of `FUNCTIONS`); nothing is ever evaluated as
code. The tree becomes a directed acyclic graph in one `Graph`, with equal subexpressions shared:

    node = (operation, operand, operand),      z = (x, y) the variables 0 .. n + m - 1.

Derivatives are taken symbolically by the reverse sweep over the graph (Griewank & Walther, *Evaluating Derivatives*,
2nd ed., sec. 3.2): with bar(v) = d output / d v, each node v = phi(a, b) adds bar(v) * phi_a to bar(a). The result is again a
graph, so the gradient of a gradient component is a row of the exact Hessian: no truncation error, only rounding.
A `Tape` lists the nodes an output needs, in order, and runs them in NumPy scalars (real or complex).
"""

from __future__ import annotations

import ast
import operator
from dataclasses import dataclass, field

import numpy as np

from ..errors import SchemaError

MAX_CHARACTERS, MAX_NODES, MAX_NESTING = 200_000, 100_000, 100

FUNCTIONS = {name: getattr(np, name) for name in ("exp", "log", "sqrt", "sin", "cos", "tan", "sinh", "cosh", "tanh", "arctan")}
CONSTANTS = {"pi": np.pi, "e": np.e}
_RUN = {"+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv, "**": operator.pow, **FUNCTIONS}
_BINARY = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.Pow: "**"}


@dataclass(eq=False)
class Graph:
    """Shared nodes of many expressions in `size` variables; node number i < size is the variable z_i.

    `nodes[i]` is ("z", i, None), ("c", value, None) or (operation, a, b) with node numbers a, b (b None for functions).
    `degree[i]` is the polynomial degree, inf if it is none.
    """

    size: int
    nodes: list = field(default_factory=list)
    degree: list = field(default_factory=list)
    _known: dict = field(default_factory=dict)

    def __post_init__(self):
        for i in range(self.size):
            self._add(("z", i, None), 1)

    def _add(self, node, degree):
        if node not in self._known:
            if len(self.nodes) >= MAX_NODES:
                raise SchemaError(f"an expression is too large: more than {MAX_NODES} operations with its derivatives")
            self._known[node] = len(self.nodes)
            self.nodes.append(node)
            self.degree.append(degree)
        return self._known[node]

    def constant(self, value):
        value = float(value)
        if not np.isfinite(value):
            raise SchemaError("an expression has a constant part that is not a finite number")
        return self._add(("c", value, None), 0)

    def value(self, a):
        """The number if node a is a constant, else None."""
        return self.nodes[a][1] if self.nodes[a][0] == "c" else None

    def add(self, a, b):
        u, v = self.value(a), self.value(b)
        if u is not None and v is not None:
            return self.constant(u + v)
        if u == 0:
            return b
        if v == 0:
            return a
        return self._add(("+", min(a, b), max(a, b)), max(self.degree[a], self.degree[b]))

    def subtract(self, a, b):
        u, v = self.value(a), self.value(b)
        if u is not None and v is not None:
            return self.constant(u - v)
        if v == 0:
            return a
        return self._add(("-", a, b), max(self.degree[a], self.degree[b]))

    def multiply(self, a, b):
        u, v = self.value(a), self.value(b)
        if u is not None and v is not None:
            return self.constant(u * v)
        if u == 0 or v == 0:
            return self.constant(0)
        if u == 1:
            return b
        if v == 1:
            return a
        return self._add(("*", min(a, b), max(a, b)), self.degree[a] + self.degree[b])

    def divide(self, a, b):
        u, v = self.value(a), self.value(b)
        if v == 0:
            raise SchemaError("an expression divides by the constant zero")
        if u is not None and v is not None:
            return self.constant(u / v)
        if v == 1 or u == 0:
            return a
        return self._add(("/", a, b), self.degree[a] if v is not None else np.inf)

    def power(self, a, b):
        u, v = self.value(a), self.value(b)
        if v == 0:
            return self.constant(1)
        if v == 1:
            return a
        if u is not None and v is not None:
            with np.errstate(all="ignore"):
                return self.constant(np.float64(u) ** np.float64(v))
        whole = v is not None and v > 0 and float(v).is_integer()
        return self._add(("**", a, b), self.degree[a] * v if whole else np.inf)

    def call(self, name, a):
        u = self.value(a)
        if u is not None:
            with np.errstate(all="ignore"):
                return self.constant(FUNCTIONS[name](np.float64(u)))
        return self._add((name, a, None), np.inf)

    def partials(self, i):
        """[(operand, node of d node_i / d operand)] of node i."""
        op, a, b = self.nodes[i]
        one = self.constant(1)
        if op in ("z", "c"):
            return []
        if op == "+":
            return [(a, one), (b, one)]
        if op == "-":
            return [(a, one), (b, self.constant(-1))]
        if op == "*":
            return [(a, b), (b, a)]
        if op == "/":
            return [(a, self.divide(one, b)), (b, self.divide(self.subtract(self.constant(0), i), b))]
        if op == "**":
            return self._power_partials(i, a, b)
        return [(a, self._derivative(op, i, a))]

    def _power_partials(self, i, a, b):
        slope = self.multiply(b, self.power(a, self.subtract(b, self.constant(1))))
        if self.value(b) is not None:
            return [(a, slope)]
        return [(a, slope), (b, self.multiply(i, self.call("log", a)))]

    def _derivative(self, name, i, a):
        c, square = self.constant, lambda j: self.multiply(j, j)
        return {
            "exp": lambda: i,
            "log": lambda: self.divide(c(1), a),
            "sqrt": lambda: self.divide(c(0.5), i),
            "sin": lambda: self.call("cos", a),
            "cos": lambda: self.subtract(c(0), self.call("sin", a)),
            "tan": lambda: self.add(c(1), square(i)),
            "sinh": lambda: self.call("cosh", a),
            "cosh": lambda: self.call("sinh", a),
            "tanh": lambda: self.subtract(c(1), square(i)),
            "arctan": lambda: self.divide(c(1), self.add(c(1), square(a))),
        }[name]()

    def needed(self, outputs):
        """Node numbers that `outputs` depend on, operands first."""
        seen, stack = set(outputs), list(outputs)
        while stack:
            op, a, b = self.nodes[stack.pop()]
            for operand in (a, b) if op not in ("z", "c") else ():
                if operand is not None and operand not in seen:
                    seen.add(operand)
                    stack.append(operand)
        return sorted(seen)

    def gradient(self, output):
        """{variable: node of d output / d z_variable}, the nonzero ones, by one reverse sweep."""
        bar = {output: self.constant(1)}
        for i in reversed(self.needed([output])):
            if i in bar:
                for operand, slope in self.partials(i):
                    term = self.multiply(bar[i], slope)
                    bar[operand] = self.add(bar[operand], term) if operand in bar else term
        return {i: bar[i] for i in range(self.size) if i in bar and self.value(bar[i]) != 0}

    def without(self, output, first):
        """The node of `output` with every variable from number `first` on set to zero."""
        make = {"+": self.add, "-": self.subtract, "*": self.multiply, "/": self.divide, "**": self.power}
        image = {}
        for i in self.needed([output]):
            op, a, b = self.nodes[i]
            if op == "z":
                image[i] = i if i < first else self.constant(0)
            elif op == "c":
                image[i] = i
            else:
                image[i] = self.call(op, image[a]) if b is None else make[op](image[a], image[b])
        return image[output]

    def tape(self, outputs):
        return Tape.record(self, outputs)


@dataclass(frozen=True, eq=False)
class Tape:
    """The straight-line program of some nodes: run(z) returns the outputs' values as a list."""

    constants: tuple
    variables: tuple
    steps: tuple
    outputs: tuple
    slots: int

    @classmethod
    def record(cls, graph, outputs):
        order = graph.needed(outputs)
        slot = {node: j for j, node in enumerate(order)}
        constants = tuple((slot[i], np.float64(graph.nodes[i][1])) for i in order if graph.nodes[i][0] == "c")
        variables = tuple((slot[i], graph.nodes[i][1]) for i in order if graph.nodes[i][0] == "z")
        steps = tuple(
            (slot[i], op, slot[a], None if b is None else slot[b])
            for i in order
            for op, a, b in [graph.nodes[i]]
            if op not in ("c", "z")
        )
        return cls(constants, variables, steps, tuple(slot[i] for i in outputs), len(order))

    def run(self, z):
        value = [None] * self.slots
        for j, number in self.constants:
            value[j] = number
        for j, i in self.variables:
            value[j] = z[i]
        with np.errstate(all="ignore"):
            for j, op, a, b in self.steps:
                value[j] = _RUN[op](value[a]) if b is None else _RUN[op](value[a], value[b])
        return [value[j] for j in self.outputs]


def parse(text, graph, n):
    """The node of `text` in `graph`, whose variables are x[0..n-1], y[0..graph.size-n-1].

    Raises
    ------
    SchemaError
        Anything but the whitelisted arithmetic, an index out of range, or text too long or too deeply nested.
    """
    tree = _syntax(text)
    done: list[int] = []
    work = [(tree, False)]
    while work:
        node, ready = work.pop()
        parts = _parts(node, text)
        if not parts:
            done.append(_leaf(node, graph, n, text))
        elif ready:
            operands = [done.pop() for _ in parts][::-1]
            done.append(_build(node, operands, graph))
        else:
            work.append((node, True))
            work.extend((part, False) for part in reversed(parts))
    return done[0]


def _syntax(text):
    if not isinstance(text, str):
        raise SchemaError(f"an expression must be text, got {type(text).__name__}")
    if len(text) > MAX_CHARACTERS:
        raise SchemaError(f"an expression is too long: {len(text)} characters, the limit is {MAX_CHARACTERS}")
    depth = deepest = 0
    for character in text:
        depth += (character in "([{") - (character in ")]}")
        deepest = max(deepest, depth)
    if deepest > MAX_NESTING:
        raise SchemaError(f"an expression is nested too deeply: {deepest} brackets, the limit is {MAX_NESTING}")
    try:
        return ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError, OverflowError) as error:
        raise SchemaError(f"an expression does not parse: {_short(text)} ({type(error).__name__})") from None


def _short(text):
    return repr(text if len(text) <= 60 else text[:57] + "...")


def _parts(node, text):
    """The operands of a whitelisted operation, () for a leaf."""
    if isinstance(node, ast.BinOp) and type(node.op) in _BINARY:
        return [node.left, node.right]
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.USub, ast.UAdd)):
        return [node.operand]
    if isinstance(node, ast.Call):
        if _numpy_name(node.func) in FUNCTIONS and len(node.args) == 1 and not node.keywords and not isinstance(node.args[0], ast.Starred):
            return node.args
        raise SchemaError(f"only calls of np.{', np.'.join(FUNCTIONS)} with one argument are read: {_short(text)}")
    return ()


def _numpy_name(node):
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in ("np", "numpy"):
        return node.attr
    return None


def _leaf(node, graph, n, text):
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        return graph.constant(_number(node.value, text))
    if _numpy_name(node) in CONSTANTS:
        return graph.constant(CONSTANTS[_numpy_name(node)])
    if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name) and node.value.id in ("x", "y"):
        index, size = node.slice, n if node.value.id == "x" else graph.size - n
        if isinstance(index, ast.Constant) and type(index.value) is int:
            if 0 <= index.value < size:
                return index.value + (0 if node.value.id == "x" else n)
            raise SchemaError(f"{node.value.id}[{index.value}] is out of range; there are {size} of them: {_short(text)}")
    raise SchemaError(f"not an expression of numbers, x[i], y[j], + - * / ** and np functions: {_short(text)} ({type(node).__name__})")


def _number(value, text):
    try:
        number = float(value)
    except OverflowError:
        number = np.inf
    if not np.isfinite(number):
        raise SchemaError(f"a number in an expression is too large: {_short(text)}")
    return number


def _build(node, operands, graph):
    if isinstance(node, ast.BinOp):
        make = {"+": graph.add, "-": graph.subtract, "*": graph.multiply, "/": graph.divide, "**": graph.power}
        return make[_BINARY[type(node.op)]](*operands)
    if isinstance(node, ast.UnaryOp):
        return operands[0] if isinstance(node.op, ast.UAdd) else graph.multiply(graph.constant(-1), operands[0])
    return graph.call(_numpy_name(node.func), operands[0])

r"""From the terms of a case file to its problem: the NumPy oracles and the array-API functions of one definition.

f and g are sums of terms (terms.py). p stacks linear rows A y + B x + c and curved rows, each a sum of terms; so does q.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from ...problem import BilevelProblem, Constraints
from ..arrays import constant, namespace
from .record import Functions
from .terms import FixedPoint, Sum, term


def total(records, n, m):
    """The `Sum` of a list of term records."""
    return Sum(tuple(term(r, n, m) for r in records), n, m)


class Rows:
    """Vector-valued constraint rows: [A y + B x + c; curved_1(x, y); ...]."""

    def __init__(self, record, n, m):
        linear = record.get("linear", {"c": []})
        self.c = np.array(linear["c"], float)
        self.A = np.array(linear.get("A", np.zeros((self.c.size, m))), float).reshape(self.c.size, m)
        self.B = np.array(linear.get("B", np.zeros((self.c.size, n))), float).reshape(self.c.size, n)
        self.curved = tuple(total(row, n, m) for row in record.get("curved", ()))
        self.size = self.c.size + len(self.curved)
        self.n, self.m = n, m

    def value(self, x, y):
        xp = namespace(x, y)
        rows = constant(self.A, y) @ y + constant(self.B, y) @ x + constant(self.c, y)
        if not self.curved:
            return rows
        return xp.concat([rows, xp.stack([row.value(x, y) for row in self.curved])])

    def d_x(self, x, y):
        return np.vstack([self.B, *(row.d_x(x, y) for row in self.curved)])

    def d_y(self, x, y):
        return np.vstack([self.A, *(row.d_y(x, y) for row in self.curved)])

    def weighted(self, name, x, y, multipliers):
        """sum_i multiplier_i * (second derivative `name` of row i)."""
        shape = {"d_yy": (self.m, self.m), "d_xy": (self.n, self.m), "d_xx": (self.n, self.n)}[name]
        result = np.zeros(shape)
        for weight, row in zip(multipliers[self.c.size :], self.curved):
            result += weight * getattr(row, name)(x, y)
        return result


def _constraints(p, q):
    if p is None and q is None:
        return None
    if not any(rows.curved for rows in (p, q) if rows):
        return Constraints(**_rows("p", p), **_rows("q", q), linear=True)

    curvature = {f"lagrangian_{d}": partial(_curvature, f"d_{d}", p, q) for d in ("yy", "xy", "xx")}
    return Constraints(**_rows("p", p), **_rows("q", q), **curvature)


def _curvature(name, p, q, x, y, mu, nu):
    return sum(rows.weighted(name, x, y, w) for rows, w in ((p, mu), (q, nu)) if rows)


def _rows(name, rows):
    return {name: rows.value, name + "_x": rows.d_x, name + "_y": rows.d_y} if rows else {}


def oracles(letter, function, second=("xx", "xy", "yy")):
    """The oracles f, f_x, f_y, f_xx, f_xy, f_yy of a `Sum`, under `letter`."""
    return {letter: function.value} | {f"{letter}_{d}": getattr(function, f"d_{d}") for d in ("x", "y", *second)}


def problem_and_functions(spec):
    """(BilevelProblem, Functions) of a case record with a lower objective g."""
    n, m = spec["n"], spec["m"]
    f, g = total(spec["f"], n, m), total(spec["g"], n, m)
    p, q = (Rows(spec[name], n, m) if name in spec else None for name in "pq")
    fixed = next((t for t in g.terms if isinstance(t, FixedPoint)), None)
    problem = BilevelProblem(
        n=n, m=m, **oracles("f", f), **oracles("g", g), constraints=_constraints(p, q), lower_solver=fixed and fixed.solve, name=spec["id"]
    )
    functions = Functions(f.value, g.value, p and p.value, q and q.value, fixed_point=fixed and fixed.map)
    return problem, functions

"""The upper problem: its objective and constraints as functions of flat (x, y), and what of it are plain bounds on x.

Inequalities become G(x, y) = lhs - rhs <= 0 and equalities H = 0, differentiated by the reverse walk; both may involve y. Rows that
bound a single entry of x (x >= 0, x <= cap, attributes nonneg, bounds=[..]) become `bounds`. Cones become inequalities:
(t, v) second-order: |v| - t; X positive semidefinite: -lambda_min(X); (a, b, c) exponential: b e^{a/b} - c.
"""

from __future__ import annotations

import cvxpy as cp
import numpy as np

from ...errors import ArgumentError, ConvexityError
from . import internals
from .walk import Walk


class Objective:
    """f, f_x, f_y of flat (x, y); a Maximize is turned round."""

    def __init__(self, objective, upper, lower):
        self.upper, self.lower = upper, lower
        self.sign = -1.0 if isinstance(objective, cp.Maximize) else 1.0
        self.walk = Walk(objective.args[0], upper.leaves + lower.leaves)
        if self.walk.size != 1:
            raise ArgumentError("the upper objective must be a scalar")

    def f(self, x, y):
        return self.sign * float(np.reshape(self.walk.value(_arrays(self, x, y)), ()))

    def f_x(self, x, y):
        return self.upper.pack(self._gradient(x, y))

    def f_y(self, x, y):
        return self.lower.pack(self._gradient(x, y))

    def _gradient(self, x, y):
        return self.walk.gradient(_arrays(self, x, y), self.sign)


class Rows:
    """A stack of expressions as one function of flat (x, y): value (k,), derivatives (k, n) and (k, m)."""

    def __init__(self, parts, upper, lower):
        self.upper, self.lower, self.parts = upper, lower, parts

    def value(self, x, y):
        arrays = _arrays(self, x, y)
        return np.concatenate([sign * np.ravel(walk.value(arrays), order="F")[keep] for walk, sign, keep in self.parts])

    def value_x(self, x, y):
        return self._jacobian(x, y, self.upper)

    def value_y(self, x, y):
        return self._jacobian(x, y, self.lower)

    def _jacobian(self, x, y, layout):
        arrays = _arrays(self, x, y)
        return np.vstack([sign * walk.jacobian(arrays, layout)[keep] for walk, sign, keep in self.parts])


def _arrays(owner, x, y):
    return owner.upper.unpack(x) | owner.lower.unpack(y)


def constraints(problem, upper, lower):
    """((lo, hi) or None, Rows of G or None, Rows of H or None) of the upper problem and of the attributes of its variables."""
    lo, hi = np.full(upper.size, -np.inf), np.full(upper.size, np.inf)
    parts = {"G": [], "H": []}
    for block in upper.blocks:
        _attribute_bounds(block, lo, hi)
        given = internals.attributes(block.leaf)
        if given.get("PSD") or given.get("NSD"):
            expression = cp.lambda_max(-block.leaf if given.get("PSD") else block.leaf)
            parts["G"].append((Walk(expression, upper.leaves), 1.0, np.array([True])))
    for constraint in problem.constraints if problem is not None else ():
        for kind, expression, sign in _functions(constraint):
            walk = Walk(expression, upper.leaves + lower.leaves)
            keep = _take_bounds(walk, expression, sign, kind, upper, lower, lo, hi)
            if keep.any():
                parts[kind].append((walk, sign, keep))
    if not (lo <= hi).all():
        raise ArgumentError("the upper constraints contradict each other: a lower bound exceeds an upper bound")
    bounds = (lo, hi) if np.isfinite(lo).any() or np.isfinite(hi).any() else None
    return bounds, *(Rows(parts[kind], upper, lower) if parts[kind] else None for kind in ("G", "H"))


def _functions(constraint):
    """[("G" or "H", expression, sign)]: the constraint as sign * expression <= 0 or == 0."""
    args, kind = constraint.args, type(constraint).__name__
    if kind in ("Inequality", "Equality"):
        return [("G" if kind == "Inequality" else "H", constraint.expr, 1.0)]
    if kind in ("NonNeg", "NonPos"):
        return [("G", args[0], -1.0 if kind == "NonNeg" else 1.0)]
    if kind == "Zero":
        return [("H", args[0], 1.0)]
    if kind == "SOC":
        axis = None if args[1].ndim < 2 else constraint.axis
        return [("G", cp.norm(args[1], 2, axis=axis) - args[0], 1.0)]
    if kind == "PSD":
        return [("G", cp.lambda_max(-0.5 * (args[0] + args[0].T)), 1.0)]
    if kind == "ExpCone":
        return [("G", cp.multiply(args[1], cp.exp(args[0] / args[1])) - args[2], 1.0)]
    raise ConvexityError(f"the upper constraint {constraint} is a {kind} cone, which is not supported; write it as an inequality")


def _attribute_bounds(block, lo, hi):
    """Bounds that the attributes of one upper leaf state."""
    given, part = internals.attributes(block.leaf), slice(block.start, block.stop)
    if given.get("nonneg") or given.get("pos"):
        lo[part] = np.maximum(lo[part], 0.0)
    if given.get("nonpos") or given.get("neg"):
        hi[part] = np.minimum(hi[part], 0.0)
    for side, bound in zip((lo, hi), given.get("bounds") or (None, None)):
        if bound is None:
            continue
        value = bound.value if isinstance(bound, cp.Expression) else bound
        if value is None:
            raise ArgumentError(f"the bounds of {block.leaf.name()} have no value")
        value = np.ravel(np.broadcast_to(np.asarray(value, float), block.leaf.shape), order="F")
        side[part] = np.maximum(side[part], value) if side is lo else np.minimum(side[part], value)


def _take_bounds(walk, expression, sign, kind, upper, lower, lo, hi):
    """Move the rows sign * (a x_i + c) <= 0 into lo, hi; returns the mask of the rows that are left."""
    keep = np.ones(walk.size, bool)
    if kind == "H" or walk.size > 10_000 or walk.depends_on(lower.leaves) or not expression.is_affine():
        return keep
    zero = upper.unpack(np.zeros(upper.size))
    c, J = sign * np.ravel(walk.value(zero), order="F"), sign * walk.jacobian(zero, upper)
    for row in range(walk.size):
        used = np.flatnonzero(J[row])
        if used.size == 0 and c[row] > 0:
            raise ArgumentError(f"the upper constraint {expression} <= 0 cannot hold: row {row} is the constant {c[row]:.3g}")
        if used.size <= 1:
            keep[row] = False
        if used.size == 1:
            i, a = used[0], J[row, used[0]]
            if a > 0:
                hi[i] = min(hi[i], -c[row] / a)
            else:
                lo[i] = max(lo[i], -c[row] / a)
    return keep

"""The lower level rebuilt around parameters, so that CVXPY canonicalises it once for all x (DPP).

Every upper leaf becomes a Parameter. Two mends make most models obey:

1. a maximal y-free subexpression h(x) that is not affine becomes a Parameter u = h(x) of its own, with h's sign or definiteness,
   and y / h(x) becomes y * u with u = 1 / h(x); derivatives of h are chained by the reverse walk (walk.py);
2. where an atom is jointly convex in (x, y) but x may not be a parameter (quad_over_lin(y, x + 1)), x is replaced there by a
   lower-level copy, with the constraint copy == x.

What stays is refused, naming the smallest expression that breaks the rules and the mend.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cvxpy as cp
import numpy as np

from ...errors import ConvexityError
from . import internals
from .walk import Walk

SIGNS = ("nonneg", "nonpos")


@dataclass(frozen=True, eq=False)
class Source:
    """One Parameter of the rebuilt problem: an upper leaf as it is, or a function of x."""

    parameter: Any
    leaf: Any
    walk: Walk | None

    def value(self, arrays):
        return arrays[self.leaf.id] if self.walk is None else self.walk.value(arrays)


@dataclass(frozen=True, eq=False)
class Rebuilt:
    """The parametric lower level: `constraints` are the user's, in order; `quadratic_forms`: the objective has x'Px with P a parameter."""

    problem: cp.Problem
    sources: tuple[Source, ...]
    constraints: tuple
    quadratic_forms: bool


def parametrise(lower, upper_leaves, lower_variables, signs, links):
    """`Rebuilt` for the lower problem.

    signs : {leaf.id: "nonneg" | "nonpos"} known from bounds; links : {cp.Parameter of the lower problem: expression of x}.
    """
    return _Builder(upper_leaves, lower_variables, signs, links).build(lower)


class _Builder:
    """One pass over the trees; keeps the replacements made so far."""

    def __init__(self, upper_leaves, lower_variables, signs, links):
        self.upper = {leaf.id: leaf for leaf in upper_leaves}
        self.lower_ids = {v.id for v in lower_variables}
        self.links = {parameter.id: expression for parameter, expression in links.items()}
        self.signs, self.sources, self.copies = signs, {}, {}
        self.keep, self.done, self.quadratic_forms = [], {}, False

    def build(self, lower):
        sense = type(lower.objective)
        objective = sense(self.tree(lower.objective.args[0], objective=True))
        if not internals.is_dcp(objective, True):
            verb = "Minimize a concave" if sense is cp.Minimize else "Maximize a convex"
            raise ConvexityError(f"the lower objective would {verb} function: {objective.args[0]}; change its sign")
        constraints = [self.constraint(c) for c in lower.constraints]
        equal = [copy == source.parameter for source, copy in self.copies.values()]
        problem = cp.Problem(objective, constraints + equal)
        return Rebuilt(problem, tuple(self.sources.values()), tuple(constraints), self.quadratic_forms)

    def constraint(self, constraint):
        for leaf in internals.hidden_leaves(constraint):
            if leaf.id in self.upper:
                raise ConvexityError(f"{constraint} has the upper variable {leaf.name()} as an exponent; it must be a number")
        built = constraint.copy([self.tree(arg) for arg in constraint.args])
        if internals.is_dcp(built, False):
            return built
        built = constraint.copy([self.copied(self.tree(arg)) for arg in constraint.args])
        if internals.is_dcp(built, False):
            return built
        raise ConvexityError(f"the lower constraint {constraint} is not convex in the lower variables; {_ADVICE}")

    def tree(self, node, objective=False):
        """`node` rebuilt so that it obeys DPP; memoised by identity."""
        key = (id(node), objective)
        if key not in self.done:
            self.done[key] = self._tree(node, objective)
            self.keep.append(node)
        return self.done[key]

    def _tree(self, node, objective):
        if internals.is_leaf(node):
            return self.leaf(node)
        for leaf in internals.hidden_leaves(node):
            if leaf.id in self.upper:
                raise ConvexityError(f"the upper variable {leaf.name()} is an exponent in {node}; it must be a number")
        if not self.has_lower(node):
            return self.y_free(node)
        if internals.atom_name(node) == "DivExpression" and not self.has_lower(node.args[1]) and self.has_upper(node.args[1]):
            return cp.multiply(self.tree(node.args[0], objective), self.own(cp.Constant(1.0) / node.args[1]))
        return self.obeying(node, objective)

    def obeying(self, node, objective):
        """The rebuilt atom if DPP accepts it, else with copies of x, else a refusal."""
        built = _try(node, [self.tree(arg, objective) for arg in node.args])
        if built is not None and internals.is_dcp(built, False):
            return built
        if built is not None and objective and internals.is_dcp(built, True):
            self.quadratic_forms = True
            return built
        joint = _try(node, [self.copied(self.tree(arg, objective)) for arg in node.args])
        if joint is not None and internals.is_dcp(joint, False):
            return joint
        raise ConvexityError(f"the lower level is not convex in its variables (DCP) because of {node}; {self.advice(node)}")

    def advice(self, node):
        """The mend: a sign where a sign is all that is missing."""
        unsigned = [leaf for leaf in self.upper.values() if leaf.id in _ids(node) and not _attributes(leaf, self.signs.get(leaf.id))]
        for sign in SIGNS if unsigned else ():
            signed = {id(leaf): cp.Parameter(leaf.shape, **{sign: True}) for leaf in unsigned}
            built = _try(node, [internals.rebuild(arg, signed) for arg in node.args])
            if built is not None and internals.is_dcp(built, False):
                return f"{_ADVICE}; the sign of {', '.join(leaf.name() for leaf in unsigned)} is not known: declare {sign}=True if it is so"
        return _ADVICE

    def leaf(self, node):
        key = internals.leaf_id(node)
        if key in self.upper:
            return self.source(node).parameter
        if key in self.links:
            return self.own(self.links[key], like=node)
        if key in self.lower_ids or isinstance(node, cp.Constant):
            return node
        return cp.Constant(internals.constant_value(node))

    def y_free(self, node):
        """An expression of x and constants: kept where affine in x, else a Parameter of its own."""
        if not self.has_upper(node):
            return node if not node.parameters() else cp.Constant(Walk(node, ()).value({}))
        affine = _variable_form(node, self.upper, self.signs)
        if affine is not None and affine.is_affine():
            return node.copy([self.tree(arg) for arg in node.args])
        return self.own(node)

    def own(self, expression, like=None):
        """The Parameter u = expression(x)."""
        key = id(expression)
        if key not in self.sources:
            signed = _variable_form(expression, self.upper, self.signs)
            attributes = _known(like) if like is not None else _known(signed if signed is not None else expression)
            parameter = cp.Parameter(expression.shape, name=f"u{len(self.sources)}", **attributes)
            self.sources[key] = Source(parameter, None, Walk(expression, list(self.upper.values())))
            self.keep.append(expression)
        return self.sources[key].parameter

    def source(self, leaf):
        if leaf.id not in self.sources:
            parameter = cp.Parameter(leaf.shape, name=leaf.name(), **_attributes(leaf, self.signs.get(leaf.id)))
            self.sources[leaf.id] = Source(parameter, leaf, None)
        return self.sources[leaf.id]

    def copied(self, built):
        """A rebuilt tree with every Parameter replaced by its lower-level copy."""
        ids = {parameter.id for parameter in built.parameters()}
        return internals.rebuild(built, {id(s.parameter): self.copy(s) for s in self.sources.values() if s.parameter.id in ids})

    def copy(self, source):
        key = source.parameter.id
        if key not in self.copies:
            attributes = {name: True for name in internals.attributes(source.parameter)}
            self.copies[key] = (source, cp.Variable(source.parameter.shape, **attributes))
        return self.copies[key][1]

    def has_lower(self, node):
        return any(leaf.id in self.lower_ids for leaf in _leaves(node))

    def has_upper(self, node):
        return any(leaf.id in self.upper or leaf.id in self.links for leaf in _leaves(node))


_ADVICE = "rewrite it by CVXPY's rules, with upper variables counting as constants of known sign"


def _leaves(node):
    return node.variables() + node.parameters()


def _ids(node):
    return {leaf.id for leaf in _leaves(node)}


def _try(node, args):
    """The atom on new arguments, or None where its constructor refuses them."""
    try:
        return node.copy(args)
    except (ValueError, TypeError, NotImplementedError, cp.error.DCPError):
        return None


def _variable_form(node, upper, signs):
    """The expression with fresh signed Variables for the upper leaves, for curvature and sign analysis; None if it cannot be built."""
    replace = {id(leaf): cp.Variable(leaf.shape, **_attributes(leaf, signs.get(leaf.id))) for leaf in _leaves(node) if leaf.id in upper}
    try:
        return internals.rebuild(node, replace)
    except (ValueError, TypeError, NotImplementedError, cp.error.DCPError):
        return None


def _attributes(leaf, sign=None):
    """What a stand-in must share with the leaf: definiteness or symmetry, and the sign."""
    given = internals.attributes(leaf)
    for name in ("PSD", "NSD", "symmetric"):
        if given.get(name):
            return {name: True}
    if given.get("nonneg") or given.get("pos") or sign == "nonneg":
        return {"nonneg": True}
    if given.get("nonpos") or given.get("neg") or sign == "nonpos":
        return {"nonpos": True}
    return {}


def _known(expression):
    """The attributes CVXPY's analysis proves of an expression."""
    if expression.ndim == 2 and expression.shape[0] == expression.shape[1] and expression.size > 1:
        if expression.is_psd():
            return {"PSD": True}
        if expression.is_nsd():
            return {"NSD": True}
    if expression.is_nonneg():
        return {"nonneg": True}
    if expression.is_nonpos():
        return {"nonpos": True}
    square = expression.ndim == 2 and expression.shape[0] == expression.shape[1] and expression.size > 1
    return {"symmetric": True} if square and expression.is_symmetric() else {}


def violation(parameter, value):
    """How far a value is outside what its Parameter was declared to be (0 inside)."""
    given = internals.attributes(parameter)
    if given.get("nonneg"):
        return max(0.0, -float(np.min(value, initial=0.0)))
    if given.get("nonpos"):
        return max(0.0, float(np.max(value, initial=0.0)))
    if given.get("PSD"):
        return max(0.0, -float(np.linalg.eigvalsh(value)[0]))
    if given.get("NSD"):
        return max(0.0, float(np.linalg.eigvalsh(value)[-1]))
    return 0.0

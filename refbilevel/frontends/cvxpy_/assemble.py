"""`from_cvxpy`: two CVXPY problems, or a lower one and NumPy functions, as one BilevelProblem."""

from __future__ import annotations

import warnings

import cvxpy as cp
import numpy as np

from ...errors import ArgumentError, DtypeError
from ...problem import BilevelProblem, UpperConstraints
from . import internals, solvers
from .layout import Layout
from .parametric import parametrise
from .solution_map import SolutionMap
from .upper import Objective, constraints


class ForgottenVariable(UserWarning):
    """A variable of the lower problem was taken for an upper one although the upper problem does not mention it."""


def from_cvxpy(
    upper=None, lower=None, lower_variables=None, *, upper_variables=None, parameters=None, f=None, f_x=None, f_y=None,
    bounds=None, solver="CLARABEL", name="",
):  # fmt: skip
    """A bilevel problem written in CVXPY.

    Parameters
    ----------
    upper : cvxpy.Problem, optional
        Objective and constraints of the leader, in the upper variables and the lower ones (coupling constraints). It need not be
        convex. Leave it out to give `f`, `f_x`, `f_y` instead.
    lower : cvxpy.Problem
        The follower, convex in `lower_variables` by CVXPY's rules when the upper variables count as constants of known sign.
    lower_variables : list of cvxpy.Variable
        y is these one after another, each by columns.
    upper_variables : list of cvxpy.Variable or cvxpy.Parameter, optional
        The order of x. Default: as met in `upper`, then in `lower`. May be Parameters of the lower problem (then x is their values).
        When given, any other variable of the lower problem is an error.
    parameters : dict {cvxpy.Parameter: expression of the upper variables}, optional
        Parameters of the lower problem that follow the upper variables, e.g. the matrix of a `quad_form`.
    f, f_x, f_y : callables (x, y), optional
        The upper objective as NumPy functions of the flat vectors, instead of `upper`.
    bounds : (lo, hi), optional
        Bounds on x in addition to those that `upper` and the variables' attributes state.
    solver : str
        Any installed CVXPY solver. Its answer is polished by Newton's method and judged by its residual.
    name : str, optional

    Returns
    -------
    BilevelProblem
        n and m are the total sizes; `solution_map` is a `SolutionMap`, whose layouts `upper` and `lower` pack and unpack
        {variable id: array}. For symmetric and PSD variables x holds the full matrix, the model sees its symmetric part, and
        gradients are Frobenius gradients (`refbilevel.frontends.cvxpy_.conventions` converts).
        CVXPY Parameters that are not upper variables are read once, here.

    Raises
    ------
    ArgumentError
        For a variable that is discrete or complex, forgotten or misplaced, a parameter without a value, an unknown solver.
    ConvexityError
        For a lower level that CVXPY's rules refuse; names the smallest offending expression.

    Examples
    --------
    >>> import cvxpy as cp, numpy as np, refbilevel as rb
    >>> a, x, y = np.arange(1.0, 6.0), cp.Variable(5), cp.Variable(5)
    >>> follower = cp.Problem(cp.Minimize(cp.sum_squares(y - a) / 2 + x @ y), [cp.sum(y) <= 10, y >= 0])
    >>> leader = cp.Problem(cp.Minimize(-x @ y), [x >= 0, x <= 10])
    >>> problem = rb.from_cvxpy(upper=leader, lower=follower, lower_variables=[y])
    >>> result = rb.minimize(problem, x0=np.ones(5), tol=1e-8)
    >>> print(np.round(result.x, 6), round(float(result.fun), 6), result.status)
    [0.5 1.  1.5 2.  2.5] -13.75 converged
    """
    lower_variables = _checked(upper, lower, lower_variables, f)
    links = dict(parameters or {})
    leaves = _upper_leaves(upper, lower, lower_variables, upper_variables, links)
    x_layout, y_layout = Layout(leaves), Layout(lower_variables)
    limits, G, H = constraints(upper, x_layout, y_layout)
    limits = _intersected(limits, bounds, x_layout.size)
    oracles = {"f": f, "f_x": f_x, "f_y": f_y}
    if upper is not None:
        objective = Objective(upper.objective, x_layout, y_layout)
        oracles = {"f": objective.f, "f_x": objective.f_x, "f_y": objective.f_y}
    return BilevelProblem(
        n=x_layout.size, m=y_layout.size, bounds=limits, upper_constraints=_upper_constraints(G, H),
        solution_map=solution_map(lower, lower_variables, leaves, _signs(x_layout, limits), links, solver), name=name, **oracles,
    )  # fmt: skip


def solution_map(lower, lower_variables, leaves, signs=None, links=None, solver="CLARABEL"):
    """The `SolutionMap` of a lower problem in the upper leaves."""
    solver = solvers.check(solver)
    rebuilt = parametrise(lower, leaves, lower_variables, signs or {}, links or {})
    _all_present(rebuilt.problem, lower_variables)
    canonical = internals.canonicalise(
        rebuilt.problem, [s.parameter for s in rebuilt.sources], lower_variables, rebuilt.constraints, rebuilt.quadratic_forms
    )
    return SolutionMap(Layout(leaves), Layout(lower_variables), rebuilt.sources, canonical, solver)


def _checked(upper, lower, lower_variables, f):
    """The lower variables as a list, once everything is of the right kind."""
    for argument, value in (("upper", upper), ("lower", lower)):
        if not isinstance(value, cp.Problem) and not (argument == "upper" and value is None):
            raise DtypeError(f"{argument} must be a cvxpy.Problem, got {type(value).__name__}")
    if upper is not None and f is not None:
        raise ArgumentError("give the upper objective once: as upper=cvxpy.Problem or as f, f_x, f_y")
    if upper is None and f is None:
        raise ArgumentError("give the upper objective: upper=cvxpy.Problem, or f, f_x, f_y as functions of (x, y)")
    variables = [lower_variables] if isinstance(lower_variables, cp.Variable) else list(lower_variables or [])
    if not variables or not all(isinstance(v, cp.Variable) for v in variables):
        raise ArgumentError("lower_variables must be a non-empty list of cvxpy.Variables, the ones the lower problem chooses")
    if len({v.id for v in variables}) != len(variables):
        raise ArgumentError("lower_variables names a variable twice")
    return variables


def _upper_leaves(upper, lower, lower_variables, upper_variables, links):
    """The leaves that make x, in order; a variable that looks forgotten is an error or a warning."""
    own = {v.id for v in lower_variables}
    mentioned = _unique((upper.variables() if upper is not None else []) + [v for e in links.values() for v in e.variables()])
    mentioned = [v for v in mentioned if v.id not in own]
    inside = [v for v in lower.variables() if v.id not in own]
    if upper_variables is not None:
        leaves = list(upper_variables)
        ids = {leaf.id for leaf in leaves}
        if len(ids) != len(leaves) or not leaves or ids & own:
            raise ArgumentError("upper_variables must list each upper variable once, and none of lower_variables")
        missing = [v.name() for v in mentioned + inside if v.id not in ids]
        if missing:
            raise ArgumentError(f"{', '.join(missing)} must be in upper_variables or in lower_variables")
        return leaves
    leaves = _unique(mentioned + inside)
    if not leaves:
        raise ArgumentError("there is no upper variable: list cvxpy.Parameters of the lower problem in upper_variables, or use Variables")
    met = {v.id for v in mentioned}
    forgotten = [v.name() for v in inside if v.id not in met]
    if forgotten:
        warnings.warn(
            f"{', '.join(forgotten)} occur(s) in the lower problem only and is taken for an upper variable; "
            "add it to lower_variables if the follower chooses it, or to upper_variables to confirm",
            ForgottenVariable,
            stacklevel=3,
        )
    return leaves


def _unique(leaves):
    return list({leaf.id: leaf for leaf in leaves}.values())


def _signs(layout, limits):
    """{leaf.id: "nonneg" or "nonpos"} where the bounds prove it."""
    if limits is None:
        return {}
    signs = {}
    for b in layout.blocks:
        if (limits[0][b.start : b.stop] >= 0).all():
            signs[b.leaf.id] = "nonneg"
        elif (limits[1][b.start : b.stop] <= 0).all():
            signs[b.leaf.id] = "nonpos"
    return signs


def _intersected(limits, bounds, n):
    if bounds is None:
        return limits
    try:
        lo, hi = (np.broadcast_to(np.asarray(b, float), (n,)) for b in bounds)
    except (TypeError, ValueError):
        raise ArgumentError(f"bounds must be a pair (lo, hi) of scalars or arrays of shape ({n},)") from None
    return (lo, hi) if limits is None else (np.maximum(limits[0], lo), np.minimum(limits[1], hi))


def _all_present(problem, lower_variables):
    ids = {v.id for v in problem.variables()}
    absent = [v.name() for v in lower_variables if v.id not in ids]
    if absent:
        raise ArgumentError(f"{', '.join(absent)} is in lower_variables but not in the lower problem")


def _upper_constraints(G, H):
    if G is None and H is None:
        return None
    rows = {}
    for letter, part in (("G", G), ("H", H)):
        if part is not None:
            rows |= {letter: part.value, f"{letter}_x": part.value_x, f"{letter}_y": part.value_y}
    return UpperConstraints(**rows)

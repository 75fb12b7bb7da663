"""Everything that touches what CVXPY does not document. Tested with the oldest and the newest CVXPY that setup.cfg allows.

Used: `Expression.copy/args`, `Atom.numeric/_grad`, `Leaf.save_value/attributes/sparse_idx`, the scopes of DPP analysis, the
reductions' `update_parameters/var_forward`, and `ParamConeProg` with its tensors q, A, P (as code generators for CVXPY use it).
CVXPY from 1.9.1 on can hand cones to a solver as cones on x itself (`dir_cones`) and bounds as bounds: rows that would be missing
from A. The canonical form here is the one for Clarabel, which has neither, and that is checked every time.
"""

from __future__ import annotations

import contextlib
import warnings
from dataclasses import dataclass
from types import SimpleNamespace

import cvxpy as cp
import numpy as np
from cvxpy.atoms.affine.affine_atom import AffAtom
from cvxpy.expressions.leaf import Leaf
from cvxpy.utilities import scopes
from scipy import sparse

from ...conic import Cones, ParametricProgram
from ...errors import BilevelError, ConvexityError

CANONICAL_SOLVER = "CLARABEL"
#: affine atoms of several arguments that are products of them
PRODUCTS = ("multiply", "MulExpression", "DivExpression", "kron", "conv", "convolve", "Convolve", "Einsum", "einsum", "gmatmul")


def atom_name(node):
    return type(node).__name__


def is_leaf(node):
    return isinstance(node, Leaf)


def leaf_id(leaf):
    """The id of a Variable or Parameter, None for a Constant."""
    return getattr(leaf, "id", None)


def is_affine_atom(node):
    return isinstance(node, AffAtom) and atom_name(node) not in PRODUCTS


def numeric(atom, values):
    """The value of `atom` at the values of its arguments, in the shape it declares (upper_tri, for one, returns another)."""
    value = atom.numeric(list(values))
    if sparse.issparse(value):
        return value
    value = np.asarray(value, float)
    return value if value.shape == atom.shape else value.reshape(atom.shape, order="F")


def partials(atom, values):
    """[(arg size, size) sparse or None]: transposed Jacobians of `atom` by argument, column-major; None outside its domain."""
    with np.errstate(all="ignore"):
        blocks = atom._grad(list(values))
    return [b if b is None else sparse.csr_array(b if sparse.issparse(b) else np.reshape(b, (-1, atom.size))) for b in blocks]


def exponent(atom):
    """p of an elementwise power."""
    return float(atom.p.value)


def constant_value(node):
    """The value of a Constant or Parameter, sparse or dense float."""
    value = node.value_sparse if node.sparse_idx is not None and hasattr(node, "value_sparse") else node.value
    if value is None:
        raise ConvexityError(f"the parameter {node.name()} has no value; set it, or list it in upper_variables or parameters")
    return value if sparse.issparse(value) else np.asarray(value, float)


def rebuild(node, replace):
    """A copy of the tree with nodes replaced where `replace` (dict by id) says so; top down, so that every atom obeys."""
    if isinstance(node, list):
        return [rebuild(part, replace) for part in node]
    if id(node) in replace:
        return replace[id(node)]
    if not node.args:
        return node
    return node.copy([rebuild(arg, replace) for arg in node.args])


def hidden_leaves(node):
    """Leaves inside a node's data (exponents, cone parameters) rather than its arguments."""
    found = []
    for datum in (node.get_data() or []) if not is_leaf(node) else []:
        if isinstance(datum, cp.Expression):
            found += datum.variables() + datum.parameters()
    return found


def save(parameter, array):
    """Set a value without validation: iterates touch the boundary of what attributes allow."""
    parameter.save_value(array)


def is_dcp(node, quadratic_forms):
    """CVXPY's DPP rules for an expression, objective or constraint."""
    with scopes.dpp_scope(), scopes.quad_form_dpp_scope() if quadratic_forms else contextlib.nullcontext():
        return bool(node.is_dcp())


def attributes(leaf):
    """The attributes of a leaf that are set."""
    return {name: value for name, value in leaf.attributes.items() if value is not None and value is not False}


def sparse_index(leaf):
    return leaf.sparse_idx


@dataclass(frozen=True, eq=False)
class Canonical:
    """The lower level as a ParametricProgram, and how its vectors meet the model's.

    theta = parameters[theta_index], y = x[y_index] * y_present; `mu_index`, `nu_index` find the multipliers of the
    inequality and equality constraints among the rows, `mu_sign`, `nu_sign` (+-1) their signs.
    """

    program: ParametricProgram
    theta_index: np.ndarray
    y_index: np.ndarray
    y_present: np.ndarray
    mu_index: np.ndarray
    mu_sign: np.ndarray
    nu_index: np.ndarray
    nu_sign: np.ndarray


def canonicalise(problem, parameters, variables, constraints, quadratic_forms):
    """The `Canonical` of a DPP problem. `parameters`, `variables`: the order of the model's vectors, each column-major.

    `constraints`: those of the problem whose multipliers are wanted, in order.
    """
    scope = scopes.quad_form_dpp_scope() if quadratic_forms else contextlib.nullcontext()
    for parameter in parameters:
        save(parameter, _probe(parameter, 1))
    with scope, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            data, chain, inverse = problem.get_problem_data(CANONICAL_SOLVER, enforce_dpp=True, solver_opts={})
        except (cp.error.DCPError, cp.error.DPPError, cp.error.SolverError) as error:
            raise ConvexityError(f"CVXPY does not accept the lower level: {error}") from error
    form = data[cp.settings.PARAM_PROB]
    _check_complete(form)
    dims = form.cone_dims
    powers = tuple((float(a), 1.0 - float(a)) for a in dims.p3d) + tuple(tuple(float(a) for a in row) for row in dims.pnd)
    cones = Cones(dims.zero, dims.nonneg, tuple(dims.soc), tuple(dims.psd), dims.exp, powers)
    n = form.x.size
    k = form.A.shape[0] // (n + 1)
    if k != cones.rows:
        raise BilevelError(f"CVXPY {cp.__version__}: the cone rows ({cones.rows}) are not those of A ({k}); please report this")
    program = ParametricProgram.build(form.q, form.A, form.P, n, k, cones)
    multipliers = _multipliers(chain, inverse, k, n, constraints)
    return Canonical(program, _parameter_map(problem, chain, form, parameters), *_variable_map(chain, form, variables), *multipliers)


def _check_complete(form):
    """No bound and no cone may live outside A: such rows would be dropped in silence."""
    outside = [name for name in ("lower_bounds", "upper_bounds", "lb_tensor", "ub_tensor") if getattr(form, name, None) is not None]
    if outside or getattr(form, "dir_cones", None):
        where = ", ".join(outside) or "dir_cones"
        raise BilevelError(f"CVXPY {cp.__version__} keeps constraints outside the cone rows ({where}); use another version")


def _probe(leaf, start):
    """start, start + 1, ... column-major over the leaf, symmetric where the leaf must be."""
    values = np.arange(start, start + leaf.size, dtype=float).reshape(leaf.shape, order="F")
    if any(leaf.attributes[name] for name in ("PSD", "NSD", "symmetric")):
        values = np.triu(values) + np.triu(values, 1).T
    return values


def _parameter_map(problem, chain, form, parameters):
    """Where each entry of theta is found among the parameters: read off by giving every entry its own number."""
    start = 1
    for parameter in parameters:
        save(parameter, _probe(parameter, start))
        start += parameter.size
    for reduction in chain.reductions:
        reduction.update_parameters(problem)
    theta = np.zeros(sum(form.param_id_to_size.values()))
    for key, column in form.param_id_to_col.items():
        if key in form.id_to_param:
            value = np.ravel(np.asarray(form.id_to_param[key].value, float), order="F")
            theta[column : column + value.size] = value
    index = theta.astype(int) - 1
    if not np.array_equal(index + 1.0, theta) or (index < 0).any():
        raise BilevelError(f"CVXPY {cp.__version__} transforms the parameters before use; this model is not supported")
    return index


def _variable_map(chain, form, variables):
    """(y_index, y_present) with y = x[y_index] * y_present, read off in the same way and verified at random numbers."""
    forward = _forward(chain, form, variables, np.arange(1.0, form.x.size + 1))
    index, present = forward.astype(int) - 1, (forward != 0).astype(float)
    index[forward == 0] = 0
    x = np.random.default_rng(0).standard_normal(form.x.size)
    if not np.allclose(_forward(chain, form, variables, x), x[index] * present, rtol=1e-14, atol=0):
        raise BilevelError(f"CVXPY {cp.__version__} transforms the variables nonlinearly; this model is not supported")
    return index, present


def _forward(chain, form, variables, x):
    values = form.split_solution(x)
    for reduction in reversed(chain.reductions):
        values = reduction.var_forward(values)
    parts = []
    for variable in variables:
        value = values[variable.id]
        parts.append(np.ravel(value.toarray() if sparse.issparse(value) else np.asarray(value), order="F"))
    return np.concatenate(parts)


def _multipliers(chain, inverse, k, n, constraints):
    """(mu_index, mu_sign, nu_index, nu_sign): rows of the multipliers of Inequality and Equality constraints, by the same trick."""
    z = np.arange(1.0, k + 1)
    solution = SimpleNamespace(status="Solved", x=np.zeros(n), z=z, obj_val=0.0, solve_time=0.0, iterations=0)
    duals = chain.invert(solution, inverse).dual_vars
    found = {"mu": [], "nu": []}
    for constraint in constraints:
        kind = {"Inequality": "mu", "NonNeg": "mu", "NonPos": "mu", "Equality": "nu", "Zero": "nu"}.get(type(constraint).__name__)
        value = duals.get(constraint.id)
        if kind is not None and value is not None:
            found[kind].append(np.ravel(np.asarray(value, float), order="F"))
    answer = []
    for kind in ("mu", "nu"):
        values = np.concatenate(found[kind]) if found[kind] else np.zeros(0)
        answer += [np.abs(values).astype(int) - 1, np.sign(values)]
    return tuple(answer)


def installed_solvers():
    return cp.installed_solvers()

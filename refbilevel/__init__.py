"""refbilevel: the reference for hypergradients. The public names, nothing else.

Names are imported on first use, so that `import refbilevel` costs neither Numba nor CVXPY.
"""

from importlib import import_module as _import_module
from importlib.util import find_spec as _find_spec
from pathlib import Path as _Path

if not (_Path(__file__).parent / "kernels").is_dir():  # bare checkout or editable install: rooms beside this folder
    __path__.append(str(_Path(__file__).parents[1]))

__version__ = "0.1.0"

_PUBLIC = {
    # the problem and what is answered about it
    "BilevelProblem": "problem",
    "Constraints": "problem",
    "UpperConstraints": "problem",
    "QuadraticBilevel": "problems.quadratic_bilevel",
    "join_followers": "problems.followers",
    "LowerSolution": "results",
    "LinearSolution": "results",
    "Hypergradient": "results",
    "Status": "results",
    # the verbs
    "hypergradient": "driver",
    "reference": "arbiter",
    "ESTIMATORS": "estimators",
    "solve_lower": "lower.solve",
    "StepMap": "lower.step_maps",
    "minimax_gradients": "estimators.minimax",
    "sensitivity": "sensitivities",
    "hessian": "second_order",
    "hessian_vector_product": "second_order",
    "check_problem": "derivatives",
    "directional_derivative": "kkt_sensitivity",
    "envelope_gradient": "kkt_sensitivity",
    "minimize": "outer.minimize_",
    "complete": "completion",
    # layers
    "BilevelLayer": "layers.continuous",
    "LayerProblem": "layers.problem",
    "LayerConstraints": "layers.problem",
    "LayerUpperConstraints": "layers.problem",
    # where problems come from
    "from_jax": "frontends.jax",
    "from_torch": "frontends.torch",
    "from_cvxpy": "frontends.cvxpy_",
    "ConvexProgram": "frontends.cvxpy_",
    "HypergradientSearchCV": "frontends.sklearn",
    "from_dask": "frontends.dask",
    "digits": "validation.lre",
    "minimize_global": "outer.global_minimize",
    # differentiable quadratic programs
    "solve_qp": "qp",
    "solve_qp_batch": "qp",
    "QPSolution": "qp",
}
_MODULES = ("errors", "linear", "lower", "estimators", "outer", "problems", "frontends", "qp", "projections", "kernels", "validation", "plot", "layers")

__all__ = sorted(_PUBLIC) + ["errors", "problems"]


def __getattr__(name):
    if name in _MODULES:
        return _import_module(f"refbilevel.{name}")
    if name in _PUBLIC:
        found = globals()[name] = getattr(_import_module(f"refbilevel.{_PUBLIC[name]}"), name)  # asked for once
        return found
    raise AttributeError(f"module 'refbilevel' has no attribute {name!r}")


def __dir__():
    return sorted([*globals(), *_PUBLIC, *_MODULES])


if _find_spec("numba") is None:
    _import_module("refbilevel.without_numba").import_kernels()

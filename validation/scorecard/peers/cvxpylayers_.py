"""cvxpylayers: the torch CvxpyLayer at its defaults, with Clarabel at tight tolerances, and with MOREAU."""

from cvxpylayers.torch import CvxpyLayer

from . import convex_program, torch_tools


def _gradient(problem, x, solver_args=None, **options):
    given = convex_program.values(problem, x)
    program, y, parameters = convex_program.program(problem, x)
    (answer,) = CvxpyLayer(program, parameters=parameters, variables=[y], **options)(*given, solver_args=solver_args or {})
    return torch_tools.pulled_back(problem, x, answer)


def default(problem, x):
    return _gradient(problem, x)


def clarabel(problem, x):
    """solve_method CLARABEL, tolerances 1e-10, mode "dense"."""
    tight = {"tol_gap_abs": 1e-10, "tol_gap_rel": 1e-10, "tol_feas": 1e-10}
    return _gradient(problem, x, {"solve_method": "CLARABEL", "mode": "dense", **tight})


def moreau(problem, x):
    """solver="MOREAU"."""
    return _gradient(problem, x, solver="MOREAU")

"""`solve_lower`: find y*(x) by the problem's own solver, or by the named one."""

from __future__ import annotations

import inspect
from dataclasses import replace

import numpy as np

from ..errors import ArgumentError, BilevelError, unknown
from ..problem import as_vector, counted
from ..results import LowerSolution, Status
from ..threads import owner_for
from . import SOLVERS
from .convex import with_multipliers


def solve_lower(problem, x, method="auto", *, y0=None, tol=None, maxiter=None, **options):
    """Solve the lower level at x.

    Parameters
    ----------
    problem : BilevelProblem
    x : (n,) array_like
    method : str
        A name of `refbilevel.lower.SOLVERS`; "auto" takes the problem's `solution_map` or `lower_solver` where it has one,
        a constrained solver under constraints, else Newton.
    y0 : (m,) array_like or LowerSolution, optional
        Start; zeros by default. Of the LowerSolution at a nearby x a solver that can also uses the factor.
    tol : float, optional
        Bound on the residual; None means until rounding stops the progress.
    maxiter : int, optional
    **options : the named solver's own options; unknown ones raise.

    Returns
    -------
    LowerSolution

    Raises
    ------
    ShapeError, DtypeError, ArgumentError
        For x, y0, tol or maxiter that cannot be used.
    UnknownOption
        For an unknown method or option.
    MissingDerivative
        When the problem lacks an oracle the method needs.
    """
    view, _ = counted(problem)
    x = as_vector(x, problem.n, "x")
    y0, near = start_of(y0, problem.m)
    check_tolerances(tol, maxiter)
    with owner_for(problem):
        return solve_view(view, x, method, y0, tol, maxiter, options, near)


def start_of(y0, m):
    """(start (m,), LowerSolution or None) of what a caller passes as y0."""
    if isinstance(y0, LowerSolution):
        return as_vector(y0.y, m, "y0"), y0
    return (np.zeros(m) if y0 is None else as_vector(y0, m, "y0")), None


def check_tolerances(tol, maxiter):
    """Raise for a tol that is not a positive number, or a maxiter that is not a count."""
    if tol is not None and not (isinstance(tol, (int, float, np.number)) and tol > 0):
        raise ArgumentError(f"tol must be a positive number or None, got {tol!r}")
    if maxiter is not None and not (isinstance(maxiter, (int, np.integer)) and maxiter >= 0):
        raise ArgumentError(f"maxiter must be a non-negative integer or None, got {maxiter!r}")


def solve_view(view, x, method, y0, tol, maxiter, options, near=None):
    """`solve_lower` after its arguments were checked; `view` is a counted view, `near` the LowerSolution that y0 is from."""
    if method == "auto" and not options:
        if view.solution_map is not None:
            return view.solution_map.solve(x, y0=y0, tol=tol)
        if view.lower_solver is not None:
            return _own(view, x, y0, tol, maxiter, near)
    name = default_method(view) if method == "auto" else method
    if name not in SOLVERS:
        raise unknown("lower method", name, SOLVERS)
    solver = SOLVERS[name]
    kind = "smooth" if view.constraints is None else "constrained"
    if kind not in solver.classes:
        raise ArgumentError(f"method {name!r} solves {' and '.join(solver.classes)} lower levels, and this one is {kind}")
    known = [p.name for p in inspect.signature(solver.solve).parameters.values() if p.kind is p.KEYWORD_ONLY]
    for option in options:
        if option not in known:
            raise unknown(f"option of lower method {name!r}", option, known)
    view.needs(*solver.requires, purpose=f"lower method {name!r}")
    return solver.solve(view, x, y0, tol=tol, maxiter=maxiter, **options)


def default_method(view):
    """The solver that "auto" means for this problem."""
    if view.constraints is not None:
        return "convex"
    return "newton" if view.g_yy is not None else "accelerated_gradient"


def _own(view, x, y0, tol, maxiter, near):
    """The problem's own solver; a bare y is wrapped, and its residual is measured, not believed. Where it fails, the next is tried."""
    try:
        resumes = near is not None and hasattr(view.lower_solver, "resume")
        answer = view.lower_solver.resume(x, near, tol) if resumes else view.lower_solver(x, y0, tol)
    except BilevelError:
        raise
    except Exception as error:  # whatever a foreign solver raises is recorded in `solvers` and in the message
        word = f"own ({type(error).__name__}: {error})"
        found = solve_view(view, x, default_method(view), y0, tol, maxiter, {})
        detail = f"The problem's lower_solver raised {type(error).__name__}: {error}; {found.method} was used. {found.detail}".strip()
        return replace(found, solvers=(word, *(found.solvers or (found.method,))), detail=detail)
    if isinstance(answer, LowerSolution):
        if view.constraints is None or not answer.success or answer.mu.size or answer.nu.size:
            return answer
        answer = answer.y  # under constraints, a solution without multipliers is a bare y
    y = as_vector(answer, view.m, "lower_solver's y")
    if view.constraints is not None:
        return with_multipliers(view, x, y, 1e-8 * (1 + np.abs(view.g_y(x, y)).max()) if tol is None else tol)
    residual = float(np.linalg.norm(view.g_y(x, y)))
    scale = np.linalg.norm(view.g_y(x, y0)) + np.linalg.norm(view.g_y(x, y0 + 1.0))
    met = residual <= (1e-8 * scale if tol is None else tol)
    return LowerSolution(y=y, residual=residual, status=Status.CONVERGED if met else Status.LOWER_STALLED, method="own")

"""`minimize`: solve the bilevel problem from x0 by a named method; SciPy's OptimizeResult with y, status, error figures and history."""

from __future__ import annotations

import numpy as np
from scipy.optimize import OptimizeResult

from ..driver import hypergradient, kind
from ..errors import ArgumentError, unknown
from ..problem import _bounds, as_vector
from ..results import Status
from . import METHODS
from .objective import Objective, Stop
from .progress import with_progress


def minimize(
    problem, x0, method="auto", *, bounds=None, tol=1e-8, maxiter=500, callback=None, progress=False, estimator="auto",
    estimator_options=None, strict=False, **options,
):  # fmt: skip
    """Minimise F(x) = f(x, y*(x)) over the bounds.

    Parameters
    ----------
    problem : BilevelProblem
    x0 : (n,) array_like
    method : str
        A name of `refbilevel.outer.METHODS`; "auto" chooses by structure and says why in `message`.
    bounds : (lo, hi), optional
        Overrides the problem's own.
    tol : float
        Bound on the projected hypergradient, |P(x - grad F) - x|_inf.
    maxiter : int
    callback : callable(intermediate_result), optional
        Called at each accepted point with an `Iterate`; return True or raise StopIteration to stop.
    progress : bool
        A progress bar (tqdm where installed, plain lines else) on standard error.
    estimator, estimator_options : str, dict
        The hypergradient method and its options.
    strict : bool
        Raise StatusError unless the run converged.
    **options : the method's own options; unknown ones raise.

    Returns
    -------
    scipy.optimize.OptimizeResult
        x, y, mu, nu, fun, jac (the hypergradient), success, status (`Status`), message, nit, nfev, error_estimate,
        projected_norm, hypergradient (the full record at x), counts, history.

    Raises
    ------
    ShapeError, DtypeError, ArgumentError, UnknownOption
        For arguments that cannot be used.
    """
    x0 = as_vector(x0, problem.n, "x0")
    bounds = _bounds(bounds, problem.n) if bounds is not None else problem.bounds
    if not (isinstance(tol, (int, float, np.number)) and tol > 0):
        raise ArgumentError(f"tol must be a positive number, got {tol!r}")
    chosen, why = _choose(problem, method)
    chosen.check_options(options)
    with with_progress(callback, progress, maxiter) as told:
        objective = Objective(problem, estimator, estimator_options, bounds, told)
        outcome, status, detail = None, None, ""
        try:
            outcome = chosen.run(objective, objective.project(x0), tol=tol, maxiter=maxiter, **options)
        except (Stop, KeyboardInterrupt) as stop:
            status, detail = Status.STOPPED, str(stop) or "Interrupted."
    return _result(problem, objective, outcome, status, detail, chosen, why, tol, strict, x0)


def _choose(problem, method):
    if method == "auto" and problem.upper_constraints is not None:
        name, why = "slsqp", "chosen because there are upper constraints"
    elif method == "auto":
        name, why = "lbfgs", "chosen for a smooth F under bounds"
    else:
        name, why = method, ""
    if name not in METHODS:
        raise unknown("outer method", name, METHODS)
    if problem.upper_constraints is not None and "coupling" not in METHODS[name].constraints:
        fitting = [name for name, m in METHODS.items() if "coupling" in m.constraints]
        raise ArgumentError(f"method {name!r} does not honour upper constraints; use one of {', '.join(fitting)}")
    if kind(problem) not in METHODS[name].classes:
        raise ArgumentError(f"method {name!r} is for {' and '.join(METHODS[name].classes)} lower levels, and this one is {kind(problem)}")
    return METHODS[name], why


def _result(problem, objective, outcome, status, detail, chosen, why, tol, strict, x0):
    best = objective.history[-1].x if objective.history else objective.project(x0)
    x = outcome.x if outcome is not None else best
    h = hypergradient(problem, x, objective.estimator, y0=objective.y, **objective.options)
    norm = objective.projected_norm(x, h.gradient) if np.isfinite(h.gradient).all() else np.nan
    status = status or outcome.status
    detail = detail or outcome.detail
    if status.success and h.status is Status.DEGENERATE and (chosen.kinks or norm <= tol):  # the gradient is the least-norm element
        detail = f"{detail or 'Clarke stationary.'} {h.detail}".strip()
    elif (status.success or status is Status.STALLED and h.status is Status.DEGENERATE) and not h.success:
        status, detail = h.status, h.detail  # at a kink the lower level's status is the reason why nothing more was gained
    parts = [status.message, detail, f"Method {chosen.name}{', ' + why if why else ''}."]
    result = OptimizeResult(
        x=x, y=h.lower.y, mu=h.lower.mu, nu=h.lower.nu, fun=h.objective, jac=h.gradient, success=status.success, status=status,
        message=" ".join(p for p in parts if p), nit=outcome.nit if outcome is not None else len(objective.history),
        nfev=objective.counts["hypergradients"], error_estimate=h.error_estimate, projected_norm=norm, hypergradient=h,
        counts=dict(objective.counts), history=objective.history, method=chosen.name,
    )  # fmt: skip
    if strict and not status.success:
        from ..errors import StatusError

        raise StatusError(result)
    return result

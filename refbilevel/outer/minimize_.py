"""`minimize`: solve the bilevel problem from x0 by a named method; SciPy's OptimizeResult with y, status, error figures and history.

Whatever a method says of its end point, that point is re-checked by an independent lower solve (recheck.py) before it is called a success.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import OptimizeResult

from ..driver import NO_ANSWER, kind
from ..errors import ArgumentError, StatusError, unknown
from ..lower.solve import start_of
from ..problem import _bounds, as_vector
from ..results import Status
from ..threads import owner_for
from . import METHODS, choice, multistart
from .checkpoint import Checkpoint
from .objective import Objective, Stop
from .progress import with_progress
from .protocol import Outcome
from .recheck import recheck


@dataclass(frozen=True, eq=False)
class Plan:
    """What every start of one call shares."""

    problem: object
    method: str
    why: str
    bounds: tuple | None
    tol: float
    maxiter: int
    estimator: str
    estimator_options: dict | None
    options: dict
    y0: object = None


def minimize(
    problem, x0=None, method="auto", *, y0=None, bounds=None, tol=1e-8, maxiter=500, starts=None, restarts=None, rng=0, callback=None, progress=False, checkpoint=None,
    estimator="auto", estimator_options=None, strict=False, **options,
):  # fmt: skip
    """Minimise F(x) = f(x, y*(x)) over the bounds and the upper constraints.

    Parameters
    ----------
    problem : BilevelProblem
    x0 : (n,) array_like, optional
        The first start; drawn like the others where it is left out.
    method : str
        A name of `refbilevel.outer.METHODS`; "auto" chooses by structure and says why in `message`.
    y0 : (m,) array_like or LowerSolution, optional
        Where the first lower solve of each start begins, and single-loop methods their y; zeros by default. Needed where g is not
        defined at zero.
    bounds : (lo, hi), optional
        Overrides the problem's own.
    tol : float
        Bound on the projected hypergradient, |P(x - grad F) - x|_inf.
    maxiter : int
        Of each start.
    starts : int, optional
        How many points to start from: x0 and starts - 1 random ones in the bounds. The best point that the re-check accepts is
        returned, every start is listed in `starts` of the result.
    restarts : int, optional
        The same said otherwise: starts = restarts + 1.
    rng : int or numpy.random.Generator
        Of the random starts, and of the stochastic methods.
    callback : callable(intermediate_result), optional
        Called at each accepted point with an `Iterate`; return True or raise StopIteration to stop.
    progress : bool
        A progress bar (tqdm where installed, plain lines else) on standard error.
    checkpoint : path, optional
        A file written after every accepted step, atomically; a call that finds it goes on from there (see outer/checkpoint.py).
    estimator, estimator_options : str, dict
        The hypergradient method and its options.
    strict : bool
        Raise StatusError unless the run converged.
    **options : the method's own options; unknown ones raise.

    Returns
    -------
    scipy.optimize.OptimizeResult
        x, y, mu, nu, fun, jac (the hypergradient), success, status (`Status`), message, nit, nfev, error_estimate,
        projected_norm, hypergradient (the full record at x), counts, history, method, starts (a `Start` each), and of the re-check:
        own_y (the y a single-loop method itself ended with, else None), residual (bilevel feasibility), accepted, recheck (the record: LICQ, strict complementarity, uniqueness, optimistic and
        pessimistic value).

    Raises
    ------
    ShapeError, DtypeError, ArgumentError, UnknownOption
        For arguments that cannot be used.
    """
    x0 = None if x0 is None else as_vector(x0, problem.n, "x0")
    start_of(y0, problem.m)
    bounds = _bounds(bounds, problem.n) if bounds is not None else problem.bounds
    if not (isinstance(tol, (int, float, np.number)) and tol > 0):
        raise ArgumentError(f"tol must be a positive number, got {tol!r}")
    count = _count(starts, restarts)
    name, why = choice.choose(problem) if method == "auto" else (method, "")
    _check(problem, name, options)
    if "rng" in METHODS[name].options:
        options["rng"] = rng
    plan = Plan(problem, name, why, bounds, tol, maxiter, estimator, estimator_options, options, y0)
    points = multistart.start_points(problem, count if x0 is None else count - 1, np.random.default_rng(rng), bounds)
    points = [*([] if x0 is None else [x0]), *points]
    kept = None if checkpoint is None else Checkpoint(checkpoint, problem, name, points)
    points = points if kept is None else kept.points
    with with_progress(callback, progress, maxiter * count) as told, owner_for(problem):

        def run(x):
            return _from(plan, x, told if kept is None else kept.watch(told))

        if x0 is not None and count == 1:
            result = run(points[0])
            result.starts = (multistart.Start(x0, result.x, result.fun, result.status, result.residual, result.message),)
        else:
            result = multistart.best_of(points, run)
    if strict and not result.success:
        raise StatusError(result)
    return result


def _count(starts, restarts):
    """The number of starts that `starts` or `restarts` asks for."""
    for name, value, least in (("starts", starts, 1), ("restarts", restarts, 0)):
        whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
        if value is not None and not (whole and value >= least):
            raise ArgumentError(f"{name} must be an integer of at least {least}, got {value!r}")
    if starts is not None and restarts is not None and starts != restarts + 1:
        raise ArgumentError(f"give starts or restarts; starts = restarts + 1, got {starts} and {restarts}")
    return starts if starts is not None else 1 if restarts is None else restarts + 1


def _check(problem, name, options):
    if name not in METHODS:
        raise unknown("outer method", name, METHODS)
    if problem.upper_constraints is not None and "coupling" not in METHODS[name].constraints:
        fitting = [name for name, m in METHODS.items() if "coupling" in m.constraints]
        raise ArgumentError(f"method {name!r} does not honour upper constraints; use one of {', '.join(fitting)}")
    if kind(problem) not in METHODS[name].classes:
        raise ArgumentError(f"method {name!r} is for {' and '.join(METHODS[name].classes)} lower levels, and this one is {kind(problem)}")
    METHODS[name].check_options(options)


def _from(plan, x0, callback):
    """One start: the method, then under "auto" those that follow where it stops short; the best of what they found."""
    objective = Objective(plan.problem, plan.estimator, plan.estimator_options, plan.bounds, callback, y0=plan.y0)
    best = _stage(plan, objective, plan.method, objective.project(x0), plan.options)
    if not plan.why:
        return best
    tried, x, status, h = [plan.method], best.x, best.status, best.hypergradient
    best.message += f" Method {plan.method}, {plan.why}."
    while status is not Status.STOPPED:
        name, why = choice.follow_up(plan.problem, tried, status, h, plan.maxiter - len(objective.history))
        if name is None:
            break
        further = _stage(plan, objective, name, x if np.isfinite(x).all() else objective.project(x0), {})
        further.message += f" Method {name} after {', '.join(tried)}, because {why}; {plan.method} was {plan.why}."
        tried.append(name)
        x, status, h = further.x, further.status, further.hypergradient
        best = min(best, further, key=lambda r: (*multistart.rank(r)[:2], _rounded(r.fun, best.fun), not r.success, r.fun))
    best.history, best.counts, best.nfev = objective.history, dict(objective.counts), objective.counts["hypergradients"]
    return best


def _rounded(value, reference):
    """0 where both agree to rounding of the method, else the difference."""
    return 0.0 if abs(value - reference) <= 1e-9 * (1 + abs(reference)) else value - reference


def _stage(plan, objective, name, x0, options):
    objective.loosen(None, None)
    outcome = None
    try:
        outcome = METHODS[name].run(objective, x0, tol=plan.tol, maxiter=plan.maxiter, **options)
    except (Stop, KeyboardInterrupt) as stop:
        best = objective.history[-1].x if objective.history else x0
        outcome = Outcome(best, Status.STOPPED, str(stop) or "Interrupted.", len(objective.history))
    return _result(plan, objective, METHODS[name], outcome)


def _result(plan, objective, method, outcome):
    x = outcome.x
    h = objective.examined(x)
    norm = objective.projected_norm(x, h.gradient) if np.isfinite(h.gradient).all() else np.nan
    check = recheck(plan.problem, x, h.lower.y)
    fun, y = h.objective, h.lower.y
    chosen = _own_y(plan, method, outcome, check, fun)
    if chosen is not None:
        y, fun, check = chosen
    status, detail = _verdict(method, outcome, h, norm, plan.tol, check, chosen is not None)
    method_says = "" if plan.why else f"Method {method.name}."
    return OptimizeResult(
        x=x, y=y, mu=h.lower.mu if chosen is None else check.mu, nu=h.lower.nu if chosen is None else check.nu, fun=fun, jac=h.gradient,
        success=status.success, status=status, message=" ".join(p for p in (status.message, detail, method_says) if p), nit=outcome.nit,
        nfev=objective.counts["hypergradients"], error_estimate=h.error_estimate, projected_norm=norm, hypergradient=h,
        counts=dict(objective.counts), history=objective.history, method=method.name, recheck=check, residual=check.residual,
        accepted=check.accepted, own_y=outcome.y,
    )  # fmt: skip


def _own_y(plan, method, outcome, check, fun):
    """(y, F, re-check) of the y that a joint method chose, where it is a lower solution too and better for the upper level."""
    if not method.joint or outcome.y is None:
        return None
    own = recheck(plan.problem, outcome.x, outcome.y)
    value = float(plan.problem.f(outcome.x, outcome.y))
    better = not np.isfinite(fun) or not check.accepted or value < fun - 1e-6 * (1 + abs(fun))
    return (outcome.y, value, own) if own.accepted and better else None


def _verdict(method, outcome, h, norm, tol, check, chosen):
    """(status, detail) of a point: the method's, unless the hypergradient there or the re-check knows better."""
    status, detail = outcome.status, outcome.detail
    if status.success and h.status is Status.DEGENERATE and (method.kinks or norm <= tol):  # the gradient is the least-norm element
        detail = f"{detail or 'Clarke stationary.'} {h.detail}".strip()
    elif method.joint and status.success:
        detail = f"{detail} y is one of several lower solutions, the best for the upper level." if chosen else detail
    elif (status.success or status is Status.STALLED and h.status in (Status.DEGENERATE, *NO_ANSWER)) and not h.success:
        status, detail = h.status, h.detail  # at a kink, or without a lower solution, that is the reason why nothing more was gained
    if status.success and not check.accepted:
        status, detail = Status.INACCURATE, f"{detail} {check.detail}".strip()
    elif not check.accepted and status is not Status.STOPPED:
        detail = f"{detail} {check.detail}".strip()
    return status, detail

"""`hypergradient`: one verb for every estimator. It solves the lower level, calls the estimator, and says what is known of the error.

    x -> lower.solve -> LowerSolution -> estimator.compute -> Estimate -> error figures, cost, status -> Hypergradient
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from . import certificates
from .accuracy import check_accuracy, to_accuracy
from .errors import ArgumentError, BilevelError, unknown
from .estimators import ESTIMATORS
from .linear import METHODS
from .linear.operators import all_finite, length, not_a_hessian
from .lower.convex import as_given
from .lower.solve import check_tolerances, solve_view, start_of
from .problem import as_vector, counted, forget_answers, keep_answers, narrow
from .results import Hypergradient, LowerSolution, Status
from .threads import owner_for

NO_ANSWER = (Status.LOWER_INFEASIBLE, Status.LOWER_UNBOUNDED, Status.NONFINITE)


def hypergradient(
    problem,
    x,
    method="auto",
    *,
    y0=None,
    lower=None,
    tol=None,
    lower_method="auto",
    lower_options=None,
    accuracy=None,
    certify=False,
    refine=False,
    strict=False,
    diagnostics=True,
    **options,
):
    """The gradient of F(x) = f(x, y*(x)).

    Parameters
    ----------
    problem : BilevelProblem
    x : (n,) array_like
    method : str
        A name of `refbilevel.ESTIMATORS`. "auto" and "implicit" differentiate the lower optimality system, whichever it is:
        g_y = 0, the KKT system under constraints, or the problem's own solution map.
    y0 : (m,) array_like or LowerSolution, optional
        Start of the lower solve (and of unrolled dynamics); zeros by default. Of the LowerSolution at a nearby x a solver that can also
        uses the factor.
    lower : LowerSolution or (m,) array_like, optional
        A lower solution at x, used as it is instead of solving.
    tol : float, optional
        Bound on the lower residual; None means until rounding stops the progress.
    lower_method, lower_options : str, dict
        The lower solver and its options (see `solve_lower`).
    accuracy : float, optional
        Tighten the lower and adjoint solves until error_estimate (and the rounding floor) is at most this, absolutely; status
        `inaccurate` with the reason where it cannot be.
    certify : bool
        With `accuracy`: until error_bound, the rigorous one, is; the status is then `certified`.
    refine : bool or "extended"
        Return the Newton-corrected gradient instead of the one at the y found; "extended" iterates the correction of y and of the
        adjoint on residuals in extended precision (NumPy's longdouble), for oracles that accept it.
    strict : bool
        Raise StatusError (NotConverged, Degenerate) instead of returning an unsuccessful result.
    diagnostics : bool
        False skips error_estimate, error_bound and attainable_digits (nan): the fast path. Faster still with `lower` the LowerSolution of
        `solve_lower`, whose factor then serves the adjoint.
    **options : the estimator's own options, e.g. linear="cg", K=100, beta=1e-3; unknown ones raise.

    Returns
    -------
    Hypergradient
        float64 whatever the dtype of x.

    Raises
    ------
    ShapeError, DtypeError, ArgumentError, UnknownOption, MissingDerivative
        For arguments that cannot be used; numerical trouble is a status instead.
    StatusError
        Under strict=True.
    """
    view, counts = counted(problem)
    x = as_vector(x, problem.n, "x")
    estimator = _select(view, method)
    estimator.check_options(options)
    check_tolerances(tol, None)
    view.needs(*estimator.requires, purpose=f"method {estimator.name!r}")
    first = start_of(y0, problem.m)
    check_accuracy(accuracy, certify)
    _check_refine(refine, view)

    def run(tol, options, y0=None, refine=refine):
        (y0, near), found = first if y0 is None else start_of(y0, problem.m), None
        forget_answers(view)
        try:
            found = _lower(view, x, estimator, y0, near, lower, tol, lower_method, lower_options or {})
            return _answer(view, x, found, estimator, refine, diagnostics or accuracy is not None, options)
        except (ValueError, np.linalg.LinAlgError) as error:  # what NumPy and SciPy raise at NaN; the caller's mistakes go through
            where = None if isinstance(error, BilevelError) else _not_finite(view, x, y0 if found is None else found.y)
            if not where:
                raise
            found = LowerSolution(y=y0, status=Status.NONFINITE, detail=where, method=lower_method)
            return _no_answer(view, x, found, estimator)

    with owner_for(problem):
        result = run(tol, options) if accuracy is None else to_accuracy(run, accuracy, certify, estimator, options)
    object.__setattr__(result, "cost", _cost(counts, result.linear))  # ours alone until it is returned
    return result.raise_for_status() if strict else result


def _answer(view, x, lower, estimator, refine, diagnostics, options):
    """The estimator's answer at one lower solution, with its figures; an interrupt carries the lower solution as `.partial`."""
    if lower.status in NO_ANSWER:
        return _no_answer(view, x, lower, estimator)
    keep_answers(view, x, lower.y)
    try:
        estimate = estimator.compute(view, x, lower, **options)
        return _assemble(view, x, lower, estimator, estimate, refine, diagnostics, options)
    except KeyboardInterrupt as stop:
        stop.partial = lower
        raise


def _check_refine(refine, view):
    if refine not in (True, False, "extended"):
        raise ArgumentError(f"refine must be True, False or 'extended', got {refine!r}")
    if refine == "extended" and kind(view) != "smooth":
        raise ArgumentError("refine='extended' is for lower levels without constraints; use refbilevel.reference for the others")


def kind(view):
    """"smooth", "constrained" or "map": what the lower level is."""
    if view.solution_map is not None:
        return "map"
    return "smooth" if view.constraints is None else "constrained"


def _select(view, method):
    which = kind(view)
    if method in ("auto", "implicit"):
        method = {"smooth": "implicit", "constrained": "kkt", "map": "solution_map"}[which]
    if method not in ESTIMATORS:
        raise unknown("method", method, ESTIMATORS)
    if which not in ESTIMATORS[method].classes:
        fitting = [name for name, e in ESTIMATORS.items() if which in e.classes]
        raise ArgumentError(
            f"method {method!r} is for {' and '.join(ESTIMATORS[method].classes)} lower levels, and this one is {which}; "
            f"use one of {', '.join(fitting)}"
        )
    return ESTIMATORS[method]


def _lower(view, x, estimator, start, near, lower, tol, method, options):
    if lower is not None and not isinstance(lower, LowerSolution):
        y = as_vector(lower, view.m, "lower")
        keep_answers(view, x, y)
        lower = LowerSolution(y=y, residual=_residual(view, x, y), method="given")
    if lower is not None:
        complete = kind(view) == "constrained" and lower.success and all_finite(lower.y)
        return as_given(view, x, lower) if complete else lower
    if estimator.lower == "start":
        return LowerSolution(y=start, method="start")
    return solve_view(view, x, method, start, tol, None, options, near)


def _residual(view, x, y):
    return length(view.g_y(x, y)) if view.g_y is not None and view.constraints is None else np.nan


def _no_answer(view, x, lower, estimator):
    nothing = np.full(view.n, np.nan)
    return Hypergradient(
        gradient=nothing, direct=nothing, indirect=nothing, objective=np.nan, x=x, lower=lower, method=estimator.name,
        residual=lower.residual, status=lower.status, detail=lower.detail,
    )  # fmt: skip


def _assemble(view, x, lower, estimator, estimate, refine, diagnostics, options):
    solved = lower
    if estimate.y is not None and estimate.y is not lower.y:
        keep_answers(view, x, estimate.y)
        lower = replace(lower, y=estimate.y, residual=_residual(view, x, estimate.y), method=estimator.name)
    at = lower if estimator.lower == "start" else solved  # Newton's method is at home near y*, not at the y of a penalty
    newton = _newton(view, x, at, estimate, options) if (diagnostics or refine) else None
    lower = _measured(lower, newton)
    gradient, direct = estimate.gradient, estimate.direct
    if direct is None:
        direct = view.f_x(x, lower.y) if view.f_x is not None else np.full(view.n, np.nan)
    refined, better = (newton.gradient if newton is not None else None), None
    if kind(view) == "map" and (diagnostics or refine) and estimate.status.success:
        refined, better = certificates.corrected_map_gradient(view, x, lower)
    referee = _referee(view, x, solved, estimator, estimate) if diagnostics else None
    error = _error(gradient, estimate, refined, referee)
    objective = view.f(x, lower.y) if view.f is not None else np.nan
    status, detail = _status(lower, estimate, gradient, newton)
    if status.success and view.f is not None and not math.isfinite(objective):
        status, detail = Status.NONFINITE, f"f is {objective} at the y found."
    if referee is not None and status.success and not referee.status.success:
        status, detail = referee.status, f"{detail} {referee.detail}".strip()
    if better is not None and status.success and not better.success:
        status, detail = better.status, f"{detail} {better.detail}".strip()
    if status.success and _met_nan(view, direct, error, estimate, refined, referee):
        status, detail = Status.NONFINITE, f"{detail} The gradient is finite, but what it is compared with is not.".strip()
    if status is Status.NONFINITE:
        detail = f"{detail} {_not_finite(view, x, lower.y)}".strip()
    if view.completed or narrow(view):
        detail = f"{detail} {_inexact(view)}".strip()
    if refine and refined is not None:
        gradient = refined
    if refine == "extended":
        gradient, error, note = certificates.extended(view, x, lower.y, gradient)
        refined, detail = gradient, f"{detail} {note}".strip()
    bound, proved = _bound(view, x, lower, estimate, gradient, newton) if diagnostics else (np.nan, None)
    if proved is not None and proved.holds and status is Status.CONVERGED and estimator.exact:
        status, detail = Status.CERTIFIED, f"{detail} y* lies within {proved.radius:.1e} of y and has its active set.".strip()
    return Hypergradient(
        gradient=gradient, direct=direct, indirect=gradient - direct,
        objective=objective, x=x, lower=lower, method=estimator.name,
        adjoint=estimate.adjoint, linear=estimate.linear, residual=lower.residual,
        error_estimate=error, error_bound=bound, attainable_digits=_digits(view, x, lower, estimate, newton, direct) if diagnostics else np.nan,
        refined=refined, status=status, detail=detail,
        extra=estimate.extra if proved is None else {**estimate.extra, "certificate": proved},
    )  # fmt: skip


def _referee(view, x, lower, estimator, estimate):
    """Under constraints, the KKT estimate that an estimator of another kind is measured against; it also knows where F has a kink."""
    if kind(view) != "constrained" or estimator.name == "kkt" or not view.has(*ESTIMATORS["kkt"].requires):
        return None
    if not lower.success or not all_finite(estimate.gradient):
        return None
    return ESTIMATORS["kkt"].compute(view, x, lower)


def _met_nan(view, direct, error, estimate, refined, referee):
    """A finite gradient whose direct term, or a better gradient, or the error against it, is not: an oracle failed on the way."""
    others = (direct if view.f_x is not None else None, refined, None if referee is None else referee.gradient)
    if not all(other is None or all_finite(other) for other in others):
        return True
    return math.isnan(error) and not (estimate.error_estimate is None and refined is None and referee is None)


def _error(gradient, estimate, refined, referee):
    """The estimator's own estimate and the difference to the better gradient at hand, whichever is larger; nan without any, or if one is."""
    known = [] if estimate.error_estimate is None else [estimate.error_estimate]
    if refined is not None:
        known.append(length(gradient - refined))
    if referee is not None:
        known.append(length(gradient - referee.gradient) + (referee.error_estimate or 0.0))
    return np.nan if any(map(math.isnan, known)) else float(max(known, default=np.nan))


def _bound(view, x, lower, estimate, gradient, newton):
    """(error_bound, active-set certificate or None); nan where no constants are known or no minimum is at hand."""
    if not view.constants or not estimate.status.success or not view.has("f_x", "f_y", "g_y", "g_yy", "g_xy"):
        return np.nan, None
    if kind(view) == "constrained":
        proved = certificates.certify_active_set(view, x, lower, gradient)
        return proved.bound, proved
    if kind(view) == "map":
        return np.nan, None
    candidates = [(newton.y, newton.adjoint)] if newton is not None else []
    candidates += [(lower.y, estimate.adjoint)] if np.shape(estimate.adjoint) == (view.m,) else []
    return certificates.error_bound(view, x, gradient, candidates, newton and newton.linear.factor), None


def _measured(lower, newton):
    """A solver that claims a far smaller residual than it has is not believed."""
    if newton is None or not lower.success or not newton.residual > 10 * lower.residual + 1e-8 * newton.scale:
        return lower
    detail = f"{lower.detail} Its solver claims the residual {lower.residual:.1e}, and it is {newton.residual:.1e}.".strip()
    return replace(lower, residual=newton.residual, status=Status.LOWER_STALLED, detail=detail)


def _newton(view, x, lower, estimate, options):
    """The Newton-corrected implicit gradient, where the oracles for it are there."""
    if kind(view) != "smooth" or not view.has("f_x", "f_y", "g_y", "g_yy", "g_xy") or not all_finite(estimate.gradient):
        return None
    if estimate.status in (Status.UNDEFINED, Status.MINIMUM_NORM, Status.NOT_A_MINIMUM):
        return None
    linear = options.get("linear", "auto")
    linear = linear if linear in METHODS else "auto"
    factor = estimate.linear.factor if estimate.linear is not None and lower.factor is None else lower.factor
    solved = estimate.linear is not None and np.shape(estimate.adjoint) == (view.m,) and all_finite(estimate.adjoint)
    return certificates.newton_difference(view, x, lower.y, linear, factor, estimate.adjoint if solved else None)


def _digits(view, x, lower, estimate, newton, direct):
    linear = estimate.linear or (newton.linear if newton is not None else None)
    v = estimate.adjoint if estimate.adjoint is not None else (newton.adjoint if newton is not None else None)
    if linear is None or v is None or view.g_xy is None:
        return np.nan
    cap = min([certificates.DIGITS, *(view.completed or {}).values(), *narrow(view).values()])
    terms = length(direct) + certificates.norm(view.g_xy(x, lower.y)) * length(v)
    condition = certificates.seen_condition(linear) if v.any() else 1.0  # an upper objective that does not see y
    return certificates.attainable_digits(condition, terms, estimate.gradient, cap)


def _status(lower, estimate, gradient, newton):
    """The first trouble met, in the order of the computation."""
    details = [d for d in (lower.detail, estimate.detail) if d]
    if not all_finite(gradient):
        return Status.NONFINITE, " ".join(details)
    for status in (lower.status, estimate.status):
        if not status.success:
            return status, " ".join(details)
    if newton is not None and newton.linear.negative and estimate.linear is None:
        return Status.NOT_A_MINIMUM, " ".join(details)
    if newton is not None and not all_finite(newton.gradient):
        return Status.ILL_CONDITIONED, " ".join([*details, "g_yy is singular at y, which this method does not see."])
    if newton is not None and (defect := not_a_hessian(None, getattr(newton.linear.factor, "asymmetry", 0.0))):
        return Status.NONSYMMETRIC, defect
    linear = estimate.linear or (newton.linear if newton is not None else None)
    condition = linear.condition if linear is not None else np.nan
    if condition > 1 / np.finfo(float).eps:
        return Status.ILL_CONDITIONED, f"The condition estimate is {condition:.1e}."
    if condition > 1e8:
        details.append(f"The condition estimate is {condition:.1e}: see attainable_digits.")
    return (Status.CERTIFIED if estimate.status is Status.CERTIFIED else Status.CONVERGED), " ".join(details)


def _not_finite(view, x, y):
    """The first oracle of an adjoint that is not finite at (x, y), with its first such entry."""
    oracles = [(name, getattr(view, name)) for name in ("f_x", "f_y", "g_y", "g_xy", "g_yy")]
    if view.constraints is not None:
        oracles += [(name, getattr(view.constraints, name)) for name in ("p", "p_x", "p_y", "q", "q_x", "q_y")]
    for name, oracle in oracles:
        value = oracle and oracle(x, y)
        if isinstance(value, np.ndarray) and not np.isfinite(value).all():
            place = tuple(int(i) for i in np.argwhere(~np.isfinite(value))[0])
            return f"{name}{list(place)} is not finite at the y found."
    return ""


def _inexact(view):
    """The sentences on derivatives that have fewer digits than float64."""
    sentences = []
    for what, known in (("Completed by differences", view.completed or {}), ("Answered in single precision", narrow(view))):
        if known:
            sentences.append(f"{what}: " + ", ".join(f"{name} (about {digits:.0f} digits)" for name, digits in known.items()) + ".")
    return " ".join(sentences)


def _cost(counts, linear):
    cost = dict(counts)
    if linear is not None:
        cost["linear_iterations"], cost["matvecs"] = int(linear.iterations), int(linear.matvecs)
    return cost

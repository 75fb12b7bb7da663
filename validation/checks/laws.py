r"""Level 2: error laws, as slopes in a log-log plot with their confidence interval.

    taylor   |F(x + t d) - F(x) - t G.d| = O(t^2), t -> 0: slope 2 for the gradient G, slope 1 for anything else;
    tol      error against the inner tolerance: at most C tol (approximate implicit differentiation);
    beta     error against the nudge, gamma against the penalty: the order declared (default 1), at least;
    K        error against the number of inner steps: falls geometrically, and towards the truth.

F comes from the kit's own lower solver (oracle.py). The sweeps run if the implementation takes a keyword of that name;
`laws={"beta": 2}` (or an attribute `laws` of the function) declares an order.
"""

from __future__ import annotations

import inspect

import numpy as np

from ..failure import CheckFailure, Measured, Skip
from ..mutants.system import dense, system
from ..oracle import objective
from .contract import answered
from .record import check, oracular
from .verdict import EPS, headline, repro

STEPS = 2.0 ** -np.arange(2, 40)
SWEEPS = {"tol": 10.0 ** -np.arange(2, 9), "beta": 2.0 ** -np.arange(3, 11), "gamma": 2.0 ** np.arange(4, 12), "K": 2 ** np.arange(2, 11)}
#: order of the error in the knob; negative: the error falls as the knob grows
ORDERS = {"beta": 1, "gamma": -1}


def fit(knob, error):
    """(slope, half-width of its 95 % confidence interval) of log error against log knob."""
    a, b = np.log(np.asarray(knob, float)), np.log(np.asarray(error, float))
    design = np.vstack([a, np.ones_like(a)]).T
    coefficients, residual, *_ = np.linalg.lstsq(design, b, rcond=None)
    spread = np.sqrt(float(residual[0]) / max(len(a) - 2, 1) / np.sum((a - a.mean()) ** 2)) if residual.size else 0.0
    return float(coefficients[0]), 2.0 * spread


def _fitted(name, implementation, case, knob, error, expected, words):
    slope, width = fit(knob, error)
    measured = Measured(slope=slope, expected_slope=expected, series={"knob": tuple(map(float, knob)), "error": tuple(map(float, error))})
    if abs(slope) + width < abs(expected) - 0.25 or np.sign(slope) != np.sign(expected):
        text = f"fitted slope {slope:.2f} +- {width:.2f} where {expected} is due: {words}"
        table = "   ".join(f"{k:.1e}: {e:.1e}" for k, e in zip(knob[:4], error[:4]))
        raise CheckFailure(headline(name, case, text), [table, repro(implementation, name, case)], measured)
    return measured


def _resolvable(case):
    """Below condition 1e6: above it, the t small enough for a Taylor expansion are lost in rounding."""
    return oracular(case) and case.condition < 1e6


@check(2, applies=_resolvable)
def taylor(implementation, case):
    """The Taylor remainder of F along a line shrinks like t^2."""
    gradient = answered("taylor", implementation, case).vector
    if not np.isfinite(gradient).all() or gradient.shape != case.x.shape:
        raise CheckFailure(headline("taylor", case, "no finite gradient"), [repro(implementation, "taylor", case)])
    direction = _direction(case, gradient)
    knob, remainder = remainders(case, gradient, direction)
    if len(knob) < 4:
        raise Skip("too few points between the next kink and rounding")
    return _fitted("taylor", implementation, case, knob, remainder, 2, "the remainder is linear, so the gradient is wrong along this line")


def _direction(case, gradient):
    """Where the answer differs from the certified gradient if it does, else the gradient itself; of the length of x."""
    error = gradient - case.reference
    chosen = error if np.linalg.norm(error) > 1e-12 * np.linalg.norm(gradient) else case.reference
    chosen = chosen if chosen.any() else np.ones(case.problem.n)
    return chosen / np.linalg.norm(chosen) * max(1.0, np.linalg.norm(case.x))


def remainders(case, gradient, direction):
    """(t, |F(x + t d) - F(x) - t G.d|) for the smallest t above rounding and below the next kink."""
    here, f_y = objective(case, case.x), np.asarray(case.problem.f_y(case.x, case.y), float)
    noise = abs(here) + case.condition * np.linalg.norm(f_y) * np.linalg.norm(case.y)  # rounding of F, and of y within it
    knob, error = [], []
    for t in STEPS:
        ahead = objective(case, case.x + t * direction)
        linear = t * case.condition * (np.linalg.norm(case.direct) + case.indirect_scale) * np.linalg.norm(direction)
        floor = 100 * EPS * (noise + linear)
        value = abs(ahead - here - t * (gradient @ direction))
        if np.isfinite(value) and value > floor:
            knob.append(t)
            error.append(value)
    return np.array(knob[-8:]), np.array(error[-8:])


def accepts(implementation, knob):
    """Does the implementation take a keyword of this name?"""
    try:
        parameters = inspect.signature(implementation.protocols["hypergradient"]).parameters
    except (TypeError, ValueError):
        return False
    return knob in parameters


def declared(implementation, knob):
    laws = {**getattr(implementation.protocols["hypergradient"], "laws", {}), **implementation.laws}
    return laws.get(knob, ORDERS.get(knob))


def unit(case, knob):
    """The scale of a knob: laws in beta and 1 / gamma begin where they are small against the lower level's weakest curvature."""
    if knob not in ORDERS:
        return 1
    s = system(case.problem, case.x, case.y, case.mu, case.nu)
    upper = 1.0 if case.problem.f_yy is None else np.linalg.norm(dense(case.problem.f_yy(case.x, case.y), s.hessian.shape), 2)
    weakest = np.linalg.svd(s.hessian, compute_uv=False)[-1] / max(upper, 1e-300)
    return weakest ** np.sign(ORDERS[knob]) if weakest > 0 else 1.0


def sweep(implementation, case, knob):
    """(values, errors) over the knob's range, cut where the error reaches the attainable digits."""
    if not accepts(implementation, knob):
        raise Skip(f"{implementation.name} takes no keyword {knob}")
    values, errors = [], []
    scale = np.linalg.norm(case.direct) + case.indirect_scale
    for value in SWEEPS[knob] * unit(case, knob):
        given = int(value) if knob == "K" else float(value)
        answer = implementation.run("hypergradient", case, case.x, **{knob: given})
        if answer.error is not None or not answer.finite:
            continue
        error = np.linalg.norm(answer.vector - case.reference) / scale
        if error > 1e3 * case.condition * EPS:
            values.append(float(value))
            errors.append(error)
    return np.array(values), np.array(errors)


def _law(knob):
    name = f"{knob}_slope"

    def run(implementation, case):
        values, errors = sweep(implementation, case, knob)
        if len(values) < 3:
            return Measured()
        expected = declared(implementation, knob)
        return _fitted(name, implementation, case, values, errors, expected, f"the error does not fall with {knob} as declared")

    run.__doc__ = f"The error falls with {knob} at the declared order."
    return check(2, applies=_well_conditioned, sample="class", name=name)(run)


def _well_conditioned(case):
    return oracular(case) and case.condition < 1e4


@check(2, applies=lambda case: oracular(case) and case.condition < 100, sample="class")
def K_slope(implementation, case):
    """The error falls geometrically with K, and towards the truth."""
    values, errors = sweep(implementation, case, "K")
    if len(values) < 3:
        return Measured()
    rate = float(np.exp(np.polyfit(values, np.log(errors), 1)[0]))
    measured = Measured(slope=rate, expected_slope=1 - 1 / case.condition, series={"knob": tuple(values), "error": tuple(errors)})
    left = errors / errors[0]
    if left[-1] > 0.5 or (left[-2] < 0.5 and left[-1] > left[-2] ** 1.2):  # K doubles, so a geometric error is squared
        text = f"the error stays at {errors[-1]:.1e} from K = {values[0]:.0f} to {values[-1]:.0f}: more steps do not help"
        raise CheckFailure(headline("K_slope", case, text), [repro(implementation, "K_slope", case)], measured)
    return measured


@check(2, applies=_well_conditioned, sample="class")
def tol_slope(implementation, case):
    """The error stays below a constant times tol (a fast method may be better than asked for)."""
    values, errors = sweep(implementation, case, "tol")
    if len(values) < 3:
        return Measured()
    measured = Measured(slope=fit(values, errors)[0], expected_slope=1, series={"knob": tuple(values), "error": tuple(errors)})
    constant = max(errors[0] / values[0], case.condition)
    if errors[-1] > 10 * constant * values[-1] and errors[-1] > 0.1 * errors[0]:
        text = f"the error stays at {errors[-1]:.1e} from tol = {values[0]:.0e} to {values[-1]:.0e}: a smaller tolerance does not help"
        raise CheckFailure(headline("tol_slope", case, text), [repro(implementation, "tol_slope", case)], measured)
    return measured


CHECKS = [taylor, *(_law(knob) for knob in ORDERS), tol_slope, K_slope]

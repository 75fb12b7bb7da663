"""Level 1: digits against the certified hypergradient, and the changes of a problem that an exact method does not feel."""

from __future__ import annotations

import numpy as np
from scipy.optimize import nnls

from ..failure import Measured
from ..lre import digits
from ..transforms import ANY, INEQUALITIES, ROWS, plus_linear, transforms
from .contract import fail
from .record import Check, check, converged, oracular
from .verdict import EPS, LIMIT, demand


@check(1, applies=converged)
def value(implementation, case):
    """The gradient agrees with the certified one to the attainable digits."""
    return demand(implementation, "value", case)


def _invariance(name, change):
    def run(implementation, case):
        return demand(implementation, f"invariance_{name}", change(case), change)

    sentence = change.__doc__.splitlines()[0]
    return Check(f"invariance_{name}", 1, sentence, run, lambda case: oracular(case) and name in transforms(case), "class", change=change)


INVARIANCES = [_invariance(name, change) for name, change in {**ANY, **ROWS, **INEQUALITIES}.items()]


@check(1, applies=lambda case: case.generators is not None)
def clarke(implementation, case):
    """At a degenerate point, a finite answer lies in the Clarke set (the hull of the certified generators)."""
    answer = implementation.answer(case)
    if answer.error is not None or not answer.finite:
        return Measured()
    size = np.abs(case.generators).max()
    distance = hull_distance(answer.vector, case.generators) / size
    if distance > LIMIT * max(case.condition, 1.0) * 10 * EPS:
        fail(
            "clarke",
            implementation,
            case,
            f"the answer is {distance:.1e} (relative) outside the Clarke set of {len(case.generators)} generators",
        )
    return Measured(min(15.95, -np.log10(max(distance, 1e-16))), 15.95)


def hull_distance(point, generators):
    """Distance of `point` to the convex hull of the generators: the face by non-negative least squares, then the distance to it."""
    if np.shape(point) != generators[0].shape:
        return np.inf
    weight = 1e4 * max(1.0, np.abs(generators).max())
    A = np.vstack([generators.T, np.full(len(generators), weight)])
    chosen = generators[nnls(A, np.append(point, weight))[0] > 0]
    edges, offset = (chosen[1:] - chosen[0]).T, point - chosen[0]
    along = np.linalg.lstsq(edges, offset, rcond=None)[0] if edges.size else np.zeros(0)
    return float(np.linalg.norm(edges @ along - offset))


@check(1, applies=oracular, sample="class")
def additive(implementation, case):
    """The gradient is additive in the upper objective: that of f + h is that of f plus that of h."""
    triple = plus_linear(case)
    parts = [implementation.run("hypergradient", c, c.x) for c in triple]
    if any(p.error is not None or not p.finite for p in parts):
        fail("additive", implementation, case, "no finite answer for a sum of upper objectives")
    f, h, whole = (p.vector for p in parts)
    scale = sum(np.linalg.norm(p.vector) for p in parts) + np.linalg.norm(case.direct) + case.indirect_scale
    error = np.linalg.norm(whole - f - h) / scale
    if not error <= 3 * LIMIT * case.condition * EPS and implementation.required is None:
        fail("additive", implementation, case, f"not additive in the upper objective: |G(f+h) - G(f) - G(h)| = {error:.1e} relative")
    return Measured(digits(f + h, whole), case.attainable_digits)


@check(1, applies=lambda case: converged(case) and case.expected_status != "minimum_norm", protocols=("solve_lower",))
def lower_solution(implementation, case):
    """solve_lower returns y* to the attainable digits."""
    answer = implementation.run("solve_lower", case, case.x)
    if answer.error is not None:
        fail("lower_solution", implementation, case, f"raised {type(answer.error).__name__}: {answer.error}")
    got, scale = np.asarray(answer.vector), max(np.linalg.norm(case.y), 1.0)
    error = np.linalg.norm(got - case.y) / scale if got.shape == case.y.shape else np.inf
    if not error <= 100 * LIMIT * case.condition * EPS and digits(got, case.y) < (implementation.required or np.inf):
        fail("lower_solution", implementation, case, f"y is off by {error:.1e} (relative); the gradient cannot be better")
    return Measured(digits(got, case.y), case.attainable_digits)


RATE = 2.0**-6


@check(1, applies=oracular, protocols=("step",), sample="class")
def step(implementation, case):
    """step(problem, x, rate) returns x - rate * gradient, once."""
    answer = implementation.run("step", case, case.x, RATE)
    if answer.error is not None:
        fail("step", implementation, case, f"raised {type(answer.error).__name__}: {answer.error}")
    taken = (case.x - np.asarray(answer.vector)) / RATE
    twice = digits(taken, 2 * case.reference)
    got = digits(taken, case.reference)
    lost = max(0.0, np.log10(max(np.linalg.norm(case.x), 1e-300) / max(RATE * np.linalg.norm(case.reference), 1e-300)))
    if got < case.attainable_digits - lost - 2:
        hint = "the step is applied twice (as in HOAG's code)" if twice > 6 else "it is not rate * gradient"
        fail("step", implementation, case, f"the step has {got:.1f} digits: {hint}")
    return Measured(got, case.attainable_digits)


CHECKS = [value, *INVARIANCES, clarke, additive, lower_solution, step]

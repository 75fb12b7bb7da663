"""Which known-wrong formula gives an implementation's answers? Compared in digits, over several instances.

One instance names little: at m = 1 or H = c I most slips coincide. So a mutant matches only if it agrees on *every* instance of a
set; formulas that agree with one another on the whole set share one name; formulas that agree with the truth are no
explanation; and "no match" is an answer. An inner solve that was stopped early has free parameters (its start, step and
length): it is named through the y at which the implementation evaluated f.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .lre import CAP, digits
from .mutants import MUTANTS, reference_gradient
from .mutants.unrolling import descend, reverse

#: a match needs this many digits on every instance, and this many more than the next formula
ENOUGH, LEAD = 4.0, 2.0


@dataclass(frozen=True)
class Diagnosis:
    """`name` of the mutant matched ("" for none), `digits` of agreement, `sentence` for people, `next_best` digits of the runner-up.

    `also` lists the names of formulas that agree on these instances; `parameters` the free parameters that matched.
    """

    name: str
    sentence: str
    digits: float = np.nan
    next_best: float = np.nan
    runner_up: str = ""
    parameters: tuple = ()
    also: tuple = ()
    instances: int = 0

    @property
    def matched(self):
        return bool(self.name)

    def __str__(self):
        if not self.name:
            if np.isfinite(self.digits):
                return f"{self.sentence}: no fault of the formula, an accuracy short of what is attainable"
            return f"no match among {len(MUTANTS)} known-wrong formulas (best {self.runner_up or 'none'}: {self.next_best:.1f} digits)"
        if np.isnan(self.digits):
            return self.sentence
        chosen = f"({', '.join(f'{k}={v}' for k, v in self.parameters)})" if self.parameters else ""
        rest = f"; next best {self.next_best:.1f}" if np.isfinite(self.next_best) else ""
        return f"{self.sentence} (matches mutant '{self.name}'{chosen} to {self.digits:.1f} digits{rest})"


@dataclass(frozen=True, eq=False)
class Evidence:
    """One instance: the case, the gradient answered, and the y used (None if unknown)."""

    case: object
    gradient: np.ndarray
    y: np.ndarray | None = None


def diagnose(evidence, mutants=None):
    """The `Diagnosis` of a list of `Evidence`.

    First the y used: if it is far from y* on most instances, the inner solve has not converged, and the formulas are
    compared at that y. Otherwise every mutant is evaluated at y*.
    """
    evidence = sorted((e for e in evidence if _comparable(e)), key=lambda e: -e.case.attainable_digits)
    if not evidence:
        return Diagnosis("", "nothing to compare")
    mutants = list((mutants or MUTANTS).values())
    at_solution = _match(evidence, mutants, [e.case.y for e in evidence])
    if at_solution.matched:
        return at_solution
    stopped = [e for e in evidence if _unconverged(e)]
    return _unconverged_solve(stopped, mutants) if len(stopped) * 2 >= len(evidence) else at_solution


def _comparable(e):
    problem = e.case.problem
    return e.case.reference is not None and e.gradient is not None and np.shape(e.gradient) == np.shape(e.case.reference) and np.isfinite(
        e.gradient).all() and problem.has("f_x", "f_y")  # fmt: skip


def _unconverged(e):
    """The y used has another y's worth of error: 1e-6 relative, or 1e3 times the rounding of an ill-conditioned problem."""
    if e.y is None:
        return False
    allowed = max(1e-6, 1e3 * np.finfo(float).eps * min(e.case.condition, 1e12))
    return np.linalg.norm(e.y - e.case.y) > allowed * max(1.0, np.linalg.norm(e.case.y))


def evaluate(mutant, case, y, parameters):
    """The mutant's gradient; nan where it does not apply to the case or breaks down."""
    if not mutant.applies(case.problem, case.klass):
        return None
    try:
        return mutant(case.problem, case.x, y, case.mu, case.nu, **parameters)
    except np.linalg.LinAlgError:
        return np.full(case.problem.n, np.nan)


@dataclass(frozen=True, eq=False)
class _Score:
    mutant: object
    parameters: dict
    answers: list
    digits: float


def _score(mutant, evidence, points, truths):
    """The best variant of the mutant: smallest agreement over the instances; None if it is the truth on all of them."""
    best = None
    for parameters in mutant.variants:
        answers, value = _compare(mutant, parameters, evidence, points)
        if answers is None or (len(answers) == len(evidence) and all(map(_same, answers, truths, (e.case for e in evidence)))):
            continue
        if best is None or value > best.digits:
            best = _Score(mutant, parameters, answers, value)
    return best


def _compare(mutant, parameters, evidence, points):
    """(answers, smallest agreement), cut short once the formula is refuted; (None, nan) where it does not apply."""
    answers, value = [], CAP
    for e, y in zip(evidence, points):
        answer = evaluate(mutant, e.case, y, parameters)
        if answer is None:
            return None, np.nan
        answers.append(answer)
        value = min(value, _agreement(e.gradient, answer, e.case))
        if value < ENOUGH - LEAD:
            break
    return answers, value


def _agreement(gradient, answer, case):
    """Digits; where conditioning leaves fewer, the missing ones are granted if all that exist agree."""
    if not np.isfinite(answer).all():
        return -np.inf
    value = digits(gradient, answer)
    attainable = case.attainable_digits if np.isfinite(case.attainable_digits) else CAP
    return CAP - 1 if value >= attainable - 1.5 and attainable >= 3 and attainable < CAP - 1 and value < CAP - 1 else value


def _same(a, b, case):
    return a is not None and np.isfinite(a).all() and digits(a, b) >= min(12.0, case.attainable_digits - 1.5)


def _match(evidence, mutants, points):
    truths = [_truth(e.case, y) for e, y in zip(evidence, points)]
    scores = [s for s in (_score(m, evidence, points, truths) for m in mutants) if s is not None]
    scores.sort(key=lambda s: -round(s.digits, 1))  # stable: among equals the first in the registry
    if not scores:
        return Diagnosis("", "no formula applies", instances=len(evidence))
    best = scores[0]
    twins = [
        s
        for s in scores[1:]
        if s.digits > best.digits - LEAD
        and len(s.answers) == len(evidence)
        and all(map(_same, s.answers, best.answers, (e.case for e in evidence)))
    ]
    right = min(_agreement(e.gradient, t, e.case) for e, t in zip(evidence, truths))
    if right >= ENOUGH and right > best.digits - LEAD:
        return Diagnosis("", f"the correct formula, to {right:.1f} digits", digits=right, instances=len(evidence))
    others = [s for s in scores[1:] if s not in twins]
    runner = others[0] if others else None
    next_best = runner.digits if runner else -np.inf
    if best.digits < ENOUGH or next_best > best.digits - LEAD:
        return Diagnosis("", "no match", next_best=best.digits, runner_up=best.mutant.name, instances=len(evidence))
    plain = float(np.median([digits(e.gradient, a) for e, a in zip(evidence, best.answers)]))
    return Diagnosis(best.mutant.name, best.mutant.sentence, plain, next_best, runner.mutant.name if runner else "",
                     tuple(best.parameters.items()), tuple(s.mutant.name for s in twins), len(evidence))  # fmt: skip


def _truth(case, y):
    if np.array_equal(y, case.y):
        return case.reference
    return reference_gradient(case.problem, case.x, y, case.mu, case.nu)


def _unconverged_solve(evidence, mutants):
    """Name what was done at the unconverged y: the right formula, a reverse pass, a mutant, or only that y is wrong."""
    residual = max(np.linalg.norm(e.y - e.case.y) / max(1.0, np.linalg.norm(e.case.y)) for e in evidence)
    start = f"unconverged inner solve: the y used is off by up to {residual:.1e}" + " (the inner iteration diverges somewhere)" * bool(
        residual > 1e2
    )
    implicit = min(digits(e.gradient, reference_gradient(e.case.problem, e.case.x, e.y, e.case.mu, e.case.nu)) for e in evidence)
    if implicit >= ENOUGH:
        return Diagnosis("unconverged_lower", f"{start}; the formula is right at that y", implicit, instances=len(evidence))
    fit, K = _unrolled(evidence)
    if fit >= ENOUGH:
        return Diagnosis("unconverged_unrolling", f"{start}; reverse mode through {K} gradient steps", fit, instances=len(evidence))
    wrong_too = _match(evidence, mutants, [e.y for e in evidence])
    if wrong_too.matched:
        return Diagnosis(wrong_too.name, f"{start}, and {wrong_too.sentence}", wrong_too.digits, wrong_too.next_best, wrong_too.runner_up,
                         wrong_too.parameters, wrong_too.also, wrong_too.instances)  # fmt: skip
    return Diagnosis("unconverged_inner_solve", start, instances=len(evidence))


def _unrolled(evidence, most=50, instances=4):
    """(digits, K) of the K gradient steps from zero that lead to the y used and whose reverse pass gives the gradient."""
    evidence = evidence[:instances]
    if any(e.case.problem.constraints is not None or not e.case.problem.has("g_y", "g_yy", "g_xy") for e in evidence):
        return -np.inf, 0
    best = (-np.inf, 0)
    for K in range(1, most + 1):
        fit = np.inf
        for e in evidence:
            fit = min(fit, _unrolled_fit(e, K))
            if fit < max(ENOUGH, best[0]):
                break
        else:
            best = (fit, K)
    return best


def _unrolled_fit(e, K):
    problem, x = e.case.problem, e.case.x
    start = np.zeros(problem.m)
    with np.errstate(all="ignore"):
        step = _step_reaching(problem, x, start, problem.g_y(x, start), K, e.y)
        return -np.inf if step is None else digits(e.gradient, reverse(problem, x, descend(problem, x, start, K, step), step))


def _step_reaching(problem, x, start, slope, K, y, tries=40):
    """The step with which K steps from `start` end at y, by Gauss-Newton on |y_K(step) - y|; None if there is none."""
    step = (slope @ (start - y)) / max(K * (slope @ slope), 1e-300)
    for _ in range(tries):
        if not 0 < step < 1e6:
            return None
        off = descend(problem, x, start, K, step)[-1] - y
        tangent = (descend(problem, x, start, K, step * (1 + 1e-7))[-1] - y - off) / (step * 1e-7)
        if not (np.isfinite(off).all() and np.isfinite(tangent).all()):
            return None
        move = (tangent @ off) / max(tangent @ tangent, 1e-300)
        step -= move
        if abs(move) <= 1e-13 * abs(step):
            break
    return step if np.linalg.norm(off) <= 1e-7 * max(1.0, np.linalg.norm(y)) else None

"""The mutation score: every known-wrong formula is caught at level 2 or below on the instances of its class, and named."""

import numpy as np
import pytest
from random_cases import KINDS, random_case

from refbilevel.validation import CHECKS, MUTANTS, CheckFailure, diagnose, implementation
from refbilevel.validation.adapters import Answer, Implementation
from refbilevel.validation.cases import CLASSES, cases
from refbilevel.validation.checks.verdict import measure, passes
from refbilevel.validation.diagnosis import Evidence
from refbilevel.validation.mutants.system import reference_gradient, system

#: mutants that are right on every case and wrong on a changed one: caught by invariance_upper_without_y
ONLY_CHANGED = {"start_for_zero_rhs"}


class FormulaImplementation(Implementation):
    """A formula at the certified lower solution, so that nothing but the formula is tested."""

    def call(self, protocol, case, x, *arguments, **options):
        return Answer(self.protocols[protocol](case.problem, case.x, case.y, case.mu, case.nu), visited=(case.y,))


def planted(formula, name="planted"):
    return FormulaImplementation(name, {"hypergradient": formula}, implementation(lambda problem, x: x).adapter)


def referenced(klass):
    return [c for c in cases(klass) if c.reference is not None]


def applicable(mutant, instances):
    return instances and all(mutant.applies(c.problem, c.klass) for c in instances)


def caught_by_value(mutant, instances):
    return any(not passes(measure(Answer(mutant(c.problem, c.x, c.y, c.mu, c.nu)), c)) for c in instances)


def named(mutant, instances):
    """Is the planted formula named: by its own name, or by that of a formula that agrees on all these instances?"""
    found = diagnose([Evidence(c, mutant(c.problem, c.x, c.y, c.mu, c.nu), c.y) for c in instances])
    return found.name == mutant.name or mutant.name in found.also


def test_there_are_many_and_each_says_what_it_is():
    assert len(MUTANTS) >= 60
    assert len({m.sentence for m in MUTANTS.values()}) == len(MUTANTS)
    assert sum(bool(m.source) for m in MUTANTS.values()) >= 20


def test_every_mutant_is_a_fault_of_some_class():
    for mutant in MUTANTS.values():
        classes = [k for k in CLASSES if applicable(mutant, referenced(k)) and caught_by_value(mutant, referenced(k))]
        assert classes or mutant.name in ONLY_CHANGED, mutant.name


def test_a_fault_at_a_zero_right_hand_side_is_caught_by_the_change_that_makes_one():
    case = referenced("quadratic")[4]
    mutant = MUTANTS["start_for_zero_rhs"]
    CHECKS["value"].run(planted(mutant), case)
    with pytest.raises(CheckFailure):
        CHECKS["invariance_upper_without_y"].run(planted(mutant), case)


@pytest.mark.parametrize(
    "klass", [c if c in ("quadratic", "qp", "conic", "layer") else pytest.param(c, marks=pytest.mark.slow) for c in CLASSES]
)
def test_caught_formulas_are_named(klass):
    """At least 95 % of the formulas that differ from the truth on a class (they agree with it elsewhere: no fault there)."""
    instances = referenced(klass)
    faults = [m for m in MUTANTS.values() if applicable(m, instances) and caught_by_value(m, instances)]
    missed = [m.name for m in faults if not named(m, instances)]
    assert len(missed) <= 0.05 * len(faults), missed


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_caught_and_named_on_random_instances(kind):
    instances = [random_case(kind, seed) for seed in range(100, 108)]
    faults = [m for m in MUTANTS.values() if applicable(m, instances) and caught_by_value(m, instances)]
    assert len(faults) >= (30 if kind not in ("scalar", "identity") else 20)
    missed = [m.name for m in faults if not named(m, instances)]
    assert len(missed) <= 0.05 * len(faults), missed


@pytest.mark.parametrize("klass", [c for c in CLASSES if referenced(c)])
def test_the_correct_formula_passes(klass):
    for case in referenced(klass):
        assert CHECKS["value"].run(planted(reference_gradient), case).ratio <= 30


def test_the_system_is_what_the_formula_says():
    """K and C of a small problem with one active row, one inactive row and one equality, by hand."""
    from refbilevel import BilevelProblem, Constraints

    rows = Constraints(
        p=lambda x, y: np.array([y[0] - x[0], y[1] - 9.0]),
        p_x=lambda x, y: np.array([[-1.0], [0.0]]),
        p_y=lambda x, y: np.eye(2),
        q=lambda x, y: np.array([y.sum()]),
        q_x=lambda x, y: np.zeros((1, 1)),
        q_y=lambda x, y: np.ones((1, 2)),
        linear=True,
    )
    problem = BilevelProblem(
        n=1,
        m=2,
        f_x=lambda x, y: np.ones(1),
        f_y=lambda x, y: np.array([1.0, 2.0]),
        g_yy=lambda x, y: np.diag([3.0, 4.0]),
        g_xy=lambda x, y: np.array([[5.0, 6.0]]),
        constraints=rows,
    )
    s = system(problem, np.ones(1), np.array([1.0, -1.0]), np.array([2.0, 0.0]), np.zeros(1))
    assert s.K.tolist() == [[3, 0, 1, 1], [0, 4, 0, 1], [1, 0, 0, 0], [1, 1, 0, 0]]
    assert s.C.tolist() == [[5, 6, -1, 0]] and s.r.tolist() == [1, 2, 0, 0]
    assert s.gradient() == pytest.approx([1.0 + 1.0 - 2.0])  # y = (x, -x): f_x + f_y . (1, -1)

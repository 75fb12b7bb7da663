"""Diagnosis says what it knows: a name where formulas differ, none where they do not, and the inner solve through the y used."""

import numpy as np
import pytest
from random_cases import random_case

from refbilevel.validation import MUTANTS, diagnose, implementation
from refbilevel.validation.cases import cases
from refbilevel.validation.checks.verdict import evidence
from refbilevel.validation.diagnosis import Evidence
from refbilevel.validation.mutants.system import reference_gradient
from refbilevel.validation.mutants.unrolling import descend, reverse

FULL = [random_case("full", seed) for seed in range(5)]


def answered(formula, instances=FULL, y=lambda c: c.y):
    return [Evidence(c, formula(c), y(c)) for c in instances]


def test_the_previous_iterate_of_cg_is_named_with_its_lead():
    found = diagnose(answered(lambda c: MUTANTS["previous_iterate_cg"](c.problem, c.x, c.y)))
    assert found.name == "previous_iterate_cg" and found.digits > 12 and found.next_best < 6
    assert "matches mutant 'previous_iterate_cg'" in str(found) and "next best" in str(found)


def test_free_parameters_are_found():
    found = diagnose(answered(lambda c: MUTANTS["damped_hessian"](c.problem, c.x, c.y, rho=1e-3)))
    assert found.name == "damped_hessian" and dict(found.parameters) == {"rho": 1e-3}


def test_noise_matches_nothing():
    rng = np.random.default_rng(0)
    found = diagnose(answered(lambda c: rng.normal(size=c.problem.n)))
    assert not found.matched and "no match among" in str(found)


def test_a_right_answer_matches_nothing():
    assert not diagnose(answered(lambda c: c.reference)).matched


def test_formulas_that_coincide_share_one_name():
    """At H = I the identity, the diagonal, the triangles and the square of the Hessian are all the truth: no fault, no name."""
    unit = [c for c in (random_case("identity", seed) for seed in range(40)) if c.problem.g_yy(c.x, c.y)[0, 0] == 1.0][:4]
    assert not diagnose(answered(lambda c: MUTANTS["identity_hessian"](c.problem, c.x, c.y), unit)).matched
    scaled = [c for c in (random_case("identity", seed) for seed in range(40)) if c.problem.g_yy(c.x, c.y)[0, 0] == 2.0][:4]
    found = diagnose(answered(lambda c: MUTANTS["half_implicit"](c.problem, c.x, c.y), scaled))
    assert found.name == "half_implicit" and "hessian_inverted_twice" in found.also


@pytest.mark.parametrize("steps", [3, 8])
def test_an_unconverged_inner_solve_is_named_through_the_y_used(steps):
    path = {c.id: descend(c.problem, c.x, np.zeros(c.problem.m), steps, 0.37) for c in FULL}
    implicit = diagnose(answered(lambda c: reference_gradient(c.problem, c.x, path[c.id][-1], c.mu, c.nu), y=lambda c: path[c.id][-1]))
    unrolled = diagnose(answered(lambda c: reverse(c.problem, c.x, path[c.id], 0.37), y=lambda c: path[c.id][-1]))
    assert implicit.name == "unconverged_lower" and "unconverged inner solve" in str(implicit)
    assert unrolled.name == "unconverged_unrolling" and f"through {steps} gradient steps" in str(unrolled)


def test_a_wrong_formula_at_an_unconverged_y_is_both():
    y = {c.id: c.y + 0.1 for c in FULL}
    found = diagnose(answered(lambda c: MUTANTS["implicit_sign"](c.problem, c.x, y[c.id], c.mu, c.nu), y=lambda c: y[c.id]))
    assert found.name == "implicit_sign" and "unconverged inner solve" in str(found)


def test_the_y_used_is_seen_by_the_adapter():
    case = cases("quadratic")[0]

    def stops_early(problem, x):
        y = case.y + 1.0
        return problem.f_x(x, y) - problem.g_xy(x, y) @ np.linalg.solve(problem.g_yy(x, y), problem.f_y(x, y))

    seen = [e.y - e.case.y for e in evidence(implementation(stops_early), case) if e.case.id == case.id]
    assert seen[0] == pytest.approx(np.ones(case.problem.m))

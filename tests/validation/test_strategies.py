"""The public strategies: every class draws, references are true, failures shrink to small integers."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import find, given, settings
from hypothesis import strategies as st
from hypothesis.errors import NoSuchExample

import refbilevel as rb
from refbilevel.errors import ArgumentError, UnknownOption
from refbilevel.validation.cases import CLASSES, Case
from refbilevel.validation.certify import disagreement
from refbilevel.validation.strategies import DRAW, bilevel_problems

STATUSES = {
    "qp-degenerate": {"degenerate"},
    "qp-infeasible": {"lower_infeasible"},
    "degenerate-hessian": {"minimum_norm", "undefined"},
}


def test_every_class_can_be_drawn():
    assert set(DRAW) == set(CLASSES)


@pytest.mark.parametrize("klass", CLASSES)
def test_drawn_cases_are_certified(klass):
    @given(bilevel_problems(klass))
    def check(case):
        assert case.klass == klass and case.x.shape == (case.problem.n,)
        assert case.expected_status in STATUSES.get(klass, {"converged"})
        assert disagreement(case.spec) < 1e-20
        if case.reference is not None:
            assert case.reference.shape == case.x.shape and np.isfinite(case.reference).all()
            assert case.problem.f_x(case.x, case.y) == pytest.approx(case.direct, abs=1e-12)

    check()


@given(bilevel_problems(["quadratic", "ridge", "logistic", "softmax", "quartic"], max_n=4, max_ny=5))
def test_the_implicit_formula_at_the_certified_solution(case):
    p, x, y = case.problem, case.x, case.y
    gradient = p.f_x(x, y) - p.g_xy(x, y) @ np.linalg.solve(p.g_yy(x, y), p.f_y(x, y))
    error = np.linalg.norm(gradient - case.reference)
    assert error <= 30 * case.condition * 2.0**-52 * (np.linalg.norm(case.direct) + case.indirect_scale)


@pytest.mark.slow
def test_a_diagonal_hessian_shrinks_to_two_by_one():
    """The classical slip diag(H)^-1: the smallest counterexample has m = 2 and entries 0 and 1."""

    def wrong(case):
        p, x, y = case.problem, case.x, case.y
        gradient = p.f_x(x, y) - p.g_xy(x, y) @ (p.f_y(x, y) / np.diag(p.g_yy(x, y)))
        return rb.digits(gradient, case.reference) < 6

    found = find(bilevel_problems("quadratic"), wrong, settings=settings(max_examples=2000, derandomize=True))
    assert (found.problem.n, found.problem.m) == (1, 2)
    assert np.abs(found.problem.g_yy(found.x, found.y)).max() <= 3
    assert np.abs(found.problem.g_xy(found.x, found.y)).sum() <= 2


def test_a_right_formula_has_no_counterexample():
    def wrong(case):
        p, x, y = case.problem, case.x, case.y
        gradient = p.f_x(x, y) - p.g_xy(x, y) @ np.linalg.solve(p.g_yy(x, y), p.f_y(x, y))
        return rb.digits(gradient, case.reference) < case.attainable_digits - 2

    with pytest.raises(NoSuchExample):
        find(bilevel_problems("quadratic"), wrong, settings=settings(max_examples=100, derandomize=True))


@given(bilevel_problems("all", max_n=2, max_ny=2))
def test_sizes_are_respected(case):
    assert case.problem.n <= 2 and case.problem.m <= 2


def test_arguments_are_checked():
    with pytest.raises(UnknownOption, match="quadratic"):
        bilevel_problems("quadratics")
    with pytest.raises(ArgumentError, match="max_ny must be an integer"):
        bilevel_problems("qp", max_ny=0)


@pytest.mark.slow
def test_the_type_draws_once_registered():
    from refbilevel.validation.registration import register

    register()
    found = find(st.from_type(Case), lambda case: case.klass != "quadratic", settings=settings(max_examples=50, derandomize=True))
    assert found.problem.n == 1


def test_the_entry_point_is_declared_and_imports_nothing_heavy():
    from configparser import ConfigParser
    from pathlib import Path

    config = ConfigParser()
    config.read(Path(rb.__file__).parents[1] / "setup.cfg")
    assert config["options.entry_points"]["hypothesis"].strip() == "refbilevel = refbilevel.validation.registration:register"
    code = "import sys; from refbilevel.validation.registration import register; register(); print({'mpmath', 'cvxpy', 'numba'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.strip() == "set()"


def test_importing_the_package_does_not_import_hypothesis():
    code = "import sys, refbilevel.validation.cases; assert 'hypothesis' not in sys.modules and 'mpmath' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)

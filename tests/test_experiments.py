"""The papers' experiments at reduced size: they run, their laws hold where the size allows to tell, and they draw."""

import importlib

import numpy as np
import pytest

import refbilevel as rb
from refbilevel.validation.experiments import hyperparameters, mehra_hamm_synthetic, minimaxopt, papers, svm_kinks

pytest.importorskip("sklearn")


def reduced(name, tmp_path):
    pytest.importorskip("matplotlib")
    found = importlib.import_module(f"refbilevel.validation.experiments.{name}").study(quick=True)
    picture = tmp_path / "figure.png"
    papers.save(found, picture)
    assert picture.stat().st_size > 10_000
    assert found.rows and all(len(row) == len(found.header) for row in found.rows)
    return found, {claim.says: claim.agrees for claim in found.claims}


def test_svm_kinks(tmp_path):
    _, agrees = reduced("svm_kinks", tmp_path)
    assert agrees["learning the costs cleans the data: test accuracy rises"]


def test_svm_derivatives():
    rng = np.random.default_rng(1)
    train, val, _ = svm_kinks.data(rng, 12, 20)
    problem, x = svm_kinks.problem(train, val), rng.uniform(1, 2, 12)
    exact = rb.hypergradient(problem, x)
    e, h = np.eye(12)[3], 1e-5
    ends = [problem.f(z, rb.solve_lower(problem, z).y) for z in (x + h * e, x - h * e)]
    assert exact.gradient[3] == pytest.approx((ends[0] - ends[1]) / (2 * h), rel=1e-5, abs=1e-8)


@pytest.mark.parametrize("number", [20, 21, 22, 23, 24])
def test_synthetic_problems_are_what_they_say(number):
    """Derivatives by central differences, exact on quadratics; the distance vanishes at the solution, where F is least."""
    case = mehra_hamm_synthetic.synthetic(number, np.random.default_rng(3))
    p, rng = case.problem, np.random.default_rng(4)
    u, v, du, dv = (rng.standard_normal(20) for _ in range(4))
    for value, slope_x, slope_y in ((p.f, p.f_x, p.f_y), (p.g, p.g_x, p.g_y)):
        assert 0.5 * (value(u + du, v) - value(u - du, v)) == pytest.approx(slope_x(u, v) @ du)
        assert 0.5 * (value(u, v + dv) - value(u, v - dv)) == pytest.approx(slope_y(u, v) @ dv)
    np.testing.assert_allclose(p.g_y(u, v + dv) - p.g_y(u, v), p.g_yy(u, v) @ dv, atol=1e-9)
    np.testing.assert_allclose(p.g_y(u + du, v) - p.g_y(u, v), p.g_xy(u, v).T @ du, atol=1e-9)
    solution = np.full(20, 0.5 if number in (20, 24) else 0.0)
    assert case.distance(solution, solution) == 0.0 and case.distance(solution + du, solution) > 0.1
    np.testing.assert_allclose(p.g_y(solution, solution), 0, atol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mehra_hamm_synthetic", "label_noise"])
def test_reduced(name, tmp_path):
    found, agrees = reduced(name, tmp_path)
    assert found.claims and sum(agrees.values()) >= 2


def test_minimax_limit_and_meter():
    distances = minimaxopt.limit(np.array([16.0, 64.0]), 40)
    assert np.log(distances[1] / distances[0]) / np.log(4) == pytest.approx(-1.0, abs=0.1)
    problem, x = minimaxopt.hyperparameters()
    meter = minimaxopt.Meter(problem)
    y = np.ones(problem.m)
    np.testing.assert_allclose(meter.problem.g_yy(x, y) @ y, problem.g_yy(x, y) @ y)
    meter.problem.g_y(x, y)
    assert meter.passes == 3


@pytest.mark.slow
def test_minimaxopt_reduced(tmp_path):
    found, agrees = reduced("minimaxopt", tmp_path)
    assert agrees["the minimax problem's solution lies O(1/alpha) from the bilevel solution"]
    assert {row[1] for row in found.rows} >= {"minimax", "hoag", "bome", "stocbio"}


@pytest.mark.slow
def test_implicit_against_equilibrium(tmp_path):
    _, agrees = reduced("implicit_against_equilibrium", tmp_path)
    assert agrees["one-sided error without solver error is O(beta^1)"] and agrees["symmetric error without solver error is O(beta^2)"]
    assert agrees["of the implicit methods conjugate gradient is the cheapest, unrolling the dearest"]


def test_penalties_are_solved_to_tolerance():
    problem = hyperparameters.penalties("diabetes", 40)
    result, curve = hyperparameters.solve(problem, -3.0, "lbfgs", maxiter=3000)
    assert result.success and result.projected_norm <= 1e-6 and result.accepted
    assert curve[-1, 1] < hyperparameters.random_search(problem, 10, np.random.default_rng(1), -3.0)[-1, 1]


@pytest.mark.slow
def test_hyperparameters(tmp_path):
    found, _ = reduced("hyperparameters", tmp_path)
    assert [row[4] for row in found.rows if row[1] == "lbfgs"] == ["converged"] * 3

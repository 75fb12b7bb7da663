"""The error estimate of a lower level that is a solution map: one more Newton step of the map's own, asymptotically exact."""

from dataclasses import replace

import numpy as np
import pytest

import refbilevel as rb

RNG = np.random.default_rng(1)
A, T, V, S = RNG.standard_normal((20, 4)), RNG.standard_normal(20), RNG.standard_normal((10, 4)), RNG.standard_normal(10)
FAMILIES = {
    "lasso": lambda: rb.problems.lasso(A, T, V, S),
    "elastic_net": lambda: rb.problems.elastic_net(A, T, V, S),
    "group_lasso": lambda: rb.problems.group_lasso(A, T, V, S, [0, 0, 1, 1]),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_the_estimate_of_a_penalised_model_follows_the_error_in_y(family):
    problem = FAMILIES[family]()
    x = np.full(problem.n, -3.0)
    truth, lower = rb.hypergradient(problem, x), rb.solve_lower(problem, x)
    assert truth.success and truth.error_estimate < 1e-14
    y = lower.y + 1e-5 * np.cos(np.arange(problem.m)) * (lower.y != 0)
    moved = replace(lower, y=y, factor=problem.solution_map._factor(x, y, problem.solution_map.free(x, y)))
    result = rb.hypergradient(problem, x, lower=moved)
    error = np.linalg.norm(result.gradient - truth.gradient)
    assert error > 1e-8 and result.error_estimate == pytest.approx(error, rel=1e-2)
    refined = rb.hypergradient(problem, x, lower=moved, refine=True)
    assert np.linalg.norm(refined.gradient - truth.gradient) < 1e-2 * error


def conic_problem():
    cp = pytest.importorskip("cvxpy")
    x, y = cp.Variable(2), cp.Variable(3)
    objective = cp.sum(cp.exp(y)) + cp.sum_squares(y) - x[0] * y[0] - x[1] * y[2]
    follower = cp.Problem(cp.Minimize(objective), [cp.norm(y) <= 1.1, y >= -1])
    return rb.from_cvxpy(upper=cp.Problem(cp.Minimize(cp.sum_squares(y) + cp.sum(x))), lower=follower, lower_variables=[y])


def test_the_estimate_of_a_convex_program_follows_the_error_of_its_point():
    problem, x = conic_problem(), np.array([3.0, 1.0])
    truth, lower = rb.hypergradient(problem, x), rb.solve_lower(problem, x)
    assert truth.success and truth.error_estimate < 1e-13
    state = lower.factor
    point = replace(state.point, x=state.point.x + 1e-6 * np.cos(np.arange(state.point.x.size)))
    moved = replace(lower, y=problem.solution_map._y(point.x), factor=replace(state, point=point, system=None))
    result = rb.hypergradient(problem, x, lower=moved)
    error = np.linalg.norm(result.gradient - truth.gradient)
    assert error > 1e-9 and result.error_estimate == pytest.approx(error, rel=1e-2)


def test_the_pricing_story_ends_with_a_number():
    cp = pytest.importorskip("cvxpy")
    a = np.arange(1.0, 6.0)
    x, y = cp.Variable(5), cp.Variable(5)
    follower = cp.Problem(cp.Minimize(cp.sum_squares(y - a) / 2 + x @ y), [cp.sum(y) <= 10, y >= 0])
    leader = cp.Problem(cp.Minimize(-x @ y), [x >= 0, x <= 10])
    result = rb.minimize(rb.from_cvxpy(upper=leader, lower=follower, lower_variables=[y]), x0=np.ones(5), tol=1e-8)
    assert result.error_estimate < 1e-8


@pytest.mark.parametrize("family", ["lasso", "elastic_net"])
@pytest.mark.parametrize("method", ["coordinate_forward", "coordinate_reverse"])
@pytest.mark.parametrize("K", [0, 1, 3])
def test_too_few_sweeps_on_the_wrong_support_say_how_far_off_they_are(family, method, K):
    """At y = 0 every coordinate sits at its kink, where one more Newton step changes nothing."""
    problem = FAMILIES[family]()
    x = np.full(problem.n, -3.0)
    truth, result = rb.hypergradient(problem, x), rb.hypergradient(problem, x, method, K=K)
    error = np.linalg.norm(result.gradient - truth.gradient)
    assert error > 1e-4 and result.error_estimate == pytest.approx(error, rel=1e-9)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_y_that_is_given_is_measured_against_the_solution(family):
    problem = FAMILIES[family]()
    x = np.full(problem.n, -3.0)
    truth = rb.hypergradient(problem, x)
    for y in (np.zeros(problem.m), -truth.lower.y, truth.lower.y + 0.1):
        result = rb.hypergradient(problem, x, lower=y)
        error = np.linalg.norm(result.gradient - truth.gradient)
        assert error > 1e-4 and (not result.success or result.error_estimate == pytest.approx(error, rel=1e-9))


def test_sweeps_that_end_beside_a_kink_say_so():
    """exp(x) = |A't|_inf / N: the first coordinate is about to leave zero."""
    problem = FAMILIES["lasso"]()
    x = np.array([np.log(np.abs(A.T @ T).max() / len(A))])
    assert rb.hypergradient(problem, x).status is rb.Status.DEGENERATE
    assert rb.hypergradient(problem, x, "coordinate_forward", K=50).status is rb.Status.DEGENERATE


def test_a_loose_solve_is_measured_too():
    """Stopped before its support is found, a solve may sit on a piece that is not the solution's."""
    rng = np.random.default_rng(3)
    for _ in range(20):
        problem = rb.problems.lasso(*(rng.standard_normal(s) for s in ((12, 6), 12, (9, 6), 9)))
        x = rng.uniform(-4, -1, 1)
        truth = rb.hypergradient(problem, x)
        for tol in (1e-1, 1e-2, 1e-3):
            result = rb.hypergradient(problem, x, tol=tol)
            if result.success and truth.success:
                error = np.linalg.norm(result.gradient - truth.gradient)
                assert error <= 2 * result.error_estimate + 1e-12 * np.linalg.norm(truth.gradient), (x, tol)


def spoiled_from(oracle, first, bad):
    """The oracle until call `first`, with one entry replaced from then on."""
    calls = iter(range(1, 100))

    def answer(x, y):
        value = np.array(oracle(x, y))
        value[1] = bad if next(calls) >= first else value[1]
        return value

    return answer


@pytest.mark.parametrize("refine", [False, True])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("name", ["f_x", "f_y"])
def test_a_correction_that_is_not_finite_is_no_success(name, bad, refine):
    problem = rb.problems.lasso(A, T, V, S, penalties="per-feature")
    for first in range(1, 6):
        spoiled = rb.problem.replace(problem, **{name: spoiled_from(getattr(problem, name), first, bad)})
        result = rb.hypergradient(spoiled, np.full(problem.n, -3.0), "coordinate_reverse", K=40, refine=refine)
        assert result.success or result.status is rb.Status.NONFINITE
        assert not result.success or np.isfinite(result.gradient).all() and np.isfinite(result.error_estimate)
    assert result.success and first == 5

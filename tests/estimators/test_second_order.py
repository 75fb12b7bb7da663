"""Sensitivities of y*, and the second-order hypergradient, against closed forms and differences of re-solved problems."""

import numpy as np
import pytest
from examples import WRAP, difference, quadratic, quartic
from hypothesis import given
from hypothesis import strategies as st

import refbilevel as rb
from refbilevel.errors import ArgumentError, ShapeError, StatusError
from refbilevel.problem import replace
from refbilevel.results import Status

SHAPES = [(2, 4), (4, 3), (3, 3), (2, 1), (1, 1)]


def start(n):
    return 0.5 * np.cos(1.0 + np.arange(n))


@pytest.mark.parametrize("kind", WRAP)
@pytest.mark.parametrize("n, m", SHAPES)
def test_sensitivity_equals_differences_of_the_lower_solution(n, m, kind):
    problem, x = quartic(n, m, seed=m, kind=kind), start(n)
    truth = np.array([difference(lambda x: rb.solve_lower(problem, x).y[i], x, h=1e-2) for i in range(m)])
    S = rb.sensitivity(problem, x)
    assert S.success and S.jacobian.shape == (m, n)
    np.testing.assert_allclose(S.jacobian, truth, atol=1e-8)
    np.testing.assert_allclose(np.column_stack([S.jvp(e) for e in np.eye(n)]), S.jacobian, atol=1e-13)
    np.testing.assert_allclose(np.array([S.vjp(e) for e in np.eye(m)]), S.jacobian, atol=1e-13)


@given(st.integers(1, 4), st.integers(1, 4), st.integers(0, 50), st.sampled_from(list(WRAP)))
def test_adjoint_identity(n, m, seed, kind):
    problem, x = quartic(n, m, seed=seed, kind=kind), start(n)
    S = rb.sensitivity(problem, x)
    rng = np.random.default_rng(seed)
    dx, y_bar = rng.integers(-3, 4, n).astype(float), rng.integers(-3, 4, m).astype(float)
    assert y_bar @ S.jvp(dx) == pytest.approx(S.vjp(y_bar) @ dx, abs=1e-11)


def test_vjp_of_f_y_is_the_indirect_term():
    problem, x = quartic(2, 4), start(2)
    result = rb.hypergradient(problem, x)
    S = rb.sensitivity(problem, x, lower=result.lower, linear="cg")
    np.testing.assert_allclose(S.vjp(problem.f_y(x, result.lower.y)), result.indirect, rtol=1e-12)


def test_envelope_gradient_is_that_of_the_lower_value():
    problem, x = quartic(3, 4), start(3)
    truth = difference(lambda x: problem.g(x, rb.solve_lower(problem, x).y), x, h=1e-2)
    np.testing.assert_allclose(rb.envelope_gradient(problem, x), truth, atol=1e-9 * np.linalg.norm(truth))


def test_a_quadratic_moves_linearly():
    problem, _ = quadratic(3, 5, 1e6)
    H, g_xy = problem.g_yy(None, None), problem.g_xy(None, None)
    np.testing.assert_allclose(rb.sensitivity(problem, np.ones(3)).jacobian, -np.linalg.solve(H, g_xy.T), rtol=1e-9)


def test_sensitivity_at_a_bad_hessian_says_so():
    problem, _ = quadratic(2, 3)
    saddle = replace(problem, g_yy=lambda x, y: np.diag([1.0, 2.0, -1.0]))
    assert rb.sensitivity(saddle, np.ones(2), lower=rb.LowerSolution(y=np.zeros(3))).status is Status.NOT_A_MINIMUM
    singular = replace(problem, g_yy=lambda x, y: np.diag([1.0, 2.0, 0.0]))
    S = rb.sensitivity(singular, np.ones(2), lower=rb.LowerSolution(y=np.zeros(3)))
    assert S.status is Status.ILL_CONDITIONED
    with pytest.raises(StatusError):
        S.jvp(np.ones(2))
    with pytest.raises(ShapeError, match="dx"):
        S.jvp(np.ones(3))
    with pytest.raises(ArgumentError, match="LowerSolution"):
        rb.sensitivity(problem, np.ones(2), lower=np.zeros(3))


@pytest.mark.parametrize("kind", WRAP)
@pytest.mark.parametrize("n, m", SHAPES)
def test_hessian_equals_differences_of_the_hypergradient(n, m, kind):
    problem, x = quartic(n, m, seed=m, kind=kind), start(n)
    truth = np.array([difference(lambda x: rb.hypergradient(problem, x, diagnostics=False).gradient[i], x, h=1e-2) for i in range(n)])
    found = rb.hessian(problem, x)
    assert found.success and (found.value == found.value.T).all()
    np.testing.assert_allclose(found.value, truth, atol=2e-8 * (1 + np.linalg.norm(truth)))
    d = np.arange(1.0, n + 1)
    product = rb.hessian_vector_product(problem, x, d)
    np.testing.assert_allclose(product.value, found.value @ d, atol=1e-10 * (1 + np.linalg.norm(truth)))
    np.testing.assert_allclose(product.gradient, rb.hypergradient(problem, x).gradient, rtol=1e-10)


@pytest.mark.parametrize("condition", [1e0, 1e4])
def test_hessian_of_a_quadratic_is_its_closed_form(condition):
    problem, gradient = quadratic(3, 5, condition)
    x = start(3)
    truth = np.column_stack([0.5 * (gradient(x + e) - gradient(x - e)) for e in np.eye(3)])
    truth = 0.5 * (truth + truth.T)
    exact = replace(
        problem, f_xx=lambda x, y: np.zeros((3, 3)), f_yy=lambda x, y: np.eye(5), f_xy=lambda x, y: _coupling(problem, x, y)
    )
    for given, limit in ((problem, 1e-10), (exact, 1e-13)):
        found = rb.hessian(given, x)
        assert np.linalg.norm(found.value - truth) <= limit * condition * np.linalg.norm(truth)


def _coupling(problem, x, y):
    return np.column_stack([problem.f_x(x, y + e) - problem.f_x(x, y) for e in np.eye(5)])


def test_third_order_oracles_are_used():
    """m = 1: g = y^4/12 + e^x y^2/2 - y x, so D g_yy v = (2 y dy + e^x dx) v and D g_xy v = (e^x y dx + e^x dy) v."""
    problem = rb.BilevelProblem(
        n=1, m=1,
        f=lambda x, y: np.sin(y[0]) + x[0] ** 2, f_x=lambda x, y: 2 * x, f_y=lambda x, y: np.cos(y),
        f_xx=lambda x, y: 2 * np.eye(1), f_xy=lambda x, y: np.zeros((1, 1)), f_yy=lambda x, y: np.diag(-np.sin(y)),
        g=lambda x, y: y[0] ** 4 / 12 + np.exp(x[0]) * y[0] ** 2 / 2 - x[0] * y[0],
        g_y=lambda x, y: y**3 / 3 + np.exp(x) * y - x,
        g_yy=lambda x, y: np.diag(y**2 + np.exp(x)), g_xy=lambda x, y: np.diag(np.exp(x) * y - 1),
    )  # fmt: skip

    def third(x, y, dx, dy, v):
        return (2 * y * dy + np.exp(x) * dx) * v, (np.exp(x) * y * dx + np.exp(x) * dy) * v

    x = np.array([0.7])
    by_oracle, by_difference = rb.hessian(problem, x, third=third), rb.hessian(problem, x)
    assert by_oracle.error_estimate == 0.0
    y = rb.solve_lower(problem, x).y
    a, b = y[0] ** 2 + np.exp(x[0]), np.exp(x[0]) * y[0] - 1
    y1 = -b / a
    y2 = -(2 * y[0] * y1**2 + 2 * np.exp(x[0]) * y1 + np.exp(x[0]) * y[0]) / a
    truth = 2 - np.sin(y[0]) * y1**2 + np.cos(y[0]) * y2
    assert by_oracle.value[0, 0] == pytest.approx(truth, rel=1e-14)
    assert by_difference.value[0, 0] == pytest.approx(truth, rel=1e-11)


def test_the_error_estimate_covers_the_error():
    """A g_yy that wiggles faster than the difference step resolves: the estimate must say how wrong the result is."""
    problem, x = quartic(2, 4), start(2)
    y, e0 = rb.solve_lower(problem, x).y, np.eye(2)[0]
    wiggly = replace(problem, g_yy=lambda x, z: problem.g_yy(x, z) + 1e-3 * np.diag(np.sin(100 * (z - y))))

    def third(x, y, dx, dy, v):
        r = np.exp(x[0] / 2)
        return (2 * y * dy + 0.5 * r * dx[0] + 0.1 * dy) * v, e0 * (0.25 * r * dx[0] * (y @ v) + 0.5 * r * (dy @ v))

    lower = rb.solve_lower(problem, x)
    truth, found = rb.hessian(wiggly, x, third=third, lower=lower), rb.hessian(wiggly, x, lower=lower)
    error = np.linalg.norm(found.value - truth.value)
    assert 1e-8 < error <= 2 * found.error_estimate
    smooth = rb.hessian(problem, x)
    assert smooth.error_estimate < 1e-10 * np.linalg.norm(smooth.value)


def test_a_saddle_is_said():
    problem, _ = quadratic(2, 3)
    saddle = replace(problem, g_yy=lambda x, y: np.diag([1.0, 2.0, -1.0]))
    assert rb.hessian(saddle, np.ones(2), lower=rb.LowerSolution(y=np.zeros(3))).status is Status.NOT_A_MINIMUM


def test_dropping_the_third_derivatives_is_seen():
    """A Hessian without (D g_yy) v is a different matrix."""
    problem, x = quartic(2, 4), start(2)
    truth = rb.hessian(problem, x).value
    without = rb.hessian(problem, x, third=lambda x, y, dx, dy, v: (np.zeros(4), np.zeros(2))).value
    assert np.linalg.norm(without - truth) > 1e-2 * np.linalg.norm(truth)

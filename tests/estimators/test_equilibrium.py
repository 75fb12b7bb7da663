"""Equilibrium propagation, the value function, minimax: the identities between them, the choice of beta, and their faults."""

import importlib
import math

import numpy as np
import pytest
from examples import WRAP, quadratic, quartic, spd

import refbilevel as rb
from refbilevel.errors import ArgumentError, MissingDerivative, UnknownOption
from refbilevel.lower.auxiliary import solve_auxiliary
from refbilevel.problem import replace
from refbilevel.results import Status

X = np.array([0.3, -0.4, 0.5])
PROBLEM = quartic(3, 4, seed=3)
TRUTH = rb.hypergradient(PROBLEM, X).gradient
SIZE = np.linalg.norm(TRUTH)
MODULE = importlib.import_module("refbilevel.estimators.equilibrium")  # the package attribute of that name is the estimator


def gradient(method, problem=PROBLEM, **options):
    result = rb.hypergradient(problem, X, method, diagnostics=False, **options)
    assert result.success, result.message
    return result.gradient


@pytest.mark.parametrize("gamma", [1.0, 7.0, 100.0])
@pytest.mark.parametrize("kind", WRAP)
def test_value_function_minimax_and_one_sided_equilibrium_are_one_formula(gamma, kind):
    problem = quartic(3, 4, seed=3, kind=kind)
    value = gradient("value_function", problem, gamma=gamma)
    np.testing.assert_allclose(gradient("equilibrium", problem, beta=1 / gamma, phases="one_sided"), value, atol=1e-12 * SIZE)
    np.testing.assert_allclose(gradient("minimax", problem, alpha=gamma), value, atol=1e-12 * SIZE)


def test_symmetric_is_two_phase_holomorphic_and_even_in_beta():
    for beta in (0.1, 0.02):
        even = gradient("equilibrium", beta=beta)
        np.testing.assert_allclose(gradient("holomorphic_equilibrium", beta=beta, N=2), even, atol=1e-12 * SIZE)
        np.testing.assert_allclose(gradient("equilibrium", beta=-beta), even, atol=1e-12 * SIZE)


def test_a_negative_one_sided_nudge_errs_the_other_way():
    plus, minus = (gradient("equilibrium", beta=b, phases="one_sided") - TRUTH for b in (1e-3, -1e-3))
    assert np.linalg.norm(plus + minus) < 0.01 * np.linalg.norm(plus)


def test_the_holomorphic_estimate_is_real():
    result = rb.hypergradient(PROBLEM, X, "holomorphic_equilibrium", beta=0.1)
    assert result.extra["imaginary"] < 1e-12 * SIZE


@pytest.mark.parametrize("phases, order", [("one_sided", 1), ("symmetric", 2), ("richardson", 4)])
@pytest.mark.parametrize("lower_tol", [1e-11, 1e-8])
def test_automatic_beta_balances_solver_error_and_bias(phases, order, lower_tol):
    """With equilibria known to delta only, no beta of a sweep is better than the automatic one by more than a factor."""
    start = rb.solve_lower(PROBLEM, X).y + lower_tol * np.array([0.6, -0.5, 0.4, 0.5])
    lower = rb.LowerSolution(y=start, residual=float(np.linalg.norm(PROBLEM.g_y(X, start))))

    def error(beta):
        result = rb.hypergradient(PROBLEM, X, "equilibrium", lower=lower, phases=phases, beta=beta, diagnostics=False)
        return np.linalg.norm(result.gradient - TRUTH) / SIZE, result.extra["beta"]

    def noisy(auxiliary, x, y0, lower_method, tol):
        y = solve_auxiliary(auxiliary, x, y0).y
        noise = np.cos(1e7 * y)  # differs from one nudge to the next, and is the same when asked again
        return rb.LowerSolution(y=y + lower_tol * noise / np.linalg.norm(noise))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MODULE, "solve_auxiliary", noisy)
        automatic, beta = error(None)
        swept = [error(b)[0] for b in np.geomspace(1e-8, 0.3, 30)]
    assert beta == pytest.approx(lower_tol ** (1 / (order + 1)), rel=0.9)
    assert automatic <= 30 * min(swept) and automatic <= 30 * lower_tol ** (order / (order + 1))


@pytest.mark.parametrize("method, options", [
    ("equilibrium", {}), ("equilibrium", {"phases": "one_sided"}), ("holomorphic_equilibrium", {}),
    ("value_function", {}), ("minimax", {}),
])  # fmt: skip
def test_first_derivatives_only(method, options):
    """No g_xy, and g_yy only where it steers a solver."""
    blind = replace(PROBLEM, g_xy=None)
    np.testing.assert_allclose(gradient(method, blind, **options), gradient(method, **options), atol=0)
    if method != "holomorphic_equilibrium":
        H = PROBLEM.g_yy(X, np.ones(4))
        first = replace(PROBLEM, g_xy=None, g_yy=None, constants={"L": 1.5 * np.linalg.norm(H, 2), "L_f": 3.0})
        np.testing.assert_allclose(gradient(method, first, **options), gradient(method, **options), atol=1e-4 * SIZE)


def test_the_nudge_uses_f_yy_where_it_is_given():
    with_f_yy = replace(PROBLEM, f_yy=lambda x, y: (PROBLEM.f_y(x, y + 1e-6 * np.eye(4)[0]) * 0)[0] + _f_yy(y))
    np.testing.assert_allclose(gradient("equilibrium", with_f_yy, beta=0.3), gradient("equilibrium", beta=0.3), atol=1e-12)


def _f_yy(y):
    return np.column_stack([(PROBLEM.f_y(X, y + 1e-5 * e) - PROBLEM.f_y(X, y - 1e-5 * e)) / 2e-5 for e in np.eye(4)])


def concave():
    """f = -4 |y|^2: nudging by more than beta = 1/8 of the smallest curvature leaves convexity."""
    problem, _ = quadratic(3, 4, condition=2.0)
    return replace(problem, f=lambda x, y: -4 * (y @ y), f_x=lambda x, y: np.zeros(3), f_y=lambda x, y: -8 * y)


def test_a_nudge_out_of_convexity_is_said():
    problem = concave()
    assert rb.hypergradient(problem, X, "equilibrium", beta=0.01).success
    for method, options in (
        ("equilibrium", {"beta": 1.0}), ("equilibrium", {"beta": 0.5, "phases": "one_sided"}), ("value_function", {"gamma": 1.0}),
        ("minimax", {"alpha": 2.0}), ("holomorphic_equilibrium", {"beta": 1.0}),
    ):  # fmt: skip
        result = rb.hypergradient(problem, X, method, **options)
        assert result.status is Status.NUDGE_TOO_LARGE, (method, result.message)
    assert "beta" in rb.hypergradient(problem, X, "equilibrium", beta=1.0).message


def test_cancellation_is_said_with_a_better_beta():
    result = rb.hypergradient(PROBLEM, X, "equilibrium", beta=1e-15)
    assert result.status is Status.CANCELLATION and "suggested beta" in result.message
    assert rb.hypergradient(PROBLEM, X, "equilibrium", beta=result.extra["suggested_beta"]).success
    assert rb.hypergradient(PROBLEM, X, "value_function", gamma=1e15).status is Status.CANCELLATION


def test_forces_without_an_energy_are_refused():
    with pytest.raises(MissingDerivative, match="g"):
        rb.hypergradient(replace(PROBLEM, g=None), X, "equilibrium")
    A = np.array([[0, 1.0, 0, 0], [-1, 0, 0, 0], [0, 0, 0, 1], [0, 0, -1, 0]])
    rotating = replace(PROBLEM, g_y=lambda x, y: PROBLEM.g_y(x, y) + 0.2 * A @ y, g_yy=lambda x, y: PROBLEM.g_yy(x, y) + 0.2 * A)
    y = np.linalg.solve(rotating.g_yy(X, np.zeros(4)), -rotating.g_y(X, np.zeros(4)))
    for _ in range(50):
        y = y - np.linalg.solve(rotating.g_yy(X, y), rotating.g_y(X, y))
    assert not rb.hypergradient(rotating, X, "equilibrium", lower=y).success


@pytest.mark.parametrize("name, broken", [
    ("f_y", lambda x, y: np.abs(PROBLEM.f_y(x, y))), ("f_y", lambda x, y: np.conj(PROBLEM.f_y(x, y))),
    ("f_x", lambda x, y: PROBLEM.f_x(x, y) * np.vdot(y, y)), ("g_x", lambda x, y: PROBLEM.g_x(x, y).real),
])  # fmt: skip
def test_oracles_that_are_not_analytic_are_named(name, broken):
    with pytest.raises(ArgumentError, match=f"{name} is not analytic"):
        rb.hypergradient(replace(PROBLEM, **{name: broken}), X, "holomorphic_equilibrium")


def test_oracles_that_refuse_complex_numbers_are_named():
    real = replace(PROBLEM, f_y=lambda x, y: np.array([math.cos(t.item()) for t in y]))
    with pytest.raises(ArgumentError, match="complex"):
        rb.hypergradient(real, X, "holomorphic_equilibrium")


def test_wrong_options():
    for method, options, kind, words in (
        ("equilibrium", {"beta": 0.0}, ArgumentError, "beta"),
        ("equilibrium", {"phases": "symetric"}, UnknownOption, "symmetric"),
        ("holomorphic_equilibrium", {"N": 0}, ArgumentError, "N must be"),
        ("holomorphic_equilibrium", {"beta": -0.1}, ArgumentError, "beta"),
        ("value_function", {"gamma": -1.0}, ArgumentError, "gamma"),
        ("minimax", {"alpha": 0.0}, ArgumentError, "alpha"),
    ):
        with pytest.raises(kind, match=words):
            rb.hypergradient(PROBLEM, X, method, **options)


@pytest.mark.parametrize("method", ["equilibrium", "value_function", "minimax"])
def test_a_solution_at_zero_where_the_terms_of_g_y_cancel(method):
    """y* = 0 and g_y = H y - (B x + c) with B x = -c of size 1: rounding is 1e-16 though y and g_y are far smaller."""
    for H in np.linspace(0.5, 3.0, 26):
        problem = rb.BilevelProblem(
            n=1, m=1, f=lambda x, y: y @ y / 2 + np.sin(y[0]) + x[0] * y[0], f_x=lambda x, y: y.copy(), f_y=lambda x, y: y + np.cos(y) + x,
            g=lambda x, y: H * y[0] ** 2 / 2 + y[0] ** 2 / 4 - y[0] * (2 * x[0] - 1), g_x=lambda x, y: -2 * y,
            g_y=lambda x, y: H * y + y / 2 - 2 * x + 1, g_yy=lambda x, y: (H + 0.5) * np.eye(1), g_xy=lambda x, y: -2 * np.eye(1),
        )  # fmt: skip
        result = rb.hypergradient(problem, [0.5], method)
        assert result.success, result.message
        assert result.gradient[0] == pytest.approx(3.0 / (H + 0.5), rel=1e-3)


def test_minimax_gradients_at_any_point():
    x, u, omega, alpha = X, np.array([0.3, 0.1, -0.2, 0.4]), np.array([-0.1, 0.5, 0.2, 0.0]), 3.0

    def L(x, u, omega):
        return PROBLEM.f(x, u) + alpha * (PROBLEM.g(x, u) - PROBLEM.g(x, omega))

    found = rb.minimax_gradients(PROBLEM, x, u, omega, alpha)
    assert found.value == pytest.approx(L(x, u, omega), rel=1e-14)
    for got, variable in ((found.x, 0), (found.u, 1), (found.omega, 2)):
        point = [x, u, omega]

        def along(e, t):
            moved = [p + t * e if i == variable else p for i, p in enumerate(point)]
            return L(*moved)

        h = 1e-3
        expected = [(8 * (along(e, h) - along(e, -h)) - along(e, 2 * h) + along(e, -2 * h)) / (12 * h) for e in np.eye(len(got))]
        np.testing.assert_allclose(got, expected, atol=1e-9)


def test_minimax_equilibrium_is_one():
    result = rb.hypergradient(PROBLEM, X, "minimax", alpha=50.0)
    assert np.linalg.norm(result.extra["L_u"]) < 1e-11 and np.linalg.norm(result.extra["L_omega"]) < 1e-11


# Planted bug: beta f_x left out of t(beta) loses the direct term.


def test_a_missing_direct_term_is_seen(monkeypatch):
    whole = MODULE.nudged

    def forgetful(problem, beta):
        return replace(whole(problem, beta), g_x=problem.g_x)

    monkeypatch.setattr(MODULE, "nudged", forgetful)
    lost = rb.hypergradient(PROBLEM, X, "equilibrium", beta=1e-3, diagnostics=False).gradient
    assert np.linalg.norm(lost - TRUTH) > 1e-2 * SIZE


@pytest.mark.parametrize("linear", ["minres", "gmres", "auto"])
def test_a_chord_whose_linear_solves_fail_stops_there(linear):
    """g_yy is singular and f_y leaves its range: no y solves the nudged equation, and another hundred tries would not change that."""
    rng = np.random.default_rng(5)
    u = rng.standard_normal(4)
    project = np.eye(4) - np.outer(u, u) / (u @ u)
    H, B = project @ spd(4, 10.0, 3) @ project, project @ rng.standard_normal((4, 3))
    H = 0.5 * (H + H.T)
    problem = rb.BilevelProblem(
        n=3, m=4, f=lambda x, y: 0.5 * (y * y).sum() + u @ y, f_x=lambda x, y: np.zeros(3), f_y=lambda x, y: y + u,
        g=lambda x, y: 0.5 * y @ (H @ y) - y @ (B @ x), g_x=lambda x, y: -B.T @ y, g_y=lambda x, y: H @ y - B @ x,
        g_yy=lambda x, y: H, g_xy=lambda x, y: -B.T,
    )  # fmt: skip
    result = rb.hypergradient(problem, X, "holomorphic_equilibrium", linear=linear, lower=np.linalg.pinv(H) @ B @ X, diagnostics=False)
    assert not result.success and result.status is not Status.NUDGE_TOO_LARGE, result.message
    assert result.cost["g_y"] <= 60, result.cost

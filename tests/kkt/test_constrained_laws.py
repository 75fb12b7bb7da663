"""Declared error laws of the constrained first-order estimators, by slope; where a paper gives only a bound, one-sided."""

import numpy as np
import pytest
from constrained_examples import affine, constrained, difference, kink
from hypothesis import given
from hypothesis import strategies as st

import refbilevel as rb
from refbilevel.errors import ArgumentError, UnknownOption

SEEDS = (0, 1, 2)


def slope(steps, errors):
    return np.polyfit(np.log(steps), np.log(errors), 1)[0]


def errors(e, method, option, values, **options):
    exact = rb.hypergradient(e.problem, e.x, method="kkt").gradient
    found = []
    for value in values:
        result = rb.hypergradient(e.problem, e.x, method=method, **{option: value}, **options)
        assert result.success, result.message
        found.append(np.linalg.norm(result.gradient - exact))
    return np.array(found)


@pytest.mark.parametrize("kind", ["inequality", "equality", "curved", "mixed"])
@pytest.mark.parametrize("phases,order,betas", [
    ("one_sided", 1, [1e-3, 5e-4, 2e-4, 1e-4]), ("symmetric", 2, [8e-3, 4e-3, 2e-3, 1e-3]), ("richardson", 4, [2.4e-2, 1.6e-2, 1.2e-2, 8e-3]),
])  # fmt: skip
def test_equilibrium_orders(kind, phases, order, betas):
    for seed in SEEDS[:2]:
        e = constrained(kind, 3, 6, seed, margin=0.5)
        assert slope(betas, errors(e, "constrained_equilibrium", "beta", betas, phases=phases)) == pytest.approx(order, abs=0.15)


@pytest.mark.parametrize("kind", ["inequality", "equality", "curved", "mixed"])
@pytest.mark.parametrize("method", ["blocc", "constrained_penalty"])
def test_penalties_are_of_first_order_in_one_over_gamma(kind, method):
    gammas = np.array([1e3, 3e3, 1e4, 3e4])
    for seed in SEEDS[:2]:
        e = constrained(kind, 3, 5, seed, margin=0.5)
        assert slope(gammas, errors(e, method, "gamma", gammas)) == pytest.approx(-1, abs=0.1)


def test_blocc_max_min_is_the_constrained_solve_and_one_sided_equilibrium():
    e = constrained("mixed", 3, 5, 4, margin=0.5)
    results = [rb.hypergradient(e.problem, e.x, method="blocc", gamma=1e4, inner=inner) for inner in ("maxmin", "solve")]
    results.append(rb.hypergradient(e.problem, e.x, method="constrained_equilibrium", beta=1e-4, phases="one_sided"))
    for other in results[1:]:
        np.testing.assert_allclose(results[0].gradient, other.gradient, rtol=1e-7)
    assert results[0].extra["ascent_residual"] < 1e-8  # the ascent alone, before the polish


def test_blocc_toy_of_the_paper():
    """y <= x, g = (y - 2x)^2: y* = x, mu_g = 2x; f = exp(2 - y) / (2 + cos 4x) + ln((4x - 2)^2 + 1)/2 + x^2, F' by hand."""
    problem = rb.BilevelProblem(
        n=1, m=1,
        f=lambda x, y: np.exp(2 - y[0]) / (2 + np.cos(4 * x[0])) + 0.5 * np.log((4 * x[0] - 2) ** 2 + 1) + x[0] ** 2,
        f_x=lambda x, y: 4 * np.exp(2 - y) * np.sin(4 * x) / (2 + np.cos(4 * x)) ** 2 + 4 * (4 * x - 2) / ((4 * x - 2) ** 2 + 1) + 2 * x,
        f_y=lambda x, y: -np.exp(2 - y) / (2 + np.cos(4 * x)), f_yy=lambda x, y: np.array([np.exp(2 - y) / (2 + np.cos(4 * x))]),
        g=lambda x, y: (y[0] - 2 * x[0]) ** 2, g_x=lambda x, y: -4 * (y - 2 * x), g_y=lambda x, y: 2 * (y - 2 * x),
        g_yy=lambda x, y: np.array([[2.0]]), g_xy=lambda x, y: np.array([[-4.0]]),
        constraints=rb.Constraints(p=lambda x, y: y - x, p_x=lambda x, y: -np.ones((1, 1)), p_y=lambda x, y: np.ones((1, 1)), linear=True),
    )  # fmt: skip
    x = np.array([0.8])
    lower = rb.solve_lower(problem, x)
    assert lower.y[0] == pytest.approx(0.8) and lower.mu[0] == pytest.approx(1.6)
    exact = problem.f_x(x, x) + problem.f_y(x, x)
    np.testing.assert_allclose(rb.hypergradient(problem, x).gradient, exact, rtol=1e-13)
    np.testing.assert_allclose(rb.hypergradient(problem, x, method="blocc").gradient, exact, rtol=1e-6)
    stationary = rb.hypergradient(problem, [0.3007])
    assert stationary.objective == pytest.approx(2.65450, abs=1e-5) and abs(stationary.gradient[0]) < 5e-3


def test_kornowski_equality_is_first_order():
    deltas = [1e-3, 5e-4, 2e-4, 1e-4]
    for seed in SEEDS:
        e = constrained("equality", 3, 6, seed)
        assert slope(deltas, errors(e, "kornowski_equality", "delta", deltas)) == pytest.approx(1, abs=0.1)


def test_kornowski_inequality_is_at_least_first_order():
    """The paper proves O(alpha); the measured order may be higher, so the test is one-sided."""
    alphas = [0.05, 0.02, 0.01, 0.005]
    for seed in SEEDS:
        e = constrained("inequality", 3, 5, seed, margin=0.5)
        found = errors(e, "kornowski_inequality", "alpha", alphas)
        assert slope(alphas, found) >= 0.95 and found[-1] < 1e-2


def test_log_barrier_is_first_order_and_the_exact_gradient_of_the_smoothed_problem():
    ts = [1e-5, 5e-6, 2e-6, 1e-6]
    for seed in SEEDS:
        e = constrained("mixed", 3, 5, seed, margin=0.5)
        assert slope(ts, errors(e, "log_barrier", "t", ts)) == pytest.approx(1, abs=0.1)
    t, h = 0.05, 1e-4

    def F(x):
        result = rb.hypergradient(e.problem, x, method="log_barrier", t=t)
        return e.problem.f(x, result.lower.y)

    numeric = [(8 * (F(e.x + h * a) - F(e.x - h * a)) - (F(e.x + 2 * h * a) - F(e.x - 2 * h * a))) / (12 * h) for a in np.eye(3)]
    np.testing.assert_allclose(rb.hypergradient(e.problem, e.x, method="log_barrier", t=t).gradient, numeric, rtol=1e-7)


def test_log_barrier_averages_the_branches_at_a_kink():
    """The labelled baseline: at the kink it gives a finite number between the branches, and so its status cannot be believed there."""
    problem = kink()
    result = rb.hypergradient(problem, [0.0], method="log_barrier", t=1e-8)
    assert result.gradient[0] == pytest.approx(0.5, abs=1e-3)


@given(seed=st.integers(0, 10**6), kind=st.sampled_from(["box", "inequality", "equality", "curved", "mixed"]))
def test_defaults_against_finite_differences(seed, kind):
    """Every constrained estimator with its defaults, within its law at its default step."""
    e = constrained(kind, 2, 5, seed, margin=0.5)
    numeric = difference(e.problem, e.x)[0]
    scale = 1 + np.abs(numeric).max()
    within = {"kkt": 1e-8, "gam": 1e-8, "constrained_equilibrium": 1e-6, "constrained_penalty": 1e-4, "blocc": 1e-4, "log_barrier": 1e-2}
    for method, tol in within.items():
        result = rb.hypergradient(e.problem, e.x, method=method)
        assert result.success, (method, result.message)
        assert np.abs(result.gradient - numeric).max() < tol * scale, method


def test_nudge_beyond_the_margin_is_said():
    e = constrained("inequality", 3, 5, 0, margin=1e-3)
    result = rb.hypergradient(e.problem, e.x, method="constrained_equilibrium", beta=0.3)
    assert result.status is rb.Status.INACCURATE and "active set" in result.message


def test_nudge_below_the_noise_is_said():
    e = constrained("inequality", 3, 5, 0)
    assert rb.hypergradient(e.problem, e.x, method="constrained_equilibrium", beta=1e-14).status is rb.Status.CANCELLATION


def test_nudge_out_of_convexity_is_said():
    """f = -10 |y|^2 along a free direction outweighs g at beta = 1."""
    problem = affine(1, 2, np.eye(2), [0.0, 0.0], [[1.0, 1.0]], [[1.0, 0.0]], [5.0], [[0.0]],
                     f=lambda x, y: -10 * y @ y, f_y=lambda x, y: -20 * y)  # fmt: skip
    result = rb.hypergradient(problem, [0.3], method="constrained_equilibrium", beta=1.0, phases="one_sided")
    assert not result.success and result.status in (rb.Status.NUDGE_TOO_LARGE, rb.Status.INACCURATE)


@pytest.mark.parametrize("method,options", [
    ("constrained_equilibrium", {"beta": 0.0}), ("constrained_equilibrium", {"phases": "three"}), ("blocc", {"gamma": -1.0}), ("blocc", {"inner": "x"}),
    ("kornowski_inequality", {"alpha": 0.0}), ("constrained_penalty", {"gamma": 0.0}), ("log_barrier", {"t": 0.0}), ("gam", {"epsilon": -1.0}),
])  # fmt: skip
def test_bad_options_raise(method, options):
    e = constrained("inequality", 2, 3, 0)
    with pytest.raises((ArgumentError, UnknownOption)):
        rb.hypergradient(e.problem, e.x, method=method, **options)


def test_kornowski_needs_linear_rows_of_its_kind():
    curved, inequality = constrained("curved", 2, 3, 0), constrained("inequality", 2, 3, 0)
    with pytest.raises(ArgumentError, match="linear"):
        rb.hypergradient(curved.problem, curved.x, method="kornowski_inequality")
    with pytest.raises(ArgumentError, match="kornowski_inequality"):
        rb.hypergradient(inequality.problem, inequality.x, method="kornowski_equality")


def failing_from(oracle, first):
    """The oracle until call `first`, NaN from then on."""
    calls = iter(range(1, 10**9))
    return lambda *arguments: oracle(*arguments) * (np.nan if next(calls) >= first else 1.0)


@pytest.mark.parametrize("method", ["constrained_penalty", "kkt"])
@pytest.mark.parametrize("name", ["f_x", "f_y", "g_xy"])
def test_a_nan_on_the_way_is_no_success(method, name):
    """Not even where the gradient itself is finite, and only the direct term or the gradient it is compared with is not."""
    e = constrained("inequality", 2, 3, 0, quartic=False)
    finite = 0
    for first in range(1, 13):
        problem = rb.problem.replace(e.problem, **{name: failing_from(getattr(e.problem, name), first)})
        h = rb.hypergradient(problem, e.x, method)
        finite += np.isfinite(h.gradient).all() and not h.success
        known = np.isfinite(h.direct).all() and not np.isnan(h.error_estimate)
        assert known if h.success else h.message, (first, h.gradient, h.direct, h.error_estimate)
    assert finite

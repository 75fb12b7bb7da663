"""The gradient-norm penalty and the augmented Lagrangian: the lemma at y_hat, the limit of the multiplier, the faults."""

import numpy as np
import pytest
from examples import WRAP, quadratic, quartic

import refbilevel as rb
from refbilevel.errors import ArgumentError
from refbilevel.problem import replace
from refbilevel.results import Status

X = np.array([0.3, -0.4, 0.5])


@pytest.mark.parametrize("kind", WRAP)
@pytest.mark.parametrize("gamma", [0.5, 1.0, 10.0, 1e4])
@pytest.mark.parametrize("n, m", [(3, 4), (3, 2), (3, 1)])
def test_the_penalty_is_the_hypergradient_formula_at_its_own_minimiser(n, m, gamma, kind):
    problem = quartic(n, m, seed=3, kind=kind)
    dense = quartic(n, m, seed=3)
    result = rb.hypergradient(problem, X, "penalty", gamma=gamma)
    assert result.success, result.message
    y = result.lower.y
    v = np.linalg.solve(dense.g_yy(X, y), dense.f_y(X, y))
    expected = dense.f_x(X, y) - dense.g_xy(X, y) @ v
    np.testing.assert_allclose(result.gradient, expected, atol=1e-11 * np.linalg.norm(expected))
    np.testing.assert_allclose(gamma * dense.g_y(X, y), -v, atol=1e-11 * np.linalg.norm(v))


@pytest.mark.parametrize("kind", WRAP)
def test_the_multiplier_is_the_adjoint(kind):
    problem, dense = quartic(3, 4, seed=3, kind=kind), quartic(3, 4, seed=3)
    exact = rb.hypergradient(dense, X)
    for rho in (1.0, 10.0):
        result = rb.hypergradient(problem, X, "augmented_lagrangian", rho=rho)
        assert result.success
        np.testing.assert_allclose(result.adjoint, exact.adjoint, atol=1e-11)
        np.testing.assert_allclose(result.gradient, exact.gradient, atol=1e-11)


def test_a_warm_multiplier_needs_fewer_rounds():
    problem = quartic(3, 4, seed=3)
    cold = rb.hypergradient(problem, X, "augmented_lagrangian")
    warm = rb.hypergradient(problem, X, "augmented_lagrangian", nu0=-cold.adjoint)
    assert warm.extra["iterations"] < cold.extra["iterations"] / 2


def test_fixed_rounds():
    errors = []
    truth = rb.hypergradient(quartic(3, 4, seed=3), X).gradient
    for K in (1, 2, 3, 4, 5):
        result = rb.hypergradient(quartic(3, 4, seed=3), X, "augmented_lagrangian", K=K, rho=2.0)
        assert result.extra["iterations"] == K
        errors.append(np.linalg.norm(result.gradient - truth))
    assert (np.diff(np.log(errors)) < np.log(0.5)).all()


def test_an_upper_objective_too_concave_for_rho_is_said():
    problem, _ = quadratic(3, 4, condition=2.0)
    problem = replace(problem, f=lambda x, y: -4 * (y @ y), f_y=lambda x, y: -8 * y)
    assert rb.hypergradient(problem, X, "augmented_lagrangian", rho=0.1).status is Status.NUDGE_TOO_LARGE
    assert rb.hypergradient(problem, X, "penalty", gamma=0.1).status is Status.NUDGE_TOO_LARGE
    assert rb.hypergradient(problem, X, "augmented_lagrangian", rho=1e3).success


def test_few_rounds_say_so():
    result = rb.hypergradient(quartic(3, 4, seed=3), X, "augmented_lagrangian", rho=0.5, maxiter=2)
    assert result.status is Status.LINEAR_MAXITER


@pytest.mark.parametrize("method, options", [
    ("penalty", {"gamma": 0.0}), ("augmented_lagrangian", {"rho": -1.0}), ("augmented_lagrangian", {"K": 0}),
    ("zeroth_order", {"sigma": 0.0}), ("zeroth_order", {"samples": 1}),
])  # fmt: skip
def test_wrong_options(method, options):
    with pytest.raises(ArgumentError, match=next(iter(options))):
        rb.hypergradient(quartic(3, 4, seed=3), X, method, **options)


def test_zeroth_order_is_unbiased_up_to_its_spread():
    problem = quartic(3, 4, seed=3)
    truth = rb.hypergradient(problem, X).gradient
    result = rb.hypergradient(problem, X, "zeroth_order", samples=400, rng=3)
    assert np.linalg.norm(result.gradient - truth) < 3 * result.error_estimate
    assert (result.gradient == rb.hypergradient(problem, X, "zeroth_order", samples=400, rng=3).gradient).all()


@pytest.mark.parametrize("method, knob", [("penalty", "gamma"), ("value_function", "gamma"), ("minimax", "alpha")])
def test_a_weight_that_drowns_the_answer_in_rounding_is_said(method, knob):
    """The law 1/weight holds up to about 1e8; far beyond, what comes out is noise, and no success."""
    problem = quartic(3, 4, seed=3)
    truth = rb.hypergradient(problem, X).gradient
    for weight in np.geomspace(1e3, 1e30, 28):
        result = rb.hypergradient(problem, X, method, diagnostics=False, **{knob: weight})
        error = np.linalg.norm(result.gradient - truth) / np.linalg.norm(truth)
        assert error <= 10 / weight + 1e-5 or result.status is Status.CANCELLATION, (weight, error)
        assert result.success or weight > 1e8


@pytest.mark.parametrize("scale", [1.0, 1e-6, 1e-12, 1e-120])
def test_the_error_is_measured_at_the_lower_solution_not_at_its_own_minimiser(scale):
    """A tiny g makes no penalty: y_hat minimises f, far from y*, where one Newton step says nothing of the way to y*."""
    off = 0
    for seed in range(8):
        problem = quartic(2, 3, seed=seed)
        truth = rb.hypergradient(problem, X[:2]).gradient
        names = ("g", "g_x", "g_y", "g_yy", "g_xy")
        tiny = replace(problem, **{name: (lambda x, y, o=getattr(problem, name): scale * o(x, y)) for name in names})
        result = rb.hypergradient(tiny, X[:2], "penalty")
        error = np.linalg.norm(result.gradient - truth)
        off += error > 0.1 * np.linalg.norm(truth)
        if result.success:
            assert error == pytest.approx(result.error_estimate, rel=1e-3, abs=1e-9 * np.linalg.norm(truth))
    assert off or scale > 1e-6

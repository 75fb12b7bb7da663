"""The gradient approximation method: as an estimator, and as a minimiser where plain hypergradient descent stalls."""

import numpy as np
import pytest
from constrained_examples import affine, constrained, kink
from hypothesis import given
from hypothesis import strategies as st

import refbilevel as rb
from refbilevel.errors import ArgumentError


def ridge_of_two_kinks():
    """F = |z_1| + 10 |z_2|, z = M x: a narrow valley along the second kink, F* = 0 at x = 0."""
    M, w = np.array([[1.0, 0.3], [-0.2, 1.0]]), np.array([1.0, 10.0])
    return affine(2, 2, np.eye(2), np.zeros(2), -M.T, -np.eye(2), np.zeros(2), np.zeros((2, 2)),
                  f=lambda x, y: w @ (2 * y - M @ x), f_x=lambda x, y: -M.T @ w, f_y=lambda x, y: 2 * w)  # fmt: skip


def test_least_norm_not_the_mean():
    """f = 3y - x at |x| < epsilon: gradients {2, -1}; least norm 0, mean 0.5."""
    for x in (0.0, 3e-4, -3e-4):
        result = rb.hypergradient(kink(), [x], method="gam", epsilon=1e-3)
        assert sorted(np.round(result.extra["generators"].ravel(), 12)) == [-1.0, 2.0]
        assert result.gradient[0] == pytest.approx(0.0, abs=1e-14)


def test_the_row_exactly_at_the_kink_is_ambiguous_for_every_epsilon():
    result = rb.hypergradient(kink(), [0.0], method="gam", epsilon=0.0)
    assert result.status is rb.Status.DEGENERATE and len(result.extra["generators"]) == 2


@given(seed=st.integers(0, 10**6), kind=st.sampled_from(["inequality", "box", "curved", "mixed"]))
def test_epsilon_to_zero_is_the_hypergradient(seed, kind):
    e = constrained(kind, 2, 5, seed)
    result = rb.hypergradient(e.problem, e.x, method="gam", epsilon=1e-9)
    assert result.success and result.extra["ambiguous"].size == 0
    np.testing.assert_allclose(result.gradient, rb.hypergradient(e.problem, e.x).gradient, rtol=1e-10, atol=1e-10)


@given(seed=st.integers(0, 10**6))
def test_descent_direction(seed):
    """<h, g> >= |g|^2 for every gradient h in the set, and F falls along -g within epsilon."""
    e = constrained("inequality", 3, 5, seed, margin=1e-3, quartic=False)
    result = rb.hypergradient(e.problem, e.x, method="gam", epsilon=0.02)
    g = result.gradient
    generators = result.extra["generators"]
    assert (generators @ g >= g @ g - 1e-12 * np.abs(generators).max() ** 2).all()
    if np.linalg.norm(g) > 1e-6:
        t = 1e-4 / np.linalg.norm(g)
        assert rb.hypergradient(e.problem, e.x - t * g).objective < result.objective


def test_cap_on_ambiguous_rows_is_said():
    m = 12
    problem = affine(m, m, np.eye(m), np.zeros(m), -np.eye(m), -np.eye(m), np.zeros(m), np.zeros((m, m)))
    result = rb.hypergradient(problem, np.full(m, 1e-5), method="gam", epsilon=1e-3, max_ambiguous=4)
    assert result.extra["capped"] and "max_ambiguous=4" in result.message and len(result.extra["generators"]) == 16


def test_minimises_a_valley_along_a_kink():
    problem, x0 = ridge_of_two_kinks(), [2.0, 0.3]
    ours = rb.minimize(problem, x0, "gam")
    assert ours.success and ours.fun < 1e-7 and "Clarke stationary" in ours.message


def test_the_experiment_shows_descent_stopping_and_gam_arriving():
    from refbilevel.validation.experiments.kinks import study

    (_, stopped, _, _), (_, arrived, _, outcome) = study()[1]
    assert stopped > 1.0 and arrived < 1e-7 and outcome == "converged"


@pytest.mark.parametrize("x0", [0.7, -2.0, 0.0])
def test_one_kink_from_either_side_and_on_it(x0):
    result = rb.minimize(kink(), [x0], "gam")
    assert result.success and abs(result.x[0]) < 1e-8, result.message


def test_smooth_optimum_to_full_tolerance():
    problem = rb.problems.soft_threshold([2.6, 0.45, -1.7, -0.6, 1.15], [2.1, 0, -1.4, 0, 0.8])
    result = rb.minimize(problem, [1.0], "gam")
    x, value = problem.optimum()
    assert result.success and result.x[0] == pytest.approx(x[0], abs=1e-7) and result.fun == pytest.approx(value, abs=1e-13)


def test_optimum_on_the_kink_of_the_box_family():
    """Three coordinates of x* sit where y* leaves the box."""
    problem = rb.problems.box_separable([1.46, 0.8], [0.0, 0.0], [5.0, -4.0], rho=0.05, e=[-3.0, 0.3])
    x, value = problem.optimum()
    result = rb.minimize(problem, x + np.array([0.2, 0.1]), "gam")
    assert result.success and result.fun <= value + 1e-7


def test_bounds_hold_and_their_normal_cone_counts():
    """F = 2 max(x, 0) + max(-x, 0) on x >= 0.5: optimum at the bound, where the gradient does not vanish."""
    result = rb.minimize(kink(), [0.9], "gam", bounds=(0.5, 2.0))
    assert result.success and result.x[0] == 0.5


def test_infeasible_start_is_a_status():
    problem = affine(1, 1, [[1.0]], [0.0], [[0.0]], [[1.0], [-1.0]], [0.0, -1.0], [[0.0], [0.0]])
    assert not rb.minimize(problem, [0.0], "gam").success


@pytest.mark.parametrize("options", [{"epsilon": 0.0}, {"gamma": 1.0}, {"beta": 0.0}, {"theta_nu": 2.0}])
def test_bad_options(options):
    with pytest.raises(ArgumentError):
        rb.minimize(kink(), [1.0], "gam", **options)

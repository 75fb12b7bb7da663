"""Where the hypergradient is not unique, or only its multipliers are not: documented statuses, one-sided values, Clarke sets."""

from dataclasses import replace

import numpy as np
import pytest
from constrained_examples import affine, constrained, kink
from hypothesis import given
from hypothesis import strategies as st

import refbilevel as rb
from refbilevel import kkt
from refbilevel.errors import Degenerate
from refbilevel.kkt_sensitivity import directional_derivative, kkt_sensitivity

ONE = [[1.0]]


def one_sided_difference(problem, x, d, h=1e-7):
    """(F(x + h d) - F(x)) / h, exact to rounding / h on the piecewise linear and quadratic problems here."""
    a, b = (rb.solve_lower(problem, x + t * d) for t in (0.0, h))
    assert a.success and b.success
    return (problem.f(x + h * d, b.y) - problem.f(x, a.y)) / h


def test_kink_holds_both_branches_the_one_sided_values_and_the_least_norm_element():
    """f = 3y - x, y* = max(x, 0) at x = 0: gradients {2, -1}; the least-norm element is 0, their mean 0.5."""
    result = rb.hypergradient(kink(), [0.0])
    assert result.status is rb.Status.DEGENERATE and not result.success
    assert sorted(result.extra["generators"].ravel()) == [-1.0, 2.0]
    np.testing.assert_allclose(result.extra["one_sided"], [[-1.0, 2.0]], rtol=1e-15)
    assert result.gradient[0] == pytest.approx(0.0, abs=1e-15)
    with pytest.raises(Degenerate):
        rb.hypergradient(kink(), [0.0], strict=True)


@pytest.mark.parametrize("x,slope", [(1e-8, 2.0), (-1e-8, -1.0), (1e-6, 2.0), (-1.0, -1.0)])
def test_beside_the_kink_the_gradient_is_one_branch(x, slope):
    result = rb.hypergradient(kink(), [x])
    assert result.success and result.gradient[0] == slope


def test_two_sided_bound_y_is_clip():
    problem = affine(1, 1, ONE, [0.0], [[-1.0]], [[-1.0], [1.0]], [0.0, 1.0], [[0.0], [0.0]])
    for x, slope in ((-0.5, 0.0), (0.5, -0.5), (1.5, 0.0)):
        assert rb.hypergradient(problem, [x]).gradient[0] == pytest.approx(slope, abs=1e-14)
    assert rb.hypergradient(problem, [0.0]).status is rb.Status.DEGENERATE
    np.testing.assert_allclose(rb.hypergradient(problem, [0.0]).extra["one_sided"], [[0.0, -1.0]], atol=1e-14)


@given(seed=st.integers(0, 10**6), weak=st.integers(1, 3), n=st.integers(1, 4))
def test_directional_derivatives_at_weakly_active_points(seed, weak, n):
    """A QP with `weak` rows touched but not pressed: F'(x; d) against one-sided differences, for d and -d."""
    rng = np.random.default_rng(seed)
    m = weak + 2
    M = rng.standard_normal((m, m))
    P, B, G, Gx = M @ M.T + m * np.eye(m), rng.standard_normal((n, m)), rng.standard_normal((weak + 1, m)), rng.standard_normal((weak + 1, n))
    x0, y0 = rng.standard_normal(n), rng.standard_normal(m)
    mu = np.zeros(weak + 1)
    mu[-1] = 1.0
    c = -(P @ y0 + B.T @ x0 + G.T @ mu)
    problem = affine(n, m, P, c, B, G, G @ y0 - Gx @ x0, Gx)
    result = rb.hypergradient(problem, x0)
    assert result.extra["weak"].size == weak
    for d in rng.standard_normal((3, n)):
        for direction in (d, -d):
            slope = directional_derivative(problem, x0, direction)
            assert slope == pytest.approx(one_sided_difference(problem, x0, direction), abs=2e-5 * (1 + abs(slope)))
            values = result.extra["generators"] @ direction
            assert values.min() - 1e-9 <= slope <= values.max() + 1e-9
        assert directional_derivative(problem, x0, 3 * d) == pytest.approx(3 * directional_derivative(problem, x0, d), rel=1e-9, abs=1e-9)


@given(seed=st.integers(0, 10**6))
def test_generators_are_the_gradients_of_the_neighbours(seed):
    """Every generator is met as the gradient at some x near the kink, and every gradient met is a generator."""
    rng = np.random.default_rng(seed)
    n, m = 3, 4
    M = rng.standard_normal((m, m))
    P, B, G = M @ M.T + m * np.eye(m), rng.standard_normal((n, m)), rng.standard_normal((2, m))
    x0, y0 = rng.standard_normal(n), rng.standard_normal(m)
    problem = affine(n, m, P, -(P @ y0 + B.T @ x0), B, G, G @ y0, np.zeros((2, n)))
    generators = rb.hypergradient(problem, x0).extra["generators"]
    assert len(generators) == 4
    met = set()
    for d in rng.standard_normal((40, n)):
        gradient = rb.hypergradient(problem, x0 + 1e-6 * d).gradient
        distances = np.abs(generators - gradient).max(axis=1)
        assert distances.min() < 1e-4 * (1 + np.abs(gradient).max())
        met.add(int(distances.argmin()))
    assert len(met) >= 3  # a narrow cone may be missed by 40 directions


@given(st.lists(st.lists(st.integers(-5, 5), min_size=3, max_size=3), min_size=1, max_size=6))
def test_least_norm_element(points):
    """Optimality of the projection of 0: <p_i, z> >= |z|^2 for every point; shorter than every point and than the mean."""
    points = np.array(points, float)
    weights = kkt.least_norm_weights(points)
    z = weights @ points
    assert (weights >= 0).all() and weights.sum() == pytest.approx(1.0)
    assert (points @ z >= z @ z - 1e-9).all()
    assert np.linalg.norm(z) <= min(np.linalg.norm(points, axis=1).min(), np.linalg.norm(points.mean(axis=0))) + 1e-9


def test_more_weak_rows_than_the_cap_is_said():
    m = 12
    problem = affine(m, m, np.eye(m), np.zeros(m), -np.eye(m), -np.eye(m), np.zeros(m), np.zeros((m, m)))
    result = rb.hypergradient(problem, np.zeros(m))
    assert result.status is rb.Status.DEGENERATE and result.extra["capped"] and "max_weak=10" in result.detail
    np.testing.assert_allclose(result.extra["one_sided"], np.column_stack([np.zeros(m), -np.ones(m)]), atol=1e-12)


def test_branches_that_agree_are_a_gradient():
    """The bound is touched but neither moves with x: F is differentiable."""
    problem = affine(1, 1, ONE, [0.0], [[0.0]], [[-1.0]], [0.0], [[0.0]], f=lambda x, y: y[0] + x[0],
                     f_x=lambda x, y: np.ones(1), f_y=lambda x, y: np.ones(1))  # fmt: skip
    result = rb.hypergradient(problem, [0.0])
    assert result.success and result.gradient[0] == 1.0 and "agree" in result.detail


def test_duplicated_row():
    """y1 >= 1 + x/2 stated twice, once doubled: the gradient is right, multipliers are of least norm, the status says so."""
    problem = affine(1, 2, np.eye(2), [0.0, 0.0], [[-1.0, 0.5]], [[-1.0, 0], [-2.0, 0]], [-1.0, -2.0], [[-0.5], [-1.0]])
    single = affine(1, 2, np.eye(2), [0.0, 0.0], [[-1.0, 0.5]], [[-1.0, 0]], [-1.0], [[-0.5]])
    result, expected = rb.hypergradient(problem, [0.2]), rb.hypergradient(single, [0.2])
    assert result.status is rb.Status.LICQ_FAILS
    np.testing.assert_allclose(result.gradient, expected.gradient, rtol=1e-13)
    mu = result.extra["mu"]
    assert mu[0] + 2 * mu[1] == pytest.approx(expected.lower.mu[0]) and (mu > 0).all()
    s = kkt_sensitivity(problem, [0.2])
    assert s.status is rb.Status.LICQ_FAILS
    np.testing.assert_allclose(s.dy_dx, kkt_sensitivity(single, [0.2]).dy_dx, atol=1e-13)


@pytest.mark.parametrize("x", [0.2, -3.0])
def test_equality_written_as_two_inequalities(x):
    """Slater fails; y* still follows y1 + y2 = 1 + 0.3 x."""
    two = affine(1, 2, np.eye(2), [0.0, 0.0], [[-1.0, 0.5]], [[1.0, 1], [-1.0, -1]], [1.0, -1.0], [[0.3], [-0.3]])
    one = affine(1, 2, np.eye(2), [0.0, 0.0], [[-1.0, 0.5]], [[1.0, 0]], [100.0], [[0.0]], A=[[1.0, 1]], b=[1.0], Ax=[[0.3]])
    result, expected = rb.hypergradient(two, [x]), rb.hypergradient(one, [x])
    assert result.status is rb.Status.LICQ_FAILS and expected.success
    np.testing.assert_allclose(result.gradient, expected.gradient, rtol=1e-12)
    assert (result.extra["mu"] >= 0).all() and result.extra["mu"][0] - result.extra["mu"][1] == pytest.approx(expected.lower.nu[0])


def test_dependent_rows_that_move_apart():
    """y <= x, y <= -x and a strong pull upwards: F = y* = -|x|, with both multipliers positive at 0."""
    problem = affine(1, 1, ONE, [-5.0], [[0.0]], [[1.0], [1.0]], [0.0, 0.0], [[1.0], [-1.0]], f=lambda x, y: y[0],
                     f_y=lambda x, y: np.ones(1))  # fmt: skip
    result = rb.hypergradient(problem, [0.0])
    assert result.status is rb.Status.DEGENERATE
    np.testing.assert_allclose(result.extra["one_sided"], [[1.0, -1.0]], atol=1e-13)
    assert sorted(np.round(result.extra["generators"].ravel(), 12)) == [-1.0, 1.0]
    assert rb.hypergradient(problem, [0.5]).gradient[0] == pytest.approx(-1.0)


def test_linear_program_with_a_unique_vertex():
    problem = affine(1, 2, np.zeros((2, 2)), [-1.0, -1.0], [[0.0, 0.0]], [[1.0, 2], [2.0, 1], [-1, 0], [0, -1]], [3.0, 3, 0, 0],
                     [[1.0], [0], [0], [0]])  # fmt: skip
    result = rb.hypergradient(problem, [0.1])
    assert result.success
    np.testing.assert_allclose(result.lower.y, [(3 - 0.1) / 3, (3 + 0.2) / 3], rtol=1e-13)
    np.testing.assert_allclose(kkt_sensitivity(problem, [0.1]).dy_dx, [[-1 / 3], [2 / 3]], rtol=1e-12)


def test_linear_program_with_a_face_of_solutions():
    problem = affine(1, 2, np.zeros((2, 2)), [-1.0, -1.0], [[0.0, 0.0]], [[1.0, 1], [-1, 0], [0, -1]], [1.0, 0, 0], [[1.0], [0], [0]])
    result = rb.hypergradient(problem, [0.1])
    assert result.status is rb.Status.NONUNIQUE
    d = result.extra["flat_direction"]
    assert abs(d.sum()) < 1e-12 and np.linalg.norm(d) == pytest.approx(1.0)


def test_linear_program_with_a_degenerate_vertex():
    """Three rows meet in the plane and stay together: y* = (1, x)."""
    problem = affine(1, 2, np.zeros((2, 2)), [-1.0, 0.0], [[0.0, 0.0]], [[1.0, 1], [1, -1], [1, 0]], [1.0, 1, 1], [[1.0], [-1], [0]])
    result = rb.hypergradient(problem, [0.0])
    assert result.status is rb.Status.LICQ_FAILS and result.gradient[0] == pytest.approx(-1.0)


def test_saddle_is_not_a_minimum():
    problem = affine(1, 2, np.diag([1.0, -1.0]), [0.0, 0.0], [[1.0, 0.0]], [[0.0, 1]], [5.0], [[0.0]])
    assert rb.hypergradient(problem, [0.3]).status is rb.Status.NOT_A_MINIMUM


@given(seed=st.integers(0, 10**6))
def test_smooth_points_have_one_sided_values_equal_to_the_gradient(seed):
    e = constrained("mixed", 2, 5, seed)
    gradient = rb.hypergradient(e.problem, e.x).gradient
    d = np.random.default_rng(seed).standard_normal(2)
    assert directional_derivative(e.problem, e.x, d) == pytest.approx(gradient @ d, rel=1e-8, abs=1e-8)
    assert directional_derivative(e.problem, e.x, -d) == pytest.approx(-gradient @ d, rel=1e-8, abs=1e-8)


def test_multipliers_on_too_few_rows_are_spread():
    """At the degenerate vertex a solver may put all the weight on the third row, which alone does not hold y."""
    problem = affine(1, 2, np.zeros((2, 2)), [-1.0, 0.0], [[0.0, 0.0]], [[1.0, 1], [1, -1], [1, 0]], [1.0, 1, 1], [[1.0], [-1], [0]])
    lower = replace(rb.solve_lower(problem, [0.0]), y=np.array([1.0, 0.0]), mu=np.array([0.0, 0.0, 1.0]))
    result = rb.hypergradient(problem, [0.0], lower=lower)
    assert result.status is rb.Status.LICQ_FAILS and result.gradient[0] == pytest.approx(-1.0)
    mu = result.extra["mu"]
    assert (mu > 0).all()
    np.testing.assert_allclose(np.array([[1.0, 1], [1, -1], [1, 0]]).T @ mu, [1.0, 0.0], atol=1e-14)


def test_a_row_that_stays_weakly_active_on_one_side_does_not_hide_that_side():
    """y*(x) = (0, min(x, 2)): beyond x = 2 the second row is weakly active for every x, and F = |y|^2 has slopes 4 and 0 at x = 2."""
    P, c = np.array([[2.0, 0.5], [0.5, 1.0]]), np.array([1.0, 2.0])
    rows = rb.Constraints(
        p=lambda x, y: np.array([y[0] + y[1] - x[0], -y[0]]), p_x=lambda x, y: np.array([[-1.0], [0.0]]),
        p_y=lambda x, y: np.array([[1.0, 1.0], [-1.0, 0.0]]), linear=True,
    )  # fmt: skip
    problem = rb.BilevelProblem(
        n=1, m=2, f=lambda x, y: y @ y, f_x=lambda x, y: np.zeros(1), f_y=lambda x, y: 2 * y, g=lambda x, y: 0.5 * y @ P @ y - c @ y,
        g_x=lambda x, y: np.zeros(1), g_y=lambda x, y: P @ y - c, g_yy=lambda x, y: P, g_xy=lambda x, y: np.zeros((1, 2)), constraints=rows,
    )  # fmt: skip
    kink = rb.hypergradient(problem, [2.0])
    assert kink.status is rb.Status.DEGENERATE
    np.testing.assert_allclose(np.unique(np.round(kink.extra["generators"], 9)), [0.0, 4.0], atol=1e-9)
    for x, slope in ((1.5, 3.0), (2.5, 0.0)):
        beside = rb.hypergradient(problem, [x])
        assert beside.success and beside.gradient == pytest.approx(slope, abs=1e-12)


def test_branches_that_agree_are_not_believed_where_the_slopes_differ(monkeypatch):
    """A branch whose system cannot be solved is missing from the generators; the slopes on both sides still tell the kink."""
    whole = kkt.clarke_set

    def first_branch(*arguments, **options):
        clarke = whole(*arguments, **options)
        return replace(clarke, generators=clarke.generators[:1], adjoints=clarke.adjoints[:1], held=clarke.held[:1], weights=np.ones(1))

    monkeypatch.setattr(kkt, "clarke_set", first_branch)
    result = rb.hypergradient(kink(), [0.0])
    assert len(result.extra["generators"]) == 1
    assert result.status is rb.Status.DEGENERATE

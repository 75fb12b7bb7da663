"""g times any constant: the same active set, status, y and gradient; multipliers times that constant."""

import numpy as np
import pytest
from constrained_examples import affine, constrained, kink

import refbilevel as rb
from refbilevel import kkt
from refbilevel.kkt_sensitivity import directional_derivative, kkt_sensitivity
from refbilevel.problem import replace

SCALES = [1e-150, 1e-13, 1.0, 1e13, 1e150]
NAMES = ("g", "g_x", "g_y", "g_yy", "g_xy")


def scaled(problem, c):
    """The problem with c g under the same rows; curved rows keep their own curvature."""
    return replace(problem, **{name: (lambda x, y, o=getattr(problem, name): c * o(x, y)) for name in NAMES})


def classes(problem, x, lower):
    c = kkt.unit(problem, x, lower.y)
    sets = kkt.analyse(kkt.in_units(problem, c), x, kkt.solution_in_units(lower, c)).sets
    return sets.strong.tolist(), sets.weak.tolist(), sets.inactive.tolist()


@pytest.mark.parametrize("c", SCALES)
@pytest.mark.parametrize("kind", ["inequality", "box", "curved", "mixed"])
@pytest.mark.parametrize("margin", [0.1, 1e-4])
def test_the_scale_of_g_changes_nothing_but_multipliers(kind, c, margin):
    for seed in range(3):
        e = constrained(kind, 2, 4, seed, margin=margin)
        problem = scaled(e.problem, c)
        h, plain = rb.hypergradient(problem, e.x), rb.hypergradient(e.problem, e.x)
        assert h.success, h.message
        np.testing.assert_allclose(h.lower.y, e.y, atol=1e-9)
        np.testing.assert_array_equal(h.lower.active, e.active)
        np.testing.assert_allclose(h.lower.mu / c, e.mu, atol=1e-8)
        np.testing.assert_allclose(h.gradient, plain.gradient, rtol=1e-8, atol=1e-8)
        assert classes(problem, e.x, h.lower) == (np.flatnonzero(e.active).tolist(), [], np.flatnonzero(~e.active).tolist())
        s, t = kkt_sensitivity(problem, e.x, lower=h.lower), kkt_sensitivity(e.problem, e.x)
        assert s.success, s.message
        np.testing.assert_allclose(s.dy_dx, t.dy_dx, rtol=1e-7, atol=1e-8)
        np.testing.assert_allclose(s.dmu_dx / c, t.dmu_dx, rtol=1e-7, atol=1e-7)
        one = np.ones(e.mu.size)
        np.testing.assert_allclose(s.vjp(mu_bar=one / c), t.dmu_dx.T @ one, rtol=1e-7, atol=1e-7)
        np.testing.assert_allclose(s.jvp([1.0, 2.0])[1] / c, t.dmu_dx @ [1.0, 2.0], rtol=1e-7, atol=1e-7)
        np.testing.assert_allclose(h.adjoint * c, plain.adjoint, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("c", SCALES)
def test_a_weakly_active_row_is_weak_at_every_scale(c):
    problem = scaled(kink(), c)
    result = rb.hypergradient(problem, [0.0])
    assert classes(problem, np.zeros(1), result.lower) == ([], [0], [])
    assert result.status is rb.Status.DEGENERATE
    assert sorted(np.round(result.extra["generators"].ravel(), 12)) == [-1.0, 2.0]
    np.testing.assert_allclose(result.extra["one_sided"], [[-1.0, 2.0]], rtol=1e-12)
    assert directional_derivative(problem, [0.0], [1.0]) == pytest.approx(2.0)
    for x, slope in ((1e-6, 2.0), (-1e-6, -1.0)):  # beside the kink by far more than rounding
        beside = rb.hypergradient(problem, [x])
        assert beside.success and beside.gradient[0] == pytest.approx(slope)
        assert classes(problem, np.array([x]), beside.lower)[1] == []


@pytest.mark.parametrize("c", SCALES)
def test_gam_holds_both_branches_at_every_scale(c):
    result = rb.hypergradient(scaled(kink(), c), [1e-4], "gam", epsilon=1e-2)
    assert sorted(np.round(result.extra["generators"].ravel(), 9)) == [-1.0, 2.0]
    away = rb.hypergradient(scaled(kink(), c), [1e-1], "gam", epsilon=1e-2, diagnostics=False)
    np.testing.assert_allclose(away.adjoint, rb.hypergradient(kink(), [1e-1]).adjoint / c, rtol=1e-12)


def test_the_unit_is_that_at_the_solution():
    """g = (y - 1)^4 falls by many powers of ten on the way: its minimiser is found to more digits than |g_y| ~ 1e-12 gives."""
    flat = replace(
        affine(1, 1, [[1.0]], [0.0], [[0.0]], [[1.0]], [9.0], [[0.0]]), g=lambda x, y: (y - 1 - x) @ (y - 1 - x) ** 3,
        g_x=lambda x, y: -4 * (y - 1 - x) ** 3, g_y=lambda x, y: 4 * (y - 1 - x) ** 3, g_yy=lambda x, y: np.diag(12 * (y - 1 - x) ** 2),
        g_xy=lambda x, y: np.diag(-12 * (y - 1 - x) ** 2),
    )  # fmt: skip
    solution = rb.solve_lower(flat, [0.0])
    assert abs(solution.y[0] - 1.0) < 1e-7, solution.y


def test_a_tolerance_is_one_on_the_residual_of_g_itself():
    e = constrained("inequality", 3, 6, 0)
    assert rb.solve_lower(scaled(e.problem, 1e13), e.x, tol=1e2).success
    stalled = rb.solve_lower(scaled(e.problem, 1e13), e.x, tol=1e-9)
    assert stalled.status is rb.Status.LOWER_STALLED and stalled.residual > 1e-9 and "rounding" in stalled.message
    assert np.abs(stalled.y - e.y).max() < 1e-9


def test_sizes_near_one_are_left_alone():
    e = constrained("inequality", 2, 4, 0)
    assert kkt.unit(e.problem, e.x, e.y) == 1.0 and kkt.in_units(e.problem, 1.0) is e.problem
    c = kkt.unit(scaled(e.problem, 1e13), e.x, e.y)
    assert np.frexp(c)[0] == 0.5 and 1e11 < c < 1e16
    assert kkt.unit(replace(e.problem, constraints=None), e.x, e.y) == 1.0

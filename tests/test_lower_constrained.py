"""Constrained lower solvers: chosen solutions, closed forms, warm starts, and certificates that can be checked by hand."""

import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import refbilevel as rb
from refbilevel.errors import ArgumentError
from refbilevel.lower.simplex import project_simplex

sys.path.append(str(Path(__file__).parent / "kkt"))
from constrained_examples import KINDS, affine, constrained  # noqa: E402


@given(kind=st.sampled_from(KINDS), shape=st.tuples(st.integers(1, 3), st.integers(1, 8), st.integers(0, 10**6)), warm=st.booleans())
def test_convex_finds_the_chosen_solution(kind, shape, warm):
    """From zero, far from the solution, by Newton's method or (warm_start=False) by the interior-point path."""
    e = constrained(kind, *shape)
    solution = rb.solve_lower(e.problem, e.x, "convex", warm_start=warm)
    assert solution.success, solution.message
    assert solution.residual < 1e-10
    np.testing.assert_allclose(solution.y, e.y, atol=1e-9)
    np.testing.assert_allclose(solution.mu, e.mu, atol=1e-8)
    np.testing.assert_allclose(solution.nu, e.nu, atol=1e-8)
    assert np.array_equal(solution.active, e.active)


@pytest.mark.parametrize("condition", [1e2, 1e6])
def test_ill_conditioned(condition):
    e = constrained("mixed", 2, 12, 3, condition=condition)
    solution = rb.solve_lower(e.problem, e.x)
    assert solution.success and np.abs(solution.y - e.y).max() < 1e-15 * condition * 100


def test_warm_start_costs_a_few_steps():
    e = constrained("mixed", 3, 10, 1)
    first = rb.solve_lower(e.problem, e.x)
    again = rb.solve_lower(e.problem, e.x + 1e-4, y0=first.y)
    assert again.success and again.iterations <= 6 and again.solvers == ("newton",)


@given(seed=st.integers(0, 10**6), m=st.integers(1, 20))
def test_box_and_quadratic_against_the_closed_form(seed, m):
    rng = np.random.default_rng(seed)
    problem = rb.problems.box_separable(np.where(rng.random(m) < 0.5, -1, 1) * (0.5 + rng.random(m)), rng.standard_normal(m), 0.0)
    x = 2 * rng.standard_normal(m)
    for method in ("box", "quadratic", "convex"):
        solution = rb.solve_lower(problem, x, method)
        assert solution.success and solution.method == method
        np.testing.assert_allclose(solution.y, problem.y_star(x), atol=1e-13)


@given(seed=st.integers(0, 10**6), m=st.integers(2, 20))
def test_simplex_against_the_closed_form(seed, m):
    rng = np.random.default_rng(seed)
    problem, x = rb.problems.simplex_projection(rng.standard_normal(m)), rng.standard_normal(m)
    for method in ("simplex", "quadratic", "convex"):
        solution = rb.solve_lower(problem, x, method)
        assert solution.success, solution.message
        np.testing.assert_allclose(solution.y, problem.y_star(x), atol=1e-12)


def test_box_with_a_full_hessian_and_a_quartic():
    e = constrained("box", 2, 9, 4, condition=1e3)
    solution = rb.solve_lower(e.problem, e.x, "convex")
    np.testing.assert_allclose(solution.y, e.y, atol=1e-11)


@given(st.lists(st.integers(-9, 9), min_size=1, max_size=9), st.integers(1, 9))
def test_simplex_projection_is_the_nearest_point(z, total):
    z = np.array(z, float)
    y = project_simplex(z, np.zeros(z.size), float(total))
    assert (y >= 0).all() and y.sum() == pytest.approx(total)
    tau = np.max((z - y)[y > 0])
    np.testing.assert_allclose((z - y)[y > 0], tau, atol=1e-12)
    assert (z[y == 0] <= tau + 1e-12).all()


def test_domain_of_g_is_respected():
    """Entropy: g is finite only inside; zeros as a start are outside its domain."""
    problem = rb.problems.logit_pricing([0.4, 0.1, -2.0])
    solution = rb.solve_lower(problem, [3.0, 0.5, 1.0])
    assert solution.success
    np.testing.assert_allclose(solution.y, problem.y_star([3.0, 0.5, 1.0]), rtol=1e-12)


@pytest.mark.parametrize("method", ["box", "simplex", "quadratic"])
def test_special_solvers_refuse_what_they_cannot_read(method):
    with pytest.raises(ArgumentError, match="convex"):
        rb.solve_lower(rb.problems.disc_projection([1.0, 2.0]), [3.0, 1.0], method)


@given(seed=st.integers(0, 10**6), k=st.integers(2, 5), m=st.integers(1, 4))
def test_farkas_certificate_of_affine_rows(seed, k, m):
    """Rows that add to 0 <= -gap: the certificate must prove it."""
    rng = np.random.default_rng(seed)
    G = rng.integers(-3, 4, (k, m)).astype(float)
    weights = rng.integers(1, 4, k).astype(float)
    G[-1] = -(weights[:-1] @ G[:-1]) / weights[-1]
    h = rng.integers(-3, 4, k).astype(float)
    h[-1] = (-1.0 - weights[:-1] @ h[:-1]) / weights[-1]
    problem = affine(1, m, np.eye(m), np.zeros(m), np.zeros((1, m)), G, h, np.zeros((k, 1)))
    solution = rb.solve_lower(problem, [0.0])
    assert solution.status is rb.Status.LOWER_INFEASIBLE
    mu = solution.certificate.mu
    assert (mu >= 0).all() and np.abs(G.T @ mu).max() < 1e-9 and h @ mu < 0
    result = rb.hypergradient(problem, [0.0])
    assert result.status is rb.Status.LOWER_INFEASIBLE and np.isnan(result.gradient).all()
    assert np.isnan(rb.envelope_gradient(problem, [0.0])).all()
    assert np.isnan(rb.sensitivity(problem, [0.0]).dy_dx).all()


def test_contradictory_equations():
    problem = affine(1, 2, np.eye(2), np.zeros(2), np.zeros((1, 2)), [[1.0, 0]], [5.0], [[0.0]], A=[[1.0, 1], [2, 2]], b=[1.0, 3], Ax=[[0.0], [0]])
    solution = rb.solve_lower(problem, [0.0])
    nu = solution.certificate.nu
    assert solution.status is rb.Status.LOWER_INFEASIBLE
    assert np.abs(np.array([[1.0, 1], [2, 2]]).T @ nu).max() < 1e-9 and nu @ [1.0, 3] < 0


def test_equations_inconsistent_by_1e_7_are_never_silent():
    problem = affine(1, 2, np.eye(2), np.zeros(2), np.zeros((1, 2)), [[1.0, 0]], [5.0], [[0.0]], A=[[1.0, 1], [1, 1]], b=[1.0, 1 + 1e-7], Ax=[[0.0], [0]])
    assert not rb.solve_lower(problem, [0.0]).success


def test_curved_rows_that_exclude_each_other():
    """Two discs of radius 1 around (+-3, 0)."""
    centre = np.array([3.0, 0.0])

    def p(x, y):
        return np.array([(y - centre) @ (y - centre) - 1, (y + centre) @ (y + centre) - 1])

    problem = rb.BilevelProblem(
        n=1, m=2, f=lambda x, y: y[0], f_x=lambda x, y: np.zeros(1), f_y=lambda x, y: np.array([1.0, 0]),
        g=lambda x, y: y @ y, g_x=lambda x, y: np.zeros(1), g_y=lambda x, y: 2 * y, g_yy=lambda x, y: 2 * np.eye(2), g_xy=lambda x, y: np.zeros((1, 2)),
        constraints=rb.Constraints(
            p=p, p_x=lambda x, y: np.zeros((2, 1)), p_y=lambda x, y: 2 * np.array([y - centre, y + centre]),
            lagrangian_yy=lambda x, y, mu, nu: 2 * mu.sum() * np.eye(2), lagrangian_xy=lambda x, y, mu, nu: np.zeros((1, 2)),
        ),
    )  # fmt: skip
    solution = rb.solve_lower(problem, [0.0], y0=[0.3, 0.4])
    assert solution.status is rb.Status.LOWER_INFEASIBLE
    mu = solution.certificate.mu
    assert (mu >= 0).all() and mu.sum() == pytest.approx(1.0, abs=1e-6) and solution.certificate.gap == pytest.approx(8.0, rel=1e-6)


@pytest.mark.parametrize("P", [np.zeros((2, 2)), np.diag([1.0, 0.0])])
def test_ray_of_an_unbounded_lower_level(P):
    problem = affine(1, 2, P, [0.0, -1.0], np.zeros((1, 2)), [[1.0, 0], [-1, 0], [0, -1]], [1.0, 1, 0], np.zeros((3, 1)))
    solution = rb.solve_lower(problem, [0.0])
    d = solution.certificate
    assert solution.status is rb.Status.LOWER_UNBOUNDED
    assert np.linalg.norm(d) == pytest.approx(1.0) and np.abs(P @ d).max() < 1e-12 and d[1] > 0 and abs(d[0]) < 1e-12


def test_infinite_right_hand_sides_are_never_active():
    """A bound at +inf: slack inf."""
    problem = affine(1, 2, np.eye(2), [1.0, -2.0], np.zeros((1, 2)), np.vstack([np.eye(2), -np.eye(2)]), [np.inf, 1.0, 0.0, np.inf], np.zeros((4, 1)))
    solution = rb.solve_lower(problem, [0.0])
    assert solution.success
    np.testing.assert_allclose(solution.y, [0.0, 1.0], atol=1e-14)
    assert solution.active.tolist() == [False, True, True, False]


def test_nan_from_the_gradient_is_a_status():
    e = constrained("inequality", 2, 3, 0)
    broken = rb.problem.replace(e.problem, g_y=lambda x, y: np.full(3, np.nan))
    assert rb.solve_lower(broken, e.x).status is rb.Status.NONFINITE


def test_own_solver_that_returns_y_alone_gets_multipliers():
    e = constrained("mixed", 2, 5, 3)
    good = rb.problem.replace(e.problem, lower_solver=lambda x, y0, tol: e.y)
    solution = rb.solve_lower(good, e.x)
    assert solution.success and solution.method == "own" and np.array_equal(solution.active, e.active)
    np.testing.assert_allclose(solution.mu, e.mu, atol=1e-10)
    np.testing.assert_allclose(rb.hypergradient(good, e.x).gradient, rb.hypergradient(e.problem, e.x).gradient, rtol=1e-9)
    bad = rb.problem.replace(e.problem, lower_solver=lambda x, y0, tol: e.y + 0.1)
    assert not rb.solve_lower(bad, e.x).success


@pytest.mark.parametrize("case", [
    ("inequality", 4, 19, 828980, 1e5, 1e-5), ("mixed", 2, 7, 275163, 10.0, 1e-6), ("curved", 2, 23, 945177, 1.0, 1e-4), ("box", 1, 1, 392791, 1.0, 1e-6),
])  # fmt: skip
def test_small_margins_from_the_interior(case):
    """A path that stops at mu s <= tol is sqrt(tol) from the solution, too far to tell rows of such margins apart."""
    kind, n, m, seed, condition, margin = case
    e = constrained(kind, n, m, seed, margin=margin, condition=condition)
    solution = rb.solve_lower(e.problem, e.x, "convex", warm_start=False)
    assert solution.success and np.array_equal(solution.active, e.active)

"""Every constrained family against its closed form: lower solution, sensitivities, hypergradient, optimum."""

import numpy as np
import pytest
from scipy.optimize import minimize

import refbilevel as rb
from refbilevel.kkt_sensitivity import kkt_sensitivity

FAMILIES = {
    "box_separable": (lambda: rb.problems.box_separable([1.46, -0.8, 2.0], 0.1, [2.0, -1.0, 0.3], rho=0.5, e=[0.4, 2.0, -3.0]), [0.4, 0.9, -0.7]),
    "simplex_projection": (lambda: rb.problems.simplex_projection([0.04, 0.14, -0.13, 0.34]), [0.6, 0.1, -0.4, 0.5]),
    "disc_inside": (lambda: rb.problems.disc_projection([1.5, -2.0, 0.3], radius=2.0), [0.5, 0.4, -0.3]),
    "disc_outside": (lambda: rb.problems.disc_projection([1.5, -2.0, 0.3], radius=0.7), [0.5, 0.9, -0.3]),
    "soft_threshold": (lambda: rb.problems.soft_threshold([2.6, 0.45, -1.7, -0.6, 1.15], [2.1, 0, -1.4, 0, 0.8]), [0.7]),
    "stackelberg_cournot": (lambda: rb.problems.stackelberg_cournot(13.0, 1.0, [1.0, 1.5], 1.0), [4.0]),
    "toll_parallel_routes": (lambda: rb.problems.toll_parallel_routes([0.84, 1.34, 1.9, 1.74], [3.45, 2.53, 3.92, 3.52], 20.0, 2), [3.0, 5.0]),
    "parametric_five": (lambda: rb.problems.parametric_qp([0.1, -0.4, 1.0]), [5.0, 1.0]),
    "parametric_four_and_a_half": (lambda: rb.problems.parametric_qp([0.1, -0.4, 1.0]), [4.5, 1.0]),
    "exponential_lambertw": (lambda: rb.problems.exponential_lambertw([1.26, 0.88], [0.21, 0.31]), [1.3, 0.4]),
    "logit_pricing": (lambda: rb.problems.logit_pricing([0.45, 0.57, -0.12]), [1.0, 0.6, 2.0]),
}


@pytest.mark.parametrize("name", FAMILIES)
def test_lower_level_and_hypergradient_match_the_closed_form(name):
    build, x = FAMILIES[name]
    problem, x = build(), np.array(x)
    result = rb.hypergradient(problem, x)
    sensitivity = kkt_sensitivity(problem, x, lower=result.lower)
    assert result.success, result.message
    np.testing.assert_allclose(result.lower.y, problem.y_star(x), atol=1e-12)
    np.testing.assert_allclose(sensitivity.dy_dx, problem.dy_dx(x), atol=1e-11)
    np.testing.assert_allclose(result.gradient, problem.gradient(x), atol=1e-11)


@pytest.mark.parametrize("name", FAMILIES)
def test_closed_form_derivative_is_that_of_the_closed_form(name):
    build, x = FAMILIES[name]
    problem, x = build(), np.array(x)
    h = 1e-5
    central = np.column_stack([(problem.y_star(x + h * e) - problem.y_star(x - h * e)) / (2 * h) for e in np.eye(x.size)])
    np.testing.assert_allclose(problem.dy_dx(x), central, atol=1e-8)


@pytest.mark.parametrize("name", [n for n in FAMILIES if not n.startswith("parametric")])
def test_optimum_is_not_beaten_nearby(name):
    """F at x* equals F* and no neighbour or local search from it does better."""
    problem = FAMILIES[name][0]()
    x, value = problem.optimum()

    def F(x):
        return problem.f(x, problem.y_star(x))

    np.testing.assert_allclose(F(x), value, atol=1e-12 + 1e-12 * abs(value))
    found = minimize(F, x + 1e-3, method="Nelder-Mead", options={"xatol": 1e-10, "fatol": 1e-14, "maxiter": 4000})
    assert found.fun >= value - 1e-9 * (1 + abs(value))
    for y in (x + d for d in 0.3 * np.random.default_rng(0).standard_normal((200, x.size))):
        if problem.bounds is None or (y >= problem.bounds[0]).all():
            assert F(y) >= value - 1e-12


def test_parametric_qp_known_values():
    """Pirnay, Lopez-Negrete & Biegler 2012, section 5.1."""
    problem = rb.problems.parametric_qp()
    np.testing.assert_allclose(rb.solve_lower(problem, [4.5, 1.0]).y, [0.5, 0.5, 0.0], atol=1e-14)
    np.testing.assert_allclose(rb.solve_lower(problem, [5.0, 1.0]).y, np.array([31, 19, 1]) / 49, atol=1e-14)


def test_siddiqui_gabriel_instance():
    x, value = rb.problems.stackelberg_cournot(13.0, 1.0, [1.0, 1.0], 1.0).optimum()
    assert x == pytest.approx(6.0) and value == pytest.approx(-12.0)

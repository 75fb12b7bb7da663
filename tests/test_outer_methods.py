"""Every outer method on problems with known optima: exact ones to tolerance, biased ones at their law."""

import numpy as np
import pytest

import refbilevel as rb
from refbilevel.errors import ArgumentError, UnknownOption
from refbilevel.outer import METHODS
from refbilevel.outer.bome import direction

from test_minimize import projection

EXACT = ("lbfgs", "slsqp", "trust-constr", "newton", "hoag", "maid", "gam")
ADAM = {"rate_x": 2e-3, "rate_y": 2e-3}  # Adam ends within its rate of the optimum, which lies 0.16 from the start
SINGLE = {"f2sa": {}, "pbgd": {}, "minimax": {}, "penalty": ADAM | {"rho": 100.0}, "augmented_lagrangian": ADAM, "sequential_qcqp": {}}


def with_g_x(problem):
    return problem if problem.g_x is not None else rb.problem.replace(problem, g_x=lambda x, y: problem.g_xy(x, y) @ y)


@pytest.mark.parametrize("method", EXACT)
def test_exact_methods_reach_the_closed_form(method):
    problem, optimum = projection()
    result = rb.minimize(problem, np.zeros(3), method=method, tol=1e-7, maxiter=2000)
    assert result.success, result.message
    assert np.abs(result.x - optimum).max() < 1e-5
    assert result.method == method and len(result.history) >= 2


@pytest.mark.parametrize("method", EXACT)
def test_exact_methods_honour_bounds(method):
    problem, optimum = projection()
    hi = np.full(3, 10.0)
    hi[0] = optimum[0] - 0.1
    result = rb.minimize(problem, np.zeros(3), method=method, bounds=(-10.0, hi), tol=1e-6, maxiter=2000)
    reference = rb.minimize(problem, np.zeros(3), bounds=(-10.0, hi), tol=1e-9)
    assert result.success, result.message
    assert np.abs(result.x - reference.x).max() < 1e-5 and (result.x <= hi).all()


@pytest.mark.parametrize("method", SINGLE)
def test_single_loop_methods_approach_the_optimum(method):
    problem, optimum = projection()
    result = rb.minimize(with_g_x(problem), np.zeros(3), method=method, tol=1e-3, maxiter=400, **SINGLE[method])
    start = np.linalg.norm(optimum)
    assert np.linalg.norm(result.x - optimum) < 0.02 * start, (result.message, result.x, optimum)
    assert "single_g_y" in result.counts


def test_newton_converges_quadratically():
    problem = with_g_x(projection()[0])
    smooth = rb.problem.replace(
        problem, f=lambda x, y: problem.f(x, y) + np.cosh(x).sum(), f_x=lambda x, y: problem.f_x(x, y) + np.sinh(x)
    )
    result = rb.minimize(smooth, np.ones(3), method="newton", tol=1e-12)
    norms = [h.projected_norm for h in result.history]
    assert result.success and len(norms) <= 9
    assert norms[-1] < 10 * norms[-2] ** 1.7 + 1e-13


@pytest.mark.slow
@pytest.mark.parametrize("method,parameter,values", [("minimax", "alpha_final", (16.0, 64.0, 256.0)), ("pbgd", "gamma", (10.0, 40.0, 160.0))])
def test_distance_to_the_optimum_falls_as_the_inverse_of_the_penalty(method, parameter, values):
    problem, optimum = projection()
    problem = with_g_x(problem)
    distances = [
        np.linalg.norm(rb.minimize(problem, optimum, method=method, tol=1e-12, maxiter=150, inner=400, **{parameter: v}).x - optimum) for v in values
    ]
    slope = np.polyfit(np.log(values), np.log(distances), 1)[0]
    assert slope == pytest.approx(-1.0, abs=0.1), distances


def test_the_penalty_lies_at_its_law_and_the_augmented_lagrangian_converges_at_fixed_rho():
    problem, optimum = projection()

    def distance(estimator, **options):
        return np.linalg.norm(rb.minimize(problem, np.zeros(3), "lbfgs", estimator=estimator, estimator_options=options, tol=1e-7).x - optimum)

    gammas = np.array([1e2, 1e3, 1e4])
    slope = np.polyfit(np.log(gammas), np.log([distance("penalty", gamma=g) for g in gammas]), 1)[0]
    assert slope == pytest.approx(-1.0, abs=0.1)
    assert distance("augmented_lagrangian", rho=10.0) < 1e-5 < distance("penalty", gamma=10.0)


def test_bome_ends_within_its_step_of_the_optimum():
    """Its multiplier grows without bound as the lower gap closes, so at a fixed step it hovers at a distance that falls with the step."""
    problem, optimum = projection()
    distances = []
    for step in (2e-2, 5e-3):
        result = rb.minimize(with_g_x(problem), np.zeros(3), method="bome", step_x=step, maxiter=100, inner=int(4 / step), tol=1e-6)
        distances.append(np.linalg.norm(result.x - optimum))
    assert distances[1] < 0.75 * distances[0] and distances[1] < 0.05


def test_bome_direction_is_the_projection_it_says():
    problem = with_g_x(projection()[0])
    rng = np.random.default_rng(0)
    for _ in range(20):
        x, y = rng.standard_normal(3), rng.standard_normal(5)
        d_x, d_y, multiplier, q = direction(problem, x, y, T=5, step_y=0.5, eta=0.5)
        d, p = np.concatenate([d_x, d_y]), np.concatenate([problem.f_x(x, y), problem.f_y(x, y)])
        phi = 0.5 * q @ q
        assert d @ q >= phi * (1 - 1e-12)
        if multiplier > 0:
            assert d @ q == pytest.approx(phi)
        else:
            np.testing.assert_array_equal(d, p)


def test_maid_saves_lower_work_and_hoag_does_one_step_an_iteration():
    from refbilevel import problems

    rng = np.random.default_rng(0)
    A, B, w = rng.standard_normal((80, 6)), rng.standard_normal((40, 6)), rng.standard_normal(6)
    problem = problems.logistic(A, np.sign(A @ w + rng.standard_normal(80)), B, np.sign(B @ w), penalties="per-feature", prior=(1e-2, -3.0))
    for method in ("maid", "hoag"):
        result = rb.minimize(problem, np.full(6, -3.0), method=method, tol=1e-6, maxiter=3000)
        assert result.success, result.message
        exact = rb.minimize(problem, np.full(6, -3.0), tol=1e-9)
        assert np.abs(result.x - exact.x).max() < 1e-3


@pytest.mark.parametrize("method,kind", [("blocc", "inequality"), ("kornowski", "equality"), ("gam", "inequality")])
def test_constrained_oracles(method, kind):
    """y* = projection of x on a half-space or a line; F = |y - d|^2/2 + |x - 2|^2/20."""
    d = np.array([2.0, 1.0])
    row = np.array([[1.0, 1.0]])
    rows = {"p": lambda x, y: row @ y - 1.0, "p_x": lambda x, y: np.zeros((1, 2)), "p_y": lambda x, y: row}
    constraints = rb.Constraints(**(rows if kind == "inequality" else {k.replace("p", "q", 1): v for k, v in rows.items()}), linear=True)
    problem = rb.BilevelProblem(
        n=2, m=2, f=lambda x, y: 0.5 * (y - d) @ (y - d) + 0.05 * (x - 2) @ (x - 2), f_x=lambda x, y: 0.1 * (x - 2), f_y=lambda x, y: y - d,
        g=lambda x, y: 0.5 * (y - x) @ (y - x), g_x=lambda x, y: x - y, g_y=lambda x, y: y - x, g_yy=lambda x, y: np.eye(2),
        g_xy=lambda x, y: -np.eye(2), constraints=constraints,
    )  # fmt: skip
    reference = rb.minimize(problem, np.array([2.0, 0.5]), tol=1e-9)
    result = rb.minimize(problem, np.array([2.0, 0.5]), method=method, tol=1e-4)
    assert result.fun <= reference.fun + 1e-4 * (1 + abs(reference.fun)), (result.message, reference.message)


def test_methods_refuse_what_they_cannot_do():
    problem, _ = projection()
    with pytest.raises(UnknownOption, match="rho"):
        rb.minimize(problem, np.zeros(3), method="penalty", rh=1.0)
    with pytest.raises(UnknownOption, match="schedule"):
        rb.minimize(problem, np.zeros(3), method="hoag", schedule="linear")
    with pytest.raises(ArgumentError, match="constrained"):
        rb.minimize(problem, np.zeros(3), method="blocc")
    assert set(EXACT) | set(SINGLE) | {"bome"} <= set(METHODS)

"""Fixed point, Neumann, one step, T1-T2, HIA, Nystrom: the identities that tie them together, and their faults."""

import numpy as np
import pytest
from examples import WRAP, quartic, spd

import refbilevel as rb
from refbilevel.errors import ArgumentError, DtypeError, UnknownOption
from refbilevel.linear import solve
from refbilevel.linear.nystrom import nystrom
from refbilevel.results import Status

X = np.array([0.3, -0.4, 0.5])
PROBLEM = quartic(3, 4, seed=3)
LOWER = rb.solve_lower(PROBLEM, X)
TRUTH = rb.hypergradient(PROBLEM, X).gradient
H, F_Y = PROBLEM.g_yy(X, LOWER.y), PROBLEM.f_y(X, LOWER.y)
STEP = 0.4 / np.linalg.norm(H, 2)


def gradient(method, problem=PROBLEM, **options):
    result = rb.hypergradient(problem, X, method, lower=LOWER, **options)
    assert result.success, result.message
    return result.gradient


def dense_series(terms):
    v = sum(np.linalg.matrix_power(np.eye(4) - STEP * H, k) @ (STEP * F_Y) for k in range(terms))
    return PROBLEM.f_x(X, LOWER.y) - PROBLEM.g_xy(X, LOWER.y) @ (v + np.zeros(4))


@pytest.mark.parametrize("K", [0, 1, 2, 7])
@pytest.mark.parametrize("kind", WRAP)
def test_neumann_is_the_partial_sum_and_fixed_point_one_step_further(K, kind):
    problem = quartic(3, 4, seed=3, kind=kind)
    np.testing.assert_allclose(gradient("neumann", problem, K=K, step=STEP), dense_series(K + 1), rtol=1e-13)
    np.testing.assert_allclose(gradient("fixed_point", problem, K=K, step=STEP), dense_series(K), rtol=1e-13)
    assert (gradient("neumann", K=K, step=STEP) == gradient("fixed_point", K=K + 1, step=STEP)).all()


def test_one_step_is_the_first_neumann_term_and_exact_for_newton():
    assert (gradient("one_step", step=STEP) == gradient("neumann", K=0, step=STEP)).all()
    np.testing.assert_allclose(gradient("one_step", step_map="newton"), TRUTH, rtol=1e-13)
    for method in ("fixed_point", "neumann"):
        np.testing.assert_allclose(gradient(method, step_map="newton"), TRUTH, rtol=1e-13)


def test_t1_t2_takes_the_hessian_for_the_identity():
    expected = PROBLEM.f_x(X, LOWER.y) - PROBLEM.g_xy(X, LOWER.y) @ F_Y
    assert (gradient("t1_t2") == expected).all()
    np.testing.assert_allclose(gradient("t1_t2"), gradient("one_step", step=1.0), rtol=1e-14)


def test_hia_has_the_mean_of_neumann():
    N = 6
    every = gradient("hia", N=N, P=np.arange(N), step=STEP)
    np.testing.assert_allclose(every, gradient("neumann", K=N - 1, step=STEP), rtol=1e-13)
    one = gradient("hia", N=N, rng=7, step=STEP)
    assert (one == gradient("hia", N=N, rng=7, step=STEP)).all()
    P = int(np.random.default_rng(7).integers(N, size=1)[0])
    expected = N * STEP * np.linalg.matrix_power(np.eye(4) - STEP * H, P) @ F_Y
    np.testing.assert_allclose(one, PROBLEM.f_x(X, LOWER.y) - PROBLEM.g_xy(X, LOWER.y) @ expected, rtol=1e-12)
    many = rb.hypergradient(PROBLEM, X, "hia", N=40, samples=4000, rng=1, step=STEP)
    assert np.linalg.norm(many.gradient - TRUTH) < 5 * many.error_estimate < 0.5 * np.linalg.norm(TRUTH)


@pytest.mark.parametrize("name", ["heavy_ball", "nesterov", "gradient_descent"])
def test_any_contraction_gives_the_same_limit(name):
    for method in ("fixed_point", "neumann"):
        np.testing.assert_allclose(gradient(method, step_map=name), TRUTH, rtol=1e-12)


def test_a_map_that_is_not_symmetric():
    """T = y - P g_y with a full, not symmetric P: the adjoint needs T_y', and T_y would show."""
    P = np.linalg.inv(H) * 0.5 + 0.1 * np.triu(np.ones((4, 4)), 1) / np.linalg.norm(H, 2)
    T = rb.StepMap(
        T=lambda x, y: y - P @ PROBLEM.g_y(x, y),
        vjp_y=lambda x, y, u: u - PROBLEM.g_yy(x, y) @ (P.T @ u),
        vjp_x=lambda x, y, u: -PROBLEM.g_xy(x, y) @ (P.T @ u),
    )
    np.testing.assert_allclose(gradient("fixed_point", step_map=T), TRUTH, rtol=1e-12)
    wrong = rb.StepMap(T.T, lambda x, y, u: u - P @ (PROBLEM.g_yy(x, y) @ u), T.vjp_x)
    assert np.linalg.norm(gradient("fixed_point", step_map=wrong) - TRUTH) > 1e-3 * np.linalg.norm(TRUTH)


def test_the_rest_of_the_series_is_bounded():
    for K in (5, 20):
        result = rb.hypergradient(PROBLEM, X, "neumann", K=K, step=STEP, lower=LOWER)
        v = np.linalg.solve(H, F_Y)
        assert np.linalg.norm(result.adjoint - v) <= 1.5 * STEP * result.extra["rest"]


@pytest.mark.parametrize("method", ["fixed_point", "neumann"])
def test_divergence_is_said(method):
    for options in ({}, {"K": 60}):
        result = rb.hypergradient(PROBLEM, X, method, step=2.2 / np.linalg.norm(H, 2), lower=LOWER, **options)
        assert result.status is Status.DIVERGED
    slow = rb.hypergradient(PROBLEM, X, method, step=1e-6, maxiter=50, lower=LOWER)
    assert slow.status is Status.LINEAR_MAXITER


def test_wrong_options():
    for options, kind, words in (
        ({"K": -1}, ArgumentError, "K must be"),
        ({"step": -1.0}, ArgumentError, "step must be positive"),
        ({"rtol": 0.0}, ArgumentError, "rtol must be positive"),
        ({"step_map": "newtn"}, UnknownOption, "newton"),
        ({"step_map": 3}, DtypeError, "StepMap"),
        ({"momentum": 0.5}, ArgumentError, "momentum"),
        ({"Kk": 3}, UnknownOption, "did you mean 'K'"),
    ):
        with pytest.raises(kind, match=words):
            rb.hypergradient(PROBLEM, X, "fixed_point", **options)
    with pytest.raises(ArgumentError, match="P must lie"):
        rb.hypergradient(PROBLEM, X, "hia", N=3, P=3)


# Nystrom


@pytest.mark.parametrize("kind", WRAP)
def test_nystrom_inverse_is_that_of_the_damped_approximation(kind):
    A, J, rho = spd(8, 100.0), np.array([0, 2, 5]), 0.3
    C = A[:, J]
    approximation = C @ np.linalg.inv(A[np.ix_(J, J)]) @ C.T
    b = np.random.default_rng(0).standard_normal((8, 2))
    np.testing.assert_allclose(nystrom(WRAP[kind](A), 3, rho, J).solve(b), np.linalg.solve(approximation + rho * np.eye(8), b), rtol=1e-11)
    woodbury = b / rho - C @ np.linalg.solve(A[np.ix_(J, J)] + C.T @ C / rho, C.T @ b) / rho**2
    np.testing.assert_allclose(nystrom(WRAP[kind](A), 3, rho, J).solve(b), woodbury, rtol=1e-11)


def test_nystrom_at_full_rank_becomes_exact():
    for kind in WRAP:
        problem = quartic(3, 4, seed=3, kind=kind)
        np.testing.assert_allclose(gradient("nystrom", problem, rank=4, rho=1e-14), TRUTH, rtol=1e-12)


def test_nystrom_finds_a_low_rank_hessian_exactly():
    rng = np.random.default_rng(0)
    U = rng.standard_normal((30, 4))
    A = U @ U.T
    b = rng.standard_normal(30)
    np.testing.assert_allclose(nystrom(A, 6, 0.5, rng=1).solve(b), np.linalg.solve(A + 0.5 * np.eye(30), b), rtol=1e-9)


def test_nystrom_as_a_preconditioner():
    rng = np.random.default_rng(0)
    U = rng.standard_normal((300, 30))
    A = 100 * U @ U.T + np.diag(rng.uniform(1, 2, 300))
    b = rng.standard_normal(300)
    plain, preconditioned = solve(A, b, "cg", rtol=1e-10), solve(A, b, "cg", rtol=1e-10, preconditioner="nystrom")
    assert preconditioned.success and preconditioned.iterations < plain.iterations / 2


def test_nystrom_options():
    for options, words in (({"rank": 9}, "rank"), ({"rho": 0.0}, "rho")):
        with pytest.raises(ArgumentError, match=words):
            rb.hypergradient(PROBLEM, X, "nystrom", **options)
    a, b = (rb.hypergradient(PROBLEM, X, "nystrom", rank=2, rng=5).gradient for _ in range(2))
    assert (a == b).all()

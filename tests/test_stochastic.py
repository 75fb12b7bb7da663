"""The stochastic family on finite sums: kernels against NumPy, exact fixed points, SAGA's mean, convergence, reproducibility."""

import numpy as np
import pytest

import refbilevel as rb
from refbilevel.errors import ArgumentError, ShapeError, UnknownOption
from refbilevel.kernels import finite_sum as kernels

from examples import spd


def quadratic_sum(N=24, M=16, n=3, m=4, seed=0):
    rng = np.random.default_rng(seed)
    noise = [rng.standard_normal((m, m)) for _ in range(N)]
    A = np.array([spd(m, 4.0, 1) + 0.05 * (E @ E.T) for E in noise])
    B, b = rng.standard_normal((N, m, n)), rng.standard_normal((N, m))
    P = np.array([spd(m, 3.0, j) for j in range(M)])
    R = np.array([0.5 * np.eye(n)] * M)
    return rb.problems.finite_sum_quadratic(A, B, b, P, Q=0.1 * rng.standard_normal((M, m, n)), R=R, p=rng.standard_normal((M, m)))


def logistic_sum(N=40, M=30, m=3):
    rng = np.random.default_rng(0)
    X, Z, w = rng.standard_normal((N, m)), rng.standard_normal((M, m)), np.array([1.0, -1.0, 0.5])
    return rb.problems.finite_sum_logistic(X, np.sign(X @ w + rng.standard_normal(N)), Z, np.sign(Z @ w), bounds=(-4.0, 2.0))


@pytest.mark.parametrize("make", [quadratic_sum, logistic_sum])
def test_terms_add_up_to_the_problem(make):
    problem = make()
    rng = np.random.default_rng(3)
    x, y, v = rng.standard_normal(problem.n), rng.standard_normal(problem.m), rng.standard_normal(problem.m)
    n, m = problem.n, problem.m
    g_y, Hv, Jv, f_y, f_x = np.zeros(m), np.zeros(m), np.zeros(n), np.zeros(m), np.zeros(n)
    A, B, b, *outer = problem.terms
    kernels.batch_inner(problem.kind, A, B, b, np.arange(problem.sizes[0]), x, y, v, g_y, Hv, Jv, 2)
    kernels.batch_outer(problem.kind, *outer, np.arange(problem.sizes[1]), x, y, f_y, f_x, 2)
    np.testing.assert_allclose(g_y, problem.g_y(x, y), atol=1e-13)
    np.testing.assert_allclose(Hv, problem.g_yy(x, y) @ v, atol=1e-13)
    np.testing.assert_allclose(Jv, problem.g_xy(x, y) @ v, atol=1e-13)
    np.testing.assert_allclose(f_y, problem.f_y(x, y), atol=1e-13)
    np.testing.assert_allclose(f_x, problem.f_x(x, y), atol=1e-13)
    assert rb.check_problem(problem, x, y).success


def test_a_full_batch_step_at_the_solution_moves_x_by_the_hypergradient_alone():
    """At (y*, v*): D_y = D_v = 0 and D_x = grad F (soba); SAGA's first direction is the full one (saba)."""
    problem = quadratic_sum()
    x = np.array([0.3, -0.2, 0.5])
    h = rb.hypergradient(problem, x)
    full = [np.arange(size)[None, :] for size in problem.sizes]
    lo, hi = np.full(3, -np.inf), np.full(3, np.inf)
    for name in ("soba", "saba"):
        X, y, v = x.copy(), h.lower.y.copy(), h.adjoint.copy()
        if name == "soba":
            kernels.soba(problem.kind, *problem.terms, X, y, v, lo, hi, *full, 0.1, 0.1, 0.5, 0, 1)
        else:
            M_in, M_out = np.zeros((problem.sizes[0], 11)), np.zeros((problem.sizes[1], 7))
            means = kernels.saba_memory(problem.kind, *problem.terms, x, y, v, M_in, M_out)
            kernels.saba(problem.kind, *problem.terms, X, y, v, lo, hi, *(f[:, :3] for f in full), 0.1, 0.1, M_in, M_out, *means, 1)
        np.testing.assert_allclose(y, h.lower.y, atol=1e-13)
        np.testing.assert_allclose(v, h.adjoint, atol=1e-13)
        np.testing.assert_allclose((x - X) / 0.1, h.gradient, atol=1e-12)


@pytest.mark.parametrize("make", [quadratic_sum, logistic_sum])
@pytest.mark.parametrize("method", ["soba", "saba", "fsla", "stocbio", "ttsa"])
def test_the_digits_do_not_depend_on_the_threads(make, method, monkeypatch):
    """Batches drawn with repetition: an index that comes twice must not be counted by two threads."""
    problem, answers = make(), []
    for threads in (1, 2, 3):
        monkeypatch.setattr("refbilevel.outer.stochastic.threads_for", lambda entries, threads=threads: threads)
        result = rb.minimize(problem, np.zeros(problem.n), method=method, maxiter=2, inner=20, batch=7, rng=3)
        answers.append(np.concatenate([result.x, result.y]))
    assert np.isfinite(answers[0]).all() and answers[0][: problem.n].any()
    np.testing.assert_array_equal(answers[0], answers[1])
    np.testing.assert_array_equal(answers[0], answers[2])


def test_an_index_drawn_twice_changes_the_memory_once():
    memory, mean, d = np.arange(6.0).reshape(3, 2), np.array([2.0, 3.0]), np.empty(2)
    rows = np.array([[10.0, 10.0], [10.0, 10.0]])
    kernels.saga(np.array([1, 1]), rows, memory, mean, d)
    np.testing.assert_allclose(memory[1], 10.0)
    np.testing.assert_allclose(mean, memory.mean(axis=0))
    np.testing.assert_allclose(d, [2.0 + 8.0 / 2, 3.0 + 7.0 / 2])


def test_the_saga_direction_is_unbiased():
    """Over all choices of one inner and one outer index, the mean step is the full step."""
    problem = quadratic_sum(N=5, M=4)
    rng = np.random.default_rng(1)
    x, y, v = rng.standard_normal(3), rng.standard_normal(4), rng.standard_normal(4)
    lo, hi = np.full(3, -np.inf), np.full(3, np.inf)
    old_x, old_y = x + 0.1, y - 0.2
    total = np.zeros(3)
    for i in range(5):
        for j in range(4):
            M_in, M_out = np.zeros((5, 11)), np.zeros((4, 7))
            means = kernels.saba_memory(problem.kind, *problem.terms, old_x, old_y, v, M_in, M_out)
            X, Y, V = x.copy(), y.copy(), v.copy()
            kernels.saba(problem.kind, *problem.terms, X, Y, V, lo, hi, np.array([[i]]), np.array([[j]]), 1.0, 1.0, M_in, M_out, *means, 1)
            total += (x - X) / 20
            np.testing.assert_allclose(means[0], M_in.mean(axis=0), atol=1e-13)
    np.testing.assert_allclose(total, problem.f_x(x, y) - problem.g_xy(x, y) @ v, atol=1e-12)


@pytest.mark.parametrize("method,tol", [("saba", 1e-7), ("soba", 0.05), ("fsla", 0.05), ("stocbio", 0.1), ("ttsa", 0.3)])
def test_each_approaches_a_stationary_point(method, tol):
    problem = quadratic_sum()
    result = rb.minimize(problem, np.ones(3), method=method, tol=tol, maxiter=200)
    start = np.linalg.norm(rb.hypergradient(problem, np.ones(3)).gradient)
    assert result.success, (result.message, start)
    assert tol < 0.3 * start


def test_saba_on_logistic_losses_with_bounds():
    problem = logistic_sum()
    result = rb.minimize(problem, np.zeros(3), method="saba", tol=1e-6, maxiter=400)
    reference = rb.minimize(problem, np.zeros(3), tol=1e-9)
    assert result.success, result.message
    assert result.fun == pytest.approx(reference.fun, abs=1e-6)
    assert (result.x <= 2.0).all() and (result.x >= -4.0).all()


@pytest.mark.parametrize("size", [1, 5, 16, 100])
def test_batch_means_are_the_same_problem(size):
    problem = quadratic_sum()
    fixed, x, y = rb.problems.batch_means(problem, size, rng=2), np.array([0.3, -0.2, 0.5]), np.array([1.0, 0.0, -1.0, 2.0])
    assert fixed.sizes == (-(-24 // size), -(-16 // size))
    A, B, b, P, Q, R, p, r = (term.mean(axis=0) for term in fixed.terms)
    np.testing.assert_allclose(A @ y - B @ x - b, problem.g_y(x, y), atol=1e-13)
    np.testing.assert_allclose(P @ y + Q @ x + p, problem.f_y(x, y), atol=1e-13)
    np.testing.assert_allclose(Q.T @ y + R @ x + r, problem.f_x(x, y), atol=1e-13)


@pytest.mark.parametrize("method", ["soba", "saba", "fsla", "stocbio", "ttsa"])
def test_fixed_batches_approach_the_same_point(method):
    problem = quadratic_sum()
    exact = rb.minimize(problem, np.zeros(3), method="lbfgs")
    result = rb.minimize(problem, np.zeros(3), method=method, batches="fixed", batch=8, maxiter=40, tol=1e-9 if method == "saba" else 1e-3)
    assert abs(result.fun - exact.fun) <= (1e-9 if method == "saba" else 1e-2) * (1 + abs(exact.fun))


def test_fixed_batches_are_for_quadratic_terms():
    with pytest.raises(ArgumentError, match="quadratic"):
        rb.minimize(logistic_sum(), np.zeros(3), method="saba", batches="fixed")
    with pytest.raises(UnknownOption, match="drawn"):
        rb.minimize(quadratic_sum(), np.zeros(3), method="saba", batches="frozen")
    with pytest.raises(ArgumentError, match="size"):
        rb.problems.batch_means(quadratic_sum(), 0)
    A, B, b, P = (np.random.default_rng(0).standard_normal(shape) for shape in ((2, 2, 2), (2, 2, 1), (2, 2), (2, 2, 2)))
    with pytest.raises(ArgumentError, match="symmetric"):
        rb.problems.finite_sum_quadratic(A, B, b, P)


def test_a_seed_reproduces_a_run():
    problem = quadratic_sum()
    runs = [rb.minimize(problem, np.ones(3), method="soba", maxiter=2, tol=1e-12, rng=r).x for r in (5, 5, 6)]
    np.testing.assert_array_equal(runs[0], runs[1])
    assert not np.array_equal(runs[0], runs[2])


def test_wrong_input():
    with pytest.raises(ArgumentError, match="finite sum"):
        rb.minimize(rb.problems.random_quadratic(n=2, m=3), np.zeros(2), method="saba")
    with pytest.raises(ShapeError, match="b must"):
        rb.problems.finite_sum_quadratic(np.eye(2)[None], np.ones((1, 2, 3)), np.ones((1, 3)), np.eye(2)[None])
    with pytest.raises(ArgumentError, match="positive definite"):
        rb.problems.finite_sum_quadratic(-np.eye(2)[None], np.ones((1, 2, 3)), np.ones((1, 2)), np.eye(2)[None])

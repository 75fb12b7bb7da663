"""Gradients of all six blocks against 40-digit and extended-precision KKT systems, finite differences and exact enumeration."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from qp_truth import BLOCKS, enumerate_exactly, error, gradients, problem, solve_extended, solve_mpmath
from scipy import sparse

from refbilevel import Status, solve_qp


def cotangents(blocks, seed=7):
    rng = np.random.default_rng(seed)
    return tuple(rng.standard_normal(blocks[name].size) for name in ("q", "h", "b"))


def check(blocks, active, solve, tol=1e-12, **options):
    bars = cotangents(blocks)
    truth, y, mu, nu = gradients(blocks, active, bars, solve)
    solution = solve_qp(**blocks, **options)
    assert solution.status is Status.CONVERGED, solution.message
    assert (solution.active == active).all()
    z, exact = np.concatenate([solution.y, solution.mu, solution.nu]), np.concatenate([y, mu, nu])
    assert abs(z - exact).max() <= tol * abs(exact).max()  # in the norm of z: one multiplier alone may be 1e-8
    assert error(solution.vjp(*bars), truth) <= tol
    truth, *_ = gradients(blocks, active, (bars[0], 0 * bars[1], 0 * bars[2]), solve)
    assert error(solution.vjp(bars[0]), truth) <= tol
    return solution


@pytest.mark.parametrize("margin", [1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8])
@pytest.mark.parametrize("method", ["active_set", "clarabel", "osqp"])
def test_forty_digits_down_to_a_margin_of_1e_8(margin, method):
    blocks, active = problem(10, seed=3, margin=margin)
    solution = check(blocks, active, solve_mpmath, method=method)
    assert solution.method == method
    assert solution.margin == pytest.approx(margin, rel=1e-5)


@pytest.mark.parametrize("n", [2, 5, 20, 40])
def test_forty_digits_at_other_sizes(n):
    assert check(*problem(n, seed=n, margin=1e-8), solve_mpmath).method == "active_set"


@pytest.mark.parametrize("n", [100, 300, pytest.param(1000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("margin", [1e-1, 1e-8])
def test_extended_precision_at_large_sizes(n, margin):
    assert check(*problem(n, seed=n, margin=margin), solve_extended).method == "active_set"


@pytest.mark.parametrize("n", [10, 60])
def test_semidefinite_objective_whose_solution_is_unique(n):
    solution = check(*problem(n, seed=5, semidefinite=True), solve_extended)
    assert solution.method in ("clarabel", "osqp")


@pytest.mark.parametrize("exponent", [6, 10])
def test_positive_definite_but_ill_conditioned_objective(exponent):
    rng = np.random.default_rng(0)
    n = 8
    Q = np.linalg.qr(rng.standard_normal((n, n)))[0]
    blocks, _ = problem(n, seed=1, m=6, p=2)
    P = Q @ np.diag(np.logspace(0, -exponent, n)) @ Q.T
    blocks["P"] = (P + P.T) / 2
    solution = solve_qp(**blocks)
    assert solution.success
    truth, *_ = gradients(blocks, solution.active, cotangents(blocks), solve_mpmath)
    assert error(solution.vjp(*cotangents(blocks)), truth) <= 1e-16 * solution.condition + 1e-13


def sparse_problem(n, seed=0):
    rng = np.random.default_rng(seed)
    B = sparse.random_array((n, n), density=3 / n, rng=rng, format="csr")
    P = sparse.csr_array(B.T @ B + 0.5 * sparse.eye_array(n))
    G = sparse.csr_array(sparse.random_array((n // 2, n), density=5 / n, rng=rng) + sparse.eye_array(n // 2, n))
    A = sparse.csr_array(sparse.random_array((n // 10, n), density=5 / n, rng=rng) + sparse.eye_array(n // 10, n, k=n // 2))
    y, nu = rng.standard_normal(n), rng.standard_normal(n // 10)
    active = np.arange(n // 2) < n // 6
    mu = np.where(active, rng.uniform(0.1, 1, n // 2), 0)
    slack = np.where(active, 0, rng.uniform(0.1, 1, n // 2))
    P = sparse.csr_array((P + P.T) / 2)
    return dict(P=P, q=-(P @ y + G.T @ mu + A.T @ nu), G=G, h=G @ y + slack, A=A, b=A @ y), active


@pytest.mark.parametrize("n", [50, 300])
def test_sparse_blocks_give_gradients_on_their_pattern(n):
    blocks, active = sparse_problem(n)
    solution = solve_qp(**blocks)
    assert solution.success and (solution.active == active).all()
    dense = {k: v.toarray() if sparse.issparse(v) else v for k, v in blocks.items()}
    bars = cotangents(blocks)
    truth, y, *_ = gradients(dense, active, bars, solve_extended)
    got = solution.vjp(*bars)
    for name in BLOCKS:
        value = getattr(got, name)
        if sparse.issparse(value):
            pattern = sparse.coo_array(blocks[name])
            value, exact = value.toarray()[pattern.coords], truth[name][pattern.coords]
        else:
            exact = truth[name]
        assert abs(value - exact).max() <= 1e-12 * abs(truth[name]).max(), name


@pytest.mark.parametrize("seed", range(3))
def test_jvp_and_vjp_against_finite_differences_by_solving_again(seed):
    blocks, _ = problem(7, seed=seed, m=5, p=2)
    rng = np.random.default_rng(seed)
    change = {"d" + name: rng.standard_normal(blocks[name].shape) for name in BLOCKS}
    change["dP"] = change["dP"] + change["dP"].T
    bars, step = cotangents(blocks), 1e-5
    solution = solve_qp(**blocks)
    ends = [solve_qp(**{name: blocks[name] + sign * step * change["d" + name] for name in BLOCKS}) for sign in (1, -1)]
    for part, got in zip(("y", "mu", "nu"), solution.jvp(**change)):
        quotient = (getattr(ends[0], part) - getattr(ends[1], part)) / (2 * step)
        np.testing.assert_allclose(got, quotient, atol=1e-8 * max(1, abs(quotient).max()))
    left = sum(bar @ d for bar, d in zip(bars, solution.jvp(**change)))
    g = solution.vjp(*bars)
    assert left == pytest.approx(sum(np.sum(getattr(g, name) * change["d" + name]) for name in BLOCKS), rel=1e-11)


small = st.integers(-3, 3)


@st.composite
def integer_programs(draw, max_n=3, max_m=4, max_p=1):
    n, m = draw(st.integers(1, max_n)), draw(st.integers(0, max_m))
    p = draw(st.integers(0, min(max_p, n - 1)))
    matrix = lambda rows: np.array(draw(st.lists(st.lists(small, min_size=n, max_size=n), min_size=rows, max_size=rows)), float).reshape(rows, n)  # noqa: E731
    vector = lambda size: np.array(draw(st.lists(small, min_size=size, max_size=size)), float)  # noqa: E731
    M = matrix(n)
    return M @ M.T + np.eye(n), vector(n), matrix(m), vector(m), matrix(p), vector(p)


def dependent(N):
    return len(N) and np.linalg.matrix_rank(N) < len(N)


@settings(max_examples=max(150, settings.default.max_examples))
@given(integer_programs())
def test_small_integer_programs_against_exact_enumeration(blocks):
    """The active-set kernel alone must do it: an audit that fails would send the program to a library solver and hide a bug."""
    P, q, G, h, A, b = blocks
    tight_zero = [i for i in range(len(h)) if not G[i].any()]
    exact = None if dependent(A) else enumerate_exactly(*(x.astype(int).tolist() for x in blocks))
    for method in ("auto", "clarabel"):
        solution = solve_qp(P, q, G, h, A, b, method=method)
        assert solution.method == ("active_set" if method == "auto" else "clarabel")
        if dependent(A):
            assert solution.status in (Status.LICQ_FAILS, Status.LOWER_INFEASIBLE, Status.DEGENERATE)
            continue
        if exact is None:
            assert solution.status is Status.LOWER_INFEASIBLE
            mu, nu = solution.certificate
            assert (mu >= 0).all() and abs(G.T @ mu + A.T @ nu).max() < 1e-12 and h @ mu + b @ nu < 0
            continue
        y, strict, J = exact
        np.testing.assert_allclose(solution.y, y, atol=1e-12)
        if strict:
            assert solution.status is Status.CONVERGED
            assert np.flatnonzero(solution.active).tolist() == list(J)
        elif not tight_zero:
            assert solution.status in (Status.DEGENERATE, Status.LICQ_FAILS)


@given(integer_programs(), st.data())
def test_invariances(blocks, data):
    """Row scaling, row permutation, an inactive redundant row, the sign of an equality, y -> Ty."""
    P, q, G, h, A, b = blocks
    m, n = G.shape
    scale = np.array(data.draw(st.lists(st.sampled_from([0.25, 0.5, 2.0, 8.0]), min_size=m, max_size=m)))
    order = np.array(data.draw(st.permutations(range(m))), int)
    T = np.tril(np.ones((n, n)))
    base = solve_qp(*blocks)
    moved = solve_qp(P, q, (scale[:, None] * G)[order], (scale * h)[order], -A, -b)
    skewed = solve_qp(T.T @ P @ T, T.T @ q, G @ T, h, A @ T, b)
    assert (moved.status.success, skewed.status.success) == (base.status.success,) * 2
    if not base.success:
        return
    wider = solve_qp(P, q, np.vstack([G, np.ones(n)]), np.append(h, np.ones(n) @ base.y + 5), A, b)
    bar = np.arange(1.0, n + 1)
    g, g_moved, g_wider, g_skewed = base.vjp(bar), moved.vjp(bar), wider.vjp(bar), skewed.vjp(T.T @ bar)
    np.testing.assert_allclose(moved.y, base.y, atol=1e-12)
    np.testing.assert_allclose(T @ skewed.y, base.y, atol=1e-11)
    np.testing.assert_allclose(moved.mu * scale[order], base.mu[order], atol=1e-11)
    np.testing.assert_allclose(moved.nu, -base.nu, atol=1e-11)
    np.testing.assert_allclose(g_moved.h, (g.h / scale)[order], atol=1e-11)
    np.testing.assert_allclose(g_moved.b, -g.b, atol=1e-11)
    np.testing.assert_allclose(g_moved.q, g.q, atol=1e-11)
    np.testing.assert_allclose(g_wider.G, np.vstack([g.G, np.zeros(n)]), atol=1e-11)
    np.testing.assert_allclose(T @ g_skewed.q, g.q, atol=1e-11)
    np.testing.assert_allclose(g_skewed.h, g.h, atol=1e-11)


def test_kernel_and_its_uncompiled_twin_agree():
    from refbilevel.kernels import qp as kernel

    blocks, _ = problem(6, seed=2, m=5, p=2)
    compiled = kernel.solve_dense(*(blocks[name] for name in BLOCKS))
    plain = getattr(kernel.solve_dense, "py_func", kernel.solve_dense)(*(blocks[name] for name in BLOCKS))
    np.testing.assert_allclose(compiled[1], plain[1], rtol=1e-14)
    assert (compiled[8] == plain[8]).all()


@pytest.mark.parametrize("seed", range(8))
def test_many_rows_enter_and_leave_the_working_set(seed):
    """Far unconstrained minimum, many rows: partial steps drop rows, equalities never leave; the kernel finishes on its own."""
    rng = np.random.default_rng(seed)
    n, m, p = 10, 40, 3
    B, y = rng.standard_normal((n, n)), rng.standard_normal(n)
    G, A = rng.standard_normal((m, n)), rng.standard_normal((p, n))
    blocks = (B @ B.T + np.eye(n), 30 * rng.standard_normal(n), G, G @ y + rng.uniform(0, 1, m), A, A @ y)
    blocks = ((blocks[0] + blocks[0].T) / 2, *blocks[1:])
    solution, other = solve_qp(*blocks), solve_qp(*blocks, method="clarabel")
    assert solution.success and solution.method == "active_set"
    np.testing.assert_allclose(solution.y, other.y, atol=1e-11)
    np.testing.assert_allclose(solution.mu, other.mu, atol=1e-9)
    infeasible = solve_qp(*blocks[:4], np.vstack([A, G[:1] + A[:1]]), np.append(A @ y, blocks[3][0] + A[0] @ y + 0.5))
    assert infeasible.status is Status.LOWER_INFEASIBLE and infeasible.method == "active_set"

"""solve(A, b): every method against dense truths, and a status for everything that can go wrong."""

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse
from scipy.sparse.linalg import LinearOperator, aslinearoperator

from refbilevel.errors import ArgumentError, DtypeError, ShapeError, UnknownOption
from refbilevel.linear import METHODS, factorize, krylov, solve
from refbilevel.results import Status

EPS = np.finfo(float).eps
ITERATIVE = [name for name, method in METHODS.items() if not method.direct]
DIRECT = [name for name, method in METHODS.items() if method.direct]


class Opaque(LinearOperator):
    """Products only: `toarray` raises, there is no rmatvec."""

    def __init__(self, A):
        self.A = A
        super().__init__(np.float64, A.shape)

    def _matvec(self, v):
        return self.A @ v

    def toarray(self):
        raise AssertionError("toarray must not be used")


def spd(N, condition, seed=0):
    rng = np.random.default_rng(seed)
    Q, _ = np.linalg.qr(rng.standard_normal((N, N)))
    A = (Q * np.logspace(0, -np.log10(condition), N)) @ Q.T
    return (A + A.T) / 2


def system(N, condition, seed=0):
    A = spd(N, condition, seed)
    x = np.random.default_rng(seed + 1).standard_normal(N)
    return A, A @ x, x


def error(solution, x):
    return np.linalg.norm(solution.x - x) / np.linalg.norm(x)


@pytest.mark.parametrize("method", ["auto", *METHODS])
@pytest.mark.parametrize("condition", [1e0, 1e2, 1e4])
@pytest.mark.parametrize("N", [1, 2, 30])
def test_every_method_reaches_the_attainable_digits(method, condition, N):
    A, b, x = system(N, condition)
    for form in (A, sparse.csr_array(A), Opaque(A)):
        solution = solve(form, b, method)
        assert solution.success, solution.message
        assert error(solution, x) <= 30 * EPS * np.linalg.cond(A)
        assert solution.residual == pytest.approx(np.linalg.norm(b - A @ solution.x) / np.linalg.norm(b), abs=4 * EPS)


@pytest.mark.parametrize("method", [*DIRECT, "cg", "minres", "gmres"])
def test_condition_1e8(method):
    A, b, x = system(20, 1e8)
    solution = solve(A, b, method)
    assert solution.success, solution.message
    assert error(solution, x) <= 30 * EPS * 1e8
    assert solution.condition >= (1e7 if method != "gmres" else 1e5)


@pytest.mark.parametrize("method", METHODS)
def test_never_a_wrong_number_without_a_status(method):
    A, b, x = system(20, 1e8)
    solution = solve(A, b, method, maxiter=60)
    assert solution.success == (solution.residual <= 10 * EPS * np.sqrt(20) * (np.linalg.norm(solution.x) / np.linalg.norm(b) + 1))


@pytest.mark.parametrize("method", ["auto", *METHODS])
def test_zero_right_hand_side_is_exact(method):
    for form in (spd(4, 10), Opaque(spd(4, 10))):
        solution = solve(form, np.zeros(4), method)
        assert solution.success and (solution.x == 0).all() and solution.residual == 0 and solution.iterations == 0


@pytest.mark.parametrize("method", ["auto", *METHODS])
def test_one_by_one_and_scaled_identity(method):
    assert solve([[3.0]], [2.0], method).x[0] == 2.0 / 3.0
    b = np.array([1.0, -2.0, 0.5, 7.0])
    for c in (2.0, 3.0, 1e-30, 1e30):
        np.testing.assert_allclose(solve(c * np.eye(4), b, method).x, b / c, rtol=2 * EPS)


@pytest.mark.parametrize("method", ["auto", *METHODS])
def test_block_right_hand_sides(method):
    A = spd(12, 50)
    X = np.random.default_rng(3).standard_normal((12, 3))
    X[:, 1] = 0
    for form in (A, Opaque(A)):
        solution = solve(form, A @ X, method)
        assert solution.success and solution.x.shape == (12, 3) and (solution.x[:, 1] == 0).all()
        np.testing.assert_allclose(solution.x, X, rtol=0, atol=1e-12)


@given(st.data())
def test_integer_systems(data):
    N = data.draw(st.integers(1, 4))
    M = np.array(data.draw(st.lists(st.integers(-3, 3), min_size=N * N, max_size=N * N)), float).reshape(N, N)
    x = np.array(data.draw(st.lists(st.integers(-3, 3), min_size=N, max_size=N)), float)
    A = M @ M.T + np.eye(N)
    for method in METHODS:
        np.testing.assert_allclose(solve(Opaque(A), A @ x, method).x, x, atol=1e-10)


def test_indefinite():
    A = np.array([[2.0, 1.0, 0.0], [1.0, -3.0, 1.0], [0.0, 1.0, 1.0]])
    x = np.array([1.0, 2.0, 3.0])
    for method in ("cg", "cholesky"):
        solution = solve(A, A @ x, method)
        assert solution.status is Status.NOT_A_MINIMUM and solution.negative >= 1
    for form in (A, Opaque(A)):
        for method in ("auto", "ldl", "minres"):
            solution = solve(form, A @ x, method)
            assert solution.success and solution.negative == 1
            np.testing.assert_allclose(solution.x, x, atol=1e-13)
    assert solve(sparse.csr_array(A), A @ x).negative == 1
    assert solve([[-2.0]], [1.0], "cg").status is Status.NOT_A_MINIMUM


def test_saddle_where_the_first_curvature_is_zero():
    A, b = np.array([[0.0, 1.0], [1.0, 0.0]]), np.array([1.0, 0.0])
    assert solve(A, b, "cg").status is Status.NOT_A_MINIMUM
    np.testing.assert_allclose(solve(Opaque(A), b).x, [0, 1], atol=1e-15)
    np.testing.assert_allclose(solve(A, b).x, [0, 1], atol=1e-15)


@pytest.mark.parametrize("N, negative", [(5, 0), (6, 2), (9, 4)])
def test_inertia_is_sylvesters(N, negative):
    rng = np.random.default_rng(N)
    S = rng.standard_normal((N, N))
    A = S @ np.diag([-1.0] * negative + [2.0] * (N - negative)) @ S.T
    A = (A + A.T) / 2
    assert factorize(A, "ldl").negative == factorize(A, "auto").negative == factorize(sparse.csr_array(A)).negative == negative


def test_not_symmetric():
    A = np.array([[2.0, 1.0], [-1.0, 3.0]])
    x = np.array([1.0, -1.0])
    for form in (A, Opaque(A)):
        assert solve(form, A @ x).success and "not symmetric" in solve(form, A @ x).message
        np.testing.assert_allclose(solve(form, A @ x).x, x, atol=1e-14)
    skewed = spd(8, 10)
    skewed[0, 5] += 2.0
    for method in ("cg", "cholesky", "minres"):
        for form in (skewed, Opaque(skewed)):
            solution = solve(form, np.ones(8), method)
            assert solution.status in (Status.NONSYMMETRIC, Status.NOT_A_MINIMUM), (method, solution.message)
            assert "not symmetric" in solution.message
    with pytest.raises(ArgumentError, match="rmatvec"):
        solve(Opaque(A), A @ x, "lsmr")


@pytest.mark.parametrize("method", ["auto", *METHODS])
def test_singular(method):
    A = np.diag([1.0, 2.0, 0.0]) + 0.0
    for form in (A, Opaque(A), sparse.csr_array(A)):
        solution = solve(form, np.array([1.0, 1.0, 1.0]), method)
        assert not solution.success
    assert not solve([[0.0]], [1.0], method).success


@pytest.mark.parametrize("method", ["auto", *METHODS])
def test_nonfinite(method):
    A = spd(3, 10)
    A[1, 1] = np.nan
    for form in (A, Opaque(A), sparse.csr_array(A)):
        assert solve(form, np.ones(3), method).status is Status.NONFINITE
    assert solve(spd(3, 10), np.array([1.0, np.inf, 0.0]), method).status is Status.NONFINITE


@pytest.mark.parametrize("method", ITERATIVE)
def test_iteration_limit(method):
    A, b, _ = system(40, 1e4)
    solution = solve(A, b, method, maxiter=3)
    assert solution.status is Status.LINEAR_MAXITER and solution.iterations <= 3 and solution.residual > 1e-3


@pytest.mark.parametrize("method", ITERATIVE)
def test_tolerance_is_kept_on_the_true_residual(method):
    A, b, _ = system(40, 1e3)
    loose, tight = solve(A, b, method, rtol=1e-3), solve(A, b, method, rtol=1e-9)
    assert loose.success and tight.success and loose.residual <= 1e-3 and tight.residual <= 1e-9
    assert loose.iterations < tight.iterations


@pytest.mark.parametrize("method", ITERATIVE)
def test_preconditioners_pass_through(method):
    D = np.logspace(0, 5, 40)
    A = spd(40, 10) * np.sqrt(D)[:, None] * np.sqrt(D)
    b = A @ np.ones(40)
    plain = solve(A, b, method, rtol=1e-10)
    inverse = np.linalg.inv(A)
    for M in (inverse, aslinearoperator(inverse), lambda r: inverse @ r, factorize(A)):
        good = solve(A, b, method, rtol=1e-10, preconditioner=M)
        assert good.success and good.iterations <= 5 < plain.iterations
    jacobi = solve(A, b, method, rtol=1e-10, preconditioner="jacobi")
    assert jacobi.success and jacobi.iterations < plain.iterations


def test_preconditioner_faults():
    A, b, _ = system(5, 10)
    with pytest.raises(ArgumentError, match="diagonal"):
        solve(Opaque(A), b, "cg", preconditioner="jacobi")
    with pytest.raises(ShapeError, match="preconditioner"):
        solve(A, b, "cg", preconditioner=np.eye(4))
    assert solve(A, b, "cg", preconditioner=-np.eye(5)).status is Status.LINEAR_BREAKDOWN
    assert solve(A, b, "cg", preconditioner=lambda r: r * np.nan).status is Status.NONFINITE


def test_start_and_factor_reuse():
    A, b, x = system(25, 1e3)
    warm = solve(A, b, "cg", rtol=1e-8, x0=x + 1e-6)
    assert warm.iterations < solve(A, b, "cg", rtol=1e-8).iterations
    assert solve(A, b, "cg", x0=x).x == pytest.approx(x, rel=1e-12)
    stale = factorize(A + 1e-3 * spd(25, 1))
    assert error(solve(A, b, factor=stale), x) < 30 * EPS * 1e3
    useless = factorize(-A)
    assert error(solve(A, b, factor=useless), x) < 30 * EPS * 1e3


@pytest.mark.parametrize("method", DIRECT)
def test_factor(method):
    A = spd(15, 1e5)
    factor = pickle.loads(pickle.dumps(factorize(A, method)))
    B = np.random.default_rng(0).standard_normal((15, 2))
    np.testing.assert_allclose(A @ factor.solve(B), B, atol=1e-9)
    np.testing.assert_allclose(A.T @ factor.solve(B, transpose=True), B, atol=1e-9)
    exact = np.linalg.cond(A, 1)
    assert exact / 3 <= factor.condition <= exact * 1.001


def test_transposed_solve_of_a_matrix_that_is_not_symmetric():
    A = np.random.default_rng(5).standard_normal((6, 6))
    for method in ("lu", "sparse_lu"):
        np.testing.assert_allclose(A.T @ factorize(A, method).solve(np.ones(6), transpose=True), np.ones(6), atol=1e-12)


def test_ill_conditioned_is_said():
    A = spd(12, 1e18)
    assert solve(A, np.ones(12), "lu").status is Status.ILL_CONDITIONED


def test_ritz_condition():
    A, b, _ = system(40, 1e4)
    for method in ("cg", "minres"):
        assert solve(A, b, method).condition == pytest.approx(1e4, rel=0.02)


def test_wrong_arguments():
    A, b, _ = system(4, 10)
    for call, kind, words in (
        (lambda: solve(A, b, "cgg"), UnknownOption, "did you mean 'cg'"),
        (lambda: solve(A[:3], b), ShapeError, "square"),
        (lambda: solve(A, b[:3]), ShapeError, "b must have shape"),
        (lambda: solve(A.astype(complex), b), DtypeError, "real"),
        (lambda: solve(A, b, rtol=-1.0), ArgumentError, "rtol"),
        (lambda: solve(A, b, maxiter=0), ArgumentError, "maxiter"),
        (lambda: solve(A, b, x0=b[:2]), ShapeError, "x0"),
        (lambda: factorize(A, "cg"), ArgumentError, "iterative"),
        (lambda: solve(Opaque(sparse.eye_array(5000).tocsr()), np.ones(5000), "lu"), ArgumentError, "explicit matrix"),
    ):
        with pytest.raises(kind, match=words):
            call()


def test_inputs_are_not_changed():
    A, b, _ = system(6, 10)
    A0, b0 = A.copy(), b.copy()
    for method in METHODS:
        solve(A, b, method)
    assert (A == A0).all() and (b == b0).all()


# Planted bugs: each must be seen.


def _previous_iterate(A, b, goal, maxiter, M):
    """CG that leaves with the iterate before the last when it converges."""
    run = krylov.cg(A, b, goal, maxiter, M)
    return krylov.cg(A, b, 0.0, max(run.iterations - 1, 0), M)


def test_previous_iterate_is_seen(monkeypatch):
    """With one run and no restart to hide it, the recomputed residual shows the penultimate iterate."""
    monkeypatch.setitem(krylov.RUNS, "cg", _previous_iterate)
    solution = solve(2.0 * np.eye(3), np.array([1.0, 2.0, 3.0]), "cg")
    assert not solution.success and solution.residual == 1.0


def _blind_to_curvature(A, b, goal, maxiter, M):
    run = krylov.cg(A, b, goal, maxiter, M)
    return krylov.Run(run.d, run.iterations, run.met, run.condition)


def test_missing_curvature_check_is_seen(monkeypatch):
    monkeypatch.setitem(krylov.RUNS, "cg", _blind_to_curvature)
    with pytest.raises(AssertionError):
        test_indefinite()


def test_missing_recomputed_residual_is_seen(monkeypatch):
    """A method that claims success on half the answer."""
    monkeypatch.setitem(krylov.RUNS, "gmres", lambda A, b, goal, maxiter, M: krylov.Run(0.01 * b, 1, True))
    assert not solve(np.eye(3), np.ones(3), "gmres", maxiter=1).success

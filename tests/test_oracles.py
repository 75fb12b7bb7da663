"""What an oracle may do with its memory and its precision: buffers, views, lists, single precision; and what it may not."""

import numpy as np
import pytest
from scipy import sparse

import refbilevel as rb

N, M = 3, 4
RNG = np.random.default_rng(3)
ROOT = RNG.standard_normal((M, M))
H, B, C, D = ROOT @ ROOT.T + np.eye(M), RNG.standard_normal((M, N)), RNG.standard_normal((N, M)), RNG.standard_normal(M)
X = np.array([0.3, -0.5, 0.8])

ORACLES = {
    "f": lambda x, y: 0.5 * (y - D) @ (y - D) + x @ C @ y,
    "f_x": lambda x, y: C @ y,
    "f_y": lambda x, y: y - D + C.T @ x,
    "g": lambda x, y: 0.5 * y @ H @ y + 0.25 * (y**4).sum() - y @ B @ x,
    "g_x": lambda x, y: -B.T @ y,
    "g_y": lambda x, y: H @ y + y**3 - B @ x,
    "g_yy": lambda x, y: H + np.diag(3 * y**2),
    "g_xy": lambda x, y: -B.T,
}


def buffered(oracle):
    """Every answer in one array, overwritten by the next call."""
    held = {}

    def call(*arguments):
        value = np.asarray(oracle(*arguments), float)
        held.setdefault("buffer", np.empty_like(value))[...] = value
        return held["buffer"]

    return call


def ring(oracle):
    """Answers in two arrays by turns, as views."""
    held = {"calls": 0}

    def call(*arguments):
        value = np.asarray(oracle(*arguments), float)
        held["calls"] += 1
        slot = held.setdefault("buffer", np.empty((2, *value.shape)))[held["calls"] % 2, ...]
        slot[...] = value
        return slot

    return call


def sparse_buffered(oracle):
    """One CSR array whose data are overwritten; vectors and scalars as they are."""
    held = {}

    def call(*arguments):
        value = np.asarray(oracle(*arguments), float)
        if value.ndim < 2:
            return value
        held.setdefault("buffer", sparse.csr_array(np.ones_like(value))).data[:] = value.ravel()
        return held["buffer"]

    return call


def listed(oracle):
    return lambda *arguments: np.asarray(oracle(*arguments)).tolist()


def one_element(oracle):
    """Scalars as arrays of shape (1,)."""
    return lambda *arguments: np.atleast_1d(oracle(*arguments))


def made(wrap, **others):
    return rb.BilevelProblem(n=N, m=M, **{name: wrap(oracle) for name, oracle in (ORACLES | others).items()})


@pytest.mark.parametrize("wrap", [buffered, ring, sparse_buffered, listed, one_element])
@pytest.mark.parametrize("method", ["implicit", "value_function", "minimax", "finite_difference", "reverse", "equilibrium"])
def test_every_way_to_return_an_answer_gives_the_same_gradient(wrap, method):
    plain = rb.hypergradient(made(lambda oracle: oracle), X, method)
    other = rb.hypergradient(made(wrap), X, method)
    np.testing.assert_allclose(other.gradient, plain.gradient, rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(other.direct, plain.direct, rtol=1e-9)
    assert other.status is plain.status


@pytest.mark.parametrize("wrap", [buffered, ring, sparse_buffered])
def test_a_sensitivity_outlives_later_calls_of_the_oracles(wrap):
    problem = made(wrap)
    kept = rb.sensitivity(problem, X)
    rb.sensitivity(problem, X + 1.0)
    plain = rb.sensitivity(made(lambda oracle: oracle), X)
    np.testing.assert_allclose(kept.vjp(np.ones(M)), plain.vjp(np.ones(M)), rtol=1e-10)
    np.testing.assert_allclose(kept.jvp(np.ones(N)), plain.jvp(np.ones(N)), rtol=1e-10)


@pytest.mark.parametrize("name", ["f_x", "f_y", "g_xy"])
def test_an_oracle_that_changes_its_argument_is_named(name):
    def changed(x, y):
        value = ORACLES[name](x, y)
        y *= 1.5
        return value

    with pytest.raises(rb.errors.ArgumentError, match=rf"{name}\(x, y\) changes its argument in place; work on a copy"):
        rb.hypergradient(rb.BilevelProblem(n=N, m=M, **(ORACLES | {name: changed})), X)


def test_single_precision_oracles_claim_no_more_than_single_precision():
    single = rb.hypergradient(made(lambda oracle: lambda *a: np.asarray(oracle(*a), np.float32)), X)
    exact = rb.hypergradient(made(lambda oracle: oracle), X)
    error = np.linalg.norm(single.gradient - exact.gradient) / np.linalg.norm(exact.gradient)
    assert 0 < error < 10.0 ** (1.0 - single.attainable_digits) and single.attainable_digits <= 7.3 < exact.attainable_digits
    assert "single precision" in single.message and "g_yy (about 7 digits)" in single.message


def test_fresh_matrices_are_not_copied_again():
    from refbilevel.problem import counted

    made_here = []
    view, _ = counted(rb.BilevelProblem(n=N, m=M, **(ORACLES | {"g_yy": lambda x, y: made_here.append(None) or H + len(made_here)})))
    y = np.zeros(M)
    view.g_yy(X, y), view.g_yy(X, y)
    assert view.g_yy.keeps is False
    view, _ = counted(rb.BilevelProblem(n=N, m=M, **(ORACLES | {"g_yy": lambda x, y: H})))
    first, second = view.g_yy(X, y), view.g_yy(X, y)
    assert view.g_yy.keeps is True and not np.shares_memory(first, second) and not np.shares_memory(second, H)


def test_the_lower_solution_is_asked_about_once():
    y = np.linalg.solve(H + np.eye(M), B @ X)
    cost = rb.hypergradient(made(lambda oracle: oracle), X, lower=y).cost
    assert {name: cost[name] for name in ("f", "f_x", "f_y", "g_y", "g_yy", "g_xy")} == {
        "f": 1, "f_x": 2, "f_y": 2, "g_y": 1, "g_yy": 2, "g_xy": 2,
    }  # fmt: skip


def test_answers_are_kept_where_asked_for_and_nowhere_else():
    from refbilevel.problem import counted, keep_answers

    view, counts = counted(made(lambda oracle: oracle))
    y, z = np.zeros(M), np.zeros(M)
    keep_answers(view, X, y)
    assert view.g_yy(X, y) is view.g_yy(X, y) and counts["g_yy"] == 1
    assert view.g_yy(X, z) is not view.g_yy(X, z) and view.g_yy(X.copy(), y) is not None and counts["g_yy"] == 4


def scalar(g_scale=1.0, f_scale=1.0):
    """f = s y^2/2, g = r (y - x)^2/2: the gradient is s x whatever r is."""
    return rb.BilevelProblem(
        n=1, m=1, f=lambda x, y: f_scale * 0.5 * y[0] * y[0], f_x=lambda x, y: np.zeros(1), f_y=lambda x, y: f_scale * y,
        g=lambda x, y: g_scale * 0.5 * (y[0] - x[0]) ** 2, g_y=lambda x, y: g_scale * (y - x),
        g_yy=lambda x, y: g_scale * np.eye(1), g_xy=lambda x, y: -g_scale * np.eye(1),
    )  # fmt: skip


@pytest.mark.parametrize("power", [-300, -200, -150, 150])
def test_squares_that_under_or_overflow_do_not_pass_for_zero(power):
    assert rb.hypergradient(scalar(g_scale=10.0**power), [2.0]).gradient == pytest.approx(2.0, rel=1e-14)
    assert rb.hypergradient(scalar(f_scale=10.0**power), [2.0]).gradient == pytest.approx(2.0 * 10.0**power, rel=1e-14)
    assert rb.hypergradient(scalar(), [10.0**-300]).gradient == pytest.approx(10.0**-300, rel=1e-14)


def test_an_infimum_at_infinity_is_no_minimum():
    problem = rb.BilevelProblem(
        n=1, m=2, f=lambda x, y: y[0], f_x=lambda x, y: np.zeros(1), f_y=lambda x, y: np.array([1.0, 0.0]),
        g=lambda x, y: np.exp(x[0] - y[0]) + 0.5 * y[1] ** 2, g_y=lambda x, y: np.array([-np.exp(x[0] - y[0]), y[1]]),
        g_yy=lambda x, y: np.diag([np.exp(x[0] - y[0]), 1.0]), g_xy=lambda x, y: np.array([[-np.exp(x[0] - y[0]), 0.0]]),
    )  # fmt: skip
    assert not rb.hypergradient(problem, [1.0]).success
    lower = rb.solve_lower(problem, [1.0])
    assert lower.status is rb.Status.LOWER_STALLED and "infimum may be at infinity" in lower.message


@pytest.mark.parametrize("method", ["implicit", "kkt", "reverse", "neumann"])
@pytest.mark.parametrize("wrap", [np.asarray, sparse.csr_array])
def test_a_hessian_with_one_triangle_only_is_no_success(method, wrap):
    result = rb.hypergradient(made(lambda oracle: oracle, g_yy=lambda x, y: wrap(np.tril(ORACLES["g_yy"](x, y)))), X, method)
    assert result.status is rb.Status.NONSYMMETRIC or not result.success


def test_a_constrained_hessian_with_one_triangle_only_is_named():
    rows = rb.Constraints(p=lambda x, y: y[:1] - 0.1, p_x=lambda x, y: np.zeros((1, N)), p_y=lambda x, y: np.eye(1, M), linear=True)
    oracles = ORACLES | {"g_yy": lambda x, y: np.tril(ORACLES["g_yy"](x, y))}
    result = rb.hypergradient(rb.BilevelProblem(n=N, m=M, constraints=rows, **oracles), X)
    assert result.status is rb.Status.NONSYMMETRIC and "check g_yy" in result.message


def test_an_upper_objective_that_is_not_finite_is_no_success():
    result = rb.hypergradient(made(lambda oracle: oracle, f=lambda x, y: np.nan), X)
    assert result.status is rb.Status.NONFINITE and "f is nan" in result.message


def test_an_upper_objective_without_y_keeps_every_digit():
    upper = {"f": lambda x, y: x @ x, "f_x": lambda x, y: 2 * x, "f_y": lambda x, y: np.zeros(M)}
    result = rb.hypergradient(made(lambda oracle: oracle, **upper), X)
    np.testing.assert_array_equal(result.gradient, 2 * X)
    assert result.attainable_digits == pytest.approx(15.95)

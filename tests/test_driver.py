"""hypergradient(): against closed forms and differences, its error estimate, its statuses, and its messages on wrong input."""

import numpy as np
import pytest
from scipy import sparse

import refbilevel as rb
from refbilevel.errors import ArgumentError, BilevelError, DtypeError, MissingDerivative, ShapeError, StatusError, UnknownOption

from examples import difference, quadratic, quartic, solved, spd

X3 = np.array([0.3, -0.7, 1.1])


def relative(a, b):
    return np.linalg.norm(a - b) / np.linalg.norm(b)


@pytest.mark.parametrize("kind", ["dense", "sparse", "operator"])
@pytest.mark.parametrize("n,m", [(3, 5), (5, 3), (3, 1), (1, 4), (4, 4)])
def test_implicit_is_the_closed_form(n, m, kind):
    problem, exact = quadratic(n, m, kind=kind)
    x = np.linspace(-1, 1, n) + 0.2
    result = rb.hypergradient(problem, x)
    assert result.success
    assert relative(result.gradient, exact(x)) < 1e-13
    np.testing.assert_allclose(result.direct + result.indirect, result.gradient, rtol=1e-14)


@pytest.mark.parametrize("method", ["cholesky", "lu", "ldl", "sparse_lu", "cg", "minres", "gmres", "bicgstab", "lsmr", "cg_normal"])
@pytest.mark.parametrize("condition", [1e1, 1e4, 1e7])
def test_every_linear_method_reaches_the_attainable_digits(method, condition):
    problem, exact = quadratic(3, 6, condition)
    result = rb.hypergradient(problem, X3, linear=method)
    digits = -np.log10(relative(result.gradient, exact(X3)) + 1e-17)
    assert digits >= min(12.0, result.attainable_digits - 0.5), (digits, result.attainable_digits)


@pytest.mark.parametrize("kind", ["dense", "operator"])
def test_implicit_is_the_difference_of_the_resolved_objective(kind):
    problem = quartic(kind=kind)
    x = np.array([0.4, -0.3])
    expected = difference(lambda x: solved(problem, x), x)
    assert relative(rb.hypergradient(problem, x).gradient, expected) < 1e-9
    referee = rb.hypergradient(problem, x, method="finite_difference")
    assert relative(referee.gradient, expected) < 1e-8
    assert np.linalg.norm(referee.gradient - expected) < 30 * referee.error_estimate + 1e-9


@pytest.mark.parametrize("K", [0, 1, 7])
@pytest.mark.parametrize("kind", ["dense", "operator"])
def test_unrolling_is_the_difference_of_the_K_step_map(K, kind):
    problem = quartic(kind=kind)
    x, step = np.array([0.4, -0.3]), 0.2

    def F(x):
        y = np.full(4, 0.1)
        for _ in range(K):
            y = y - step * problem.g_y(x, y)
        return problem.f(x, y)

    result = rb.hypergradient(problem, x, method="reverse", K=K, step=step, y0=np.full(4, 0.1))
    assert np.linalg.norm(result.gradient - difference(F, x)) < 1e-9
    if K == 0:
        np.testing.assert_array_equal(result.indirect, 0.0)


@pytest.mark.parametrize("tolerance,low,high", [(1e-2, 0.5, 1.5), (1e-3, 0.95, 1.05), (1e-5, 0.95, 1.05), (1e-8, 0.95, 1.05)])
@pytest.mark.parametrize("seed", range(4))
def test_error_estimate_is_asymptotically_exact(tolerance, low, high, seed):
    rng = np.random.default_rng(seed)
    A, B = rng.standard_normal((60, 4)), rng.standard_normal((40, 4))
    w = np.array([1.0, -0.5, 0.3, 0.8])
    problem = rb.problems.logistic(A, np.sign(A @ w + rng.standard_normal(60)), B, np.sign(B @ w), penalties="per-feature")
    x = np.full(4, -3.0)
    lower = rb.solve_lower(problem, x, "gradient_descent", tol=tolerance)
    stopped = rb.hypergradient(problem, x, lower=lower)
    truth = rb.hypergradient(problem, x).gradient
    ratio = stopped.error_estimate / np.linalg.norm(stopped.gradient - truth)
    assert low <= ratio <= high
    refined = rb.hypergradient(problem, x, lower=lower, refine=True)
    assert np.linalg.norm(refined.gradient - truth) < 0.2 * np.linalg.norm(stopped.gradient - truth)


def test_exact_zero_when_f_does_not_depend_on_y():
    problem, _ = quadratic()
    problem = rb.problem.replace(problem, f_y=lambda x, y: np.zeros(5))
    result = rb.hypergradient(problem, X3)
    np.testing.assert_array_equal(result.gradient, result.direct)


def test_a_saddle_is_not_a_minimum():
    H = np.diag([1.0, -1.0])
    problem = rb.BilevelProblem(
        n=1, m=2, f=lambda x, y: y.sum(), f_x=lambda x, y: np.zeros(1), f_y=lambda x, y: np.ones(2),
        g_y=lambda x, y: H @ y, g_yy=lambda x, y: H, g_xy=lambda x, y: np.ones((1, 2)),
    )  # fmt: skip
    result = rb.hypergradient(problem, [0.0])
    assert not result.success
    assert result.status == "not_a_minimum"
    with pytest.raises(StatusError, match="negative curvature"):
        rb.hypergradient(problem, [0.0], strict=True)


def test_an_unbounded_lower_level_gives_no_number():
    problem = rb.BilevelProblem(
        n=1, m=2, f=lambda x, y: y.sum(), f_x=lambda x, y: np.zeros(1), f_y=lambda x, y: np.ones(2), g=lambda x, y: y[0] ** 2 - y[1],
        g_y=lambda x, y: np.array([2 * y[0], -1.0]), g_yy=lambda x, y: np.diag([2.0, 0.0]), g_xy=lambda x, y: np.ones((1, 2)),
    )  # fmt: skip
    result = rb.hypergradient(problem, [0.0])
    assert result.status == "lower_unbounded"
    assert np.isnan(result.gradient).all()
    assert result.lower.certificate @ [0, 1] > 0.99


def test_not_finite_oracle():
    problem, _ = quadratic()
    problem = rb.problem.replace(problem, g_y=lambda x, y: np.full(5, np.nan))
    result = rb.hypergradient(problem, X3)
    assert result.status == "nonfinite" and not np.isfinite(result.gradient).any()


def wrong(**changes):
    problem, _ = quadratic()
    return rb.problem.replace(problem, **changes)


@pytest.mark.parametrize(
    "call,error,words",
    [
        (lambda p: rb.hypergradient(wrong(g_xy=lambda x, y: np.ones((5, 3))), X3), ShapeError, ["g_xy", "(3, 5)", "(5, 3)", "transposed"]),
        (lambda p: rb.hypergradient(p, [0.0, np.nan, 1.0]), ArgumentError, ["x", "finite", "x[1]"]),
        (lambda p: rb.hypergradient(p, [0.0, 1.0]), ShapeError, ["x", "(3,)", "(2,)"]),
        (lambda p: rb.hypergradient(p, [[0.0, 1.0, 2.0]]), ShapeError, ["x", "(3,)", "(1, 3)"]),
        (lambda p: rb.hypergradient(p, X3 + 0j), DtypeError, ["x", "real"]),
        (lambda p: rb.hypergradient(p, ["a", "b", "c"]), DtypeError, ["x", "dtype"]),
        (lambda p: rb.hypergradient(p, sparse.csr_array(X3[None])), DtypeError, ["x", "csr_array"]),
        (lambda p: rb.hypergradient(wrong(f_y=lambda x, y: None), X3), DtypeError, ["f_y", "None", "return"]),
        (lambda p: rb.hypergradient(p, X3, method="implict"), UnknownOption, ["implict", "implicit"]),
        (lambda p: rb.hypergradient(p, X3, method="reverse", k=3), UnknownOption, ["'k'", "reverse"]),
        (lambda p: rb.hypergradient(p, X3, linear="colesky"), UnknownOption, ["colesky", "cholesky"]),
        (lambda p: rb.hypergradient(p, X3, method="reverse", K=-1), ArgumentError, ["K"]),
        (lambda p: rb.hypergradient(p, X3, tol=-1.0), ArgumentError, ["tol", "-1.0"]),
        (lambda p: rb.hypergradient(wrong(g_xy=None), X3), MissingDerivative, ["g_xy", "complete"]),
        (lambda p: rb.BilevelProblem(n=0, m=2), ArgumentError, ["n", "at least 1"]),
        (lambda p: rb.BilevelProblem(n=1, m=2, f=3.0), DtypeError, ["f", "callable"]),
        (lambda p: rb.BilevelProblem(n=2, m=2, bounds=(1.0, 0.0)), ArgumentError, ["bounds", "lo"]),
    ],
)
def test_wrong_input_names_the_argument_and_the_mend(call, error, words):
    with pytest.raises(error) as caught:
        call(quadratic()[0])
    assert isinstance(caught.value, BilevelError)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.torch
def test_a_torch_tensor_is_refused_with_the_way_out():
    torch = pytest.importorskip("torch")
    with pytest.raises(DtypeError, match="from_torch"):
        rb.hypergradient(quadratic()[0], torch.zeros(3))


def test_an_oracle_that_raises_says_where():
    def g_y(x, y):
        raise ZeroDivisionError("boom")

    with pytest.raises(ZeroDivisionError) as caught:
        rb.hypergradient(wrong(g_y=g_y), X3)
    assert any("g_y" in note for note in caught.value.__notes__)


@pytest.mark.parametrize("x", [[0, 1, 2], np.array([0, 1, 2], np.float32), np.arange(6.0)[::2], (0.5, 1.0, 2.0)])
def test_inputs_of_every_kind_are_accepted_and_left_alone(x):
    before = np.array(x, float).copy()
    result = rb.hypergradient(quadratic()[0], x)
    np.testing.assert_array_equal(np.array(x, float), before)
    assert result.success and result.gradient.dtype == np.float64


def test_cost_counts_calls_and_the_problem_keeps_nothing():
    problem, _ = quadratic()
    first = rb.hypergradient(problem, X3).cost
    assert first == rb.hypergradient(problem, X3).cost
    assert first["f_y"] >= 1 and first["g_yy"] >= 1
    assert problem.f.__class__.__name__ == "function"


def test_explain_reads_as_sentences():
    text = rb.hypergradient(quadratic(condition=1e4)[0], X3).explain()
    assert "digits" in text and "condition" in text


def test_attainable_digits_fall_with_the_condition():
    digits = [rb.hypergradient(quadratic(condition=c)[0], X3).attainable_digits for c in (1e1, 1e4, 1e8)]
    assert digits[0] > 12 and digits[0] > digits[1] > digits[2]
    assert rb.hypergradient(quadratic(condition=1e4)[0], X3, linear="cg_normal").attainable_digits < digits[1] - 2


def test_scaling_the_lower_level_changes_nothing():
    problem, exact = quadratic()
    for c in (1e-6, 1e6):
        scaled = rb.problem.replace(
            problem, g=lambda x, y: c * problem.g(x, y), g_y=lambda x, y: c * problem.g_y(x, y),
            g_yy=lambda x, y: c * problem.g_yy(x, y), g_xy=lambda x, y: c * problem.g_xy(x, y),
        )  # fmt: skip
        assert relative(rb.hypergradient(scaled, X3).gradient, exact(X3)) < 1e-12


def test_identity_hessian():
    problem, _ = quadratic(m=4)
    B = -problem.g_xy(X3, np.zeros(4)).T
    for kind in (np.asarray,):
        identity = rb.problem.replace(problem, g=None, g_y=lambda x, y: 2 * y - B @ x, g_yy=lambda x, y: kind(2 * np.eye(4)))
        result = rb.hypergradient(identity, X3, linear="cg")
        y = B @ X3 / 2
        expected = problem.f_x(X3, y) + B.T @ problem.f_y(X3, y) / 2
        assert relative(result.gradient, expected) < 1e-15


def test_spd_helper_has_the_condition_it_says():
    assert np.linalg.cond(spd(6, 1e5)) == pytest.approx(1e5, rel=1e-6)

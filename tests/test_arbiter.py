"""rb.reference: against closed forms in mpmath, its own digits, and functions that it must refuse."""

import mpmath
import numpy as np
import pytest

import refbilevel as rb
from refbilevel.errors import ArgumentError, DtypeError, StatusError
from refbilevel.problem import replace

from examples import quadratic, quartic


def one(**changes):
    """g = exp(y) - x y, so y* = log x; f = y^3 / 3: the hypergradient is log(x)^2 / x."""
    oracles = dict(
        n=1, m=1, f=lambda x, y: y[0] ** 3 / 3, f_x=lambda x, y: np.zeros(1), f_y=lambda x, y: y**2, g=lambda x, y: np.exp(y[0]) - x[0] * y[0],
        g_y=lambda x, y: np.exp(y) - x, g_yy=lambda x, y: np.exp(y)[:, None], g_xy=lambda x, y: -np.ones((1, 1)),
    )  # fmt: skip
    return rb.BilevelProblem(**(oracles | changes))


@pytest.mark.parametrize("digits", [16, 30, 60])
def test_every_digit_asked_for_is_right(digits):
    answer = rb.reference(one(), [3.0], digits=digits)
    with mpmath.workdps(digits + 10):
        truth = mpmath.log(3) ** 2 / 3
        assert abs(mpmath.mpf(answer.text[0]) - truth) <= mpmath.mpf(10) ** (1 - digits)
    assert answer.success and answer.digits == digits


@pytest.mark.parametrize("problem,x", [(quadratic()[0], [0.3, -0.7, 1.1]), (quartic(), [0.4, -0.3])])
def test_the_double_answer_agrees(problem, x):
    np.testing.assert_allclose(rb.hypergradient(problem, x).gradient, rb.reference(problem, x).gradient, rtol=1e-12)


def test_constraints():
    problem = rb.problems.load("F05_stackelberg_cournot_4")
    x = np.full(problem.n, 0.7)
    h, exact = rb.hypergradient(problem, x), rb.reference(problem, x)
    assert exact.success, exact.message
    np.testing.assert_allclose(h.gradient, exact.gradient, rtol=1e-11, atol=1e-12)


def test_no_derivative_of_the_problem_is_believed():
    right, wrong = one(), one(f_y=lambda x, y: 2 * y**2, g_xy=lambda x, y: np.ones((1, 1)))
    assert rb.reference(wrong, [3.0]).text == rb.reference(right, [3.0]).text
    assert abs(rb.hypergradient(wrong, [3.0]).gradient - rb.reference(wrong, [3.0]).gradient) > 0.1


@pytest.mark.parametrize("f", [lambda x, y: float(y[0]), lambda x, y: np.asarray(y, float).sum(), lambda x, y: np.logaddexp(0, y[0]), lambda x, y: 1.5])
def test_a_function_that_rounds_is_refused(f):
    with pytest.raises(DtypeError):
        rb.reference(one(), [3.0], f=f)


def test_kernel_problems_take_their_functions_beside_them():
    A, t = np.array([[1.0, 2.0], [0.5, -1.0], [1.5, 0.3]]), np.array([1.0, 2.0, 0.5])
    problem = rb.problems.ridge(A, t, A, t + 0.1)
    with pytest.raises(DtypeError, match="f=|g=|NumPy"):
        rb.reference(problem, [0.2])
    loss = lambda y, t: ((A @ y - t) ** 2).mean() / 2  # noqa: E731
    exact = rb.reference(problem, [0.2], f=lambda x, y: loss(y, t + 0.1), g=lambda x, y: loss(y, t) + 0.5 * np.exp(x[0]) * (y @ y))
    np.testing.assert_allclose(rb.hypergradient(problem, [0.2]).gradient, exact.gradient, rtol=1e-12)


def test_a_kink_is_named():
    weak = rb.LowerSolution(y=np.zeros(1), mu=np.zeros(1), active=np.ones(1, bool), residual=0.0)
    kink = one(
        g=lambda x, y: (y[0] - x[0]) ** 2 / 2, g_y=lambda x, y: y - x, g_yy=lambda x, y: np.eye(1),
        constraints=rb.Constraints(p=lambda x, y: -y, p_x=lambda x, y: np.zeros((1, 1)), p_y=lambda x, y: -np.ones((1, 1)), linear=True),
    )  # fmt: skip
    assert rb.reference(kink, [0.0], lower=weak).status == "degenerate"


@pytest.mark.parametrize("options", [{"digits": 10}, {"digits": 1.5}, {"digits": 1000}])
def test_digits_out_of_range(options):
    with pytest.raises(ArgumentError, match="digits"):
        rb.reference(one(), [3.0], **options)


def test_no_solution_is_a_status():
    with np.errstate(all="ignore"):
        answer = rb.reference(one(), [-3.0])
    assert not answer.success and np.isnan(answer.gradient).all()


def test_a_lower_level_without_solution_raises_its_status():
    flat = one(g=lambda x, y: x[0] * y[0], g_y=lambda x, y: x, g_yy=lambda x, y: np.zeros((1, 1)))
    with pytest.raises(StatusError):
        rb.reference(flat, [-3.0])


def test_missing_values():
    with pytest.raises(rb.errors.MissingDerivative, match="f"):
        rb.reference(replace(one(), f=None), [3.0])

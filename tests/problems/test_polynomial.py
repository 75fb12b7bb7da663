"""Quadratic and quartic families: oracles and the quadratic's whole hypergradient at 40 digits."""

import pickle

import mpmath
import numpy as np
import pytest
from forty_digits import assert_oracles_exact
from scipy import sparse
from scipy.sparse.linalg import aslinearoperator

import refbilevel as rb

SIZES = [(1, 1), (2, 5), (4, 3)]


def exact_functions(model):
    """f and g of lists of mpf, from the definition."""
    A, C, c, P, p, Q, q, R = (mpmath.matrix(getattr(model, name).tolist()) for name in "A C c P p Q q R".split())

    def both(x, y):
        return mpmath.matrix(x), mpmath.matrix(y)

    def f(x, y):
        x, y = both(x, y)
        return ((y.T * P * y) / 2 + p.T * y + (x.T * Q * x) / 2 + q.T * x + x.T * R * y)[0]

    def g(x, y):
        x, y = both(x, y)
        value = ((y.T * A * y) / 2 + x.T * C * y + c.T * y)[0]
        if hasattr(model, "U"):
            s = mpmath.matrix(model.U.tolist()) * x + mpmath.matrix(model.W.tolist()) * y
            value += sum(mpmath.mpf(a) * z**4 for a, z in zip(model.a.tolist(), s)) / 4
        return value

    return f, g


@pytest.mark.parametrize("family", ["random_quadratic", "random_quartic"])
@pytest.mark.parametrize("n, m", SIZES)
def test_oracles_against_forty_digits(family, n, m):
    problem = getattr(rb.problems, family)(n, m, rng=3)
    assert_oracles_exact(problem, *exact_functions(problem.f.__self__))
    assert_oracles_exact(pickle.loads(pickle.dumps(problem)), *exact_functions(problem.f.__self__), seed=8)


def exact_hypergradient(model, x):
    A, C, c, P, p, Q, q, R = (mpmath.matrix(getattr(model, name).tolist()) for name in "A C c P p Q q R".split())
    x = mpmath.matrix(x.tolist())
    y = mpmath.lu_solve(A, -(C.T * x + c))
    v = mpmath.lu_solve(A, P * y + p + R.T * x)
    as_array = lambda column: np.array(column.tolist(), dtype=float).ravel()  # noqa: E731
    return as_array(y), as_array(Q * x + q + R * y - C * v)


@pytest.mark.parametrize("n, m", [(1, 1), (2, 5), (7, 4), (3, 30)])
@pytest.mark.parametrize("condition", [1.0, 1e6])
def test_quadratic_closed_form(n, m, condition):
    problem = rb.problems.random_quadratic(n, m, condition=condition, rng=5)
    x = np.random.default_rng(6).standard_normal(n)
    y, gradient = exact_hypergradient(problem.f.__self__, x)
    lower = rb.solve_lower(problem, x)
    assert lower.success and lower.factor is not None
    unit = 30 * condition * np.finfo(float).eps
    assert np.linalg.norm(lower.y - y) <= unit * np.linalg.norm(y)
    A, C, f_y = problem.g_yy(x, y), problem.g_xy(x, y), problem.f_y(x, y)
    computed = problem.f_x(x, lower.y) - C @ lower.factor.solve(problem.f_y(x, lower.y))
    scale = np.linalg.norm(problem.f_x(x, y)) + np.linalg.norm(C, 2) * np.linalg.norm(np.linalg.solve(A, f_y))
    assert np.linalg.norm(computed - gradient) <= unit * scale


@pytest.mark.parametrize("container", [sparse.csr_array, aslinearoperator])
def test_quadratic_of_other_containers(container):
    dense = rb.problems.random_quadratic(2, 6, rng=1)
    model = dense.f.__self__
    other = rb.problems.quadratic(container(model.A), model.C, model.c)
    x = np.array([0.5, -1.0])
    lower = rb.solve_lower(other, x)
    assert lower.success
    np.testing.assert_allclose(lower.y, rb.solve_lower(dense, x).y, rtol=1e-12)


def test_quartic_hessian_moves_with_x_and_y_and_its_operator_agrees():
    problem = rb.problems.random_quartic(3, 4, rng=2)
    model = problem.f.__self__
    x, y = np.array([0.3, -0.2, 0.9]), np.array([1.0, 0.5, -0.5, 0.1])
    assert np.linalg.norm(problem.g_yy(x, y) - problem.g_yy(x + 0.1, y)) > 1e-2
    assert np.linalg.norm(problem.g_xy(x, y) - problem.g_xy(x, y + 0.1)) > 1e-2
    operator = rb.problems.quartic(
        aslinearoperator(model.A), model.C, model.c, a=model.a, U=model.U, W=model.W
    ).g_yy(x, y)
    np.testing.assert_allclose(operator @ np.eye(4), problem.g_yy(x, y), rtol=1e-13, atol=1e-14)


def test_indefinite_quadratic_is_not_called_a_minimum():
    lower = rb.solve_lower(rb.problems.quadratic(np.diag([1.0, -1.0]), np.ones((1, 2))), np.zeros(1))
    assert lower.status is rb.Status.NOT_A_MINIMUM


@pytest.mark.parametrize(
    "change, error, word",
    [
        ({"A": np.eye(3)}, rb.errors.ShapeError, "A must have shape"),
        ({"A": np.array([[1.0, 2.0], [0.0, 1.0]])}, rb.errors.ArgumentError, "symmetric"),
        ({"c": [np.inf, 0.0]}, rb.errors.ArgumentError, "finite"),
        ({"P": "no"}, rb.errors.DtypeError, "real"),
    ],
)
def test_bad_arrays_are_named(change, error, word):
    with pytest.raises(error, match=word):
        rb.problems.quadratic(**({"A": np.eye(2), "C": np.ones((3, 2))} | change))


def test_negative_fourth_power_is_refused():
    with pytest.raises(rb.errors.ArgumentError, match="convex"):
        rb.problems.quartic(np.eye(1), np.ones((1, 1)), a=[-1.0], U=np.ones((1, 1)), W=np.ones((1, 1)))

"""Multinomial hyper-cleaning: oracles at 40 digits, structured second derivatives, and the two-class case as logistic regression."""

import pickle

import mpmath
import numpy as np
import pytest
from forty_digits import assert_oracles_exact
from scipy import sparse

import refbilevel as rb


def make(N=5, d=2, k=3, container=np.asarray, seed=0, **options):
    rng = np.random.default_rng(seed)
    X, X_val = rng.standard_normal((N, d)), rng.standard_normal((N + 1, d))
    c, c_val = (np.append(rng.integers(0, k, size - 1), k - 1) for size in (N, N + 1))
    options = {"prior": (0.3, 0.2), "penalty": 0.05, "k": k} | options
    return rb.problems.softmax(container(X), c, container(X_val), c_val, **options), (X, c, X_val, c_val)


def exact_functions(data, k):
    X, c, X_val, c_val = (a.tolist() for a in data)

    def losses(A, labels, y):
        d = len(A[0])
        for a, label in zip(A, labels):
            z = [mpmath.fdot(a, y[e * d : (e + 1) * d]) for e in range(k)]
            yield mpmath.log(sum(map(mpmath.exp, z))) - z[label]

    def g(x, y):
        weighted = sum(l / (1 + mpmath.exp(-s)) for s, l in zip(x, losses(X, c, y)))
        return weighted / len(X) + mpmath.mpf(0.05) / 2 * sum(v**2 for v in y)

    def f(x, y):
        prior = mpmath.mpf(0.3) / 2 * sum((s - mpmath.mpf(0.2)) ** 2 for s in x)
        return sum(losses(X_val, c_val, y)) / len(X_val) + prior

    return f, g


@pytest.mark.parametrize("container", [np.asarray, sparse.csr_array], ids=["dense", "csr"])
@pytest.mark.parametrize("hessian", ["dense", "operator"])
@pytest.mark.parametrize("N, d, k", [(1, 1, 2), (5, 2, 3)])
def test_oracles_against_forty_digits(container, hessian, N, d, k):
    problem, data = make(N, d, k, container, hessian=hessian)
    problem = pickle.loads(pickle.dumps(problem))
    assert_oracles_exact(problem, *exact_functions(data, k), atol=1e-14)


@pytest.mark.parametrize("container", [np.asarray, sparse.csr_array], ids=["dense", "csr"])
def test_structured_derivatives_are_their_matrices(container):
    operator, dense = (make(12, 4, 3, container, hessian=kind)[0] for kind in ("operator", "dense"))
    rng = np.random.default_rng(1)
    x, y = rng.standard_normal(12), rng.standard_normal(12)
    H = operator.g_yy(x, y)
    np.testing.assert_allclose(H @ np.eye(12), dense.g_yy(x, y), rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(H.diagonal(), np.diag(dense.g_yy(x, y)), rtol=1e-12)
    J = operator.g_xy(x, y)
    np.testing.assert_allclose(J.T @ np.eye(12), (J @ np.eye(12)).T, rtol=1e-12, atol=1e-14)


def test_two_classes_are_logistic_regression_of_the_difference():
    """softmax of (Y_1, Y_0) is the logistic model of w = Y_1 - Y_0, penalty/2 (|Y_0|^2 + |Y_1|^2) = penalty/4 |w|^2 at the optimum."""
    problem, (X, c, X_val, c_val) = make(30, 3, 2, hessian="dense", prior=None, penalty=0.1)
    x = np.full(30, 40.0)  # sigma = 1
    lower = rb.solve_lower(problem, x, tol=1e-13)
    twin = rb.problems.logistic(X, c, X_val, c_val)
    w = rb.solve_lower(twin, np.log([0.05]), tol=1e-13).y
    Y = lower.y.reshape(2, 3)
    np.testing.assert_allclose(Y[1] - Y[0], w, rtol=1e-9)
    np.testing.assert_allclose(Y[1], -Y[0], rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(problem.f(x, lower.y), twin.f(np.log([0.05]), w), rtol=1e-11)


@pytest.mark.parametrize(
    "change, error, word",
    [
        ({"labels_train": [0.5, 1, 1]}, rb.errors.ArgumentError, "labels_train"),
        ({"labels_val": [0, 7]}, rb.errors.ArgumentError, "class 7"),
        ({"penalty": 0.0}, rb.errors.ArgumentError, "penalty"),
        ({"X_val": np.ones((2, 3))}, rb.errors.ShapeError, "features"),
        ({"hessian": "sparse"}, rb.errors.UnknownOption, "operator"),
    ],
)
def test_bad_input_is_named(change, error, word):
    good = {"X_train": np.ones((3, 2)), "labels_train": [0, 1, 1], "X_val": np.ones((2, 2)), "labels_val": [0, 1]}
    with pytest.raises(error, match=word):
        rb.problems.softmax(**(good | change))

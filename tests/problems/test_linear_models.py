"""Ridge and logistic regression: every oracle against 40-digit arithmetic, and ridge against its closed form."""

import pickle

import mpmath
import numpy as np
import pytest
from scipy import sparse

import refbilevel as rb
from forty_digits import assert_oracles_exact

FAMILIES = ["ridge", "logistic"]
PENALTIES = ["one", "per-feature"]


def make(family, m, penalties, *, container=np.asarray, seed=0, **options):
    rng = np.random.default_rng(seed)
    X, X_val = rng.standard_normal((3 * m + 2, m)), rng.standard_normal((2 * m + 1, m))
    truth = rng.standard_normal(m)
    t, t_val = (np.sign(A @ truth + rng.standard_normal(len(A))) for A in (X, X_val))
    options = {"prior": (0.3, 0.2)} | options
    build = getattr(rb.problems, family)
    return build(container(X), t, container(X_val), t_val, penalties=penalties, **options), (X, t, X_val, t_val)


def exact_functions(family, data, prior=(0.3, 0.2)):
    """g and f of lists of mpf, straight from the definition."""
    X, t, X_val, t_val = data

    def loss(A, t, y):
        total = mpmath.mpf(0)
        for a, label in zip(A.tolist(), t.tolist()):
            z = mpmath.fdot(a, y)
            total += (z - label) ** 2 / 2 if family == "ridge" else mpmath.log(1 + mpmath.exp(-label * z))
        return total / len(A)

    def g(x, y):
        x = x if len(x) == len(y) else x * len(y)
        return loss(X, t, y) + sum(mpmath.exp(a) * b**2 for a, b in zip(x, y)) / 2

    def f(x, y):
        return loss(X_val, t_val, y) + mpmath.mpf(prior[0]) / 2 * sum((a - mpmath.mpf(prior[1])) ** 2 for a in x)

    return f, g


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("penalties", PENALTIES)
@pytest.mark.parametrize("m", [1, 4])
@pytest.mark.parametrize("container", [np.asarray, sparse.csr_array], ids=["dense", "csr"])
def test_oracles_against_forty_digits(family, penalties, m, container):
    problem, data = make(family, m, penalties, container=container, hessian="operator")
    assert_oracles_exact(problem, *exact_functions(family, data))


@pytest.mark.parametrize("m", [1, 5, 50])
@pytest.mark.parametrize("penalties", PENALTIES)
def test_ridge_closed_form(m, penalties):
    problem, (X, t, _, _) = make("ridge", m, penalties)
    x = np.random.default_rng(1).uniform(-4, 1, problem.n)
    H = X.T @ X / len(X) + np.diag(np.exp(x) * np.ones(m))
    truth = np.linalg.solve(H, X.T @ t / len(X))
    lower = problem.lower_solver(x)
    assert lower.success
    np.testing.assert_allclose(lower.y, truth, rtol=0, atol=1e-14 * np.linalg.cond(H) * np.linalg.norm(truth))
    np.testing.assert_allclose(problem.g_yy(x, lower.y), H, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("penalties", PENALTIES)
def test_operator_dense_and_diagonal_are_one_matrix(family, penalties):
    problems = [make(family, 40, penalties, hessian=kind, container=container)[0]
                for kind in ("operator", "dense") for container in (np.asarray, sparse.csr_array)]  # fmt: skip
    rng = np.random.default_rng(2)
    x, y, V = rng.standard_normal(problems[0].n), rng.standard_normal(40), rng.standard_normal((40, 3))
    matrices = [p.g_yy(x, y) for p in problems]
    truth = matrices[2]
    assert isinstance(truth, np.ndarray)
    for H in matrices:
        np.testing.assert_allclose(H @ V, truth @ V, rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(H @ V[:, 0], truth @ V[:, 0], rtol=1e-12, atol=1e-12)
    for H in matrices[:2]:
        np.testing.assert_allclose(H.toarray(), truth, rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(H.T @ V, truth @ V, rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(H.diagonal(), np.diag(truth), rtol=1e-12)


@pytest.mark.parametrize("family", FAMILIES)
def test_pickles_and_mean_against_sum(family):
    problem, data = make(family, 4, "per-feature")
    again = pickle.loads(pickle.dumps(problem))
    x, y = np.full(4, -0.5), np.arange(4.0)
    assert again.g(x, y) == problem.g(x, y) and (again.f_y(x, y) == problem.f_y(x, y)).all()
    summed, _ = make(family, 4, "per-feature", reduction="sum")
    np.testing.assert_allclose(summed.g_y(x + np.log(14), y), 14 * problem.g_y(x, y), rtol=1e-13)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("container", [np.asarray, sparse.csr_array], ids=["dense", "csr"])
def test_constants_bound_what_they_claim(family, container):
    problem, _ = make(family, 6, "per-feature", bounds=(-3.0, 2.0), container=container, hessian="dense")
    known, rng = problem.constants, np.random.default_rng(3)
    for _ in range(50):
        x, a = rng.uniform(-3, 2, 6), rng.standard_normal(6)
        b = a + rng.standard_normal(6) * 10.0 ** rng.integers(-6, 2)
        step = np.linalg.norm(a - b) * (1 + 1e-12)
        slack = 1e-13
        assert np.linalg.eigvalsh(problem.g_yy(x, a))[0] >= known["mu"] - slack
        assert np.linalg.norm(problem.g_yy(x, a) - problem.g_yy(x, b), 2) <= known["L_H"] * step + slack
        assert np.linalg.norm(problem.f_y(x, a) - problem.f_y(x, b)) <= known["L_f"] * step + slack
        cross = problem.g_xy(x, a) - problem.g_xy(x, b)
        assert np.linalg.norm(cross @ np.eye(6), 2) <= known["L_B"] * step + slack


@pytest.mark.parametrize(
    "change, error, word",
    [
        ({"penalties": "each"}, rb.errors.UnknownOption, "per-feature"),
        ({"X_val": np.ones((3, 2))}, rb.errors.ShapeError, "features"),
        ({"t_train": np.ones(3)}, rb.errors.ShapeError, "t_train"),
        ({"X_train": np.full((5, 4), np.nan)}, rb.errors.ArgumentError, "X_train"),
        ({"X_train": np.ones(5)}, rb.errors.ShapeError, "two-dimensional"),
        ({"t_train": np.arange(5.0)}, rb.errors.ArgumentError, "labels"),
        ({"prior": (-1.0, 0.0)}, rb.errors.ArgumentError, "rho"),
        ({"prior": (1.0, np.zeros(3))}, rb.errors.ShapeError, "center"),
    ],
)
def test_bad_input_is_named(change, error, word):
    good = {"X_train": np.ones((5, 4)), "t_train": np.ones(5), "X_val": np.ones((3, 4)), "t_val": np.ones(3)}
    with pytest.raises(error, match=word):
        rb.problems.logistic(**(good | change))


def test_zero_one_labels_mean_minus_one_and_one():
    _, (X, t, X_val, t_val) = make("logistic", 3, "one")
    signs = rb.problems.logistic(X, t, X_val, t_val)
    bits = rb.problems.logistic(X, (t + 1) / 2, X_val, (t_val + 1) / 2)
    x, y = np.zeros(1), np.ones(3)
    assert signs.g(x, y) == bits.g(x, y) and signs.f(x, y) == bits.f(x, y)


@pytest.mark.parametrize("samples,kept", [(320, True), (250, False)])
def test_ridge_keeps_its_gram_matrix_where_that_is_no_larger_than_the_data(samples, kept):
    rng = np.random.default_rng(samples)
    X, t, x = rng.standard_normal((samples, 260)), rng.standard_normal(samples), rng.standard_normal(260)
    problem, operators = (rb.problems.ridge(X, t, X[:60], t[:60], penalties="per-feature", hessian=h) for h in ("auto", "operator"))
    assert isinstance(problem.g_yy(x, np.zeros(260)), np.ndarray) is kept
    expected = rb.hypergradient(operators, x).gradient
    np.testing.assert_allclose(rb.hypergradient(problem, x).gradient, expected, rtol=1e-9, atol=1e-12 * abs(expected).max())

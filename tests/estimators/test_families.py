"""Ridge, logistic and quartic families: exact estimators against closed forms, re-solved differences and one another."""

import numpy as np
import pytest
from examples import difference
from scipy import linalg

import refbilevel as rb
from refbilevel import problems
from refbilevel.errors import ArgumentError
from refbilevel.linear import METHODS

EXACT = [e.name for e in rb.ESTIMATORS.values() if e.exact and "smooth" in e.classes]


def data(m, spread, seed=0, rows=30):
    """Training and validation data whose features differ in scale by `spread`."""
    rng = np.random.default_rng(seed)
    scales = np.geomspace(1.0, 1.0 / spread, m)
    A, V = rng.standard_normal((rows, m)) * scales, rng.standard_normal((20, m)) * scales
    w = rng.standard_normal(m) / scales
    return A, A @ w + rng.standard_normal(rows), V, V @ w + rng.standard_normal(20)


def ridge_gradient(A, t, V, s, x, per_feature):
    """Closed form: H y = A't/N, H v = V'(V y - s)/N', gradient_j = -exp(x_j) y_j v_j (their sum for one penalty)."""
    e = np.exp(x) if per_feature else np.full(A.shape[1], np.exp(x[0]))
    H = A.T @ A / len(t) + np.diag(e)
    y = linalg.solve(H, A.T @ t / len(t), assume_a="pos")
    v = linalg.solve(H, V.T @ (V @ y - s) / len(s), assume_a="pos")
    return -e * y * v if per_feature else np.array([-(e * y) @ v])


def digits(value, truth):
    return -np.log10(max(np.linalg.norm(value - truth) / np.linalg.norm(truth), 1e-16))


@pytest.mark.parametrize("linear", METHODS)
@pytest.mark.parametrize("m, penalties", [(1, "one"), (5, "one"), (50, "one"), (5, "per-feature"), (50, "per-feature")])
def test_ridge_to_twelve_or_the_attainable_digits_with_every_linear_method(m, penalties, linear):
    A, t, V, s = data(m, 1.0, rows=2 * m + 5)
    problem = problems.ridge(A, t, V, s, penalties=penalties)
    x = np.full(problem.n, -3.0) + 0.1 * np.arange(problem.n) / problem.n
    result = rb.hypergradient(problem, x, linear=linear)
    assert result.success, result.message
    truth = ridge_gradient(A, t, V, s, x, penalties != "one")
    assert digits(result.gradient, truth) >= min(12, result.attainable_digits)


@pytest.mark.parametrize("spread", [1e1, 1e2, 1e4])
@pytest.mark.parametrize("method", EXACT)
def test_ill_conditioned_ridge(method, spread):
    """Features of very different scales under one small penalty: condition spread^2, up to 1e8."""
    A, t, V, s = data(6, spread)
    problem = problems.ridge(A, t, V, s, penalties="one")
    x = np.array([-2 * np.log(spread)])
    result = rb.hypergradient(problem, x, method)
    assert digits(result.gradient, ridge_gradient(A, t, V, s, x, False)) >= min(12, result.attainable_digits)


@pytest.mark.parametrize("penalties", ["one", "per-feature"])
@pytest.mark.parametrize("method", EXACT)
def test_logistic_equals_differences(method, penalties):
    A, t, V, s = data(4, 3.0)
    problem = problems.logistic(A, np.sign(t), V, np.sign(s), penalties=penalties)
    x = np.full(problem.n, -2.0)
    truth = difference(lambda x: problem.f(x, rb.solve_lower(problem, x).y), x, h=2e-2)
    assert digits(rb.hypergradient(problem, x, method).gradient, truth) >= 8


@pytest.mark.parametrize("name, options", [
    ("fixed_point", {}), ("neumann", {}), ("one_step", {"step_map": "newton"}), ("reverse", {"K": 3000}),
    ("augmented_lagrangian", {}), ("nystrom", {"rank": 4, "rho": 1e-13}),
])  # fmt: skip
def test_all_that_converge_agree(name, options):
    """The limits of the biased ones are the exact gradient, on every family."""
    A, t, V, s = data(4, 2.0)
    for problem in (problems.ridge(A, t, V, s), problems.logistic(A, np.sign(t), V, np.sign(s))):
        x = np.array([-1.0])
        exact = rb.hypergradient(problem, x)
        found = rb.hypergradient(problem, x, name, **options)
        assert found.success, found.message
        assert digits(found.gradient, exact.gradient) >= 9


def test_kernels_for_real_numbers_are_refused_by_the_holomorphic_estimator():
    A, t, V, s = data(4, 2.0)
    with pytest.raises(ArgumentError, match="g_y"):
        rb.hypergradient(problems.ridge(A, t, V, s), np.array([-1.0]), "holomorphic_equilibrium")

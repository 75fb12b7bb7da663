"""from_jax, from_torch and complete(): one array-API function, the same derivatives everywhere."""

import sys

import numpy as np
import pytest

import refbilevel as rb
from refbilevel.errors import DtypeError, MissingDerivative

from examples import quartic

X = np.array([0.4, -0.3])
Y = np.array([0.3, 0.1, -0.2, 0.5])
TRUE = quartic()
H = TRUE.g_yy(np.zeros(2), np.zeros(4)) - np.eye(4)
B = -TRUE.g_xy(X, np.zeros(4)).T


def namespace(a):
    return sys.modules["torch"] if type(a).__module__.startswith("torch") else a.__array_namespace__()


def constant(C, like):
    xp = namespace(like)
    return xp.asarray(C, dtype=like.dtype)


def g(x, y):
    xp = namespace(y)
    H_, B_ = constant(H, y), constant(B, y)
    return 0.5 * y @ H_ @ y + xp.sum(y**4) / 12 + 0.5 * xp.exp(x[0] / 2) * (y @ y) - y @ (B_ @ x)


def f(x, y):
    xp = namespace(y)
    return xp.sum(xp.sin(y)) + 0.5 * (y @ y) + xp.cos(xp.sum(x))


def p(x, y):
    xp = namespace(y)
    return xp.stack([y @ y - x[0] ** 2 - 1.0, xp.sum(y) * x[1] - 1.0])


FRONTENDS = [pytest.param(name, marks=getattr(pytest.mark, name[5:]), id=name) for name in ("from_jax", "from_torch")]


@pytest.mark.parametrize("frontend", FRONTENDS)
@pytest.mark.parametrize("hessian", ["dense", "operator"])
def test_oracles_are_those_written_by_hand(frontend, hessian):
    pytest.importorskip(frontend[5:])
    problem = getattr(rb, frontend)(f, g, n=2, m=4, hessian=hessian)
    for name in ("g", "g_x", "g_y"):
        np.testing.assert_allclose(getattr(problem, name)(X, Y), getattr(TRUE, name)(X, Y), rtol=1e-14, atol=1e-15)
    v, u = np.arange(1.0, 5.0), np.array([1.0, -2.0])
    np.testing.assert_allclose(problem.g_yy(X, Y) @ v, TRUE.g_yy(X, Y) @ v, rtol=1e-14)
    np.testing.assert_allclose(problem.g_xy(X, Y) @ v, TRUE.g_xy(X, Y) @ v, rtol=1e-14)
    np.testing.assert_allclose(problem.g_xy(X, Y).T @ u, TRUE.g_xy(X, Y).T @ u, rtol=1e-14)
    assert rb.check_problem(problem, X).success
    assert rb.hypergradient(problem, X).success


@pytest.mark.parametrize("frontend", FRONTENDS)
def test_constraints_bring_their_second_derivatives(frontend):
    pytest.importorskip(frontend[5:])
    problem = getattr(rb, frontend)(f, g, p, n=2, m=4)
    report = rb.check_problem(problem, X)
    assert {"p_x", "p_y", "lagrangian_yy", "lagrangian_xy"} <= {row.name for row in report.rows}


@pytest.mark.parametrize("frontend", FRONTENDS)
def test_float32_inside_is_refused(frontend):
    framework = pytest.importorskip(frontend[5:])

    def single(x, y):
        return g(x, y).astype("float32") if frontend == "from_jax" else g(x, y).to(framework.float32)

    with pytest.raises(DtypeError, match="float64"):
        getattr(rb, frontend)(f, single, n=2, m=4).g(X, Y)


@pytest.mark.jax
def test_jax_runs_in_double_precision_whatever_the_session_says():
    jax = pytest.importorskip("jax")
    assert not jax.config.jax_enable_x64
    assert rb.from_jax(f, g, n=2, m=4).g(X, Y) == pytest.approx(TRUE.g(X, Y), rel=1e-15)
    assert not jax.config.jax_enable_x64


def test_completion_by_complex_step_is_exact_and_said():
    bare = rb.BilevelProblem(n=2, m=4, f=f, g=g)
    with pytest.raises(MissingDerivative, match="f_x"):
        rb.hypergradient(bare, X)
    problem = rb.complete(bare)
    assert problem.completed["g_y"] == 15.0 and problem.completed["g_yy"] == 10.0
    result = rb.hypergradient(problem, X)
    full = rb.problem.replace(TRUE, f=f, f_x=lambda x, y: -np.sin(x.sum()) * np.ones(2), f_y=lambda x, y: np.cos(y) + y)
    truth = rb.hypergradient(full, X).gradient
    assert np.linalg.norm(result.gradient - truth) < 1e-8 * np.linalg.norm(truth)
    assert "g_yy" in result.message and result.attainable_digits <= 10.0


def test_completion_falls_back_to_differences_where_the_oracle_is_not_analytic():
    problem = rb.complete(rb.problem.replace(TRUE, f_y=None, f=lambda x, y: float(TRUE.f(x, np.asarray(y, float)))))
    assert problem.completed == {"f_y": 10.0}
    np.testing.assert_allclose(problem.f_y(X, Y), TRUE.f_y(X, Y), rtol=1e-9)


def test_completion_needs_something_to_complete_from():
    with pytest.raises(MissingDerivative):
        rb.complete(rb.BilevelProblem(n=1, m=1, f=lambda x, y: y[0]))

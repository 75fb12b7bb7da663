"""Random problems from small integers: every smooth estimator against differences of x -> f(x, y*(x)), explicit and matrix-free."""

import importlib

import numpy as np
import pytest
from error_laws import power_law
from examples import WRAP, difference
from hypothesis import find, given, settings
from hypothesis import strategies as st

import refbilevel as rb
from refbilevel.problem import replace

SMOOTH = [e for e in rb.ESTIMATORS.values() if e.classes[0] == "smooth" or (e.exact and "smooth" in e.classes)]
#: options that make the error small on these well-conditioned problems, and what is then left of it
SHARP = {
    "reverse": ({"K": 400}, 1e-8), "forward": ({"K": 400}, 1e-8), "checkpointed": ({"K": 400, "slots": 20}, 1e-8),
    "truncated": ({"K": 400, "window": 400}, 1e-8), "nystrom": ({"rho": 1e-12, "rank": None}, 1e-8),
    "one_step": ({"step_map": "newton"}, 1e-8), "hia": ({"N": 200, "P": range(200)}, 1e-8),
    "equilibrium": ({}, 1e-6), "holomorphic_equilibrium": ({}, 1e-7), "value_function": ({}, 1e-5),
    "minimax": ({"alpha": 1e6}, 1e-4), "penalty": ({"gamma": 1e6}, 1e-4),
}  # fmt: skip
#: no option makes these sharp: their bias is fixed, or they are random
BLUNT = {"t1_t2", "zeroth_order"}


@st.composite
def problems(draw):
    """("quadratic" | "glm" | "quartic", kind, problem, x), all from small integers, H = M M' + 2 I by construction."""

    def integers(*shape):
        size = int(np.prod(shape))
        return np.array(draw(st.lists(st.integers(-2, 2), min_size=size, max_size=size)), float).reshape(shape)

    family, kind = draw(st.sampled_from(["quadratic", "glm", "quartic"])), draw(st.sampled_from(list(WRAP)))
    n, m = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    M, B, x = integers(m, m), integers(m, n), integers(n) / 4
    H = (M @ M.T + 2 * np.eye(m)) / 2
    lower = {"quadratic": quadratic, "glm": glm, "quartic": quartic}[family](H, M)
    return family, kind, build(n, m, B, integers(m), integers(n), lower, WRAP[kind]), x


def quadratic(H, M):
    return lambda y: 0.5 * y @ H @ y, lambda y: H @ y, lambda y: H


def quartic(H, M):
    return lambda y: 0.5 * y @ H @ y + (y**4).sum() / 12, lambda y: H @ y + y**3 / 3, lambda y: H + np.diag(y**2)


def glm(H, M):
    """sum log(2 cosh(rows of M . y)) + |y|^2 / 2, analytic."""
    eye = np.eye(len(H))
    return (
        lambda y: np.log(2 * np.cosh(M @ y)).sum() + 0.5 * (y * y).sum(),
        lambda y: M.T @ np.tanh(M @ y) + y,
        lambda y: M.T @ np.diag(1 / np.cosh(M @ y) ** 2) @ M + eye,
    )


def build(n, m, B, c, a, lower, wrap):
    """g = l(y) + exp(x_0)/4 |y|^2 - y'(Bx + c),  f = |y|^2/2 + sum sin(y) + a'x + x_0 y_0."""
    value, slope, curvature = lower
    e0, u0 = np.eye(n)[0], np.eye(m)[0]
    return rb.BilevelProblem(
        n=n, m=m,
        f=lambda x, y: 0.5 * (y * y).sum() + np.sin(y).sum() + a @ x + x[0] * y[0],
        f_x=lambda x, y: a + e0 * y[0],
        f_y=lambda x, y: y + np.cos(y) + x[0] * u0,
        g=lambda x, y: value(y) + 0.25 * np.exp(x[0]) * (y * y).sum() - y @ (B @ x + c),
        g_x=lambda x, y: 0.25 * np.exp(x[0]) * (y * y).sum() * e0 - B.T @ y,
        g_y=lambda x, y: slope(y) + 0.5 * np.exp(x[0]) * y - B @ x - c,
        g_yy=lambda x, y: wrap(curvature(y) + 0.5 * np.exp(x[0]) * np.eye(m)),
        g_xy=lambda x, y: wrap(0.5 * np.exp(x[0]) * np.outer(e0, y) - B.T),
    )  # fmt: skip


def truth_of(problem, x):
    return difference(lambda x: problem.f(x, rb.solve_lower(problem, x).y), x, h=1e-2)


def mismatch(method, case, options, truth=None):
    """Error against differences, over the sizes that cancel."""
    _, _, problem, x = case
    result = rb.hypergradient(problem, x, method, diagnostics=False, **options)
    assert result.success, result.message
    truth = truth_of(problem, x) if truth is None else truth
    y = result.lower.y
    size = 1 + np.linalg.norm(truth) + np.linalg.norm(problem.f_x(x, y)) + np.linalg.norm(problem.f_y(x, y))
    return np.linalg.norm(result.gradient - truth) / size


@given(problems())
def test_every_estimator_equals_differences(case):
    problem, x = case[2], case[3]
    truth = truth_of(problem, x)
    for estimator in SMOOTH:
        if estimator.name in BLUNT:
            continue
        options, limit = SHARP.get(estimator.name, ({}, 1e-2 if power_law(estimator) and estimator.family != "referee" else 1e-8))
        options = {k: (problem.m if k == "rank" else list(v) if isinstance(v, range) else v) for k, v in options.items()}
        assert mismatch(estimator.name, case, options, truth) <= limit, estimator.name


@given(problems())
def test_blunt_ones_keep_the_direct_term_and_the_sign(case):
    problem, x = case[2], case[3]
    y = rb.solve_lower(problem, x).y
    expected = problem.f_x(x, y) - np.asarray(problem.g_xy(x, y) @ problem.f_y(x, y))
    np.testing.assert_allclose(rb.hypergradient(problem, x, "t1_t2").gradient, expected, atol=1e-12)


@given(problems(), st.sampled_from([e.name for e in SMOOTH if e.name not in ("zeroth_order", "finite_difference", "hia")]))
def test_linear_in_the_upper_objective(case, method):
    """Twice f gives twice the gradient (not for penalties, whose bias is quadratic in f); f = 0 gives zero exactly."""
    problem, x = case[2], case[3]
    nothing = replace(problem, f=lambda x, y: 0.0, f_x=lambda x, y: np.zeros(problem.n), f_y=lambda x, y: np.zeros(problem.m))
    rounding = 1e-6 if rb.ESTIMATORS[method].family in ("equilibrium", "penalty") else 1e-12  # one ulp of y over beta, or times gamma
    assert np.abs(rb.hypergradient(nothing, x, method, diagnostics=False).gradient).max() <= rounding
    if rb.ESTIMATORS[method].family in ("implicit", "series", "unrolled"):
        twice = replace(problem, f_x=lambda x, y: 2 * problem.f_x(x, y), f_y=lambda x, y: 2 * problem.f_y(x, y))
        once, both = (rb.hypergradient(p, x, method, diagnostics=False).gradient for p in (problem, twice))
        np.testing.assert_allclose(both, 2 * once, atol=1e-12 * (1 + np.linalg.norm(once)))


def test_a_planted_bug_shrinks_to_small_integers(monkeypatch):
    """A diagonal Hessian in place of the full one: found, and shrunk to a case that can be read."""
    module = importlib.import_module("refbilevel.estimators.implicit")
    whole = module.solve

    def diagonal(A, b, *args, **kwargs):
        D = np.asarray(A @ np.eye(len(b)))
        return whole(np.diag(np.diag(D)), b)

    monkeypatch.setattr(module, "solve", diagonal)
    case = find(problems(), lambda case: mismatch("implicit", case, {}) > 1e-6, settings=settings(max_examples=400, deadline=None))
    _, _, problem, x = case
    assert problem.n == 1 and problem.m == 2 and np.abs(x).max() <= 0.25
    with pytest.raises(AssertionError):
        assert mismatch("implicit", case, {}) <= 1e-8

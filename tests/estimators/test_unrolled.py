"""Unrolling is the exact gradient of the K-step map, in every mode, for every dynamics, at every K."""

import numpy as np
import pytest
from examples import WRAP, difference, quartic

import refbilevel as rb
from refbilevel.errors import ArgumentError
from refbilevel.results import Status

X, Y0 = np.array([0.3, -0.4, 0.5]), np.array([0.2, -0.1, 0.4, 0.3])
PROBLEM = quartic(3, 4, seed=3)
DYNAMICS = {"gradient_descent": {}, "heavy_ball": {"momentum": 0.4}, "nesterov": {"momentum": 0.6}}
EXACT = ("reverse", "forward", "checkpointed")
STEP = 0.3


def unrolled(method, K, problem=PROBLEM, **options):
    return rb.hypergradient(problem, X, method, y0=Y0, K=K, **{"step": STEP, **options})


def objective(x, K, dynamics, momentum=0.0):
    """f(x, y_K(x)) by the recursion written out anew."""
    y = before = Y0
    for _ in range(K):
        w = y + momentum * (y - before) if dynamics == "nesterov" else y
        push = momentum * (y - before) if dynamics == "heavy_ball" else 0.0
        before, y = y, w - STEP * PROBLEM.g_y(x, w) + push
    return PROBLEM.f(x, y)


@pytest.mark.parametrize("dynamics", DYNAMICS)
@pytest.mark.parametrize("K", [0, 1, 2, 7])
@pytest.mark.parametrize("method", EXACT)
def test_equals_differences_of_the_K_step_map(method, K, dynamics):
    options = DYNAMICS[dynamics]
    truth = difference(lambda x: objective(x, K, dynamics, **options), X, h=1e-2)
    found = unrolled(method, K, step_map=dynamics, **options)
    assert found.success
    np.testing.assert_allclose(found.gradient, truth, atol=1e-9 * np.linalg.norm(truth))


@pytest.mark.parametrize("dynamics", DYNAMICS)
@pytest.mark.parametrize("kind", WRAP)
def test_all_modes_agree(kind, dynamics):
    problem, options = quartic(3, 4, seed=3, kind=kind), {"step_map": dynamics, **DYNAMICS[dynamics]}
    reverse = unrolled("reverse", 23, problem, **options).gradient
    np.testing.assert_allclose(unrolled("forward", 23, problem, **options).gradient, reverse, rtol=1e-12)
    assert (unrolled("truncated", 23, problem, window=23, **options).gradient == reverse).all()
    for slots in (1, 2, 3, 5, 23, 40):
        assert (unrolled("checkpointed", 23, problem, slots=slots, **options).gradient == reverse).all()


def test_truncation_drops_the_early_steps():
    direct = PROBLEM.f_x(X, unrolled("reverse", 9).lower.y)
    assert (unrolled("truncated", 9, window=0).gradient == direct).all()
    y4 = unrolled("reverse", 5).lower.y
    tail = rb.hypergradient(PROBLEM, X, "reverse", y0=y4, K=4, step=STEP)
    assert (unrolled("truncated", 9, window=4).gradient == tail.gradient).all()


def test_no_steps_is_the_direct_term():
    for method in (*EXACT, "truncated"):
        result = unrolled(method, 0)
        assert result.success and (result.gradient == PROBLEM.f_x(X, Y0)).all() and (result.lower.y == Y0).all()


@pytest.mark.parametrize("K", [1, 2, 10, 57, 100])
@pytest.mark.parametrize("slots", [1, 2, 3, 6])
def test_checkpoints_keep_what_they_promise(K, slots):
    result = unrolled("checkpointed", K, slots=slots, diagnostics=False)
    assert result.extra["states_kept"] <= slots
    repeats = next(r for r in range(1, 200) if binomial(slots + r, r) >= K)
    assert result.extra["map_calls"] <= (repeats + 1) * K


def binomial(a, b):
    value = 1
    for i in range(b):
        value = value * (a - i) // (i + 1)
    return value


def test_memory_is_checked_before_anything_is_kept():
    with pytest.raises(ArgumentError, match="checkpointed"):
        unrolled("reverse", 1000, memory=8 * 4 * 100)
    result = unrolled("checkpointed", 1000, memory=8 * 4 * 100, diagnostics=False)
    assert result.extra["slots"] == 100 and result.extra["states_kept"] <= 100
    assert (result.gradient == unrolled("reverse", 1000, diagnostics=False).gradient).all()


def test_a_step_map_of_ones_own():
    """A damped sweep that is no gradient step: T = y - S g_y with a full S depending on x."""
    S = 0.1 * np.array([[2.0, 0.5, 0, 0], [0, 1.5, 0.3, 0], [0.2, 0, 1.0, 0], [0, 0.1, 0, 1.0]])

    def scale(x):
        return 1 + 0.2 * np.sin(x[0])

    def slope(x):
        return 0.2 * np.cos(x[0]) * np.eye(3)[0]

    own = rb.StepMap(
        T=lambda x, y: y - scale(x) * S @ PROBLEM.g_y(x, y),
        vjp_y=lambda x, y, u: u - scale(x) * PROBLEM.g_yy(x, y) @ (S.T @ u),
        vjp_x=lambda x, y, u: -scale(x) * PROBLEM.g_xy(x, y) @ (S.T @ u) - slope(x) * (u @ S @ PROBLEM.g_y(x, y)),
        jvp=lambda x, y, dX, dY: dY
        - scale(x) * S @ (PROBLEM.g_yy(x, y) @ dY + PROBLEM.g_xy(x, y).T @ dX)
        - np.outer(S @ PROBLEM.g_y(x, y), slope(x) @ dX),
    )

    def F(x):
        y = Y0
        for _ in range(6):
            y = own.T(x, y)
        return PROBLEM.f(x, y)

    truth = difference(F, X, h=1e-2)
    for method in EXACT:
        result = rb.hypergradient(PROBLEM, X, method, y0=Y0, K=6, step_map=own)
        np.testing.assert_allclose(result.gradient, truth, atol=1e-9 * np.linalg.norm(truth))
    with pytest.raises(ArgumentError, match="jvp"):
        rb.hypergradient(PROBLEM, X, "forward", y0=Y0, K=6, step_map=rb.StepMap(own.T, own.vjp_y, own.vjp_x))


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # overflow, which is the point
@pytest.mark.parametrize("method", [*EXACT, "truncated"])
def test_divergence_is_said(method):
    L = np.linalg.norm(PROBLEM.g_yy(X, Y0), 2)
    assert unrolled(method, 12, step=2.5 / L, diagnostics=False).status in (Status.DIVERGED, Status.NONFINITE)


@pytest.mark.parametrize("options, words", [({"K": -1}, "K must be"), ({"K": 1.5}, "K must be"), ({"step": 0.0}, "step must be")])
def test_wrong_options(options, words):
    with pytest.raises(ArgumentError, match=words):
        rb.hypergradient(PROBLEM, X, "reverse", **options)
    with pytest.raises(ArgumentError, match="slots"):
        unrolled("checkpointed", 3, slots=0)


def test_one_reverse_step_too_few_is_seen(monkeypatch):
    """The published off-by-one: the sweep stops before z_0."""
    import refbilevel.estimators.unrolled as module

    whole = module._pull_back
    monkeypatch.setattr(module, "_pull_back", lambda T, x, states, a, p: whole(T, x, states[1:], a, p))
    with pytest.raises(AssertionError):
        test_equals_differences_of_the_K_step_map("reverse", 1, "gradient_descent")

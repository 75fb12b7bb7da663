"""Projections: optimality, derivatives against finite differences, kinks, and the quadratic program as an independent truth."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import refbilevel.errors as errors
from refbilevel import Status, projections, solve_qp

rng = np.random.default_rng(0)


def symmetric(n, r=rng):
    B = r.standard_normal((n, n))
    return (B + B.T) / 2


def rotated(values, seed=3):
    Q = np.linalg.qr(np.random.default_rng(seed).standard_normal((len(values),) * 2))[0]
    return (Q * np.array(values)) @ Q.T


LO, HI = np.array([-1.0, -np.inf, 0.0, 0.2]), np.array([0.5, 0.3, np.inf, 0.2 + 1e-3])
SETS = {
    "simplex": (lambda x: projections.simplex(x, 1.5), lambda: rng.standard_normal(6)),
    "box": (lambda x: projections.box(x, LO, HI), lambda: rng.standard_normal(4)),
    "l1": (lambda x: projections.l1_ball(x, 2.0), lambda: rng.standard_normal(6)),
    "l1 inside": (lambda x: projections.l1_ball(x, 50.0), lambda: rng.standard_normal(6)),
    "l2": (lambda x: projections.l2_ball(x, 0.7), lambda: rng.standard_normal(5)),
    "l2 inside": (lambda x: projections.l2_ball(x, 70.0), lambda: rng.standard_normal(5)),
    "linf": (lambda x: projections.linf_ball(x, 0.6), lambda: rng.standard_normal(5)),
    "soc": (projections.second_order_cone, lambda: rng.standard_normal(5)),
    "soc inside": (projections.second_order_cone, lambda: np.append(9.0, rng.standard_normal(4))),
    "soc polar": (projections.second_order_cone, lambda: np.append(-9.0, rng.standard_normal(4))),
    "psd": (projections.psd_cone, lambda: symmetric(5)),
    "one element": (lambda x: projections.l1_ball(x, 0.5), lambda: rng.standard_normal(1)),
}


@pytest.mark.parametrize("name", SETS)
def test_derivatives_against_finite_differences(name):
    project, draw = SETS[name]
    for _ in range(5):
        x = draw()
        result = project(x)
        if result.margin < 1e-3:
            continue
        assert result.success
        dx = symmetric(len(x)) if x.ndim == 2 else rng.standard_normal(x.shape)
        bar = symmetric(len(x)) if x.ndim == 2 else rng.standard_normal(x.shape)
        step = min(1e-6, result.margin / 10)
        quotient = (project(x + step * dx).y - project(x - step * dx).y) / (2 * step)
        np.testing.assert_allclose(result.jvp(dx), quotient, atol=1e-8)
        np.testing.assert_allclose(result.one_sided(dx), quotient, atol=1e-8)
        assert np.sum(result.vjp(bar) * dx) == pytest.approx(np.sum(bar * result.jvp(dx)), abs=1e-12)
        np.testing.assert_allclose(project(result.y).y, result.y, atol=1e-14)  # idempotent


@pytest.mark.parametrize("name", SETS)
def test_the_projection_is_the_nearest_point(name):
    """Variational inequality (x - y)'(z - y) <= 0 for z in C, z = P(anything)."""
    project, draw = SETS[name]
    x = draw()
    y = project(x).y
    for _ in range(20):
        z = project(draw() * rng.uniform(0.1, 3)).y
        assert np.sum((x - y) * (z - y)) <= 1e-13


def by_program(kind, x, r):
    n = x.size
    if kind == "simplex":
        return solve_qp(np.eye(n), -x, -np.eye(n), np.zeros(n), np.ones((1, n)), np.array([r]))
    signs = np.array(np.meshgrid(*[[-1.0, 1.0]] * n)).reshape(n, -1).T  # the l1 ball by its 2^n facets
    return solve_qp(np.eye(n), -x, signs, np.full(len(signs), r))


@given(st.lists(st.integers(-6, 6), min_size=1, max_size=4), st.integers(1, 4))
def test_simplex_and_l1_ball_against_the_quadratic_program(values, r):
    x = np.array(values, float)
    np.testing.assert_allclose(projections.simplex(x, r).y, by_program("simplex", x, float(r)).y, atol=1e-12)
    np.testing.assert_allclose(projections.l1_ball(x, r).y, by_program("l1", x, float(r)).y, atol=1e-12)


KINKS = {
    "simplex": (lambda x: projections.simplex(x), [1.0, 0.0, -3.0]),
    "simplex all": (lambda x: projections.simplex(x), [1.0, 0.0, 0.0, 0.0]),
    "box": (lambda x: projections.box(x, 0.0, 2.0), [0.0, 2.0, 1.0, 5.0]),
    "fixed": (lambda x: projections.box(x, 1.0, 1.0), [1.0, 0.0]),
    "linf": (lambda x: projections.linf_ball(x), [1.0, -1.0, 0.0]),
    "l1 weak": (lambda x: projections.l1_ball(x), [2.0, -1.0, 0.5]),
    "l1 boundary": (lambda x: projections.l1_ball(x), [0.75, -0.25, 0.0]),
    "l2": (lambda x: projections.l2_ball(x), [0.6, 0.8]),
    "soc": (projections.second_order_cone, [5.0, 3.0, 4.0]),
    "soc polar": (projections.second_order_cone, [-5.0, 3.0, 4.0]),
    "soc apex": (projections.second_order_cone, [0.0, 0.0, 0.0]),
    "psd": (projections.psd_cone, rotated([2.0, 0.0, 0.0, -1.0])),
    "psd apex": (projections.psd_cone, np.zeros((2, 2))),
}


@pytest.mark.parametrize("name", KINKS)
def test_kinks_are_flagged_and_have_one_sided_derivatives(name):
    project, x = KINKS[name]
    x = np.array(x)
    result = project(x)
    assert result.status is Status.DEGENERATE and not result.success
    for seed in range(6):
        r = np.random.default_rng(seed)
        dx = symmetric(len(x), r) if x.ndim == 2 else r.standard_normal(x.shape)
        step = 1e-7
        quotient = (project(x + step * dx).y - project(x).y) / step
        np.testing.assert_allclose(result.one_sided(dx), quotient, atol=3e-6)


@pytest.mark.parametrize("margin", [1e-2, 1e-5, 1e-8, 1e-11])
def test_no_flag_and_right_derivative_at_a_small_margin(margin):
    below, above = projections.simplex([1.0, -margin, -3.0]), projections.simplex([1.0, margin, -3.0])
    assert below.success and above.success
    assert below.margin == pytest.approx(margin, rel=1e-4) and above.margin == pytest.approx(margin / 2, rel=1e-4)
    np.testing.assert_allclose(below.vjp([1.0, 2.0, 3.0]), [0, 0, 0], atol=1e-15)
    np.testing.assert_allclose(above.vjp([1.0, 2.0, 3.0]), [-0.5, 0.5, 0], atol=1e-15)


@pytest.mark.parametrize("name,call,parameter", [
    ("simplex", lambda x, r: projections.simplex(x, r), "total"), ("l1", lambda x, r: projections.l1_ball(x, r), "radius"),
    ("l2", lambda x, r: projections.l2_ball(x, r), "radius"), ("linf", lambda x, r: projections.linf_ball(x, r), "radius"),
    ("box lo", lambda x, r: projections.box(x, r, 9.0), "lo"), ("box hi", lambda x, r: projections.box(x, -9.0, r), "hi"),
])  # fmt: skip
def test_parameters(name, call, parameter):
    x, bar, r, step = np.array([1.3, -0.4, 0.9, 0.1]), np.array([1.0, 2.0, -3.0, 5.0]), 0.5, 1e-6
    quotient = bar @ (call(x, r + step).y - call(x, r - step).y) / (2 * step)
    assert call(x, r).parameters_vjp(bar)[parameter] == pytest.approx(quotient, abs=1e-8)


def test_large_and_tiny_inputs_keep_their_digits():
    x = np.array([0.3, 0.5, 0.1, -2.0])
    np.testing.assert_allclose(projections.simplex(2.0**30 + x).y, projections.simplex(x).y, atol=1e-6 * 2)
    for c in (1e-300, 1e-200, 1e200, 1e300):
        np.testing.assert_allclose(projections.second_order_cone(c * np.array([0.5, 3.0, 4.0])).y / c, [2.75, 1.65, 2.2], rtol=1e-14)
    assert projections.simplex(x).y.sum() == pytest.approx(1, abs=1e-15)


@pytest.mark.parametrize("call,kind", [
    (lambda: projections.simplex([1.0, np.nan]), errors.ArgumentError), (lambda: projections.simplex(np.ones((2, 2))), errors.ShapeError),
    (lambda: projections.simplex([1.0], -1.0), errors.ArgumentError), (lambda: projections.box([1.0], 2.0, 1.0), errors.ArgumentError),
    (lambda: projections.box([1.0, 2.0], np.ones(3)), errors.ShapeError), (lambda: projections.psd_cone(np.ones((2, 3))), errors.ShapeError),
    (lambda: projections.psd_cone([[1.0, 2.0], [0.0, 1.0]]), errors.ArgumentError), (lambda: projections.l2_ball([1j]), errors.DtypeError),
    (lambda: projections.l2_ball([1.0, 2.0]).vjp([1.0]), errors.ShapeError),
])  # fmt: skip
def test_bad_input(call, kind):
    with pytest.raises(kind):
        call()


def test_kernels_and_their_twins():
    from refbilevel.kernels import projections as kernel

    x = rng.standard_normal(7)
    assert kernel.simplex_threshold(x, 1.0) == pytest.approx(getattr(kernel.simplex_threshold, "py_func", kernel.simplex_threshold)(x, 1.0))
    np.testing.assert_allclose(kernel.second_order_cone(x)[0], getattr(kernel.second_order_cone, "py_func", kernel.second_order_cone)(x)[0], rtol=1e-15)


@pytest.mark.parametrize("total", [1e-3, 0.1, 1.0, 30.0, 1e4])
def test_the_threshold_is_that_of_the_sorting_formula(total):
    from refbilevel.kernels import projections as kernel

    x = rng.standard_normal(200)
    sorted_x = np.sort(x)[::-1]  # Held, Wolfe, Crowder (1974)
    k = max(k for k in range(1, 201) if sorted_x[k - 1] > (sorted_x[:k].sum() - total) / k)
    tau, count = kernel.simplex_threshold(x, total)
    assert count == k and tau == pytest.approx((sorted_x[:k].sum() - total) / k, rel=1e-13)
    y, support, size, margin = kernel.face(x, tau, 0.0)
    np.testing.assert_array_equal(y, np.maximum(x - tau, 0.0))
    np.testing.assert_array_equal(support, x > tau)
    assert size == k and margin == abs(x - tau).min() and y.sum() == pytest.approx(total, rel=1e-12)

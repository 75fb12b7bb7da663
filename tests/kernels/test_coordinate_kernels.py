"""Coordinate descent and its sweeps against NumPy: optimality, and derivatives by finite differences of the very sweeps."""

import numpy as np
import pytest

from refbilevel.kernels import coordinate


def case(m=6, seed=0, box=False):
    """(G, q, l1, l2, lo, hi): full, conditioned about 50; a box where asked."""
    rng = np.random.default_rng(seed)
    A = rng.standard_normal((m + 3, m))
    lo, hi = (np.zeros(m), rng.uniform(0.2, 1.0, m)) if box else (np.full(m, -np.inf), np.full(m, np.inf))
    return A.T @ A / m, 2 * rng.standard_normal(m), rng.uniform(0.1, 1.0, m), rng.uniform(0.0, 0.2, m), lo, hi


def objective(data, y):
    G, q, l1, l2, lo, hi = data
    return 0.5 * y @ G @ y - q @ y + l1 @ np.abs(y) + 0.5 * l2 @ y**2


@pytest.mark.parametrize("box", [False, True])
@pytest.mark.parametrize("m", [1, 6, 40])
@pytest.mark.parametrize("compiled", [True, False], ids=["njit", "py_func"])
def test_descend_minimises(m, box, compiled):
    data = case(m, box=box)
    run = coordinate.descend if compiled else getattr(coordinate.descend, "py_func", coordinate.descend)
    y, sweeps = run(*data, np.zeros(m), 1e-14, 5000)
    assert sweeps < 5000 and (y >= data[4]).all() and (y <= data[5]).all()
    for j in range(m):  # convex: no coordinate move helps, and the smooth part makes that enough
        for step in (1e-4, -1e-4):
            trial = y.copy()
            trial[j] = np.clip(trial[j] + step, data[4][j], data[5][j])
            assert objective(data, trial) >= objective(data, y) - 1e-14


@pytest.mark.parametrize("compiled", [True, False], ids=["njit", "py_func"])
def test_group_descent_satisfies_the_group_conditions(compiled):
    G, q, *_ = case(9)
    starts, l1 = np.array([0, 2, 5, 9]), np.array([0.3, 50.0, 0.5])
    L = np.array([np.linalg.eigvalsh(G[a:b, a:b])[-1] for a, b in zip(starts, starts[1:])])
    run = coordinate.descend_groups if compiled else getattr(coordinate.descend_groups, "py_func", coordinate.descend_groups)
    y, sweeps = run(G, q, starts, l1, L, np.zeros(9), 1e-15, 100_000)
    assert sweeps < 100_000 and not y[2:5].any() and y[:2].any() and y[5:].any()
    h = G @ y - q
    for g, (a, b) in enumerate(zip(starts, starts[1:])):
        norm = np.linalg.norm(y[a:b])
        if norm:
            np.testing.assert_allclose(h[a:b] + l1[g] * y[a:b] / norm, 0.0, atol=1e-12)
        else:
            assert np.linalg.norm(h[a:b]) <= l1[g]


@pytest.mark.parametrize("box", [False, True])
@pytest.mark.parametrize("sweeps", [0, 1, 7])
@pytest.mark.parametrize("compiled", [True, False], ids=["njit", "py_func"])
def test_forward_and_reverse_sweeps_are_the_derivative_of_the_sweeps(box, sweeps, compiled):
    data, rng = case(box=box), np.random.default_rng(1)
    G, q, l1, l2, lo, hi = data
    y0, y_bar = np.where(box, 0.1, 1.0) * rng.random(6), rng.standard_normal(6)
    D = [rng.standard_normal((6, 2)) for _ in range(3)]
    pick = (lambda k: k) if compiled else (lambda k: getattr(k, "py_func", k))
    y, Y = pick(coordinate.forward_sweeps)(*data, *D, y0, sweeps)

    def at(t, k):
        bounded = hi + t * D[2][:, k] if box else hi
        return coordinate.recorded_sweeps(G, q, l1 + t * D[0][:, k], l2 + t * D[1][:, k], lo, bounded, y0, sweeps)[0]

    np.testing.assert_allclose(y, at(0.0, 0), rtol=1e-14, atol=1e-14)
    for k in range(2):
        h = 1e-4
        difference = (8 * (at(h, k) - at(-h, k)) - (at(2 * h, k) - at(-2 * h, k))) / (12 * h)
        np.testing.assert_allclose(Y[:, k], difference, atol=1e-10)
    _, values, kinds = pick(coordinate.recorded_sweeps)(*data, y0, sweeps)
    bars = pick(coordinate.reverse_sweeps)(G, l2, values, kinds, y_bar)
    backward = sum(bar @ d for bar, d in zip(bars, D))
    np.testing.assert_allclose(backward, Y.T @ y_bar, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("m", [1, 8])
def test_gauss_seidel_solves(m):
    G = case(m)[0]
    b = np.arange(1.0, m + 1)
    x, sweeps = coordinate.gauss_seidel(G, b, 1e-13, 10_000)
    np.testing.assert_allclose(G @ x, b, atol=1e-11)
    np.testing.assert_allclose(getattr(coordinate.gauss_seidel, "py_func", coordinate.gauss_seidel)(G, b, 1e-13, 10_000)[0], x, rtol=1e-12)
    assert 0 < sweeps < 10_000

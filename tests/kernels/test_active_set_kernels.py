"""The active-set kernels against NumPy: optimality conditions written out, the updated factor against a fresh one, what stops them."""

import numpy as np
import pytest

from refbilevel.kernels import active_set, screening


def pick(kernel, compiled):
    return kernel if compiled else getattr(kernel, "py_func", kernel)


both = pytest.mark.parametrize("compiled", [True, False], ids=["njit", "py_func"])


def case(m, seed=0, rank=None, box=False, l2=0.0):
    """(G, q, l1, l2, lo, hi): G of the rank given (full by default), its columns of lengths from 0.1 to 10."""
    rng = np.random.default_rng(seed)
    A = rng.standard_normal((rank or m + 3, m)) * 10.0 ** rng.uniform(-1, 1, m)
    G, scale = A.T @ A, np.abs(A).max(axis=0)
    q = A.T @ rng.standard_normal(len(A)) if not box else scale * rng.standard_normal(m)
    lo, hi = (np.zeros(m), rng.uniform(0.2, 1.0, m) / scale) if box else (np.full(m, -np.inf), np.full(m, np.inf))
    l1 = np.zeros(m) if box else rng.uniform(0.05, 0.5, m) * np.abs(q).max()
    return G, q, l1, np.full(m, l2), lo, hi


def unmet(data, y):
    """The largest descent that the one-sided slopes of the objective leave, relative to q."""
    G, q, l1, l2, lo, hi = data
    h = G @ y + l2 * y - q
    right = np.where(y >= hi, 0.0, np.maximum(-np.where(y < 0, h - l1, h + l1), 0.0))
    left = np.where(y <= lo, 0.0, np.maximum(np.where(y > 0, h + l1, h - l1), 0.0))
    assert (y >= lo).all() and (y <= hi).all()
    return max(right.max(), left.max()) / np.abs(q).max()


@both
@pytest.mark.parametrize("box", [False, True])
@pytest.mark.parametrize("m, rank, l2", [(1, None, 0.0), (7, None, 0.0), (30, None, 0.1), (12, 4, 0.0), (12, 4, 0.1), (9, 1, 0.0)])
def test_minimise_meets_the_conditions_to_rounding(m, rank, l2, box, compiled):
    for seed in range(3 if compiled else 1):
        data = case(m, seed, rank, box, l2)
        y = pick(active_set.minimise, compiled)(*data, np.zeros(m), np.abs(data[1]).max())
        assert unmet(data, y) <= 2e-12


@both
def test_the_active_set_alone_reaches_the_minimum_from_a_start_with_wrong_signs(compiled):
    data, rng = case(12), np.random.default_rng(1)
    y, found = pick(active_set.active_set, compiled)(*data, rng.standard_normal(12), 1e-13 * np.abs(data[1]).max())
    assert found and unmet(data, y) <= 1e-13


@both
@pytest.mark.parametrize("rank", [1, 4])
def test_a_start_with_more_free_coordinates_than_the_rank_is_thinned_out(rank, compiled):
    data, rng = case(12, rank=rank), np.random.default_rng(2)
    y, found = pick(active_set.active_set, compiled)(*data, rng.standard_normal(12), 1e-13 * np.abs(data[1]).max())
    assert found and unmet(data, y) <= 1e-12 and 0 < np.count_nonzero(y) <= rank


@both
def test_duplicates_are_minimised_with_one_of_the_two(compiled):
    G, q, l1, l2, lo, hi = case(6)
    twice = np.tile(np.arange(6), 2)
    data = (G[np.ix_(twice, twice)], q[twice], l1[twice], l2[twice], lo[twice], hi[twice])
    y, found = pick(active_set.active_set, compiled)(*data, np.zeros(12), 1e-13 * np.abs(q).max())
    alone, _ = active_set.active_set(G, q, l1, l2, lo, hi, np.zeros(6), 1e-13 * np.abs(q).max())
    assert found and alone.any()
    np.testing.assert_allclose(y[:6] + y[6:], alone, rtol=1e-10, atol=1e-14)
    assert not (y[:6] * y[6:]).any()


@both
def test_a_flat_direction_that_nothing_stops_is_no_solution(compiled):
    G, unbounded = np.ones((2, 2)), np.full(2, np.inf)
    q = np.array([1.0, -1.0])  # G y = q has no solution, and l1 = 0
    _, found = pick(active_set.active_set, compiled)(G, q, np.zeros(2), np.zeros(2), -unbounded, unbounded, np.zeros(2), 1e-12)
    assert not found


@both
def test_the_factor_after_any_appends_and_removals_is_that_of_the_free_coordinates(compiled):
    G, _, _, l2, *_ = case(9, l2=0.3)
    append, remove = (pick(kernel, compiled) for kernel in (active_set._append, active_set._remove))
    R, S, k, held = np.zeros((9, 9)), np.zeros(9, int), 0, []
    rng = np.random.default_rng(2)
    for _ in range(60):
        if k and rng.random() < 0.45:
            place = int(rng.integers(k))
            remove(R, S, k, place)
            held.pop(place)
            k -= 1
        else:
            rest = sorted(set(range(9)) - set(held))
            if not rest:
                continue
            j = int(rng.choice(rest))
            S[k] = j
            assert append(R, S, k, G, l2)
            held.append(j)
            k += 1
        assert S[:k].tolist() == held
        T = np.triu(R[:k, :k])
        np.testing.assert_allclose(T.T @ T, (G + np.diag(l2))[np.ix_(held, held)], rtol=1e-12, atol=1e-12)


@both
def test_dependence_is_judged_by_the_angle_and_not_by_the_length(compiled):
    A = np.array([[1.0, 1e-9, 1.0], [0.0, 1e-9, 0.0], [0.0, 0.0, 5e-8]])  # the second is short, the third all but the first
    append, R, S = pick(active_set._append, compiled), np.zeros((3, 3)), np.arange(3)
    assert append(R, S, 0, A.T @ A, np.zeros(3))
    assert append(R, S, 1, A.T @ A, np.zeros(3))
    assert not append(R, S, 2, A.T @ A, np.zeros(3))


@both
def test_violation_and_margin(compiled):
    r, y = np.array([0.5, -1.5, -1.0, 0.25, 0.2, -3.0]), np.array([0.0, 0.0, 2.0, -1.0, 0.0, 1.0])
    l1, lo = np.ones(6), np.array([-np.inf, -np.inf, -np.inf, -np.inf, 0.0, 0.0])
    hi = np.array([np.inf, np.inf, np.inf, np.inf, 1.0, 1.0])
    off = pick(active_set.violation, compiled)(r, y, l1, lo, hi)
    np.testing.assert_allclose(off, [0.0, 0.5, 0.0, 0.75, 0.0, 0.0])
    strict = pick(active_set.margin, compiled)(r, y, l1, lo, hi, np.full(6, 2.0))
    np.testing.assert_allclose(strict, [0.5, 0.0, 4.0, 2.0, 1.2, 2.0])


@both
@pytest.mark.parametrize("N", [1, 5, screening.BLOCK, screening.BLOCK + 3])
def test_coded_products(N, compiled):
    rng = np.random.default_rng(N)
    codes, steps = rng.integers(-32767, 32768, (4, N)).astype(np.int16), rng.uniform(0.5, 2.0, 4)
    d = rng.standard_normal(N).astype(np.float32)
    exact = steps * (codes.astype(float) @ d.astype(float))
    bound = steps * np.linalg.norm(codes.astype(float), axis=1) * np.linalg.norm(d) * screening.BLOCK * 2.0**-24
    assert (np.abs(pick(screening.coded_products, compiled)(codes, steps, d) - exact) <= bound).all()

"""Combinatorial layers: solvers against enumeration, gradients against their defining identities."""

from itertools import combinations, permutations, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refbilevel.errors import ArgumentError, DtypeError, ShapeError, UnknownOption
from refbilevel.layers.combinatorial import (
    Assignment, BilinearBilevel, CombinatorialLayer, Enumeration, GridPath, IntegerProgram, Knapsack, ShortestPath, ShortestPathInterdiction,
    SpanningTree, TopK, TravellingSalesman,
)  # fmt: skip
from refbilevel.layers.combinatorial import estimators as E


def tours(n):
    pairs = list(combinations(range(n), 2))
    members = set()
    for order in permutations(range(1, n)):
        trip = (0, *order)
        members.add(tuple(float(tuple(sorted(p)) in {tuple(sorted(e)) for e in zip(trip, trip[1:] + (0,))}) for p in pairs))
    return np.array(sorted(members))


def trees(n):
    pairs = list(combinations(range(n), 2))
    members = []
    for chosen in combinations(range(len(pairs)), n - 1):
        seen = {0}
        for _ in range(n):
            seen |= {v for e in chosen for v in pairs[e] if set(pairs[e]) & seen}
        if len(seen) == n:
            members.append([float(e in chosen) for e in range(len(pairs))])
    return np.array(members)


def matchings(n):
    return np.array([[float(p[i] == j) for i in range(n) for j in range(n)] for p in permutations(range(n))])


def monotone_paths(R, C):
    def walk(i, j, cells):
        cells = cells | {(i, j)}
        if (i, j) == (R - 1, C - 1):
            yield [float((a, b) in cells) for a in range(R) for b in range(C)]
        for a, b in ((1, 0), (0, 1), (1, 1)):
            if i + a < R and j + b < C:
                yield from walk(i + a, j + b, cells)

    return np.array(list(walk(0, 0, frozenset())))


def subsets(weights, capacity):
    return np.array([y for y in product((0.0, 1.0), repeat=len(weights)) if np.dot(weights, y) <= capacity])


SETS = {
    "top-k": (TopK(5, 2), np.array([y for y in product((0.0, 1.0), repeat=5) if sum(y) == 2])),
    "assignment": (Assignment(3), matchings(3)),
    "knapsack": (Knapsack(np.array([2, 3, 4, 1]), 6), subsets([2, 3, 4, 1], 6)),
    "grid": (GridPath(3, 3), monotone_paths(3, 3)),
    "tree": (SpanningTree(4), trees(4)),
    "tour": (TravellingSalesman(5), tours(5)),
    "integer": (IntegerProgram(np.array([[2.0, 3.0, 4.0, 1.0]]), -np.inf, 6.0), subsets([2, 3, 4, 1], 6)),
}


@pytest.mark.parametrize("name", SETS)
@given(data=st.data())
def test_solvers_are_optimal_members(name, data):
    solver, members = SETS[name]
    c = np.array(data.draw(st.lists(st.integers(-9, 9), min_size=solver.size, max_size=solver.size)), float)
    y = solver(c)
    assert (np.abs(members - y).max(axis=1) == 0).any()
    assert c @ y == (members @ c).min()


def test_shortest_paths():
    edges = [(0, 1), (1, 3), (0, 2), (2, 3), (0, 3), (0, 1)]
    solver = ShortestPath(4, edges, 0, 3)
    np.testing.assert_array_equal(solver([1, 1, 2, 0, 5, 3]), [1, 1, 0, 0, 0, 0])
    np.testing.assert_array_equal(solver([1, 1, 0, 0, 5, 3]), [0, 0, 1, 1, 0, 0])
    np.testing.assert_array_equal(solver([3, 1, 9, 9, 5, 0]), [0, 1, 0, 0, 0, 1])
    with pytest.raises(ArgumentError, match="clamp"):
        solver([-1, 1, 1, 1, 1, 1])
    around = GridPath(3, 3, moves="all")
    np.testing.assert_array_equal(around([0, 9, 9, 0, 9, 9, 0, 0, 0]).reshape(3, 3), [[1, 0, 0], [1, 0, 0], [0, 1, 1]])


@pytest.mark.parametrize("name", ["top-k", "assignment", "grid", "tree", "tour"])
def test_blackbox_is_the_derivative_of_its_interpolant(name):
    solver, _ = SETS[name]
    rng = np.random.default_rng(1)
    moved = 0
    for _ in range(10):
        c, y_bar, h = rng.standard_normal(solver.size), rng.standard_normal(solver.size), 1e-6
        gradient = E.blackbox(solver, c, y_bar, tau=0.7)
        slopes = [(E.interpolant(solver, c + h * e, y_bar, 0.7) - E.interpolant(solver, c - h * e, y_bar, 0.7)) / (2 * h) for e in np.eye(solver.size)]
        np.testing.assert_allclose(gradient, slopes, atol=1e-9)
        moved += gradient.any()
        assert not E.blackbox(solver, c, y_bar, tau=1e-9).any()  # the solution does not move
    assert moved


def test_interpolation_to_ten_digits():
    """Integer data make the difference quotient exact: the identity holds to rounding."""
    solver = SETS["assignment"][0]
    c, y_bar = np.array([4.0, 1, 3, 2, 0, 5, 3, 2, 2]), np.array([1.0, 8, 0, 0, -8, 0, 0, 0, 0.5])
    h = 2.0**-10
    slopes = [(E.interpolant(solver, c + h * e, y_bar) - E.interpolant(solver, c - h * e, y_bar)) / (2 * h) for e in np.eye(9)]
    gradient = E.blackbox(solver, c, y_bar)
    assert gradient.any()
    np.testing.assert_allclose(gradient, slopes, atol=1e-10)


def bilinear(coupled):
    rng = np.random.default_rng(3)
    X = np.array(list(product((0.0, 1.0), repeat=3)))
    B, D = (rng.standard_normal(s) * coupled for s in ((4, 3), (3, 4)))
    return BilinearBilevel(X, TopK(4, 2), B, D)


def test_bilevel_enumeration():
    layer, rng = bilinear(1.0), np.random.default_rng(0)
    members = np.array([y for y in product((0.0, 1.0), repeat=4) if sum(y) == 2])
    for _ in range(20):
        a, b = rng.standard_normal(3), rng.standard_normal(4)
        x, y = layer.solve(a, b)
        value = {}
        for xx in layer.X:
            yy = members[np.argmin(members @ (b + layer.D.T @ xx))]
            value[tuple(xx)] = a @ xx + yy @ layer.B @ xx
        assert a @ x + y @ layer.B @ x == pytest.approx(min(value.values()))


def test_joint_and_decoupled_agree_when_the_levels_decouple():
    layer, rng = bilinear(0.0), np.random.default_rng(0)
    upper = Enumeration(layer.X)
    for _ in range(20):
        a, b, x_bar, y_bar = rng.standard_normal(3), rng.standard_normal(4), rng.standard_normal(3), rng.standard_normal(4)
        joint, alone = layer.vjp(a, b, x_bar, y_bar, tau=2.0), layer.vjp(a, b, x_bar, y_bar, method="decoupled", tau=2.0)
        two = E.blackbox(upper, a, x_bar, tau=2.0), E.blackbox(layer.lower, b, y_bar, tau=2.0)
        for one, other, third in zip(joint, alone, two):
            np.testing.assert_array_equal(one, other)
            np.testing.assert_array_equal(one, third)
    coupled = bilinear(1.0)
    assert any(
        not np.array_equal(
            np.concatenate(coupled.vjp(a, b, x_bar, y_bar, tau=2.0)), np.concatenate(coupled.vjp(a, b, x_bar, y_bar, method="decoupled", tau=2.0))
        )
        for a, b, x_bar, y_bar in ((rng.standard_normal(3), rng.standard_normal(4), rng.standard_normal(3), rng.standard_normal(4)) for _ in range(20))
    )


def test_bilevel_perturbed_is_the_derivative_of_the_smoothed_solution():
    """Against common-random-number differences of the smoothed (x, y), and identity against the single-level one."""
    layer, rng = bilinear(1.0), np.random.default_rng(0)
    a, b, x_bar, y_bar, eps = rng.standard_normal(3), rng.standard_normal(4), rng.standard_normal(3), rng.standard_normal(4), 1.0
    Z = np.random.default_rng(7).standard_normal((3000, 7))

    def smoothed(shift):
        pairs = [layer.solve(a + shift[:3] - eps * z[:3], b + shift[3:] - eps * z[3:]) for z in Z]
        return np.mean([x @ x_bar + y @ y_bar for x, y in pairs])

    direction, h = rng.standard_normal(7), 0.2
    found = np.concatenate(layer.vjp(a, b, x_bar, y_bar, method="perturbed", eps=eps, samples=6000, rng=3)) @ direction
    assert found == pytest.approx((smoothed(h * direction) - smoothed(-h * direction)) / (2 * h), abs=0.08)
    for one, other in zip(layer.vjp(a, b, x_bar, y_bar, method="identity"), (x_bar, y_bar)):
        np.testing.assert_allclose(one, other.mean() - other)


def test_bilevel_by_the_users_solver():
    enumerated, rng = bilinear(1.0), np.random.default_rng(0)
    mine = BilinearBilevel(None, enumerated.lower, enumerated.B, enumerated.D, solver=enumerated.solve)
    a, b, x_bar, y_bar = rng.standard_normal(3), rng.standard_normal(4), rng.standard_normal(3), rng.standard_normal(4)
    for one, other in zip(mine.vjp(a, b, x_bar, y_bar, tau=2.0), enumerated.vjp(a, b, x_bar, y_bar, tau=2.0)):
        np.testing.assert_array_equal(one, other)
    with pytest.raises(ArgumentError, match="upper="):
        mine.vjp(a, b, x_bar, y_bar, method="decoupled")
    with pytest.raises(ArgumentError, match="solver="):
        BilinearBilevel(None, enumerated.lower, enumerated.B, enumerated.D)
    with pytest.raises(ShapeError, match="X must"):
        BilinearBilevel(np.eye(2), enumerated.lower, enumerated.B, enumerated.D)


@pytest.mark.parametrize("noise", ["gaussian", "gumbel"])
def test_perturbed_jacobian_is_symmetric_and_semidefinite_and_right(noise):
    """Gumbel noise on top-1 gives softmax exactly: Jacobian -(diag p - p p') / eps; Gaussian against common random differences."""
    solver, c, eps = TopK(4, 1), np.array([0.1, 0.5, -0.2, 0.3]), 0.8
    J = E.perturbed_jacobian(solver, c, eps=eps, samples=60_000, noise=noise, rng=0)
    if noise == "gumbel":
        p = np.exp(-c / eps) / np.exp(-c / eps).sum()
        exact = -(np.diag(p) - np.outer(p, p)) / eps
        np.testing.assert_allclose(E.perturbed_solution(solver, c, eps=eps, samples=60_000, noise=noise), p, atol=0.01)
    else:
        h, many = 0.1, dict(eps=eps, samples=60_000, rng=1)
        steps = [E.perturbed_solution(solver, c + h * e, **many) - E.perturbed_solution(solver, c - h * e, **many) for e in np.eye(4)]
        exact = np.array(steps).T / (2 * h)
    assert np.abs(J - exact).max() < 0.02
    assert np.abs(J - J.T).max() < 0.02
    assert np.linalg.eigvalsh(0.5 * (J + J.T)).max() < 0.02  # semidefinite, to Monte-Carlo error


def test_monte_carlo_error_falls_as_one_over_the_root_of_samples():
    solver, c, eps = TopK(4, 1), np.array([0.1, 0.5, -0.2, 0.3]), 0.8
    p = np.exp(-c / eps) / np.exp(-c / eps).sum()
    y_bar = np.array([1.0, -1.0, 2.0, 0.0])
    exact = -(p * y_bar - p * (p @ y_bar)) / eps
    counts = np.array([50, 200, 800, 3200])
    errors = [
        np.sqrt(np.mean([np.sum((E.perturbed(solver, c, y_bar, eps=eps, samples=int(S), noise="gumbel", rng=seed) - exact) ** 2) for seed in range(40)]))
        for S in counts
    ]
    slope = np.polyfit(np.log(counts), np.log(errors), 1)[0]
    assert slope == pytest.approx(-0.5, abs=0.08)


def test_antithetic_pairs_and_common_numbers():
    solver, c, y_bar = TopK(4, 1), np.array([0.1, 0.5, -0.2, 0.3]), np.array([1.0, -1.0, 2.0, 0.0])
    same = [E.perturbed(solver, c, y_bar, rng=5) for _ in range(2)]
    np.testing.assert_array_equal(*same)
    spread = [np.std([E.perturbed(solver, c, y_bar, samples=100, rng=s, antithetic=a) for s in range(60)], axis=0).sum() for a in (False, True)]
    assert spread[1] < spread[0]


def test_fenchel_young_gradient_is_that_of_the_loss():
    solver, c, target = TopK(4, 2), np.array([0.1, 0.5, -0.2, 0.3]), np.array([1.0, 1.0, 0, 0])
    options = dict(eps=0.5, samples=4000, rng=0)
    _, gradient = E.fenchel_young(solver, c, target, **options)
    h = 1e-4
    slopes = [(E.fenchel_young(solver, c + h * e, target, **options)[0] - E.fenchel_young(solver, c - h * e, target, **options)[0]) / (2 * h) for e in np.eye(4)]
    np.testing.assert_allclose(gradient, slopes, atol=2e-3)
    _, at_target = E.fenchel_young(solver, c, E.perturbed_solution(solver, c, **options), **options)
    np.testing.assert_allclose(at_target, 0.0, atol=1e-14)


def test_imle_and_identity():
    solver = SETS["top-k"][0]
    rng = np.random.default_rng(2)
    c, y_bar = rng.standard_normal(5), rng.standard_normal(5)
    Z = E.NOISES["sum-of-gamma"].draw(np.random.default_rng(4), (6, 5))
    by_hand = sum(solver(c + 2.0 * y_bar - 0.3 * z) - solver(c - 0.3 * z) for z in Z) / 6
    np.testing.assert_allclose(E.imle(solver, c, y_bar, tau=2.0, eps=0.3, samples=6, rng=4), by_hand)
    np.testing.assert_allclose(E.imle(solver, c, y_bar, tau=2.0, eps=0.3, samples=6, rng=4, scaled=True), by_hand / 2)
    np.testing.assert_allclose(E.imle(solver, c, y_bar, tau=2.0, eps=0.0, samples=1, scaled=True), E.blackbox(solver, c, y_bar, tau=2.0))
    centred = E.identity(solver, c, y_bar)
    assert centred.sum() == pytest.approx(0) and np.allclose(centred, -(y_bar - y_bar.mean()))
    assert c @ E.identity(solver, c, y_bar, projection="cost") == pytest.approx(0)
    np.testing.assert_array_equal(E.identity(solver, c, y_bar, projection="none"), -y_bar)


def test_sums_of_gammas_add_up_to_a_gumbel():
    k = 10
    total = sum(E.sum_of_gamma(np.random.default_rng(i), 20_000, k, 50) for i in range(k))
    assert np.mean(total) == pytest.approx(np.euler_gamma, abs=0.05) and np.var(total) == pytest.approx(np.pi**2 / 6, abs=0.08)


def test_score_function_estimates_the_smoothed_loss():
    solver, c, eps = TopK(4, 1), np.array([0.1, 0.5, -0.2, 0.3]), 0.8
    p = np.exp(-c / eps) / np.exp(-c / eps).sum()
    values = np.array([1.0, 4.0, -2.0, 0.5])
    exact = -(p * values - p * (p @ values)) / eps
    found = E.score_function(solver, c, lambda y: float(values @ y), eps=eps, samples=60_000, noise="gumbel")
    np.testing.assert_allclose(found, exact, atol=0.05)


@pytest.mark.parametrize("limit", [2000, 0])
def test_interdiction_is_the_enumerated_optimum(monkeypatch, limit):
    """By the search tree and by the integer program."""
    monkeypatch.setattr("refbilevel.layers.combinatorial.interdiction.SEARCH_LIMIT", limit)
    rng = np.random.default_rng(0)
    edges = [(i, j) for i in range(5) for j in range(i + 1, 5)]
    path = ShortestPath(5, edges, 0, 4)
    for _ in range(5):
        c, d = rng.integers(1, 9, len(edges)).astype(float), rng.integers(0, 6, len(edges)).astype(float)
        layer = ShortestPathInterdiction(path, d, 2)
        best = max((c + d * x) @ path(c + d * x) for x in (np.isin(np.arange(10), pair).astype(float) for pair in combinations(range(10), 2)))
        x, y = layer.solve(c)
        assert x.sum() <= 2 and (c + d * x) @ y == pytest.approx(best) == pytest.approx(layer.value(c))
    y_bar = rng.standard_normal(10)
    assert layer.vjp(c, y_bar=y_bar, tau=5.0).shape == (10,)
    np.testing.assert_array_equal(layer.vjp(c, y_bar=y_bar, method="decoupled", tau=3.0), E.blackbox(path, c + d * x, y_bar, tau=3.0))


def test_interdiction_where_presolve_fails(monkeypatch):
    """A 4 x 4 grid with equal costs into each cell: HiGHS's presolve ends in a solve error."""
    c = np.array(
        [1.88953553, 2.09400807, 1.75208855, 1.75909492, 1.77993796, 2.18151225, 1.97875114, 2.01617168, 1.75208855, 2.0847413, 1.77993796, 1.97080302]
        + [1.97875114, 2.31394751, 2.5202431, 2.0847413, 2.36520857, 1.97080302, 2.23885564, 2.31394751, 2.45525637, 2.36520857, 2.23885564, 2.45525637]
    )
    edges = [(4 * i + j, 4 * k + l) for i in range(4) for j in range(4) for k, l in ((i + 1, j), (i, j + 1)) if k < 4 and l < 4]
    path = ShortestPath(16, edges, 0, 15)
    layer = ShortestPathInterdiction(path, np.full(24, 3.0), 2)
    monkeypatch.setattr("refbilevel.layers.combinatorial.interdiction.SEARCH_LIMIT", 0)
    pairs = (np.isin(np.arange(24), pair).astype(float) for pair in combinations(range(24), 2))
    assert layer.value(c) == pytest.approx(max((c + 3.0 * x) @ path(c + 3.0 * x) for x in pairs))


def test_layer_and_its_messages():
    layer = CombinatorialLayer(TopK(4, 1), tau=2.0)
    np.testing.assert_array_equal(layer.solve([3, 1, 2, 4]), [0, 1, 0, 0])
    np.testing.assert_array_equal(layer.batch_vjp([[3, 1, 2, 4.0]] * 2, np.eye(4)[:2] * 5), [[0, 0, 0, 0], [0, -0.5, 0.5, 0]])
    mine = CombinatorialLayer(lambda c: np.eye(3)[np.argmin(c)], size=3)
    np.testing.assert_array_equal(mine.solve([2, 1, 3]), [0, 1, 0])
    smooth = CombinatorialLayer(TopK(4, 1), "perturbed", eps=0.5, samples=10)
    assert smooth.solve([3, 1, 2, 4]).sum() == pytest.approx(1)
    with pytest.raises(UnknownOption, match="blackbox"):
        CombinatorialLayer(TopK(4, 1), "black-box")
    with pytest.raises(UnknownOption, match="tau"):
        CombinatorialLayer(TopK(4, 1), taw=1.0)
    with pytest.raises(DtypeError, match="size"):
        CombinatorialLayer(lambda c: c)
    with pytest.raises(ShapeError, match="c must"):
        layer.solve([1.0])
    with pytest.raises(ArgumentError, match="tau"):
        CombinatorialLayer(TopK(4, 1), tau=-1.0).vjp(np.ones(4), np.ones(4))
    with pytest.raises(ArgumentError, match="antithetic"):
        E.perturbed_solution(TopK(4, 1), np.ones(4), noise="gumbel", antithetic=True)

"""Every difficult point gets its documented status, its certificate or its one-sided values; bad input is refused."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from qp_truth import problem, rational_solve
from scipy import sparse

import refbilevel.errors as errors
from refbilevel import Status, solve_qp

I1, I2 = np.eye(1), np.eye(2)
BOX = np.vstack([I2, -I2])
METHODS = ("auto", "clarabel", "osqp")


@pytest.mark.parametrize("method", METHODS)
def test_weakly_active_row_has_both_one_sided_values(method):
    """min (y + q)^2 / 2 over y <= 0 at q = 0: y = min(-q, 0), so dy/dq is 0 to the left and -1 to the right."""
    solution = solve_qp(I1, np.zeros(1), I1, np.zeros(1), method=method)
    assert solution.status is Status.DEGENERATE and not solution.success
    assert solution.margin == pytest.approx(0, abs=1e-14) and solution.weak.tolist() == [True]
    assert not solution.active.any()
    for dq, dy, dmu in ((1.0, -1.0, 0.0), (-1.0, 0.0, 1.0)):
        got = solution.one_sided(dq=np.array([dq]))
        assert got[0] == pytest.approx(dy, abs=1e-12) and got[1] == pytest.approx(dmu, abs=1e-12)
    free, held = solution.branches()
    assert free.vjp([1.0]).q == pytest.approx(-1) and held.vjp([1.0]).q == pytest.approx(0, abs=1e-15)
    assert free.vjp([1.0]).h == pytest.approx(0) and held.vjp([1.0]).h == pytest.approx(1)


def test_one_sided_values_match_one_sided_differences():
    blocks, _ = problem(6, seed=4, m=5, p=1, margin=0.0)
    blocks["h"][-1] = blocks["G"][-1] @ solve_qp(**{**blocks, "h": blocks["h"] + 1.0 * (np.arange(5) == 4)}).y
    solution = solve_qp(**blocks)
    assert solution.status is Status.DEGENERATE and solution.weak.sum() == 2
    assert len(solution.branches()) == 4
    rng = np.random.default_rng(0)
    for _ in range(6):
        change = {"d" + name: rng.standard_normal(value.shape) for name, value in blocks.items()}
        change["dP"] = change["dP"] + change["dP"].T
        moved = solve_qp(**{name: value + 1e-7 * change["d" + name] for name, value in blocks.items()})
        for part, got in zip(("y", "mu", "nu"), solution.one_sided(**change)):
            quotient = (getattr(moved, part) - getattr(solution, part)) / 1e-7
            np.testing.assert_allclose(got, quotient, atol=1e-5 * max(1, abs(quotient).max()))


@pytest.mark.parametrize("method", METHODS)
def test_duplicated_row(method):
    G = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    solution = solve_qp(I2, -np.ones(2), G, np.array([0.0, 0.0, 5.0]), method=method)
    single = solve_qp(I2, -np.ones(2), G[1:], np.array([0.0, 5.0]))
    assert solution.status is Status.LICQ_FAILS
    np.testing.assert_allclose(solution.mu, [0.5, 0.5, 0.0], atol=1e-12)
    bar = np.array([2.0, 3.0])
    np.testing.assert_allclose(solution.vjp(bar).q, single.vjp(bar).q, atol=1e-12)
    np.testing.assert_allclose(solution.vjp(bar).P, single.vjp(bar).P, atol=1e-12)
    assert solution.vjp(bar).h[:2].sum() == pytest.approx(single.vjp(bar).h[0])


@pytest.mark.parametrize("q", [-1.0, 0.0, 1.0])
@pytest.mark.parametrize("method", METHODS)
def test_equality_as_two_inequalities(q, method):
    """The derivatives of y and of the sum of the two sides are those of the equality, with either sign of its multiplier or none."""
    q = np.array([q, -1.0])
    solution = solve_qp(I2, q, np.array([[1.0, 1.0], [-1.0, -1.0]]), np.array([1.0, -1.0]), method=method)
    equality = solve_qp(I2, q, None, None, np.array([[1.0, 1.0]]), np.array([1.0]))
    assert solution.status is Status.LICQ_FAILS
    np.testing.assert_allclose(solution.y, equality.y, atol=1e-12)
    bar = np.array([2.0, -3.0])
    got, exact = solution.vjp(bar), equality.vjp(bar)
    np.testing.assert_allclose(got.q, exact.q, atol=1e-12)
    assert got.h @ [1.0, -1.0] == pytest.approx(exact.b[0])
    assert solution.mu @ [1.0, -1.0] == pytest.approx(equality.nu[0], abs=1e-12)


def test_redundant_equality():
    solution = solve_qp(I2, np.ones(2), None, None, np.array([[1.0, 1.0], [2.0, 2.0]]), np.array([1.0, 2.0]))
    assert solution.status is Status.LICQ_FAILS
    np.testing.assert_allclose(solution.y, [0.5, 0.5], atol=1e-14)
    assert solution.nu[1] == pytest.approx(2 * solution.nu[0])  # least norm
    np.testing.assert_allclose(solution.vjp([1.0, 0.0]).q, [-0.5, 0.5], atol=1e-13)


@pytest.mark.parametrize("method", METHODS)
def test_vertex_does_not_depend_on_the_objective(method):
    solution = solve_qp(I2, -3 * np.ones(2), I2, np.ones(2), method=method)
    assert solution.status is Status.CONVERGED and solution.active.all()
    g = solution.vjp([1.0, 2.0])
    np.testing.assert_allclose(g.q, 0, atol=1e-14)
    np.testing.assert_allclose(g.h, [1, 2], atol=1e-14)


@pytest.mark.parametrize("method", ["auto", "clarabel", "highs", "osqp"])
@pytest.mark.parametrize("P", [None, 0, np.zeros((2, 2))])
def test_linear_program_with_a_unique_vertex(method, P):
    h = np.array([1.0, 3.0, 0.0, 0.0])
    solution = solve_qp(P, np.array([-1.0, -2.0]), BOX, h, method=method)
    assert solution.status is Status.CONVERGED, solution.message
    np.testing.assert_allclose(solution.y, [1, 3], atol=1e-13)
    np.testing.assert_allclose(solution.mu, [1, 2, 0, 0], atol=1e-13)
    g = solution.vjp([5.0, 7.0], mu_bar=[1.0, 0, 0, 0])
    np.testing.assert_allclose(g.h, [5, 7, 0, 0], atol=1e-13)
    np.testing.assert_allclose(g.q, [-1, 0], atol=1e-13)  # mu_1 = -q_1
    np.testing.assert_allclose(g.G[:2], -np.multiply.outer([5, 7], [1, 3]) - np.multiply.outer([1, 2], [1, 0]), atol=1e-13)


@pytest.mark.parametrize("method", ["auto", "clarabel", "highs"])
def test_linear_program_with_a_face_of_solutions(method):
    solution = solve_qp(None, np.array([-1.0, 0.0]), BOX, np.array([1.0, 1.0, 0.0, 0.0]), method=method)
    assert solution.status is Status.NONUNIQUE and not solution.success
    assert solution.y[0] == pytest.approx(1)


@given(st.data())
def test_integer_linear_programs_against_vertex_enumeration(data):
    """Unique minimum, its vertex, and non-uniqueness, in rational arithmetic."""
    n, extra = data.draw(st.integers(1, 3)), data.draw(st.integers(0, 3))
    ints = lambda size: data.draw(st.lists(st.integers(-2, 2), min_size=size, max_size=size))  # noqa: E731
    q, rows = ints(n), [ints(n) for _ in range(extra)]
    G = rows + [[int(i == j) for j in range(n)] for i in range(n)] + [[-int(i == j) for j in range(n)] for i in range(n)]
    h = ints(extra) + [3] * n + [3] * n
    vertices = set()
    for J in combinations(range(len(G)), n):
        y = rational_solve([G[i] for i in J], [h[i] for i in J])
        if y is not None and all(sum(g * v for g, v in zip(row, y)) <= r for row, r in zip(G, h)):
            vertices.add(tuple(y))
    solution = solve_qp(None, np.array(q, float), np.array(G, float), np.array(h, float))
    if not vertices:
        assert solution.status is Status.LOWER_INFEASIBLE
        return
    value = min(sum(c * v for c, v in zip(q, y)) for y in vertices)
    best = [y for y in vertices if sum(c * v for c, v in zip(q, y)) == value]
    assert np.dot(q, solution.y) == pytest.approx(float(value), abs=1e-11)
    if len(best) > 1:
        assert solution.status is Status.NONUNIQUE
    else:
        assert solution.status in (Status.CONVERGED, Status.DEGENERATE, Status.LICQ_FAILS)
        np.testing.assert_allclose(solution.y, [float(v) for v in best[0]], atol=1e-11)


INFEASIBLE = {
    "two sides": (I1, np.zeros(1), np.array([[1.0], [-1.0]]), np.array([-1.0, -1.0]), None, None),
    "linear": (None, np.ones(2), np.array([[1.0, 1.0], [-1.0, -1.0]]), np.array([0.0, -1.0]), None, None),
    "against an equality": (I2, np.zeros(2), I2, np.zeros(2), np.ones((1, 2)), np.ones(1)),
    "equalities off by 1e-7": (I2, np.ones(2), None, None, np.array([[1.0, 1.0], [2.0, 2.0]]), np.array([1.0, 2.0 + 1e-7])),
    "zero row": (I2, np.ones(2), np.zeros((1, 2)), -np.ones(1), None, None),
    "singular": (np.diag([1.0, 0.0]), np.zeros(2), np.array([[0.0, 1.0], [0.0, -1.0]]), np.array([-1.0, 0.5]), None, None),
    "and unbounded": (None, np.array([-1.0, 0.0]), np.array([[0.0, 1.0], [0.0, -1.0]]), np.array([-1.0, 0.5]), None, None),
}


@pytest.mark.parametrize("name", INFEASIBLE)
@pytest.mark.parametrize("method", METHODS)
def test_infeasible_has_a_farkas_ray_and_no_number(name, method):
    P, q, G, h, A, b = INFEASIBLE[name]
    solution = solve_qp(P, q, G, h, A, b, method=method)
    assert solution.status is Status.LOWER_INFEASIBLE, solution.message
    mu, nu = solution.certificate
    G, h = (np.zeros((0, q.size)), np.zeros(0)) if G is None else (G, h)
    A, b = (np.zeros((0, q.size)), np.zeros(0)) if A is None else (A, b)
    assert (mu >= 0).all()
    assert abs(G.T @ mu + A.T @ nu).max() <= 1e-14 * max(abs(mu).max(initial=0), abs(nu).max(initial=0))
    assert h @ mu + b @ nu < 0
    g = solution.vjp(np.ones(q.size))
    assert np.isnan(solution.y).all() and np.isnan(g.q).all() and all(np.isnan(v).all() for v in solution.jvp(dq=np.ones(q.size)))


@pytest.mark.parametrize("P,q,G,h", [
    (np.diag([1.0, 0.0]), [0.0, -1.0], [[1.0, 0.0]], [1.0]),
    (None, [-1.0, 0.0], [[0.0, 1.0]], [1.0]),
    (np.ones((2, 2)), [1.0, -1.0], None, None),
])  # fmt: skip
def test_unbounded_has_a_ray(P, q, G, h):
    solution = solve_qp(P, q, G, h)
    d = solution.certificate
    assert solution.status is Status.LOWER_UNBOUNDED and np.isnan(solution.y).all()
    assert np.dot(q, d) < 0 and (P is None or abs(P @ d).max() < 1e-12) and (G is None or (np.array(G) @ d <= 1e-12).all())


def test_nonconvex_is_refused_with_a_direction():
    solution = solve_qp(np.diag([1.0, -1.0]), np.zeros(2), BOX, np.ones(4))
    assert solution.status is Status.NOT_A_MINIMUM and np.isnan(solution.y).all()
    d = solution.certificate
    assert d @ np.diag([1.0, -1.0]) @ d < 0


def test_negative_curvature_that_an_equality_removes_is_fine():
    P, q, A = np.diag([1.0, -1.0, 2.0]), np.array([1.0, 2.0, 3.0]), np.array([[0.0, 1.0, 1.0]])
    solution = solve_qp(P, q, -np.eye(3), np.ones(3) * 0.25, A, np.ones(1))
    assert solution.status is Status.CONVERGED, solution.message
    step = 1e-6
    moved = [solve_qp(P, q + s * np.array([0.0, 1.0, 0.0]), -np.eye(3), np.ones(3) * 0.25, A, np.ones(1)).y for s in (step, -step)]
    np.testing.assert_allclose(solution.jvp(dq=[0.0, 1.0, 0.0])[0], (moved[0] - moved[1]) / (2 * step), atol=1e-8)


def test_sparse_nonconvex_is_caught():
    P = sparse.diags_array(np.where(np.arange(300) == 7, -1.0, 1.0)) + sparse.eye_array(300, k=1) * 0.1 + sparse.eye_array(300, k=-1) * 0.1
    assert solve_qp(P, np.ones(300), sparse.eye_array(300), np.ones(300)).status is Status.NOT_A_MINIMUM


def test_flat_objective_without_constraints_is_not_unique():
    assert solve_qp(np.diag([1.0, 0.0]), np.array([-1.0, 0.0])).status is Status.NONUNIQUE


def test_rows_without_bound_are_dropped():
    solution = solve_qp(I2, -np.ones(2), I2, [np.inf, 0.5])
    assert solution.success and solution.mu.tolist() == [0, 0.5] and solution.slack[0] == np.inf
    g = solution.vjp([1.0, 1.0], mu_bar=[1.0, 1.0])
    assert g.G.shape == (2, 2) and g.h[0] == 0 and not g.G[0].any()
    np.testing.assert_allclose(solution.jvp(dh=[1.0, 1.0])[0], [0, 1], atol=1e-15)


def test_no_active_row_is_the_unconstrained_answer():
    P, q = np.array([[2.0, 1.0], [1.0, 3.0]]), np.array([1.0, -1.0])
    bounded, free = solve_qp(P, q, I2, np.full(2, 9.0)), solve_qp(P, q)
    assert (bounded.y == free.y).all() and (bounded.vjp([1.0, 2.0]).q == free.vjp([1.0, 2.0]).q).all()
    assert free.margin == np.inf and free.vjp([1.0, 2.0]).G is None


def test_two_active_sets_of_a_parametric_program():
    """min |y|^2, 6 y1 + 3 y2 + 2 y3 = p1, p2 y1 + y2 - y3 = 1, y >= 0 at p = (4.5, 1) and (5, 1)."""
    for p1, active, y in ((4.5, [False, True, False], [0.8125 - 0.5 * 0, 0, 0]), (5.0, [False, False, False], None)):
        A = np.array([[6.0, 3.0, 2.0], [1.0, 1.0, -1.0]])
        solution = solve_qp(2 * np.eye(3), np.zeros(3), -np.eye(3), np.zeros(3), A, np.array([p1, 1.0]))
        assert solution.success
        J = np.flatnonzero(solution.active)
        N = np.vstack([A, -np.eye(3)[J]])
        exact = np.linalg.lstsq(N, np.concatenate([[p1, 1.0], np.zeros(J.size)]), rcond=None)[0]  # least norm on its rows
        np.testing.assert_allclose(solution.y, exact, atol=1e-14)
        assert (solution.y > -1e-15).all() and (solution.mu >= 0).all()


BAD = [
    (dict(P=I2, q=np.ones(3)), errors.ShapeError, "P must be"),
    (dict(P=I2, q=np.ones((2, 1))), errors.ShapeError, "q must be 1-D"),
    (dict(P=I2, q=[1.0, np.nan]), errors.ArgumentError, r"q\[1\]"),
    (dict(P=np.array([[1.0, np.inf], [0, 1]]), q=np.ones(2)), errors.ArgumentError, "P must be finite"),
    (dict(P=np.array([[1.0, 0.5], [0, 1]]), q=np.ones(2)), errors.ArgumentError, "symmetric"),
    (dict(P=I2, q=np.ones(2), G=I2), errors.ArgumentError, "together"),
    (dict(P=I2, q=np.ones(2), A=I2), errors.ArgumentError, "together"),
    (dict(P=I2, q=np.ones(2), G=np.ones((2, 3)), h=np.ones(3)), errors.ShapeError, "transposed"),
    (dict(P=I2, q=np.ones(2), G=I2, h=np.ones(3)), errors.ShapeError, "h must have one element"),
    (dict(P=I2, q=np.ones(2), G=I2, h=[1.0, -np.inf]), errors.ArgumentError, "-inf"),
    (dict(P=I2, q=np.ones(2), G=I2, h=[1.0, np.nan]), errors.ArgumentError, "h must be finite"),
    (dict(P=I2, q=np.ones(2, complex)), errors.DtypeError, "real"),
    (dict(P=I2, q=np.array(["a", "b"])), errors.DtypeError, "real"),
    (dict(P=[[1.0], [1.0, 2.0]], q=np.ones(2)), errors.ShapeError, "ragged"),
    (dict(P=I2, q=np.zeros(0)), errors.ShapeError, "at least one"),
    (dict(P=I2, q=np.ones(2), method="simplex"), errors.UnknownOption, "method"),
    (dict(P=I2, q=np.ones(2), method="highs"), errors.ArgumentError, "linear programs only"),
]  # fmt: skip


@pytest.mark.parametrize("arguments,kind,words", BAD)
def test_bad_input_is_refused_before_work(arguments, kind, words):
    with pytest.raises(kind, match=words):
        solve_qp(**arguments)


@pytest.mark.parametrize("bar,words", [([1.0], r"\(2,\)"), ([1.0, np.nan], "finite"), (np.ones((2, 2)), r"\(2,\)")])
def test_bad_cotangents_are_refused(bar, words):
    with pytest.raises(errors.ArgumentError, match=words):
        solve_qp(I2, np.ones(2)).vjp(bar)


def test_inputs_of_every_layout_and_none_mutated():
    blocks, _ = problem(4, seed=0, m=4, p=1)
    kept = {name: value.copy() for name, value in blocks.items()}
    base = solve_qp(**blocks)
    for name in blocks:
        value = blocks[name]
        strided = np.repeat(value, 2, axis=0)[::2]
        for other in (value.tolist(), np.asfortranarray(value), strided, value[::-1].copy()[::-1]):
            got = solve_qp(**{**blocks, name: other})
            np.testing.assert_allclose(got.y, base.y, rtol=1e-14)
        assert (value == kept[name]).all()
    frozen = {name: value.copy() for name, value in blocks.items()}
    for value in frozen.values():
        value.setflags(write=False)
    assert (solve_qp(**frozen).y == base.y).all()
    assert solve_qp(np.eye(2, dtype=np.float32), [1, 2]).y.tolist() == [-1, -2]


def test_solution_pickles():
    import pickle

    blocks, _ = problem(4, seed=0, m=4, p=1)
    solution = solve_qp(**blocks)
    again = pickle.loads(pickle.dumps(solution))
    assert (again.vjp(np.ones(4)).P == solution.vjp(np.ones(4)).P).all() and again.status is solution.status


@given(st.data())
def test_every_claim_about_a_convex_program_is_proven(data):
    """P = M'M, often singular: a solution satisfies KKT, a unique one has a regular K, 'none' comes with a valid ray."""
    n, rank, m = data.draw(st.integers(1, 3)), data.draw(st.integers(0, 2)), data.draw(st.integers(0, 4))
    ints = lambda *shape: np.array(data.draw(st.lists(st.integers(-2, 2), min_size=int(np.prod(shape)), max_size=int(np.prod(shape)))), float).reshape(shape)  # noqa: E731
    M, q, G, h = ints(rank, n), ints(n), ints(m, n), ints(m)
    P = M.T @ M
    solution = solve_qp(P, q, G, h)
    if solution.status is Status.LOWER_INFEASIBLE:
        mu, _ = solution.certificate
        assert (mu >= 0).all() and abs(mu @ G).max() < 1e-13 and mu @ h < 0
    elif solution.status is Status.LOWER_UNBOUNDED:
        d = solution.certificate
        assert abs(P @ d).max() < 1e-12 and (G @ d <= 1e-12).all() and q @ d < 0
        assert solve_qp(np.eye(n), np.zeros(n), G, h).status is not Status.LOWER_INFEASIBLE
    else:
        assert solution.status in (Status.CONVERGED, Status.DEGENERATE, Status.LICQ_FAILS, Status.NONUNIQUE)
        y, mu = solution.y, solution.mu
        assert abs(P @ y + q + G.T @ mu).max() < 1e-10 and (G @ y <= h + 1e-10).all() and (mu >= -1e-12).all()
        assert abs(mu * (h - G @ y)).max(initial=0) < 1e-9
        if solution.status is Status.CONVERGED:
            N = G[solution.active]
            K = np.block([[P, N.T], [N, np.zeros((len(N),) * 2)]])
            assert np.linalg.matrix_rank(K) == len(K) and solution.margin > 1e-6


@pytest.mark.parametrize("c", [1e-150, 1e-20, 1e20, 1e150])
def test_units_of_the_objective_and_of_y(c):
    blocks, _ = problem(5, seed=2, m=4, p=1)
    base = solve_qp(**blocks)
    scaled = solve_qp(**{**blocks, "P": c * blocks["P"], "q": c * blocks["q"]})
    assert scaled.status is Status.CONVERGED
    np.testing.assert_allclose(scaled.y, base.y, rtol=1e-12)
    np.testing.assert_allclose(scaled.mu, c * base.mu, rtol=1e-11)
    longer = solve_qp(blocks["P"], c * blocks["q"], blocks["G"], c * blocks["h"], blocks["A"], c * blocks["b"])
    assert longer.status is Status.CONVERGED
    np.testing.assert_allclose(longer.y, c * base.y, rtol=1e-12)


def test_overflow_is_not_a_number_with_a_good_status():
    solution = solve_qp(1e300 * np.eye(2) + 1e300, 1e300 * np.ones(2), 1e300 * np.eye(2), -1e300 * np.ones(2))
    assert not solution.success or np.isfinite(solution.y).all()


def test_badly_scaled_variables_are_not_called_degenerate():
    scale = np.logspace(-6, 6, 4)
    Q = np.array([[2.0, 1, 0, 0], [1, 2, 1, 0], [0, 1, 2, 1], [0, 0, 1, 2]])
    for D in (scale, scale[::-1]):
        y, mu = D * np.array([1, -1, 2, 0.5]), np.array([0, 0, 0.5, 0]) / D
        P = Q / np.multiply.outer(D, D)
        for method in ("auto", "clarabel"):
            solution = solve_qp(P, -(P @ y + mu), np.eye(4), y + np.array([1, 1, 0, 1]) * D, method=method)
            assert solution.status is Status.CONVERGED, solution.message
            np.testing.assert_allclose(solution.y, y, rtol=1e-10)


def test_sparse_rows_without_bound_keep_their_pattern():
    rows = sparse.csr_array(np.array([[1.0, 0, 2], [0, 3, 0], [0, 0, 4]]))
    dense = solve_qp(np.eye(3), -5 * np.ones(3), rows.toarray(), [1.0, np.inf, 2.0])
    thin = solve_qp(np.eye(3), -5 * np.ones(3), rows, [1.0, np.inf, 2.0])
    got, exact = thin.vjp([1.0, 2.0, 3.0]).G, dense.vjp([1.0, 2.0, 3.0]).G
    np.testing.assert_allclose(got.toarray(), np.where(rows.toarray() != 0, exact, 0), atol=1e-14)
    wide = sparse.block_array([[rows, None], [None, sparse.eye_array(300)]], format="csr")
    big = solve_qp(sparse.eye_array(303), -5 * np.ones(303), wide, np.concatenate([[1.0, np.inf, 2.0], np.full(300, np.inf)]))
    got = big.vjp(np.concatenate([[1.0, 2.0, 3.0], np.zeros(300)])).G
    np.testing.assert_allclose(got.toarray()[:3, :3], np.where(rows.toarray() != 0, exact, 0), atol=1e-13)


def test_no_solution_of_a_sparse_program_gives_nan_on_the_pattern():
    n = 400
    rows = sparse.vstack([sparse.eye_array(1, n), -sparse.eye_array(1, n)], format="csr")
    solution = solve_qp(sparse.eye_array(n), np.ones(n), rows, [-1.0, -1.0])
    assert solution.status is Status.LOWER_INFEASIBLE
    g = solution.vjp(np.ones(n))
    assert g.G.nnz == 2 and np.isnan(g.G.data).all() and g.P.nnz == n and np.isnan(g.P.data).all() and np.isnan(g.q).all()


@pytest.mark.parametrize("method", ["auto", "clarabel"])
def test_nearly_dependent_rows_and_ill_conditioned_objectives_are_solved_or_say_so(method):
    """A row repeated to within 1e-3 ... 1e-11 and columns graded over six decades: success means KKT to rounding."""
    successes = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        n, m = rng.integers(2, 12), rng.integers(3, 20)
        B = rng.standard_normal((n, n)) * np.logspace(0, -rng.integers(0, 6), n)
        G, h, q = rng.standard_normal((m, n)), abs(rng.standard_normal(m)), 10 * rng.standard_normal(n)
        G[1], h[1] = G[0] + 10.0 ** -rng.integers(3, 12) * rng.standard_normal(n), h[0]
        P = (B.T @ B + (B.T @ B).T) / 2
        solution = solve_qp(P, q, G, h, method=method)
        assert solution.status in (Status.CONVERGED, Status.DEGENERATE, Status.LICQ_FAILS, Status.LOWER_STALLED, Status.ILL_CONDITIONED)
        if solution.success:
            successes += 1
            y, mu, wide = solution.y, solution.mu, np.longdouble
            gap = P.astype(wide) @ y + q + G.T.astype(wide) @ mu
            assert abs(gap).max() <= 1e-9 * (abs(q).max() + abs(G.T @ np.diag(mu)).max())
            assert (G @ y - h).max() <= 1e-9 * (1 + abs(y).max()) and (mu >= -1e-9 * abs(mu).max()).all()
            assert (np.minimum(mu, h - G @ y) <= 1e-9 * (1 + abs(y).max())).all()
    assert successes >= (38 if method == "auto" else 20)

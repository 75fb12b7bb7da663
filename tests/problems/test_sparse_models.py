"""Nonsmooth families: solutions by their optimality conditions, hypergradients by re-solving, kinks by closed forms."""

import dataclasses
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

import refbilevel as rb
from refbilevel.problems.screening import Screen


def regression(N=40, m=25, seed=0):
    rng = np.random.default_rng(seed)
    X, X_val = rng.standard_normal((N, m)), rng.standard_normal((N // 2, m))
    X[:, 1] += 0.8 * X[:, 0]
    truth = np.where(np.arange(m) % 4 == 0, rng.standard_normal(m), 0.0)
    return X, X @ truth + 0.2 * rng.standard_normal(N), X_val, X_val @ truth + 0.2 * rng.standard_normal(N // 2)


def build(family, seed=0, container=np.asarray, **sizes):
    X, t, X_val, t_val = regression(seed=seed, **sizes)
    rng, m = np.random.default_rng(seed + 100), X.shape[1]
    options = {"prior": (0.1, -1.0)}
    data = (container(X), t, container(X_val), t_val)
    if family.startswith("svm"):
        labels, labels_val = np.sign(t), np.sign(t_val)
        if family == "svm, linear":
            return rb.problems.svm_dual(X, labels, X_val, labels_val, **options), np.array([-1.5])
        return (
            rb.problems.svm_dual(X, labels, X_val, labels_val, costs="per-sample", kernel="rbf", **options),
            rng.uniform(-1, 1, len(t)),
        )
    if family == "lasso":
        return rb.problems.lasso(*data, **options), np.array([-2.0])
    if family == "weighted lasso":
        return rb.problems.lasso(*data, penalties="per-feature", **options), rng.uniform(-4, -1, m)
    if family == "elastic net":
        return rb.problems.elastic_net(*data, **options), np.array([-2.0, -1.0])
    if family == "elastic net of features":
        return rb.problems.elastic_net(*data, penalties="per-feature", **options), rng.uniform(-4, -1, 2 * m)
    groups = np.minimum(rng.permutation(m) // 3, (m - 1) // 3)
    if family == "group lasso":
        return rb.problems.group_lasso(*data, groups, **options), np.array([-2.0])
    return rb.problems.group_lasso(*data, groups, penalties="per-group", **options), rng.uniform(-4, -1, groups.max() + 1)


SEPARABLE = ["lasso", "weighted lasso", "elastic net", "elastic net of features", "svm, linear", "svm, rbf"]
FAMILIES = [*SEPARABLE, "group lasso", "group lasso, per group"]


def differences(problem, x, d):
    """d/dt f(x + t d, y*) by fourth-order differences of re-solves, at its plateau over the steps."""
    F = lambda t: problem.f(x + t * d, rb.solve_lower(problem, x + t * d).y)  # noqa: E731
    values = [(8 * (F(h) - F(-h)) - (F(2 * h) - F(-2 * h))) / (12 * h) for h in (1e-3, 3e-4, 1e-4, 3e-5)]
    gaps = np.abs(np.diff(values))
    return values[int(np.argmin(gaps)) + 1]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("seed", [0, 1])
def test_hypergradient_equals_differences_to_eight_digits(family, seed):
    problem, x = build(family, seed)
    result = rb.hypergradient(problem, x)
    assert result.success, result.message
    assert 0 < (~result.lower.active).sum() < problem.m
    d = np.random.default_rng(seed).standard_normal(problem.n)
    assert abs(result.gradient @ d - differences(problem, x, d)) <= 1e-8 * np.linalg.norm(result.gradient) * np.linalg.norm(d)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_linear_method_and_jvp_agree(family):
    problem, x = build(family)
    lower = rb.solve_lower(problem, x)
    m, rng = problem.solution_map, np.random.default_rng(2)
    y_bar, dx = rng.standard_normal(problem.m), rng.standard_normal(problem.n)
    reference = m.vjp(x, lower, y_bar)
    for linear in ("cholesky", "cg", "minres", "sweeps"):
        np.testing.assert_allclose(m.vjp(x, lower, y_bar, linear=linear), reference, rtol=1e-9, atol=1e-11)
        assert m.jvp(x, lower, dx, linear=linear) @ y_bar == pytest.approx(reference @ dx, rel=1e-9, abs=1e-11)
    given = rb.LowerSolution(y=lower.y)  # a y from elsewhere: the support is found again
    np.testing.assert_allclose(m.vjp(x, given, y_bar), reference, rtol=1e-13)


@pytest.mark.parametrize("family", SEPARABLE)
def test_solution_satisfies_the_optimality_conditions_and_beats_perturbations(family):
    problem, x = build(family)
    lower = rb.solve_lower(problem, x)
    assert lower.residual <= 1e-12 and lower.margin > 1e-6
    _, _, lo, hi = problem.solution_map.parameters(x)
    rng = np.random.default_rng(3)
    for scale in (1e-1, 1e-3):
        for _ in range(20):
            trial = np.clip(lower.y + scale * rng.standard_normal(problem.m), lo, hi)
            assert problem.g(x, trial) > problem.g(x, lower.y)


def test_lasso_against_scikit_learn():
    linear_model = pytest.importorskip("sklearn.linear_model")
    X, t, X_val, t_val = regression()
    y = rb.solve_lower(rb.problems.lasso(X, t, X_val, t_val), np.log([0.1])).y
    other = linear_model.Lasso(alpha=0.1, fit_intercept=False, tol=1e-14, max_iter=100_000).fit(X, t).coef_
    np.testing.assert_allclose(y, other, atol=1e-7)
    y = rb.solve_lower(rb.problems.elastic_net(X, t, X_val, t_val), np.log([0.1, 0.1])).y
    other = linear_model.ElasticNet(alpha=0.2, l1_ratio=0.5, fit_intercept=False, tol=1e-14, max_iter=100_000).fit(X, t).coef_
    np.testing.assert_allclose(y, other, atol=1e-7)


def test_working_set_reaches_the_same_solution_as_the_whole(monkeypatch):
    X, t, X_val, t_val = regression(N=60, m=900)
    for container in (np.asarray, sparse.csr_array):
        problem = rb.problems.lasso(container(X), t, container(X_val), t_val, penalties="per-feature")
        x = np.full(900, -3.0)
        small = rb.hypergradient(problem, x)
        assert small.success and small.lower.iterations > 1
        monkeypatch.setattr("refbilevel.problems.working_set.WHOLE", 10_000)
        whole = rb.hypergradient(problem, x)
        monkeypatch.undo()
        np.testing.assert_allclose(small.lower.y, whole.lower.y, atol=1e-13)
        np.testing.assert_allclose(small.gradient, whole.gradient, rtol=1e-9, atol=1e-13)
        warm = rb.solve_lower(problem, x, y0=small.lower.y)
        np.testing.assert_allclose(warm.y, small.lower.y, atol=1e-14)


def without_screen(problem):
    smooth = dataclasses.replace(problem.solution_map.smooth, screen=None)
    return rb.problem.replace(problem, solution_map=dataclasses.replace(problem.solution_map, smooth=smooth))


@pytest.mark.parametrize("gap", [2e-3, 1e-7, -1e-7])
def test_coordinates_closer_to_their_kink_than_the_screen_sees_are_looked_at_in_full(gap):
    X, t, X_val, t_val = regression(N=60, m=900)
    problem = rb.problems.lasso(X, t, X_val, t_val, penalties="per-feature")
    x = np.full(900, np.log(0.4 * np.abs(X.T @ t).max() / len(t)))
    before = without_screen(problem).solution_map.solve(x)
    r = np.abs(X.T @ (X @ before.y - t)) / len(t)
    out = np.flatnonzero(before.active & (np.abs(X.T @ t) / len(t) < 0.9 * r))  # held at zero, and not in the first working set
    out = out[np.argsort(-r[out])[:20]]
    x[before.active] += 1.0
    x[out] = np.log(r[out] * (1 + gap))  # the least strict of all
    if gap < 0:  # so that the working set is hardly strict, and all hangs on the error
        held = np.flatnonzero(before.active & (np.abs(X.T @ t) / len(t) > 1.2 * r))
        near = held[np.argmax(r[held])]
        x[near] = np.log(r[near] * (1 + 1e-9))
    error = problem.solution_map.smooth.screen.products(X @ before.y - t)[1][out] / len(t)
    assert (error > 2 * abs(gap) * r[out]).all() or gap == 2e-3
    lower, exact = rb.solve_lower(problem, x), rb.solve_lower(without_screen(problem), x)
    assert lower.success and (lower.y[out] != 0).any() == (gap < 0)
    np.testing.assert_allclose(lower.y, exact.y, atol=1e-14)
    assert lower.margin == pytest.approx(exact.margin, rel=1e-9, abs=1e-15)
    assert gap < 0 or lower.margin == pytest.approx(gap * r[out].min(), rel=1e-6)


def test_a_coordinate_without_penalty_enters_whatever_the_screen_says():
    X, t, X_val, t_val = regression(N=60, m=400)
    X[:, 7] = 1.0
    problem = rb.problems.lasso(X, t - t.mean(), X_val, t_val, penalties="per-feature")
    x = np.full(400, np.log(0.2 * np.abs(X.T @ t).max() / len(t)))  # the first working set is full without it
    x[7] = -1000.0  # exp(x) is zero
    lower = rb.solve_lower(problem, x)
    assert lower.success and lower.y[7] != 0.0 and abs(np.sum(X @ lower.y - t + t.mean())) <= 1e-10


def test_working_sets_run_out_with_a_status(monkeypatch):
    X, t, X_val, t_val = regression(N=60, m=900)
    monkeypatch.setattr("refbilevel.problems.working_set.MOST_ROUNDS", 1)
    lower = rb.solve_lower(rb.problems.lasso(X, t, X_val, t_val), [-3.0])
    assert lower.status is rb.Status.LOWER_STALLED and lower.residual > 1e-3


def test_close_to_a_fit_the_residual_gives_digits_that_the_gram_matrix_has_lost():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((40, 6)) @ np.diag(np.logspace(0, -3, 6)) @ rng.standard_normal((6, 6))
    t = X @ np.arange(1.0, 7.0)
    c = 1e-9
    y = rb.solve_lower(rb.problems.lasso(X, t, X, t), [np.log(c)]).y
    signs, A = np.ones(6), X.T @ X / 40
    truth = np.arange(1.0, 7.0) - np.exp(np.log(c)) * np.linalg.solve(A, signs)  # A y = A w - c sign(y); t is X w to rounding
    assert np.linalg.cond(A) > 1e6 and (truth > 0.9).all()
    assert np.abs(y - truth).max() <= 1e-12


COLUMNS = st.tuples(st.integers(0, 10**6), st.integers(1, 40), st.sampled_from([0, 1, 8, 60]), st.sampled_from([-280, -20, 0, 20, 280]))


@given(COLUMNS)
def test_the_screen_bounds_its_error(case):
    """Columns from even to those of one dominant entry, of any size, zeros among them; against extended precision."""
    seed, N, spread, size = case
    rng = np.random.default_rng(seed)
    A = rng.standard_normal((N, 7)) * np.exp(0.3 * spread * rng.standard_normal((N, 7))) * 10.0 ** rng.integers(-3, 4, 7)
    A[:, 3] = 0.0
    A, r = A / np.abs(A).max() * 10.0**size, rng.standard_normal(N) * 10.0 ** rng.integers(-20, 20)
    estimate, bound = Screen.of(A).products(r)
    exact = (A.T / 10.0**size).astype(np.longdouble) @ r.astype(np.longdouble)
    assert (np.abs(estimate.astype(np.longdouble) / np.longdouble(10.0**size) - exact) <= bound / 10.0**size).all()
    assert (bound <= 2e-3 * np.sqrt(N) * np.abs(A).max(axis=0) * np.linalg.norm(r)).all(), "it would clear nothing"


def test_the_screen_adds_over_blocks_of_rows_and_clears_nothing_where_it_overflows():
    rng = np.random.default_rng(0)
    A, r = rng.standard_normal((2500, 3)), rng.standard_normal(2500)
    estimate, bound = Screen.of(A).products(r)
    assert (np.abs(estimate - A.T @ r) <= bound).all() and (bound <= 2e-4 * np.linalg.norm(A, axis=0) * np.linalg.norm(r)).all()
    estimate, bound = Screen.of(1e307 * A).products(1e10 * r)
    assert not (1.0 - np.abs(estimate) - bound > 0).any()
    assert np.isinf(Screen.of(1e-310 * A).products(r)[1]).all()


def test_the_screen_knows_what_the_conversion_loses():
    column = np.full((2500, 1), 0.4 / 32767)  # all but one entry are rounded to zero
    column[0] = 1.0
    estimate, bound = Screen.of(column).products(np.ones(2500))
    assert 0.01 < np.abs(estimate - column.sum()) <= bound


@pytest.mark.parametrize("order", ["C", "F"])
def test_data_are_kept_as_they_come(order):
    X, t, X_val, t_val = regression(m=320)
    X, X_val = np.asarray(X, order=order), np.asarray(X_val, order=order)
    problem = rb.problems.lasso(X, t, X_val, t_val)
    assert np.shares_memory(problem.solution_map.smooth.A, X) and np.shares_memory(problem.f_y.upper.B, X_val)
    assert problem.solution_map.smooth.screen.codes.nbytes == X.nbytes // 4


@pytest.mark.parametrize("family", FAMILIES)
def test_the_entries_of_f_y_that_no_coordinate_needs_are_not_computed(family):
    problem, x = build(family)
    lower = rb.solve_lower(problem, x)
    whole = rb.hypergradient(rb.problem.replace(problem, f_y=problem.f_y.__call__), x)
    part = rb.hypergradient(problem, x, diagnostics=False)
    assert part.cost["f_y"] == 1
    np.testing.assert_allclose(part.gradient, whole.gradient, rtol=1e-12, atol=1e-15)
    reads = problem.solution_map.reads(x, lower)
    assert set(reads) >= set(np.flatnonzero(~lower.active)) and len(reads) < problem.m or family == "svm, linear"
    twice = rb.problem.replace(problem, f_y=lambda x, y: 2 * problem.f_y(x, y))
    np.testing.assert_allclose(rb.hypergradient(twice, x).indirect, 2 * part.indirect, rtol=1e-11, atol=1e-14)


@pytest.mark.parametrize("method", ["coordinate_forward", "coordinate_reverse"])
@pytest.mark.parametrize("family", SEPARABLE)
def test_unrolled_sweeps(method, family):
    problem, x = build(family)
    exact = rb.hypergradient(problem, x, "lasso_support")
    errors = [np.linalg.norm(rb.hypergradient(problem, x, method, K=K).gradient - exact.gradient) for K in (200, 400)]
    assert errors[1] <= max(1e-9 * np.linalg.norm(exact.gradient), 0.5 * errors[0])
    few = rb.hypergradient(problem, x, method, K=3)
    other = "coordinate_reverse" if method == "coordinate_forward" else "coordinate_forward"
    np.testing.assert_allclose(few.gradient, rb.hypergradient(problem, x, other, K=3).gradient, rtol=1e-10, atol=1e-13)
    assert np.linalg.norm(few.gradient - exact.gradient) > 1e-6 * np.linalg.norm(exact.gradient)
    np.testing.assert_allclose(rb.hypergradient(problem, x, method, K=0).gradient, problem.f_x(x, np.zeros(problem.m)))


def kinked(q, x):
    """Lasso with H = I: y_j = soft(q_j, exp(x_j)), in closed form."""
    N = len(q)
    return rb.problems.lasso(np.sqrt(N) * np.eye(N), np.sqrt(N) * np.asarray(q, float), np.eye(N), np.zeros(N), penalties="per-feature"), x


def test_kink_is_degenerate_with_its_one_sided_values():
    problem, x = kinked([1.0, -0.5, 0.25], np.log([0.5, 0.5, 0.5]))
    lower = rb.solve_lower(problem, x)
    np.testing.assert_allclose(lower.y, [0.5, 0.0, 0.0], atol=1e-15)
    assert lower.status is rb.Status.DEGENERATE and lower.margin <= 1e-15
    assert not rb.hypergradient(problem, x).success
    directional = problem.solution_map.directional
    np.testing.assert_allclose(directional(x, lower, -np.ones(3)), [0.5, -0.5, 0.0], atol=1e-12)
    np.testing.assert_allclose(directional(x, lower, np.ones(3)), [-0.5, 0.0, 0.0], atol=1e-12)


def test_generators_at_kinks_are_the_limits_of_nearby_gradients():
    problem, x = kinked([1.0, -0.5, 0.25], np.log([0.5, 0.5, 0.5]))
    result = rb.hypergradient(problem, x)
    nearby = [rb.hypergradient(problem, x + np.array([0.0, e, 0.0])).gradient for e in (1e-6, -1e-6)]
    assert result.status is rb.Status.DEGENERATE and result.extra["generators"].shape == (2, 3)
    np.testing.assert_allclose(result.extra["generators"], nearby, atol=1e-6)

    svm = rb.problems.svm_dual(np.array([[1.0, 0.5], [0.2, 1.0]]), [1, -1], np.eye(2), [1, -1], costs="per-sample")
    free = np.linalg.solve(svm.solution_map.smooth.Q, np.ones(2))
    x = np.array([np.log(free[0]), np.log(2 * free[1])])  # the first cost touches the unbounded solution
    result = rb.hypergradient(svm, x)
    nearby = [rb.hypergradient(svm, x + np.array([e, 0.0])).gradient for e in (-1e-7, 1e-7)]
    assert result.status is rb.Status.DEGENERATE
    np.testing.assert_allclose(result.extra["generators"], nearby, atol=1e-6)


def test_generators_at_a_group_kink_are_the_limits_of_nearby_gradients():
    X, t, X_val, t_val = regression(m=6)
    groups = [0, 0, 0, 1, 1, 1]
    problem = rb.problems.group_lasso(X, t, X_val, t_val, groups, penalties="per-group")
    far = np.array([-3.0, 5.0])  # the second group is zero; its gradient gives the penalty at which it enters
    h = problem.solution_map.smooth.gradient(rb.solve_lower(problem, far).y)
    x = np.array([-3.0, np.log(np.linalg.norm(h[3:]) / np.sqrt(3))])
    result = rb.hypergradient(problem, x)
    nearby = [rb.hypergradient(problem, x + np.array([0.0, e])) for e in (1e-6, -1e-6)]
    assert result.status is rb.Status.DEGENERATE and all(r.success for r in nearby)
    np.testing.assert_allclose(result.extra["generators"], [r.gradient for r in nearby], atol=1e-5)


@pytest.mark.parametrize("gap, status", [(1e-3, "converged"), (1e-8, "converged"), (-1e-8, "converged"), (0.0, "degenerate")])
def test_margin_says_how_far_the_kink_is(gap, status):
    problem, x = kinked([1.0, 0.5 + gap], np.log([0.5, 0.5]))
    lower = rb.solve_lower(problem, x)
    assert lower.margin == pytest.approx(abs(gap), abs=1e-14) and lower.status == status
    gradient = rb.hypergradient(problem, x).gradient
    truth = -0.5 * np.array([0.5, max(gap, 0.0)]) / 2
    np.testing.assert_allclose(gradient, truth, atol=1e-15)


@pytest.mark.parametrize("family", SEPARABLE)
def test_directional_derivative_off_kinks_is_the_jvp_and_at_box_kinks_one_sided(family):
    problem, x = build(family)
    lower, dx = rb.solve_lower(problem, x), np.random.default_rng(4).standard_normal(problem.n)
    m = problem.solution_map
    np.testing.assert_allclose(m.directional(x, lower, dx), m.jvp(x, lower, dx), rtol=1e-7, atol=1e-10)


@pytest.mark.parametrize("cost, lower_side, upper_side", [(1.0, -1.0, 0.0)])
def test_svm_coordinate_leaving_its_bound(cost, lower_side, upper_side):
    """Q = I: y = min(1, exp(x)); at x = 0 the derivative is 1 to the left and 0 to the right."""
    problem = rb.problems.svm_dual(np.eye(2), [1, 1], np.eye(2), [1, 1], costs="per-sample")
    lower = rb.solve_lower(problem, np.zeros(2))
    assert lower.status is rb.Status.DEGENERATE
    np.testing.assert_allclose(problem.solution_map.directional(np.zeros(2), lower, np.array([-1.0, 1.0])), [-1.0, 0.0], atol=1e-14)
    np.testing.assert_allclose(rb.hypergradient(problem, np.array([-1.0, 1.0])).lower.y, [np.exp(-1), 1.0], rtol=1e-15)


def test_group_kink_is_degenerate():
    q = np.array([3.0, 4.0, 1.0])
    problem = rb.problems.group_lasso(np.sqrt(3) * np.eye(3), np.sqrt(3) * q, np.eye(3), np.zeros(3), [0, 0, 1], penalties="per-group")
    x = np.log([5.0 / np.sqrt(2), 0.5])
    assert rb.solve_lower(problem, x).status is rb.Status.DEGENERATE
    inside = rb.hypergradient(problem, x - np.array([np.log(2), 0.0]))
    np.testing.assert_allclose(inside.lower.y, [1.5, 2.0, 0.5], rtol=1e-14)
    np.testing.assert_allclose(inside.gradient, [-2.5 * 2.5 / 3, -0.5 * 0.5 / 3], rtol=1e-13)


def test_duplicate_columns_are_not_unique():
    X, t, X_val, t_val = regression()
    problem = rb.problems.lasso(np.hstack([X, X[:, :1]]), t, np.hstack([X_val, X_val[:, :1]]), t_val)
    x = np.log([0.1])
    y0 = np.zeros(26)
    y0[[0, 25]] = 0.3
    lower = rb.solve_lower(problem, x, y0=y0)
    assert not lower.success and lower.status in (rb.Status.NONUNIQUE, rb.Status.DEGENERATE)


def test_everything_zero_and_m_one():
    problem, _ = build("lasso")
    result = rb.hypergradient(problem, np.array([5.0]))
    assert result.success and not result.lower.y.any() and result.indirect == pytest.approx(0.0)
    one = rb.problems.lasso(np.ones((3, 1)), np.array([1.0, 2.0, 3.0]), np.ones((2, 1)), np.zeros(2))
    result = rb.hypergradient(one, np.zeros(1))
    np.testing.assert_allclose([result.lower.y[0], result.gradient[0]], [1.0, -1.0], rtol=1e-15)


@given(st.integers(0, 10**6), st.integers(1, 12), st.integers(2, 15))
def test_lasso_path_gradients(seed, m, N):
    """The closed derivative on the support, dy_S/dx = -N exp(x) (A_S'A_S)^{-1} sign(y_S), for any data."""
    rng = np.random.default_rng(seed)
    A, t = rng.integers(-4, 5, (N, m)).astype(float), rng.integers(-9, 10, N).astype(float)
    problem = rb.problems.lasso(A, t, A, t)
    x = np.log([rng.uniform(0.05, 0.9) * max(np.abs(A.T @ t).max(), 1.0) / N])
    lower = rb.solve_lower(problem, x)
    S = np.flatnonzero(lower.y)
    if lower.status is not rb.Status.CONVERGED or S.size == 0 or np.linalg.cond(A[:, S]) > 1e4:
        return
    truth = np.zeros(m)
    truth[S] = -N * np.exp(x) * np.linalg.solve(A[:, S].T @ A[:, S], np.sign(lower.y[S]))
    np.testing.assert_allclose(problem.solution_map.jvp(x, lower, np.ones(1)), truth, rtol=1e-7, atol=1e-10)


def test_pickles_and_overflow_has_a_status():
    problem, x = build("group lasso")
    again = pickle.loads(pickle.dumps(problem))
    np.testing.assert_array_equal(rb.hypergradient(again, x).gradient, rb.hypergradient(problem, x).gradient)
    assert rb.solve_lower(problem, np.array([800.0])).status is rb.Status.NONFINITE


@pytest.mark.parametrize(
    "call, error, word",
    [
        (lambda d: rb.problems.lasso(*d, penalties="all"), rb.errors.UnknownOption, "per-feature"),
        (lambda d: rb.problems.group_lasso(*d, np.zeros(3)), rb.errors.ShapeError, "groups"),
        (lambda d: rb.problems.group_lasso(*d, np.full(25, 2)), rb.errors.ArgumentError, "0 ... G - 1"),
        (lambda d: rb.problems.svm_dual(*d), rb.errors.ArgumentError, "labels"),
        (lambda d: rb.problems.lasso(d[0], d[1][:3], *d[2:]), rb.errors.ShapeError, "t_train"),
        (lambda d: rb.hypergradient(rb.problems.lasso(*d), [0.0], "coordinate_reverse", K=-1), rb.errors.ArgumentError, "K"),
    ],
)
def test_bad_input_is_named(call, error, word):
    with pytest.raises(error, match=word):
        call(regression())


def test_many_features_and_a_penalty_that_silences_all():
    X, t, X_val, t_val = regression(m=320)
    lower = rb.solve_lower(rb.problems.lasso(X, t, X_val, t_val), [5.0])
    assert lower.success and not lower.y.any()

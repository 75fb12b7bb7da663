"""The Newton-PCG lower solver of the linear and multinomial families, and its machinery handed to the adjoint."""

import dataclasses
import pickle

import numpy as np
import pytest
from scipy import sparse

import refbilevel as rb
from refbilevel.linear import solve
from refbilevel.problems import design, hessian_factor, newton_pcg


def linear_problem(family="logistic", N=320, m=240, container=np.asarray, penalties="per-feature", seed=0, **options):
    rng = np.random.default_rng(seed)
    X, X_val = (rng.standard_normal((size, m)) * np.logspace(0, -1.5, m) for size in (N, N // 2))
    truth = rng.standard_normal(m)
    t, t_val = (np.sign(A @ truth + rng.standard_normal(len(A))) for A in (X, X_val))
    problem = getattr(rb.problems, family)(container(X), t, container(X_val), t_val, penalties=penalties, **options)
    return problem, rng.uniform(-7, -2, problem.n)


def softmax_problem(N=120, d=60, k=4, seed=0, penalty=1e-2):
    rng = np.random.default_rng(seed)
    X, X_val = rng.standard_normal((N, d)), rng.standard_normal((50, d))
    return rb.problems.softmax(X, rng.integers(0, k, N), X_val, rng.integers(0, k, 50), penalty=penalty, k=k), rng.standard_normal(N)


def thin(A):
    return sparse.csr_array(np.where(np.abs(A) > np.median(np.abs(A)), A, 0.0))


CASES = {
    "logistic": lambda: linear_problem(),
    "logistic, one penalty": lambda: linear_problem(penalties="one"),
    "logistic, sparse": lambda: linear_problem(container=thin),
    "ridge, sparse": lambda: linear_problem("ridge", container=thin),
    "ridge": lambda: linear_problem("ridge"),
    "softmax": softmax_problem,
}


@pytest.fixture(params=CASES)
def case(request):
    return CASES[request.param]()


def explicit(H):
    return H if isinstance(H, np.ndarray) else H.toarray()


def test_lower_solution_is_the_other_solvers(case):
    problem, x = case
    lower, other = rb.solve_lower(problem, x), rb.solve_lower(problem, x, "newton")
    assert lower.success, lower.message
    H = explicit(problem.g_yy(x, lower.y))
    error = np.linalg.norm(lower.y - other.y)
    assert error <= 1e3 * np.finfo(float).eps * np.linalg.cond(H) * np.linalg.norm(lower.y)
    assert lower.residual == pytest.approx(np.linalg.norm(problem.g_y(x, lower.y)), rel=1e-6, abs=1e-16)


def test_adjoint_by_the_handed_factor_is_the_direct_one(case):
    problem, x = case
    lower = rb.solve_lower(problem, x)
    H, b = problem.g_yy(x, lower.y), problem.f_y(x, lower.y)
    solution = solve(H, b, factor=lower.factor)
    assert solution.success and solution.method in ("cg", "cholesky")
    truth = np.linalg.solve(explicit(H), b)
    assert np.linalg.norm(solution.x - truth) <= 100 * np.finfo(float).eps * np.linalg.cond(explicit(H)) * np.linalg.norm(truth)
    columns = np.stack([b, np.ones_like(b)], axis=1)
    np.testing.assert_allclose(explicit(H) @ solve(H, columns, factor=lower.factor).x, columns, atol=1e-9 * np.linalg.norm(columns))


@pytest.mark.parametrize("tol", [1e-3, 1e-6, 1e-10])
def test_tol_bounds_the_distance_to_the_solution(case, tol):
    problem, x = case
    exact = rb.solve_lower(problem, x)
    loose = rb.solve_lower(problem, x, tol=tol)
    assert loose.success and loose.residual <= tol
    assert np.linalg.norm(loose.y - exact.y) <= tol * (1 + 1e-6) + 1e-12 * np.linalg.norm(exact.y)


def test_warm_start_at_the_solution_takes_no_step(case):
    problem, x = case
    lower = rb.solve_lower(problem, x, tol=1e-8)
    assert rb.solve_lower(problem, x, y0=lower.y, tol=2e-8).iterations <= (1 if lower.method == "closed_form" else 0)


def test_hypergradient_equals_the_one_of_generic_solvers(case):
    problem, x = case
    fast = rb.hypergradient(problem, x)
    slow = rb.hypergradient(problem, x, lower_method="newton", linear="minres")
    assert fast.success
    unit = np.linalg.cond(explicit(problem.g_yy(x, fast.lower.y))) * np.finfo(float).eps
    cross = explicit(problem.g_xy(x, fast.lower.y) @ np.eye(problem.m))
    scale = np.linalg.norm(fast.direct) + np.linalg.norm(cross, 2) * np.linalg.norm(fast.adjoint)
    assert np.linalg.norm(fast.gradient - slow.gradient) <= 100 * unit * scale


def test_the_float32_factor_is_formed_where_it_pays_and_not_elsewhere():
    problem, x = mixed_problem()
    model = problem.lower_solver.model
    assert rb.solve_lower(problem, x).factor.L.shape == (240, 240)
    easy = rb.solve_lower(problem, np.full(240, 3.0))  # penalties rule: the diagonal preconditioner needs few iterations
    assert easy.success and easy.factor.L.shape == (0, 0) and easy.factor.iterations <= 20
    assert model.factor_cost < 60


def test_small_problems_take_cholesky():
    problem, x = linear_problem(m=20)
    lower = rb.solve_lower(problem, x)
    assert lower.factor.method == "cholesky" and lower.iterations <= 12 and lower.success


def test_ill_conditioned_lower_level_is_solved_to_the_attainable_digits():
    problem, _ = linear_problem(N=250, m=240)
    x = np.full(240, np.log(1e-9))
    lower = rb.solve_lower(problem, x)
    assert lower.success and lower.residual <= 1e-13


def test_trouble_has_a_status():
    problem, x = linear_problem()
    overflow = rb.solve_lower(problem, np.full(problem.n, 800.0), y0=np.ones(240))
    assert overflow.status is rb.Status.NONFINITE and not overflow.success
    model = problem.lower_solver.model
    assert newton_pcg.newton_pcg(model, x, np.zeros(240), maxiter=1).status is rb.Status.LOWER_MAXITER
    stalled = rb.solve_lower(problem, x, tol=1e-40)
    assert stalled.status is rb.Status.LOWER_STALLED


def test_a_gradient_that_contradicts_the_objective_is_not_called_converged():
    problem, x = linear_problem()

    class Contradictory(type(problem.lower_solver.model)):
        def evaluate(self, x, y):
            value, gradient, weights = super().evaluate(x, y)
            return value, -gradient, weights

    model = problem.lower_solver.model
    wrong = Contradictory(**{f.name: getattr(model, f.name) for f in dataclasses.fields(model)})
    lower = newton_pcg.newton_pcg(wrong, x, np.zeros(240))
    assert lower.status is rb.Status.LOWER_STALLED and lower.residual > 1e-3


def test_solution_pickles_with_its_factor():
    problem, x = linear_problem()
    lower = pickle.loads(pickle.dumps(rb.solve_lower(problem, x)))
    b = np.ones(240)
    np.testing.assert_allclose(lower.factor.product(lower.factor.solve(b)), b, atol=1e-6)


def test_threads_do_not_change_the_digits(monkeypatch):
    problem, x = linear_problem(N=1200, m=240)
    one = rb.hypergradient(problem, x).gradient
    monkeypatch.setattr(design, "threads_for", lambda entries: 2)
    monkeypatch.setattr("refbilevel.problems.linear_models.threads_for", lambda entries: 2)
    two = rb.hypergradient(problem, x).gradient
    np.testing.assert_allclose(one, two, rtol=1e-10, atol=1e-13 * np.linalg.norm(one))


def test_cholesky_float32_mends_an_indefinite_matrix():
    L = hessian_factor.cholesky_float32(np.array([[0.5, 0.0], [1.0, 0.5 - 1e-7]], np.float32), np.array([0.5, 0.5]))
    assert np.isfinite(L).all() and (np.diag(L) > 0).all() and L[0, 1] == 0.0
    H = np.array([[4.0, 0.0], [2.0, 3.0]], np.float32)  # lower triangle given
    np.testing.assert_allclose(hessian_factor.cholesky_float32(H, np.zeros(2)), np.linalg.cholesky([[4.0, 2.0], [2.0, 3.0]]), rtol=1e-6)


@pytest.mark.parametrize("linear", ["cholesky", "lu", "cg", "minres", "gmres"])
def test_a_named_linear_method_is_the_one_that_runs(linear):
    problem, x = linear_problem("ridge", m=30)
    assert rb.hypergradient(problem, x, linear=linear).linear.method == linear


def mixed_problem():
    """Features so mixed that a diagonal preconditioner helps little."""
    mix = np.linalg.qr(np.random.default_rng(1).standard_normal((240, 240)))[0]
    return linear_problem(N=1200, m=240, container=lambda A: A @ mix)


@pytest.mark.parametrize("make", [mixed_problem, softmax_problem])
def test_a_solve_that_resumes_uses_the_factor_of_the_nearby_point(make, monkeypatch):
    problem, x = make()
    near, formed = rb.solve_lower(problem, x), []
    form = type(problem.lower_solver.model).gram_float32
    monkeypatch.setattr(type(problem.lower_solver.model), "gram_float32", lambda *a: formed.append(1) or form(*a))
    there = x + 0.01 * np.cos(np.arange(problem.n))
    fresh, warm = rb.solve_lower(problem, there, y0=near.y), rb.solve_lower(problem, there, y0=near)
    assert len(formed) == 1 and fresh.success and warm.success, "only the solve without a factor at hand forms one"
    np.testing.assert_allclose(warm.y, fresh.y, rtol=0, atol=1e-12 * np.linalg.norm(fresh.y))
    assert warm.factor.iterations <= 3 * fresh.factor.iterations + 20
    gradients = [rb.hypergradient(problem, there, y0=start).gradient for start in (near.y, near)]
    np.testing.assert_allclose(*gradients, rtol=0, atol=1e-11 * np.linalg.norm(gradients[0]))


def test_a_factor_from_far_away_is_formed_anew(monkeypatch):
    problem, x = mixed_problem()
    far, formed = rb.solve_lower(problem, x), []
    far = dataclasses.replace(far, factor=dataclasses.replace(far.factor, gram=np.eye(240, dtype=np.float32)))  # of another Hessian
    form = type(problem.lower_solver.model).gram_float32
    monkeypatch.setattr(type(problem.lower_solver.model), "gram_float32", lambda *a: formed.append(1) or form(*a))
    lower = rb.solve_lower(problem, x - 1.0, y0=far)
    assert lower.success and len(formed) == 1


@pytest.mark.parametrize("name", ["logistic", "softmax"])
@pytest.mark.parametrize("rtol", [1e-2, 1e-5, 1e-9, 1e-13])
def test_iterations_in_float32_reach_the_float64_residual(name, rtol):
    problem, x = CASES[name]()
    H = problem.g_yy(x, rb.solve_lower(problem, x).y)
    factor, b = H.preconditioned(), np.random.default_rng(0).standard_normal(problem.m)
    assert factor.single is not None
    goal = rtol * np.linalg.norm(b)
    v, iterations, claimed = factor.run(b, goal, 1000)
    residual = np.linalg.norm(b - explicit(H) @ v)
    assert factor.single is not None and v.dtype == np.float64
    assert residual <= goal * (1 + 1e-3) + 1e-15 * np.linalg.norm(explicit(H)) * np.linalg.norm(v)
    assert abs(claimed - residual) <= 1e-3 * residual + 1e-14 * np.linalg.norm(b)
    double = dataclasses.replace(factor, rounded=None, iterations=0)
    assert double.single is None and iterations <= 1.5 * double.run(b, goal, 1000)[1] + 10


def test_float64_takes_over_where_float32_is_too_rough():
    problem, _ = linear_problem(N=180, m=240)  # 60 directions in which the data say nothing
    x = np.full(240, np.log(1e-9))
    H = problem.g_yy(x, np.zeros(240))
    factor, b = H.preconditioned(), np.random.default_rng(0).standard_normal(240)
    assert factor.single is not None
    v, iterations, claimed = factor.run(b, 1e-6 * np.linalg.norm(b), 20_000)
    assert factor.single is None and factor.rounded is None, "float32 gave up"
    assert np.linalg.norm(b - explicit(H) @ v) <= 1.1e-6 * np.linalg.norm(b)
    solution = solve(H, b, rtol=1e-6)
    assert solution.success and solution.residual <= 1e-6


@pytest.mark.parametrize("scale, fits", [(1.0, True), (1e-12, False), (1e12, False)])
def test_data_beyond_the_squares_of_float32_stay_in_float64(scale, fits):
    A = hessian_factor.rounded_copy(scale * np.ones((2, 3)))
    assert (A is not None) is fits
    problem, _ = linear_problem(container=lambda A: scale * A)
    result = rb.hypergradient(problem, np.full(240, -4.0 + 2 * np.log(scale)))
    plain, _ = linear_problem()
    assert result.success
    np.testing.assert_allclose(result.gradient, rb.hypergradient(plain, np.full(240, -4.0)).gradient, rtol=1e-6, atol=1e-12)

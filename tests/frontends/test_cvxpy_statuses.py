"""Lower levels in trouble: the same statuses as the same problems as NumPy oracles, and what only cones can do."""

import pickle

import cvxpy as cp
import numpy as np
import pytest

import refbilevel as rb
from refbilevel.results import Status

x, y, Y = cp.Variable(name="x"), cp.Variable(name="y"), cp.Variable(3, name="Y")
UPPER = cp.Problem(cp.Minimize((y - 1) ** 2 / 2 + 0 * x))
ORACLES = dict(f=lambda x, y: 0.5 * (y[0] - 1) ** 2, f_x=lambda x, y: 0 * x, f_y=lambda x, y: np.array([y[0] - 1]))
QUADRATIC = dict(
    g=lambda x, y: 0.5 * (y - x) @ (y - x), g_x=lambda x, y: x - y, g_y=lambda x, y: y - x,
    g_yy=lambda x, y: np.eye(1), g_xy=lambda x, y: -np.eye(1),
)  # fmt: skip
LINEAR = dict(
    g=lambda x, y: x @ y, g_x=lambda x, y: y, g_y=lambda x, y: x, g_yy=lambda x, y: np.zeros((1, 1)), g_xy=lambda x, y: np.eye(1)
)
FLAT = dict(
    g=lambda x, y: y[0], g_x=lambda x, y: 0 * x, g_y=lambda x, y: np.array([1.0, 0, 0]),
    g_yy=lambda x, y: np.zeros((3, 3)), g_xy=lambda x, y: np.zeros((1, 3)),
)  # fmt: skip


def rows(p, p_x, p_y):
    return rb.Constraints(p=p, p_x=lambda x, y: np.array(p_x, float), p_y=lambda x, y: np.array(p_y, float), linear=True)


NONNEGATIVE = rows(lambda x, y: -y, [[0]], [[-1]])
CASES = {
    "weakly_active": (
        rb.from_cvxpy(UPPER, cp.Problem(cp.Minimize((y - x) ** 2 / 2), [y >= 0]), [y]),
        rb.BilevelProblem(n=1, m=1, **ORACLES, **QUADRATIC, constraints=NONNEGATIVE), 0.0, Status.DEGENERATE,
    ),
    "unbounded": (
        rb.from_cvxpy(UPPER, cp.Problem(cp.Minimize(x * y), [y >= 0]), [y]),
        rb.BilevelProblem(n=1, m=1, **ORACLES, **LINEAR, constraints=NONNEGATIVE), -1.0, Status.LOWER_UNBOUNDED,
    ),
    "infeasible": (
        rb.from_cvxpy(UPPER, cp.Problem(cp.Minimize((y - x) ** 2 / 2), [y >= 1 + x, y <= -1]), [y]),
        rb.BilevelProblem(
            n=1, m=1, **ORACLES, **QUADRATIC, constraints=rows(lambda x, y: np.array([1 + x[0] - y[0], y[0] + 1]), [[1], [0]], [[-1], [1]])
        ), 0.5, Status.LOWER_INFEASIBLE,
    ),
    "nonunique": (
        rb.from_cvxpy(cp.Problem(cp.Minimize(cp.sum_squares(Y) + 0 * x)), cp.Problem(cp.Minimize(Y[0]), [Y >= x, Y <= 1]), [Y]),
        rb.BilevelProblem(
            n=1, m=3, f=lambda x, y: y @ y, f_x=lambda x, y: 0 * x, f_y=lambda x, y: 2 * y, **FLAT,
            constraints=rows(lambda x, y: np.concatenate([x - y, y - 1]), [[1]] * 3 + [[0]] * 3, np.vstack([-np.eye(3), np.eye(3)])),
        ), 0.2, Status.NONUNIQUE,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_same_status_as_numpy_oracles(name):
    written, oracles, at, status = CASES[name]
    ours, theirs = rb.hypergradient(written, [at]), rb.hypergradient(oracles, [at])
    assert ours.status is status
    assert theirs.status is ours.status
    assert not ours.success and len(ours.message) > 40
    if status in (Status.LOWER_INFEASIBLE, Status.LOWER_UNBOUNDED):
        assert np.isnan(ours.gradient).all()


def test_infeasibility_certificate_is_one():
    """mu >= 0 with mu . p(y) > 0 for every y: mu.p_y = 0 and mu . p(0) > 0."""
    mu, nu = rb.solve_lower(CASES["infeasible"][0], [0.5]).certificate
    np.testing.assert_allclose(mu @ [[-1.0], [1.0]], 0, atol=1e-8)
    assert (mu > 0).all() and nu.size == 0 and mu @ [1.5, 1.0] > 0


def test_recession_certificate_is_one():
    ray = rb.solve_lower(CASES["unbounded"][0], [-1.0]).certificate
    assert ray[0] > 0


def test_weakly_active_generators():
    """y* = max(x, 0) at 0: dF/dx is 0 on one branch and (y - 1) on the other."""
    result = rb.hypergradient(CASES["weakly_active"][0], [0.0])
    assert sorted(result.extra["generators"].ravel()) == pytest.approx([-1.0, 0.0])
    assert min(abs(result.gradient[0] - g) for g in (-1.0, 0.0)) <= 1e-15


@pytest.mark.parametrize("margin", [1e-3, 1e-6, 1e-8])
def test_small_margins_are_exact(margin):
    """Branches are told apart far below where interior-point derivatives mix them."""
    problem = CASES["weakly_active"][0]
    for side in (-1, 1):
        result = rb.hypergradient(problem, [side * margin])
        assert result.success
        exact = margin - 1 if side > 0 else 0.0
        assert result.gradient[0] == pytest.approx(exact, abs=1e-12)
        assert result.lower.margin == pytest.approx(margin, rel=1e-6)


def test_zero_eigenvalue_is_degenerate():
    S, P = cp.Variable((2, 2), symmetric=True), cp.Variable((2, 2), PSD=True)
    problem = rb.from_cvxpy(cp.Problem(cp.Minimize(cp.sum(P))), cp.Problem(cp.Minimize(cp.sum_squares(P - S))), [P], upper_variables=[S])
    assert rb.hypergradient(problem, [1.0, 0, 0, 0]).status is Status.DEGENERATE
    assert rb.hypergradient(problem, [1.0, 0, 0, -1e-3]).success


def test_zero_penalty_has_a_one_sided_derivative_only():
    """lam |w| at lam = 0: the epigraph is slack, the adjoint system is consistent, and the answer is still not the derivative."""
    lam, w = cp.Variable(nonneg=True), cp.Variable(2)
    problem = rb.from_cvxpy(
        cp.Problem(cp.Minimize(cp.sum_squares(w - 1))), cp.Problem(cp.Minimize(cp.sum_squares(w - 2) + lam * cp.norm1(w))), [w],
        upper_variables=[lam],
    )  # fmt: skip
    at_zero = rb.hypergradient(problem, [0.0])
    assert at_zero.status is Status.DEGENERATE
    assert at_zero.gradient[0] == pytest.approx(-2.0, abs=1e-6)  # w = 2 - lam / 2, F = 2 (1 - lam / 2)^2
    right = rb.hypergradient(problem, [1e-6])
    assert right.success and right.gradient[0] == pytest.approx(-2.0, abs=1e-5)
    assert not rb.hypergradient(problem, [-0.1]).success


def test_declared_sign_violated():
    """A ridge of negative weight has a KKT point that is a maximum."""
    lam, w = cp.Variable(nonneg=True), cp.Variable(2)
    problem = rb.from_cvxpy(
        cp.Problem(cp.Minimize(cp.sum_squares(w - 1))), cp.Problem(cp.Minimize(lam * cp.sum_squares(w - 2) + cp.sum(w)), [w >= -1]), [w],
        upper_variables=[lam],
    )  # fmt: skip
    assert rb.hypergradient(problem, [-0.1]).status is Status.NOT_A_MINIMUM
    assert rb.hypergradient(problem, [0.3]).success


@pytest.mark.parametrize("twice", ["rows", "equalities"])
def test_redundant_constraints_leave_the_gradient(twice):
    constraints = [y >= 1 + x, 2 * y >= 2 + 2 * x] if twice == "rows" else [y == x + 1, 2 * y == 2 * x + 2]
    problem = rb.from_cvxpy(UPPER, cp.Problem(cp.Minimize((y - 0.2) ** 2 / 2), constraints), [y])
    result = rb.hypergradient(problem, [0.3])
    assert result.success
    assert result.gradient[0] == pytest.approx(0.3, abs=1e-12)


def test_rows_that_move_apart_are_degenerate():
    """y >= x0 and y >= x1 at x0 = x1: y* = max(x0, x1)."""
    z = cp.Variable(2)
    problem = rb.from_cvxpy(
        cp.Problem(cp.Minimize(y + 0 * cp.sum(z))), cp.Problem(cp.Minimize(y**2), [y >= z[0], y >= z[1]]), [y], upper_variables=[z]
    )
    assert rb.hypergradient(problem, [1.0, 1.0]).status is Status.DEGENERATE
    np.testing.assert_allclose(rb.hypergradient(problem, [1.0, 1.1]).gradient, [0, 1], atol=1e-12)


@pytest.mark.parametrize("lower", [cp.Minimize(-cp.log(y) + 0 * x), cp.Minimize(cp.exp(y) + 0 * x)], ids=["log", "exp"])
def test_unattained_minimum_is_not_a_success(lower):
    """The solver says Solved; the residual or the adjoint says otherwise."""
    problem = rb.from_cvxpy(UPPER, cp.Problem(lower), [y], upper_variables=[x])
    assert not rb.hypergradient(problem, [0.0]).success


def test_separable_logistic_regression_is_not_a_success():
    r = np.random.default_rng(0)
    X = r.standard_normal((10, 2))
    t, w = np.sign(X[:, 0]), cp.Variable(2)
    lower = cp.Problem(cp.Minimize(cp.sum(cp.logistic(-cp.multiply(t, X @ w) + 0 * x))))
    problem = rb.from_cvxpy(cp.Problem(cp.Minimize(cp.sum_squares(w))), lower, [w], upper_variables=[x])
    assert not rb.hypergradient(problem, [0.0]).success


def test_saturated_logistic_is_exact():
    """log(1 + e^{y - x}) at y - x = 59: the curvature e^-59 is lost in 1, and no false alarm is raised."""
    problem = rb.from_cvxpy(UPPER, cp.Problem(cp.Minimize(cp.logistic(y - x) + (y - 60) ** 2 / 2)), [y])
    result = rb.hypergradient(problem, [0.0])
    assert result.success
    assert result.lower.y[0] == pytest.approx(59.0, abs=1e-12)
    assert abs(result.gradient[0]) <= 1e-13


def test_not_finite_parameter():
    problem = rb.from_cvxpy(cp.Problem(cp.Minimize(y**2)), cp.Problem(cp.Minimize((y - 1 / x) ** 2 / 2)), [y], upper_variables=[x])
    assert rb.hypergradient(problem, [0.0]).status is Status.NONFINITE
    assert rb.hypergradient(problem, [2.0]).gradient[0] == pytest.approx(-2 * 0.5 / 4, rel=1e-13)


def test_strict_raises_the_status():
    with pytest.raises(rb.errors.Degenerate, match="weakly active"):
        rb.hypergradient(CASES["weakly_active"][0], [0.0], strict=True)


def test_a_problem_survives_pickling():
    problem = pickle.loads(pickle.dumps(CASES["weakly_active"][0]))
    assert rb.hypergradient(problem, [0.7]).gradient == pytest.approx([-0.3])


def test_a_lower_solution_survives_pickling():
    """The factored system is dropped and made again."""
    problem = CASES["weakly_active"][0]
    lower = rb.solve_lower(problem, [0.7])
    again = pickle.loads(pickle.dumps(lower))
    np.testing.assert_array_equal(again.y, lower.y)
    assert problem.solution_map.vjp(np.array([0.7]), again, np.ones(1)) == pytest.approx([1.0])


def test_nothing_is_remembered_between_solves():
    """Two orders of visiting the same points give bitwise the same answers."""
    problem = CASES["weakly_active"][0]
    there = [rb.hypergradient(problem, [t]).gradient[0] for t in (0.3, -0.4, 1.7)]
    back = [rb.hypergradient(problem, [t]).gradient[0] for t in (1.7, -0.4, 0.3)]
    assert there == back[::-1]

"""Newton and the first-order dynamics: to rounding on convex problems, a status on the others."""

import numpy as np
import pytest

import refbilevel as rb
from refbilevel.errors import ArgumentError, ShapeError, UnknownOption
from refbilevel.lower import SOLVERS

from examples import quadratic, quartic

X = np.array([0.4, -0.3])


@pytest.mark.parametrize("kind", ["dense", "sparse", "operator"])
@pytest.mark.parametrize("condition", [1e0, 1e4, 1e8])
def test_newton_reaches_rounding(kind, condition):
    problem, _ = quadratic(2, 6, condition, kind=kind)
    lower = rb.solve_lower(problem, X)
    H, r = quadratic(2, 6, condition)[0].g_yy(X, None), problem.g_y(X, np.zeros(6))
    exact = np.linalg.solve(H, -r)
    assert lower.success
    assert np.linalg.norm(lower.y - exact) <= 1e-14 * condition * np.linalg.norm(exact) + 1e-14


@pytest.mark.parametrize("method", [s.name for s in SOLVERS.values() if "smooth" in s.classes])
def test_every_smooth_solver_agrees(method):
    problem = quartic()
    y = rb.solve_lower(problem, X).y
    other = rb.solve_lower(problem, X, method, tol=1e-12)
    assert other.success and np.linalg.norm(other.y - y) < 1e-10


def test_newton_globalises():
    """g = sqrt(1 + y^2): plain Newton diverges from |y| > 1."""
    problem = rb.BilevelProblem(
        n=1, m=1, g=lambda x, y: np.sqrt(1 + y[0] ** 2), g_y=lambda x, y: y / np.sqrt(1 + y**2), g_yy=lambda x, y: np.diag((1 + y**2) ** -1.5)
    )
    lower = rb.solve_lower(problem, [0.0], y0=[20.0])
    assert lower.success and abs(lower.y[0]) < 1e-12


def test_infinite_objective_outside_the_domain_backtracks():
    problem = rb.BilevelProblem(
        n=1, m=1, g=lambda x, y: y[0] - np.log(y[0]) if y[0] > 0 else np.inf, g_y=lambda x, y: 1 - 1 / y, g_yy=lambda x, y: np.diag(y**-2.0)
    )
    lower = rb.solve_lower(problem, [0.0], y0=[5.0])
    assert lower.success and abs(lower.y[0] - 1) < 1e-12


def test_maxiter_and_divergence_are_statuses():
    problem = quartic()
    assert rb.solve_lower(problem, X, maxiter=1, tol=1e-14).status == "lower_maxiter"
    assert rb.solve_lower(problem, X, "gradient_descent", step=5.0).status == "diverged"
    assert rb.solve_lower(quartic(2, 7), X, tol=1e-30).status == "lower_stalled"


def test_trajectory_is_kept():
    lower = rb.solve_lower(quartic(), X, "gradient_descent", step=0.2, tol=1e-3, keep=True)
    np.testing.assert_array_equal(lower.trajectory[-1], lower.y)
    assert len(lower.trajectory) == lower.iterations + 1


def test_gradient_descent_contracts_at_its_rate():
    problem, _ = quadratic(2, 4, 10.0)
    lower = rb.solve_lower(problem, X, "gradient_descent", step=1.0, tol=1e-9, keep=True)
    y = rb.solve_lower(problem, X).y
    errors = np.linalg.norm(lower.trajectory - y, axis=1)
    assert errors[-1] / errors[-2] == pytest.approx(0.9, abs=1e-3)  # 1 - step * mu


def test_own_solver_is_measured_not_believed():
    problem, _ = quadratic(2, 3)
    lying = rb.problem.replace(problem, lower_solver=lambda x, y0, tol: np.ones(3))
    assert rb.solve_lower(lying, X).status == "lower_stalled"
    H, b = problem.g_yy(X, None), -problem.g_y(X, np.zeros(3))
    assert rb.solve_lower(rb.problem.replace(problem, lower_solver=lambda x, y0, tol: np.linalg.solve(H, b)), X).success


def test_wrong_arguments():
    problem = quartic()
    with pytest.raises(UnknownOption, match="newton"):
        rb.solve_lower(problem, X, "newtn")
    with pytest.raises(UnknownOption, match="step"):
        rb.solve_lower(problem, X, "gradient_descent", stepp=1.0)
    with pytest.raises(ShapeError, match="y0"):
        rb.solve_lower(problem, X, y0=[1.0])
    with pytest.raises(ArgumentError, match="maxiter"):
        rb.solve_lower(problem, X, maxiter=-1)
    with pytest.raises(ArgumentError, match="step"):
        rb.solve_lower(problem, X, "gradient_descent", step=-1.0)


def test_all_directions_at_once_cost_no_product():
    from refbilevel.lower.step_maps import _along

    g_xy, dX = np.arange(6.0).reshape(2, 3), np.array([[1.0, 2.0], [0.0, 1.0]])
    assert np.shares_memory(_along(g_xy, np.eye(2)), g_xy)
    np.testing.assert_array_equal(_along(g_xy, dX), g_xy.T @ dX)
    np.testing.assert_array_equal(_along(g_xy[:1], np.eye(1)), g_xy[:1].T)

"""minimize with L-BFGS-B: closed-form optima, bounds, callback, statuses."""

import numpy as np
import pytest

import refbilevel as rb
from refbilevel.errors import ArgumentError, ShapeError, StatusError, UnknownOption
from refbilevel.outer import METHODS
from refbilevel.outer.objective import Objective

from examples import quartic, spd


def projection(n=3, m=5, rho=0.1):
    """y* = M x, F = |M x - d|^2/2 + rho |x|^2/2; x* = (M'M + rho I)^-1 M'd."""
    rng = np.random.default_rng(0)
    H, B, d = spd(m, 10.0), rng.standard_normal((m, n)), rng.standard_normal(m)
    M = np.linalg.solve(H, B)
    problem = rb.BilevelProblem(
        n=n, m=m, f=lambda x, y: 0.5 * (y - d) @ (y - d) + 0.5 * rho * x @ x, f_x=lambda x, y: rho * x, f_y=lambda x, y: y - d,
        g=lambda x, y: 0.5 * y @ H @ y - y @ B @ x, g_y=lambda x, y: H @ y - B @ x, g_yy=lambda x, y: H, g_xy=lambda x, y: -B.T,
    )  # fmt: skip
    return problem, np.linalg.solve(M.T @ M + rho * np.eye(n), M.T @ d)


def test_closed_form_optimum():
    problem, optimum = projection()
    result = rb.minimize(problem, np.zeros(3), tol=1e-10)
    assert result.success and result.status == "converged"
    np.testing.assert_allclose(result.x, optimum, rtol=1e-9)
    assert result.projected_norm <= 1e-10 and result.error_estimate < 1e-12
    assert result.nit == len(result.history) - 1 and result.nfev >= result.nit
    np.testing.assert_allclose(result.y, rb.solve_lower(problem, result.x).y)


def test_bounds_hold_and_stationarity_is_projected():
    problem, optimum = projection()
    hi = np.full(3, 10.0)
    hi[0] = optimum[0] - 0.1
    result = rb.minimize(problem, np.zeros(3), bounds=(-10.0, hi))
    assert result.success and result.x[0] == pytest.approx(hi[0]) and (result.x <= hi).all()
    assert result.jac[0] < 0


def test_callback_can_stop_and_keeps_the_best():
    problem, _ = projection()
    seen = []

    def callback(intermediate_result):
        seen.append(intermediate_result.fun)
        return len(seen) == 3

    result = rb.minimize(problem, np.ones(3), callback=callback)
    assert result.status == "stopped" and not result.success
    assert result.fun == pytest.approx(seen[-1])


def test_interrupt_keeps_the_partial_result():
    problem, _ = projection()

    def callback(intermediate_result):
        raise KeyboardInterrupt

    assert rb.minimize(problem, np.ones(3), callback=callback).status == "stopped"


def test_maxiter_is_a_status_and_strict_raises():
    problem = quartic()
    assert rb.minimize(problem, np.ones(2), maxiter=1).status == "maxiter"
    with pytest.raises(StatusError):
        rb.minimize(problem, np.ones(2), maxiter=1, strict=True)


def test_progress_writes_to_standard_error_only(capsys):
    problem, _ = projection()
    rb.minimize(problem, np.zeros(3), progress=True)
    out, err = capsys.readouterr()
    assert out == "" and "F = " in err


def test_wrong_arguments():
    problem, _ = projection()
    with pytest.raises(UnknownOption, match="lbfgs"):
        rb.minimize(problem, np.zeros(3), method="lbfg")
    with pytest.raises(UnknownOption, match="memory"):
        rb.minimize(problem, np.zeros(3), method="lbfgs", memmory=3)
    with pytest.raises(ShapeError, match="x0"):
        rb.minimize(problem, np.zeros(2))
    with pytest.raises(ArgumentError, match="tol"):
        rb.minimize(problem, np.zeros(3), tol=0)


def test_coupling_constraints_through_the_solution_map():
    """min |M x - d|^2/2 + .. s.t. y_0 + y_1 <= s, y = M x: the optimum by eliminating y."""
    from scipy.optimize import LinearConstraint
    from scipy.optimize import minimize as scipy_minimize

    problem, optimum = projection()
    M = rb.solve_lower(problem, [1.0, 0, 0]).y, rb.solve_lower(problem, [0, 1.0, 0]).y, rb.solve_lower(problem, [0, 0, 1.0]).y
    M = np.array(M).T
    row = M[0] + M[1]
    s = row @ optimum - 0.5
    coupled = rb.problem.replace(
        problem,
        upper_constraints=rb.UpperConstraints(
            G=lambda x, y: np.array([y[0] + y[1] - s]), G_x=lambda x, y: np.zeros((1, 3)), G_y=lambda x, y: np.array([[1.0, 1, 0, 0, 0]])
        ),
    )
    result = rb.minimize(coupled, np.zeros(3))
    assert result.success and result.method == "slsqp"
    by_hand = scipy_minimize(lambda x: problem.f(x, M @ x), np.zeros(3), constraints=LinearConstraint(row, -np.inf, s), tol=1e-14)
    np.testing.assert_allclose(result.x, by_hand.x, atol=1e-6)
    assert result.y[0] + result.y[1] == pytest.approx(s, abs=1e-8)
    with pytest.raises(ArgumentError, match="slsqp"):
        rb.minimize(coupled, np.zeros(3), method="lbfgs")


def entropy():
    """g = sum y log y - y'(1 + Bx), defined for y > 0 alone: y* = exp(Bx); F = |y - d|^2/2 has its minimum where Bx = log d."""
    B, d = np.array([[1.0, 0.5], [-0.3, 0.8]]), np.array([2.0, 0.5])
    problem = rb.BilevelProblem(
        n=2, m=2, f=lambda x, y: 0.5 * (y - d) @ (y - d), f_x=lambda x, y: np.zeros(2), f_y=lambda x, y: y - d,
        g=lambda x, y: y @ np.log(y) - y @ (1 + B @ x), g_x=lambda x, y: -B.T @ y, g_y=lambda x, y: np.log(y) - B @ x,
        g_yy=lambda x, y: np.diag(1 / y), g_xy=lambda x, y: -B.T,
    )  # fmt: skip
    return problem, np.linalg.solve(B, np.log(d))


@pytest.mark.parametrize("method", ["auto", "hoag", "f2sa"])
@pytest.mark.parametrize("given", [np.ones(2), rb.LowerSolution(y=np.array([2.0, 1.0]))])
def test_a_lower_level_that_is_not_defined_at_zero_is_started_elsewhere(method, given):
    problem, optimum = entropy()
    loose = 1e-2 if method == "f2sa" else 1e-6  # its penalty weight is finite
    with np.errstate(all="ignore"):
        refused = rb.minimize(problem, [0.1, 0.1], method)
        result = rb.minimize(problem, [0.1, 0.1], method, y0=given)
        several = rb.minimize(problem, [0.1, 0.1], method, y0=given, starts=2, bounds=(-3, 3))
    assert refused.status is (rb.Status.DIVERGED if method == "f2sa" else rb.Status.NONFINITE), refused.message
    assert method == "f2sa" or result.success and several.success, result.message
    np.testing.assert_allclose(result.x, optimum, atol=loose)
    np.testing.assert_allclose(several.x, optimum, atol=loose)


def test_a_start_of_the_wrong_length_is_refused():
    with pytest.raises(ShapeError, match="y0"):
        rb.minimize(entropy()[0], [0.1, 0.1], y0=[1.0])


def test_lower_tolerances_tighten_with_the_hypergradient_and_end_at_rounding():
    (problem, optimum), asked = projection(), []

    def solver(x, y0, tol):
        asked.append(tol)
        return rb.solve_lower(problem, x, y0=y0, tol=tol)

    objective = Objective(rb.problem.replace(problem, lower_solver=solver))
    outcome = METHODS["lbfgs"].run(objective, np.ones(3))
    loose = [tol for tol in asked if tol is not None]
    assert outcome.status.success and np.abs(outcome.x - optimum).max() <= 1e-7
    assert max(loose) == loose[0] and loose[-1] <= 1e-4 * loose[0], "they follow the projected hypergradient down"
    assert asked == [None, *loose, None], "the first point and the last one are solved to rounding"

"""ConvexProgram: derivatives in all Parameters, the Frobenius convention, and independence of hidden state."""

import cvxpy as cp
import numpy as np
import pytest

import refbilevel as rb
from refbilevel.frontends.cvxpy_ import doubled_off_diagonals


def quadratic():
    """min |y - S a|^2: the gradient in S of c'y is sym(c a')."""
    r = np.random.default_rng(0)
    a, c, S0 = r.standard_normal(3), r.standard_normal(3), r.standard_normal((3, 3))
    S, t, y = cp.Parameter((3, 3), symmetric=True, value=S0 + S0.T), cp.Parameter(nonneg=True, value=0.7), cp.Variable(3)
    problem = cp.Problem(cp.Minimize(cp.sum_squares(y - S @ a) + t * cp.sum(y)))
    return problem, S, t, y, a, c


def test_frobenius_gradient_and_cvxpys_own():
    problem, S, t, y, a, c = quadratic()
    solution = rb.ConvexProgram(problem).solve()
    np.testing.assert_allclose(solution.values[y], S.value @ a - 0.35, atol=1e-14)
    bars = solution.vjp({y: c})
    exact = 0.5 * (np.outer(c, a) + np.outer(a, c))
    np.testing.assert_allclose(bars[S], exact, atol=1e-14)
    assert bars[t] == pytest.approx(-0.5 * c.sum(), rel=1e-14)
    np.testing.assert_allclose(doubled_off_diagonals(bars[S]), np.outer(c, a) + np.outer(a, c) - np.diag(c * a), atol=1e-14)


def test_jvp_is_the_transpose():
    problem, S, t, y, a, c = quadratic()
    solution, D = rb.ConvexProgram(problem).solve(), np.arange(9.0).reshape(3, 3)
    D = D + D.T
    bars, dy = solution.vjp({y: c}), solution.jvp({S: D, t: 0.3})[y]
    np.testing.assert_allclose(dy, D @ a - 0.15, atol=1e-13)
    assert np.sum(bars[S] * D) + 0.3 * bars[t] == pytest.approx(c @ dy, rel=1e-13)


def test_values_can_be_given():
    problem, S, t, y, a, c = quadratic()
    program = rb.ConvexProgram(problem, parameters=[t])
    assert program.solve({t: 0.0}).values[y] == pytest.approx(S.value @ a)
    assert t.value == 0.7 and y.value is None
    with pytest.raises(rb.errors.ArgumentError, match="not a parameter"):
        program.solve({S: np.eye(3)})
    with pytest.raises(rb.errors.ShapeError, match=r"must have shape \(3,\)"):
        program.solve().vjp({y: np.ones(2)})


def test_status_and_adjoint_record():
    y, t = cp.Variable(), cp.Parameter(value=-1.0)
    solution = rb.ConvexProgram(cp.Problem(cp.Minimize(t * y), [y >= 0])).solve()
    assert solution.status is rb.Status.LOWER_UNBOUNDED and not solution.success
    bars, record = solution.adjoint({y: 1.0})
    assert np.isnan(bars[t]) and record.status is rb.Status.LOWER_UNBOUNDED
    solution = rb.ConvexProgram(cp.Problem(cp.Minimize((y - t) ** 2), [y >= 0])).solve({t: 0.0})
    assert solution.adjoint({y: 1.0})[1].status is rb.Status.DEGENERATE


def test_no_parameters():
    with pytest.raises(rb.errors.ArgumentError, match="no cvxpy.Parameters"):
        rb.ConvexProgram(cp.Problem(cp.Minimize(cp.Variable() ** 2)))

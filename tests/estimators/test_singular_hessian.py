"""A singular or indefinite lower Hessian: the status says whether a hypergradient is defined; never a silent number."""

import numpy as np
import pytest
from examples import WRAP, spd

import refbilevel as rb
from refbilevel.linear.singular import minimum_norm
from refbilevel.problem import replace
from refbilevel.results import Status

LINEAR = ("auto", "lu", "ldl", "cg", "minres", "minimum_norm")
N, M, RANK = 2, 6, 4
rng = np.random.default_rng(0)
Q, _ = np.linalg.qr(rng.standard_normal((M, M)))
H = (Q[:, :RANK] * [1.0, 2.0, 0.5, 3.0]) @ Q[:, :RANK].T
INSIDE, OUTSIDE = Q[:, :RANK], Q[:, RANK:]
B_IN, C_IN = INSIDE @ rng.standard_normal((RANK, N)), INSIDE @ rng.standard_normal(RANK)
X = np.array([0.4, -0.7])


def flat(kind, B=B_IN, c=C_IN, H=H):
    """g = y'Hy/2 - y'Bx, f = c'y, with any y that solves g_y = 0 as lower solution."""
    return rb.BilevelProblem(
        n=N, m=M,
        f=lambda x, y: c @ y, f_x=lambda x, y: np.zeros(N), f_y=lambda x, y: c,
        g=lambda x, y: 0.5 * y @ H @ y - y @ B @ x, g_x=lambda x, y: -B.T @ y, g_y=lambda x, y: H @ y - B @ x,
        g_yy=lambda x, y: WRAP[kind](H), g_xy=lambda x, y: WRAP[kind](-B.T),
    )  # fmt: skip


def at(problem, B, linear):
    y = np.linalg.pinv(H) @ (B @ X) + OUTSIDE @ np.array([0.3, 0.2])
    return rb.hypergradient(problem, X, linear=linear, lower=y)


@pytest.mark.parametrize("kind", WRAP)
@pytest.mark.parametrize("linear", LINEAR)
def test_defined_where_both_lie_in_the_range(kind, linear):
    """f is constant over the lower solutions, so F = c' H^+ B x has a gradient though y* is not unique."""
    result = at(flat(kind), B_IN, linear)
    assert result.status is Status.MINIMUM_NORM and not result.success
    np.testing.assert_allclose(result.gradient, B_IN.T @ np.linalg.pinv(H) @ C_IN, rtol=1e-10)
    np.testing.assert_allclose(result.adjoint, np.linalg.pinv(H) @ C_IN, atol=1e-10)


@pytest.mark.parametrize("kind", WRAP)
@pytest.mark.parametrize("linear", LINEAR)
def test_undefined_where_f_y_or_g_xy_leaves_the_range(kind, linear):
    out = flat(kind, c=C_IN + 0.1 * OUTSIDE[:, 0])
    assert at(out, B_IN, linear).status is Status.UNDEFINED
    bent = B_IN + 0.1 * OUTSIDE
    assert at(flat(kind, B=bent), bent, linear).status is Status.UNDEFINED


@pytest.mark.parametrize("kind", WRAP)
@pytest.mark.parametrize("linear", ["auto", "cholesky", "lu", "ldl", "sparse_lu", "cg", "minres", "gmres", "minimum_norm"])
def test_a_saddle_is_said_even_where_f_y_does_not_excite_it(kind, linear):
    saddle = H + 5 * INSIDE[:, :1] @ INSIDE[:, :1].T + OUTSIDE @ np.diag([1.0, -0.5]) @ OUTSIDE.T
    problem = flat(kind, c=INSIDE[:, 0], H=saddle)
    result = rb.hypergradient(problem, X, linear=linear, lower=np.linalg.solve(saddle, B_IN @ X))
    assert result.status is Status.NOT_A_MINIMUM


def test_without_the_probe_a_krylov_method_cannot_see_it():
    """The probe is what finds it: removed, the saddle passes."""
    saddle = H + OUTSIDE @ np.diag([1.0, -0.5]) @ OUTSIDE.T
    problem = flat("operator", c=INSIDE[:, 0], H=saddle)
    lower = np.linalg.solve(saddle, B_IN @ X)
    assert rb.hypergradient(problem, X, linear="cg", lower=lower, probe=False).success
    assert not rb.hypergradient(problem, X, linear="cg", lower=lower).success


@pytest.mark.parametrize("kind", WRAP)
def test_regular_problems_are_left_alone(kind):
    A = spd(M, 1e6)
    problem = flat(kind, H=A)
    for linear in LINEAR:
        result = rb.hypergradient(problem, X, linear=linear)
        assert result.success, (linear, result.message)
        np.testing.assert_allclose(result.gradient, B_IN.T @ np.linalg.solve(A, C_IN), rtol=1e-8)


def test_minimum_norm_of_large_operators_agrees_with_the_eigenvalues(monkeypatch):
    monkeypatch.setattr("refbilevel.linear.singular.EIGEN_LIMIT", 3)
    for b, status in ((C_IN, Status.MINIMUM_NORM), (C_IN + OUTSIDE[:, 0], Status.UNDEFINED)):
        found = minimum_norm(WRAP["operator"](H), b)
        assert found.status is status
        np.testing.assert_allclose(found.x, np.linalg.pinv(H) @ b, atol=1e-9)


def test_nan_is_nonfinite():
    broken = replace(flat("dense"), g_yy=lambda x, y: H * np.nan)
    for linear in LINEAR:
        assert rb.hypergradient(broken, X, linear=linear, lower=np.zeros(M)).status is Status.NONFINITE

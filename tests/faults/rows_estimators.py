"""Rows 56-67: adjoint solves and estimators whose options or problems go wrong."""

import tracemalloc

import numpy as np
import pytest

import refbilevel as rb
from refbilevel.errors import ArgumentError, UnknownOption

from examples import quadratic, quartic

from .record import row
from .rows_arguments import X3


@row(56, "f does not depend on y")
def _():
    problem, _ = quadratic(kind="operator")
    free = rb.problem.replace(problem, f_y=lambda x, y: np.zeros(5))
    for linear in ("cg", "minres", "gmres", "bicgstab", "lsmr", "cg_normal"):
        with np.errstate(all="raise", under="ignore"):
            h = rb.hypergradient(free, X3, linear=linear)
        assert h.success and not h.adjoint.any(), linear
        np.testing.assert_array_equal(h.gradient, h.direct)


@row(57, "conjugate gradients meet negative curvature")
def _():
    problem, _ = quadratic()
    H = problem.g_yy(X3, np.zeros(5)) - 0.3 * np.eye(5)
    bent = rb.problem.replace(problem, g_yy=lambda x, y: H)
    h = rb.hypergradient(bent, X3, lower=np.ones(5), linear="cg")
    assert h.status == "not_a_minimum" and not h.success


@row(58, "the iteration limit of a Krylov method")
def _():
    problem, _ = quadratic(condition=1e4)
    for linear in ("cg", "minres", "gmres"):
        h = rb.hypergradient(problem, X3, linear=linear, maxiter=1)
        assert h.status == "linear_maxiter" and not h.success, linear
        H, f_y = problem.g_yy(X3, h.lower.y), problem.f_y(X3, h.lower.y)
        np.testing.assert_allclose(h.linear.residual, np.linalg.norm(f_y - H @ h.adjoint) / np.linalg.norm(f_y), rtol=1e-6)
        assert h.error_estimate > 0


@row(59, "a Neumann series whose step is too long")
def _():
    problem, _ = quadratic()
    h = rb.hypergradient(problem, X3, method="neumann", K=400, step=2.2)
    assert h.status == "diverged" and not h.success
    assert h.cost.get("matvecs", 0) < 400 or not np.isfinite(h.gradient).all()
    assert rb.hypergradient(problem, X3, method="neumann", K=400, step=1.0).success


@row(60, "unrolled steps that are too long")
def _():
    problem, _ = quadratic()
    for method in ("reverse", "forward", "truncated", "checkpointed"):
        h = rb.hypergradient(problem, X3, method=method, K=40, step=2.2)
        assert h.status == "diverged" and not h.success, method
    assert rb.solve_lower(problem, X3, "gradient_descent", step=2.2).status == "diverged"


@row(61, "a nudge below the noise")
def _():
    problem = quartic()
    h = rb.hypergradient(problem, [0.4, -0.3], method="equilibrium", beta=1e-13)
    assert h.status == "cancellation" and "uggested beta" in h.message
    better = rb.hypergradient(problem, [0.4, -0.3], method="equilibrium", beta=h.extra["suggested_beta"])
    truth = rb.hypergradient(problem, [0.4, -0.3]).gradient
    assert better.success and np.linalg.norm(better.gradient - truth) < 1e-2 * np.linalg.norm(h.gradient - truth)
    with pytest.raises(ArgumentError, match="beta"):
        rb.hypergradient(problem, [0.4, -0.3], method="equilibrium", beta=0.0)


@row(62, "a nudge out of convexity")
def _():
    problem, _ = quadratic(condition=10.0)  # f_yy = I, mu = 0.1
    h = rb.hypergradient(problem, X3, method="equilibrium", beta=-0.5, phases="one_sided")
    assert h.status == "nudge_too_large" and not h.success and "smaller beta" in h.message


@row(63, "a penalty weight that drowns the answer")
def _():
    problem = quartic()
    h = rb.hypergradient(problem, [0.4, -0.3], method="value_function", gamma=1e15)
    assert not h.success and "gamma" in h.message and "uggested" in h.message
    with np.errstate(all="ignore"):
        assert not rb.hypergradient(problem, [0.4, -0.3], method="penalty", gamma=1e300).success


@row(64, "tolerances that mean nothing")
def _():
    problem, _ = quadratic()
    for tol in (-1e-8, 0.0, np.nan, "small"):
        with pytest.raises(ArgumentError, match="tol"):
            rb.hypergradient(problem, X3, tol=tol)
    h = rb.hypergradient(problem, X3, tol=1e-300)
    assert h.status == "lower_stalled" and "rounding" in h.message or h.residual == 0


@row(65, "an unknown method")
def _():
    problem, _ = quadratic()
    for options, words in (
        ({"method": "implict"}, ("implict", "'implicit'")),
        ({"linear": "colesky"}, ("colesky", "'cholesky'")),
        ({"rtoll": 1e-3}, ("rtoll", "'rtol'")),
        ({"lower_method": "newtom"}, ("newtom", "'newton'")),
    ):
        with pytest.raises(UnknownOption) as caught:
            rb.hypergradient(problem, X3, **options)
        assert all(word in str(caught.value) for word in words)


@row(66, "no steps at all: the direct term")
def _():
    problem, _ = quadratic()
    for method in ("reverse", "forward", "truncated", "checkpointed"):
        h = rb.hypergradient(problem, X3, method=method, K=0, step=0.5)
        np.testing.assert_array_equal(h.gradient, problem.f_x(X3, np.zeros(5)))


@row(67, "trajectories that do not fit")
def _():
    problem, _ = quadratic()
    calls = []
    watched = rb.problem.replace(problem, f_y=lambda x, y: calls.append(1) or problem.f_y(x, y))
    tracemalloc.start()
    for method in ("reverse", "truncated"):
        with pytest.raises(ArgumentError, match="memory"):
            rb.hypergradient(watched, X3, method=method, K=30_000, step=0.5, **({"window": 30_000} if method == "truncated" else {}), memory=10**5)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert not calls and peak < 10**6

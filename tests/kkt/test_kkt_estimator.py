"""The kkt estimator and sensitivities against finite differences of re-solved problems, chosen solutions, and extended precision."""

from dataclasses import replace
from fractions import Fraction

import mpmath
import numpy as np
import pytest
from constrained_examples import KINDS, affine, constrained, difference
from hypothesis import given
from hypothesis import strategies as st

import refbilevel as rb
from refbilevel import kkt
from refbilevel.errors import ArgumentError, MissingDerivative, UnknownOption
from refbilevel.kkt_sensitivity import kkt_sensitivity

SHAPES = st.tuples(st.integers(1, 4), st.integers(2, 7), st.integers(0, 10**6))


def relative(a, b):
    return np.abs(a - b).max(initial=0.0) / max(1.0, np.abs(b).max(initial=0.0))


@given(kind=st.sampled_from(KINDS), shape=SHAPES, container=st.sampled_from(["dense", "sparse", "operator"]))
def test_hypergradient_is_the_derivative_of_the_re_solved_problem(kind, shape, container):
    """Explicit, sparse and matrix-free, lower solve included."""
    n, m, seed = shape
    e = constrained(kind, n, m, seed, container=container)
    result = rb.hypergradient(e.problem, e.x)
    assert result.success and result.method == "kkt", result.message
    assert relative(result.lower.y, e.y) < 1e-11 and relative(result.lower.mu, e.mu) < 1e-10 and relative(result.lower.nu, e.nu) < 1e-10
    assert np.array_equal(result.lower.active, e.active)
    assert relative(result.gradient, difference(e.problem, e.x)[0]) < 1e-8


@given(kind=st.sampled_from(KINDS), shape=SHAPES)
def test_sensitivities_of_y_mu_and_nu(kind, shape):
    n, m, seed = shape
    e = constrained(kind, n, m, seed)
    s = kkt_sensitivity(e.problem, e.x)
    numeric = difference(e.problem, e.x, of=lambda x, low: np.concatenate([low.y, low.mu, low.nu]))
    exact = np.vstack([s.dy_dx, s.dmu_dx, s.dnu_dx])
    assert relative(exact, numeric) < 1e-7
    rng = np.random.default_rng(seed)
    bars, dx = [rng.standard_normal(size) for size in (m, e.mu.size, e.nu.size)], rng.standard_normal(n)
    np.testing.assert_allclose(s.vjp(*bars), np.concatenate(bars) @ exact, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(np.concatenate(s.jvp(dx)), exact @ dx, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("linear", ["ldl", "lu", "schur", "minres", "gmres"])
def test_every_linear_method_gives_the_same_gradient(kind, linear):
    e = constrained(kind, 3, 6, 5)
    reference = rb.hypergradient(e.problem, e.x).gradient
    result = rb.hypergradient(e.problem, e.x, method="kkt", linear=linear)
    assert result.success and relative(result.gradient, reference) < 1e-10


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("container", ["sparse", "operator"])
def test_sparse_and_matrix_free(kind, container):
    """`Opaque.toarray` raises, so an answer proves that no matrix was formed from it by that door; the lower solution is given."""
    plain = constrained(kind, 3, 6, 7)
    e = constrained(kind, 3, 6, 7, container=container)
    lower = rb.solve_lower(plain.problem, plain.x)
    result = rb.hypergradient(e.problem, e.x, method="kkt", lower=lower)
    assert relative(result.gradient, rb.hypergradient(plain.problem, plain.x).gradient) < 1e-9
    s = kkt_sensitivity(e.problem, e.x, lower=lower)
    assert relative(s.dy_dx, kkt_sensitivity(plain.problem, plain.x).dy_dx) < 1e-8


@pytest.mark.parametrize("linear", ["cg", "cholesky", "fixed_point", "neumann"])
def test_definite_methods_are_refused_on_the_indefinite_matrix(linear):
    e = constrained()
    with pytest.raises(ArgumentError, match="indefinite"):
        rb.hypergradient(e.problem, e.x, linear=linear)


def test_unknown_linear_method_lists_the_close_ones():
    e = constrained()
    with pytest.raises(UnknownOption, match="minres"):
        rb.hypergradient(e.problem, e.x, linear="minress")


@pytest.mark.parametrize("margin", [1e-2, 1e-4, 1e-6, 1e-8])
def test_exact_down_to_a_margin_of_1e_8(margin):
    """One multiplier and one slack equal to the margin: the gradient keeps its digits."""
    e = constrained("inequality", 3, 20, 11, margin=margin, quartic=False)
    result = rb.hypergradient(e.problem, e.x)
    S = kkt.build(e.problem, e.x, e.y, e.mu, e.nu, np.flatnonzero(e.active))
    mpmath.mp.dps = 40
    w = mpmath.lu_solve(mpmath.matrix(S.matrix().tolist()), mpmath.matrix(S.rhs(e.problem.f_y(e.x, e.y)).tolist()))
    truth = e.problem.f_x(e.x, e.y) - S.N_transpose(np.array([float(v) for v in w]))
    assert result.success and np.array_equal(result.lower.active, e.active)
    assert relative(result.gradient, truth) < 1e-12


@pytest.mark.parametrize("kind", KINDS)
def test_envelope_gradient(kind):
    e = constrained(kind, 3, 5, 3)
    numeric = difference(e.problem, e.x, of=lambda x, low: np.atleast_1d(e.problem.g(x, low.y)))[0]
    assert relative(rb.envelope_gradient(e.problem, e.x), numeric) < 1e-8


def test_envelope_gradient_without_constraints():
    e = constrained("inequality", 2, 4, 3)
    free = rb.problem.replace(e.problem, constraints=None)
    numeric = difference(free, e.x, of=lambda x, low: np.atleast_1d(free.g(x, low.y)))[0]
    assert relative(rb.envelope_gradient(free, e.x), numeric) < 1e-8


def test_no_active_row_is_bit_for_bit_the_unconstrained_gradient():
    e = constrained("inequality", 3, 5, 2, held=0)
    lower = rb.solve_lower(e.problem, e.x)
    free = rb.problem.replace(e.problem, constraints=None)
    assert not lower.active.any()
    assert np.array_equal(rb.hypergradient(e.problem, e.x, lower=lower).gradient, rb.hypergradient(free, e.x, lower=lower.y).gradient)


def test_vertex_the_hessian_does_not_matter():
    e = affine(1, 2, np.eye(2), [-5.0, -5.0], [[0.7, 0.2]], np.eye(2), [1.0, 1.0], [[1.0], [2.0]])
    steep = rb.problem.replace(e, g_yy=lambda x, y: np.diag([3.0, 9.0]))
    lower = rb.solve_lower(e, [0.1])
    np.testing.assert_allclose(rb.hypergradient(e, [0.1]).gradient, rb.hypergradient(steep, [0.1], lower=lower).gradient, rtol=1e-14)
    np.testing.assert_allclose(rb.hypergradient(e, [0.1]).gradient, [0.1 * 1 + 0.2 * 2], rtol=1e-13)


def test_singular_hessian_with_a_regular_kkt_matrix():
    """The bias of a support vector machine: L_yy = diag(1, 1, 0, e^c) is singular, K is not."""
    rng = np.random.default_rng(0)
    N, d = 12, 2
    Z, labels = rng.standard_normal((N, d)), np.where(rng.random(N) < 0.5, -1.0, 1.0)
    m = d + 1 + N
    G = -np.hstack([labels[:, None] * Z, labels[:, None], np.eye(N)])
    weights = lambda x: np.concatenate([np.ones(d), [0.0], np.exp(x)])
    target = rng.standard_normal(m)
    problem = rb.BilevelProblem(
        n=N, m=m, f=lambda x, y: 0.5 * (y - target) @ (y - target), f_x=lambda x, y: np.zeros(N), f_y=lambda x, y: y - target,
        g=lambda x, y: 0.5 * weights(x) @ y**2, g_y=lambda x, y: weights(x) * y, g_yy=lambda x, y: np.diag(weights(x)),
        g_xy=lambda x, y: np.hstack([np.zeros((N, d + 1)), np.diag(np.exp(x) * y[d + 1 :])]), g_x=lambda x, y: 0.5 * np.exp(x) * y[d + 1 :] ** 2,
        constraints=rb.Constraints(p=lambda x, y: G @ y + 1, p_x=lambda x, y: np.zeros((N, N)), p_y=lambda x, y: G, linear=True),
    )  # fmt: skip
    x = rng.standard_normal(N)
    result = rb.hypergradient(problem, x)
    assert result.success, result.message
    assert relative(result.gradient, difference(problem, x)[0]) < 1e-8


def test_inertia_counts_the_active_rows():
    e = constrained("mixed", 3, 7, 1)
    local = kkt.analyse(e.problem, e.x, rb.solve_lower(e.problem, e.x))
    r = local.system.A.shape[0]
    assert local.negative == r and local.minimum and local.independent
    assert kkt.inertia(local.system.matrix()) == (7, r, 0)


def test_curved_rows_without_their_curvature_raise():
    e = constrained("curved")
    c = e.problem.constraints
    bare = rb.problem.replace(e.problem, constraints=rb.Constraints(p=c.p, p_x=c.p_x, p_y=c.p_y))
    with pytest.raises(MissingDerivative, match="lagrangian_yy"):
        rb.hypergradient(bare, e.x)


def test_error_estimate_is_the_error_at_an_early_stop():
    e = constrained("mixed", 3, 6, 4)
    exact = rb.hypergradient(e.problem, e.x)
    rough = rb.solve_lower(e.problem, e.x)
    for size in (1e-3, 1e-5):
        from dataclasses import replace

        lower = replace(rough, y=rough.y + size * np.cos(np.arange(6.0)), mu=rough.mu * (1 + size))
        result = rb.hypergradient(e.problem, e.x, lower=lower, weak_tol=1e-9)
        error = np.linalg.norm(result.gradient - exact.gradient)
        assert error > 1e-2 * size and 0.9 < result.error_estimate / error < 1.1


def test_certified_when_the_lipschitz_constant_is_stated():
    e = constrained("inequality", 3, 5, 6, quartic=False)
    assert rb.hypergradient(e.problem, e.x).extra["active_set_certified"]
    stated = rb.problem.replace(e.problem, constants={"L_H": 0.0})
    assert rb.hypergradient(stated, e.x).status.code == "certified"


def test_given_y_alone_is_enough():
    """Multipliers are recovered by non-negative least squares."""
    e = constrained("mixed", 3, 6, 9)
    reference = rb.hypergradient(e.problem, e.x)
    assert relative(rb.hypergradient(e.problem, e.x, lower=e.y).gradient, reference.gradient) < 1e-9


METHODS = ["kkt", "gam", "constrained_equilibrium", "blocc", "constrained_penalty", "log_barrier", "kornowski_inequality", "finite_difference"]


@pytest.mark.parametrize("c", [1e-13, 1.0, 1e13])
@pytest.mark.parametrize("method", METHODS)
def test_a_bare_y_gets_the_multipliers_it_lacks(method, c):
    """As an array or as a LowerSolution that holds no more; a little off its rows too, at every scale of g."""
    e = constrained("inequality", 2, 4, 1, quartic=False)
    problem = rb.problem.replace(e.problem, **{k: (lambda x, y, o=getattr(e.problem, k): c * o(x, y)) for k in ("g", "g_x", "g_y", "g_yy", "g_xy")})
    truth = rb.hypergradient(e.problem, e.x).gradient
    for off in (0.0, 1e-7, 1e-4):
        y = e.y + off * np.cos(np.arange(4))
        for given in (y, rb.LowerSolution(y=y)):
            result = rb.hypergradient(problem, e.x, method, lower=given)
            np.testing.assert_array_equal(result.lower.active, e.active)
            error = np.linalg.norm(result.gradient - truth)
            assert not result.success or error <= 3 * result.error_estimate + 1e-9 * np.linalg.norm(truth)
            if method == "kkt":
                assert result.success and error <= 1e2 * off + 1e-9
                np.testing.assert_allclose(result.lower.mu / c, e.mu, atol=1e2 * off + 1e-9)


def test_the_error_estimate_sees_rows_that_the_newton_step_takes_up_or_lets_go():
    """The y, mu given hold a wrong set of rows: one Newton step finds the right one, and the gradients differ by all of the error."""
    seen = 0
    for seed in range(20):
        e = constrained("inequality", 2, 4, seed, quartic=False, margin=0.02)
        truth, lower = rb.hypergradient(e.problem, e.x), rb.solve_lower(e.problem, e.x)
        i = int(np.flatnonzero(~e.active)[0])  # this row is not in force; claim that it is
        claimed = replace(lower, mu=np.where(np.arange(e.mu.size) == i, 0.5, lower.mu), active=lower.active | (np.arange(e.mu.size) == i))
        result = rb.hypergradient(e.problem, e.x, lower=claimed, weak_tol=1e-9)  # or the residual makes every row look weak
        error = np.linalg.norm(result.gradient - truth.gradient)
        seen += result.success and error > 1e-3
        assert not result.success or error <= 3 * result.error_estimate + 1e-9, seed
    assert seen


def test_the_estimate_sees_rounding_that_a_short_row_magnifies():
    """y = (b - e'x) / g with g small: p is zero to the last bit, and y is wrong by the rounding of e'x over g."""
    g, e, b = 1e-3, np.array([1.7, -1.1]), 0.3
    problem = rb.BilevelProblem(
        n=2, m=1, f=lambda x, y: 0.5 * (y[0] - 1.0) ** 2, f_x=lambda x, y: np.zeros(2), f_y=lambda x, y: y - 1.0,
        g=lambda x, y: 0.5 * (y[0] - 1e4) ** 2, g_y=lambda x, y: y - 1e4, g_yy=lambda x, y: np.eye(1), g_xy=lambda x, y: np.zeros((2, 1)),
        constraints=rb.Constraints(p=lambda x, y: g * y + e @ x - b, p_x=lambda x, y: e[None], p_y=lambda x, y: np.array([[g]]), linear=True),
    )  # fmt: skip
    errors = []
    for seed in range(30):
        x = np.random.default_rng(seed).standard_normal(2)
        x[1] += (e @ x - b + g * 1.01) / -e[1]  # y* close to 1, where f_y cancels
        h = rb.hypergradient(problem, x)
        exact = [Fraction(v) for v in (*x, *e, b, g)]
        y = (exact[4] - exact[2] * exact[0] - exact[3] * exact[1]) / exact[5]
        truth = np.array([float(-exact[2 + i] / exact[5] * (y - 1)) for i in range(2)])
        error = np.linalg.norm(h.gradient - truth)
        assert h.success and error <= 2 * h.error_estimate
        errors.append(error)
    assert max(errors) > 1e-11, "nothing was magnified"

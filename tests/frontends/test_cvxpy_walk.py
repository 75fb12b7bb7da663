"""The reverse walk against sixth-order differences of CVXPY's own values, on convex expressions and others; quotients above all."""

import cvxpy as cp
import numpy as np
import pytest
from cvxpy.atoms.elementwise.hyperbolic import asinh, atanh, sinh, tanh
from cvxpy.atoms.elementwise.trig import cos, sin

from refbilevel.errors import ArgumentError
from refbilevel.frontends.cvxpy_.layout import Layout
from refbilevel.frontends.cvxpy_.walk import Walk

c, d, s = cp.Variable(4, name="c"), cp.Variable(4, name="d"), cp.Variable(name="s")
M, S = cp.Variable((4, 3), name="M"), cp.Variable((3, 3), symmetric=True, name="S")
r = np.random.default_rng(0)
A, B, v = r.standard_normal((3, 4)), r.standard_normal((3, 3)), r.standard_normal(4)

EXPRESSIONS = {
    "quotient": cp.sum_squares(d) / (1 + cp.sum_squares(c)),
    "quotient_scalar": (v @ c) / cp.sqrt(0.3 + cp.sum_squares(d)),
    "quotient_elementwise": cp.sum(M / cp.reshape(cp.hstack([c + 5, c + 6, c + 7]), (4, 3), order="F")),
    "toll": cp.sum(cp.multiply(d, 1 + 0.15 * cp.power(d / (c + 4), 4))),
    "bilinear": c @ d + s * cp.sum(c),
    "matrix_product": cp.sum(A @ M @ S),
    "vector_matrix": cp.sum(c @ M),
    "matrix_vector": cp.sum(M.T @ c),
    "outer": cp.sum(cp.multiply(cp.outer(c, d), r.standard_normal((4, 4)))),
    "power3_negative": cp.sum(cp.power(c, 3)),
    "power_minus2": cp.sum(cp.power(c + 5, -2)),
    "norm_inf": cp.norm_inf(c) + cp.norm_inf(M),
    "norm_inf_axis": cp.sum(cp.multiply(cp.norm(M, "inf", axis=0), v[:3])),
    "hyperbolic": cp.sum(tanh(c) + sinh(d) + asinh(cp.multiply(c, d))) + cp.sum(atanh(0.1 * c)),
    "indexing": M[1, 2] * c[0] + cp.sum(M[::2, 1:]) + cp.max(c[1:]),
    "stacks": cp.sum_squares(cp.vstack([c, d]) @ v) + cp.sum_squares(cp.hstack([c, d, M[:, 0]])),
    "norms": cp.norm(c, 2) + cp.norm1(d) + cp.norm(M, "fro"),
    "pnorm": cp.pnorm(c, 3),
    "nuclear_norm": cp.norm(M, "nuc"),
    "largest_singular_value": cp.sigma_max(M),
    "logarithms": cp.sum(cp.log(c + 5)) + cp.log_sum_exp(d) + cp.sum(cp.entr(c + 5)) + cp.sum(cp.logistic(d)),
    "divergence": cp.sum(cp.kl_div(c + 5, d + 6)) + cp.sum(cp.rel_entr(d + 6, c + 5)),
    "semidefinite": cp.log_det(S + 9 * np.eye(3)) + cp.lambda_max(S) + cp.trace(B @ S),
    "quadratic": cp.quad_form(c, np.eye(4) + np.outer(v, v)) + cp.quad_over_lin(d, s + 6) + cp.matrix_frac(c[:3], S + 9 * np.eye(3)),
    "piecewise": cp.sum(cp.huber(c)) + cp.sum(cp.pos(d)) + cp.sum_largest(c, 2) + cp.max(M) + cp.min(d) + cp.sum(cp.maximum(c, d)),
    "geometric": cp.geo_mean(c + 5) + cp.harmonic_mean(d + 6),
    "trigonometric": cp.sum(sin(c)) + cp.sum(cos(d)),
    "conv": cp.sum_squares(cp.convolve(v, d)),
    "kron": cp.sum_squares(cp.kron(A, M)) + cp.sum(cp.vec(M, order="C") @ np.arange(12.0)),
    "cumulative": cp.sum_squares(cp.cumsum(c)) + cp.sum_squares(cp.diff(d)) + cp.tv(c),
    "diagonal": cp.sum(cp.diag(c) @ M) + cp.sum(cp.square(cp.diag(S))) + cp.sum(cp.square(cp.upper_tri(S))),
    "shared_node": (lambda t: t * t / (1 + t) + cp.exp(t))(cp.sum_squares(c)),
    "broadcast": cp.sum(cp.multiply(s, M)) + cp.sum(s + c) + cp.sum(c * s),
    "variance": cp.var(c) + cp.std(d),
}
LAYOUT = Layout([c, d, s, M, S])


def point(seed=1):
    flat = np.random.default_rng(seed).standard_normal(LAYOUT.size)
    return LAYOUT.pack(LAYOUT.unpack(flat))


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_value_and_gradient(name):
    walk, x = Walk(EXPRESSIONS[name], LAYOUT.leaves), point()
    arrays = LAYOUT.unpack(x)
    for leaf in LAYOUT.leaves:
        leaf.save_value(arrays[leaf.id])
    np.testing.assert_allclose(walk.value(arrays), EXPRESSIONS[name].value, rtol=1e-14)
    gradient = LAYOUT.pack(walk.gradient(arrays))
    for seed in range(3):
        e = point(seed + 7)
        error = min(abs(gradient @ e - difference(walk, x, e, h)) for h in (1e-3, 1e-4))  # one near a kink, one for rounding
        assert error <= 2e-10 * (1 + np.abs(gradient).max() + abs(walk.value(arrays)))


def difference(walk, x, e, h):
    F = [float(walk.value(LAYOUT.unpack(x + t * h * e))) for t in (-3, -2, -1, 1, 2, 3)]
    return (45 * (F[3] - F[2]) - 9 * (F[4] - F[1]) + (F[5] - F[0])) / (60 * h)


@pytest.mark.parametrize("expression", [c, M, A @ M, cp.multiply(c, d) / (s + 5), cp.vstack([c, d])], ids=str)
def test_jacobian(expression):
    """(size, n) by columns, against differences of the value."""
    walk, x, h = Walk(expression, LAYOUT.leaves), point(), 1e-5
    J = walk.jacobian(LAYOUT.unpack(x), LAYOUT)
    e = point(5)
    up, down = (np.ravel(walk.value(LAYOUT.unpack(x + t * h * e)), order="F") for t in (1, -1))
    np.testing.assert_allclose(J @ e, (up - down) / (2 * h), atol=1e-8)


def test_outside_the_domain_is_nan():
    walk = Walk(cp.sum(cp.log(c)), LAYOUT.leaves)
    assert np.isnan(LAYOUT.pack(walk.gradient(LAYOUT.unpack(-np.ones(LAYOUT.size))))).any()


def test_symmetric_leaf_gradient_is_frobenius():
    """d trace(B S) = sum_ij G_ij dS_ij with G = (B + B')/2."""
    walk = Walk(cp.trace(B @ S), LAYOUT.leaves)
    G = LAYOUT.pack(walk.gradient(LAYOUT.unpack(point())))[-9:].reshape(3, 3)
    np.testing.assert_allclose(G, 0.5 * (B + B.T), atol=1e-15)


def test_diagonal_and_sparse_leaves():
    D, T = cp.Variable((2, 2), diag=True), cp.Variable((2, 2), sparsity=[(0, 1), (1, 1)])
    layout = Layout([D, T])
    walk = Walk(cp.sum_squares(D) + cp.sum(cp.multiply(T, np.ones((2, 2)))), layout.leaves)
    gradient = layout.pack(walk.gradient(layout.unpack(np.arange(1.0, 9))))
    np.testing.assert_allclose(gradient, [2, 0, 0, 8, 0, 0, 1, 1])


def test_constants_are_frozen():
    p = cp.Parameter(4, value=np.ones(4))
    walk = Walk(p @ c, [c])
    p.value = 5 * np.ones(4)
    assert walk.value({c.id: np.ones(4)}) == 4.0


def test_foreign_variable():
    with pytest.raises(ArgumentError, match="neither an upper nor a lower"):
        Walk(c @ d, [c])

"""BilevelLayer: the 1-D closed form, quartic problems against differences of the solved layer, constraints at both levels, statuses."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.sparse import csr_array
from scipy.sparse.linalg import aslinearoperator

import refbilevel as rb
from refbilevel.errors import ArgumentError, ShapeError, StatusError
from refbilevel.layers.continuous import LINEAR

from examples import difference, spd


def one_dimensional(a, **changes):
    """g = (y - a x - z)^2/2, f = (x - z)^2/2 + y^2/2: x* = z (1-a)/(1+a^2), y* = z (1+a)/(1+a^2)."""
    oracles = dict(
        f=lambda x, y, z: 0.5 * (x[0] - z[0]) ** 2 + 0.5 * y[0] ** 2, f_x=lambda x, y, z: x - z, f_y=lambda x, y, z: y.copy(),
        f_z=lambda x, y, z: z - x, g=lambda x, y, z: 0.5 * (y[0] - a * x[0] - z[0]) ** 2, g_y=lambda x, y, z: y - a * x - z,
        g_yy=lambda x, y, z: np.eye(1), g_xy=lambda x, y, z: np.array([[-a]]), g_zy=lambda x, y, z: np.array([[-1.0]]),
    )  # fmt: skip
    return rb.LayerProblem(n=1, m=1, k=1, **(oracles | changes))


def quartic(n=2, m=4, k=3, seed=0):
    """g = y'Hy/2 + sum y^4/12 + exp(x_0/2 + z_0/3) y'y/2 - y'(Bx + Ez), f = |x - Az|^2/2 + sum sin(y)/4 + y'y/2."""
    rng = np.random.default_rng(seed)
    H, B, E, A = spd(m, 5.0, seed), rng.standard_normal((m, n)), rng.standard_normal((m, k)), rng.standard_normal((n, k))
    e, c = np.eye(n)[0], np.eye(k)[0]

    def w(x, z):
        return np.exp(x[0] / 2 + z[0] / 3)

    return rb.LayerProblem(
        n=n, m=m, k=k,
        f=lambda x, y, z: 0.5 * (x - A @ z) @ (x - A @ z) + np.sin(y).sum() / 4 + 0.5 * y @ y,
        f_x=lambda x, y, z: x - A @ z, f_y=lambda x, y, z: np.cos(y) / 4 + y, f_z=lambda x, y, z: -A.T @ (x - A @ z),
        g=lambda x, y, z: 0.5 * y @ H @ y + (y**4).sum() / 12 + 0.5 * w(x, z) * y @ y - y @ (B @ x + E @ z),
        g_y=lambda x, y, z: H @ y + y**3 / 3 + w(x, z) * y - B @ x - E @ z,
        g_yy=lambda x, y, z: H + np.diag(y**2 + w(x, z)),
        g_xy=lambda x, y, z: np.outer(e, 0.5 * w(x, z) * y) - B.T,
        g_zy=lambda x, y, z: np.outer(c, w(x, z) * y / 3) - E.T,
    )  # fmt: skip


Z3 = np.array([0.3, -0.2, 0.4])


def solved_difference(layer, z, h=5e-3):
    return difference(lambda z: np.concatenate(layer.solve(z)), z, h).T


@pytest.mark.parametrize("a", [0.5, -1.3, 2.0])
def test_closed_form(a):
    layer = rb.BilevelLayer(one_dimensional(a))
    x, y = layer.solve([1.7])
    np.testing.assert_allclose([x[0], y[0]], [1.7 * (1 - a) / (1 + a * a), 1.7 * (1 + a) / (1 + a * a)], rtol=1e-14)
    dx, dy = layer.jacobian([1.7])
    assert dx[0, 0] == pytest.approx((1 - a) / (1 + a * a), abs=2e-14)
    assert dy[0, 0] == pytest.approx((1 + a) / (1 + a * a), abs=2e-14)


@pytest.mark.parametrize("n,m,k", [(2, 4, 3), (3, 2, 4), (1, 1, 2)])
def test_jacobian_is_the_difference_of_the_solved_layer(n, m, k):
    layer, z = rb.BilevelLayer(quartic(n, m, k)), np.linspace(-0.4, 0.5, k)
    J = np.vstack(layer.jacobian(z))
    assert np.abs(J - solved_difference(layer, z)).max() < 1e-8 * np.abs(J).max()


@pytest.mark.parametrize("linear", LINEAR)
def test_vjp_is_the_transpose(linear):
    problem = quartic()
    J = np.vstack(rb.BilevelLayer(problem).jacobian(Z3))
    layer = rb.BilevelLayer(problem, linear=linear)
    x_bar, y_bar = np.array([1.0, -2.0]), np.array([0.5, 1.0, -1.0, 2.0])
    z_bar = layer.vjp(Z3, x_bar, y_bar)
    assert np.abs(z_bar - J.T @ np.concatenate([x_bar, y_bar])).max() < 1e-12
    dx, dy = layer.jvp(Z3, [1.0, 2.0, -1.0])
    assert x_bar @ dx + y_bar @ dy == pytest.approx(z_bar @ [1.0, 2.0, -1.0], rel=1e-11)
    assert layer.differentiate(Z3, x_bar, y_bar).error_estimate < 1e-11


def test_schur_complement_is_the_hessian_of_F():
    """F_x - F_y G_y^{-1} G_x, its blocks differences of the hypergradient system at any y, is S and the Hessian of x -> f(x, y*(x))."""
    layer, (n, m) = rb.BilevelLayer(quartic()), (2, 4)
    p, s = layer.problem, layer.solution(Z3)

    def F(v):
        x, y = v[:n], v[n:]
        return p.f_x(x, y, Z3) - p.g_xy(x, y, Z3) @ np.linalg.solve(p.g_yy(x, y, Z3), p.f_y(x, y, Z3))

    F_s = difference(F, np.concatenate([s.x, s.y])).T
    G_x, G_y = p.g_xy(s.x, s.y, Z3).T, p.g_yy(s.x, s.y, Z3)
    schur = F_s[:, :n] - F_s[:, n:] @ np.linalg.solve(G_y, G_x)
    assert np.abs(schur - s.hessian).max() < 1e-9
    at = p.at(Z3)
    by_difference = difference(lambda x: rb.hypergradient(at, x).gradient, s.x)
    assert np.abs(by_difference - s.hessian).max() < 1e-8


def test_the_block_matrix_is_not_symmetric_and_gmres_needs_products_alone():
    from refbilevel.layers.block import operator

    layer = rb.BilevelLayer(quartic())
    s = layer.solution(Z3)
    A = operator(layer.problem, s, layer._curvature_at(s)) @ np.eye(6)
    assert np.abs(A - A.T).max() > 0.1


def test_the_nash_mutant_is_caught():
    """F replaced by f_x alone: another solution and another derivative."""
    a = 0.5
    x, y = np.linalg.solve([[1.0, 0.0], [-a, 1.0]], [1.0, 1.0])  # x - z = 0, y - a x - z = 0 at z = 1
    layer = rb.BilevelLayer(one_dimensional(a))
    dx, _ = layer.jacobian([1.0])
    assert abs(x - layer.solve([1.0])[0][0]) > 0.1 and abs(1.0 - dx[0, 0]) > 0.1


def test_missing_z_derivatives_are_completed():
    full, bare = one_dimensional(0.5), one_dimensional(0.5, f_z=None, g_zy=None)
    assert rb.BilevelLayer(bare).vjp([1.7], [1.0], [2.0])[0] == pytest.approx(rb.BilevelLayer(full).vjp([1.7], [1.0], [2.0])[0], rel=1e-9)


def constrained(kind):
    """The quartic with lower rows y_0 <= -0.6 + z_0/10 (in force), sum y = x_0/4 + z_1/5, and optionally upper bounds or rows."""
    base = quartic()
    lower = rb.LayerConstraints(
        p=lambda x, y, z: np.array([y[0] + 0.6 - z[0] / 10, -y[3] - 5.0]),
        p_x=lambda x, y, z: np.zeros((2, 2)),
        p_y=lambda x, y, z: np.array([[1.0, 0, 0, 0], [0, 0, 0, -1.0]]),
        p_z=lambda x, y, z: np.array([[-0.1, 0, 0], [0, 0, 0.0]]),
        q=lambda x, y, z: np.array([y.sum() - x[0] / 4 - z[1] / 5]),
        q_x=lambda x, y, z: np.array([[-0.25, 0.0]]), q_y=lambda x, y, z: np.ones((1, 4)), q_z=lambda x, y, z: np.array([[0, -0.2, 0]]),
        linear=True,
    )  # fmt: skip
    changes = {"constraints": lower}
    if kind == "bounds":
        changes["bounds"] = ([-5.0, -5.0], [-0.6, 5.0])
    if kind == "rows":
        changes["upper_constraints"] = rb.LayerUpperConstraints(
            G=lambda x, y, z: np.array([x.sum() + y[1] ** 2 + z[2] / 3 + 0.3]), G_x=lambda x, y, z: np.ones((1, 2)),
            G_y=lambda x, y, z: np.array([[0, 2 * y[1], 0, 0]]), G_z=lambda x, y, z: np.array([[0, 0, 1 / 3]]),
        )  # fmt: skip
    return replace(base, **changes)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["lower", "bounds", "rows"])
def test_constraints_at_both_levels(kind):
    layer = rb.BilevelLayer(constrained(kind))
    s = layer.solution(Z3)
    assert s.success, s.message
    assert s.lower.active.any() and len(s.multipliers) == (kind != "lower")
    J = np.vstack(layer.jacobian(Z3))
    assert np.abs(J - solved_difference(layer, Z3, 1e-3)).max() < 1e-7 * np.abs(J).max()
    bars = np.array([1.0, -2.0]), np.array([0.5, 1.0, -1.0, 2.0])
    for linear in LINEAR:
        other = rb.BilevelLayer(layer.problem, linear=linear)
        np.testing.assert_allclose(other.vjp(Z3, *bars, solution=s), J.T @ np.concatenate(bars), rtol=1e-11, atol=1e-12)


def test_equalities_by_null_space_elimination():
    """Lower B y = 0: y = N w turns the problem into an unconstrained one in w, with the same x*, y* and derivatives."""
    base, B = quartic(), np.array([[1.0, 2.0, -1.0, 1.0]])
    rows = rb.LayerConstraints(
        q=lambda x, y, z: B @ y, q_x=lambda x, y, z: np.zeros((1, 2)), q_y=lambda x, y, z: B, q_z=lambda x, y, z: np.zeros((1, 3)), linear=True
    )
    N = np.linalg.svd(B)[2][1:].T
    reduced = rb.LayerProblem(
        n=2, m=3, k=3, f=lambda x, w, z: base.f(x, N @ w, z), f_x=lambda x, w, z: base.f_x(x, N @ w, z),
        f_y=lambda x, w, z: N.T @ base.f_y(x, N @ w, z), f_z=lambda x, w, z: base.f_z(x, N @ w, z),
        g=lambda x, w, z: base.g(x, N @ w, z), g_y=lambda x, w, z: N.T @ base.g_y(x, N @ w, z),
        g_yy=lambda x, w, z: N.T @ base.g_yy(x, N @ w, z) @ N, g_xy=lambda x, w, z: base.g_xy(x, N @ w, z) @ N,
        g_zy=lambda x, w, z: base.g_zy(x, N @ w, z) @ N,
    )  # fmt: skip
    kkt, null = rb.BilevelLayer(replace(base, constraints=rows)), rb.BilevelLayer(reduced)
    x, y = kkt.solve(Z3)
    xn, w = null.solve(Z3)
    np.testing.assert_allclose(x, xn, atol=1e-10)
    np.testing.assert_allclose(y, N @ w, atol=1e-10)
    bars = np.array([1.0, -2.0]), np.array([0.5, 1.0, -1.0, 2.0])
    np.testing.assert_allclose(kkt.vjp(Z3, *bars), null.vjp(Z3, bars[0], N.T @ bars[1]), rtol=1e-8, atol=1e-10)


def test_statuses_at_points_without_derivative():
    flat = rb.BilevelLayer(one_dimensional(0.0, f=lambda x, y, z: 0.5 * y[0] ** 2, f_x=lambda x, y, z: 0 * x, f_z=lambda x, y, z: 0 * z))
    assert flat.solution([1.0]).status == "not_strict"
    with pytest.raises(StatusError, match="strict"):
        flat.vjp([1.0], [1.0], [0.0])
    assert np.isnan(flat.differentiate([1.0], [1.0]).z_bar).all()
    kink = rb.BilevelLayer(one_dimensional(0.5, bounds=([-9.0], [1.7 * 0.5 / 1.25])))  # the free optimum lies on the bound
    assert kink.solution([1.7]).status == "degenerate"
    x, _ = kink.solve([1.7])
    assert x[0] == pytest.approx(0.68)


@pytest.mark.slow
def test_plain_constraint_records_serve_too():
    """Constraints and UpperConstraints of (x, y, z): what they lack in z is completed by differences."""
    full = constrained("rows")
    lower, upper = full.constraints, full.upper_constraints
    plain = replace(
        full,
        constraints=rb.Constraints(p=lower.p, p_x=lower.p_x, p_y=lower.p_y, q=lower.q, q_x=lower.q_x, q_y=lower.q_y, linear=True),
        upper_constraints=rb.UpperConstraints(G=upper.G, G_x=upper.G_x, G_y=upper.G_y),
    )
    bars = np.array([1.0, -2.0]), np.array([0.5, 1.0, -1.0, 2.0])
    np.testing.assert_allclose(rb.BilevelLayer(plain).vjp(Z3, *bars), rb.BilevelLayer(full).vjp(Z3, *bars), rtol=1e-8)


def test_batches():
    layer = rb.BilevelLayer(quartic())
    Z = np.stack([Z3, 2 * Z3])
    X, Y = layer.batch_solve(Z)
    np.testing.assert_array_equal(X[1], layer.solve(2 * Z3)[0])
    assert layer.batch_vjp(Z, np.ones((2, 2)), np.ones((2, 4))).shape == (2, 3) and Y.shape == (2, 4)


def test_wrong_input():
    layer = rb.BilevelLayer(quartic())
    with pytest.raises(ShapeError, match="z"):
        layer.solve([1.0])
    with pytest.raises(ShapeError, match="y_bar"):
        layer.vjp(Z3, y_bar=[1.0])
    with pytest.raises(ArgumentError, match="linear"):
        rb.BilevelLayer(quartic(), linear="lu")


def entropic(shift):
    """y* = x + z^2 - shift by an entropy whose domain is y > -shift, f with poles at x = 0 and y = -shift."""
    return rb.LayerProblem(
        n=1, m=1, k=1,
        f=lambda x, y, z: 0.5 * (x - z) @ (x - z) - np.log(x[0]) - 0.1 * np.log(y[0] + shift), f_x=lambda x, y, z: x - z - 1 / x,
        f_y=lambda x, y, z: -0.1 / (y + shift), f_z=lambda x, y, z: z - x,
        g=lambda x, y, z: (y[0] + shift) * (np.log(y[0] + shift) - 1 - np.log(x[0] + z[0] ** 2)),
        g_y=lambda x, y, z: np.log(y + shift) - np.log(x + z**2), g_yy=lambda x, y, z: np.diag(1 / (y + shift)),
        g_xy=lambda x, y, z: -np.diag(1 / (x + z**2)), g_zy=lambda x, y, z: -np.diag(2 * z / (x + z**2)),
    )  # fmt: skip


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # logarithms outside their domain
def test_long_difference_steps_that_leave_the_domain_are_shortened():
    """x* solves x - z - 1/x - 0.1/(x + z^2) = 0."""
    from scipy.optimize import brentq

    x = difference(lambda z: np.array([brentq(lambda x: x - z[0] - 1 / x - 0.1 / (x + z[0] ** 2), 0.1, 5, xtol=1e-15)]), np.array([0.7]), 1e-2)
    answer = rb.BilevelLayer(entropic(1.0), x0=[1.0]).differentiate([0.7], [1.0])
    assert answer.z_bar[0] == pytest.approx(x[0, 0], abs=1e-10) and answer.error_estimate < 1e-11
    outside = rb.BilevelLayer(entropic(0.0), x0=[1.0]).solution([0.7])  # the lower solve starts at y = 0, a pole
    assert outside.status == "nonfinite"


@pytest.mark.parametrize("linear", ["cg", "gmres"])
@pytest.mark.parametrize("wrap", [csr_array, aslinearoperator])
def test_second_derivatives_as_sparse_arrays_or_operators(wrap, linear):
    base = quartic()
    hidden = replace(
        base, g_yy=lambda x, y, z: wrap(base.g_yy(x, y, z)), g_xy=lambda x, y, z: wrap(base.g_xy(x, y, z)),
        g_zy=lambda x, y, z: wrap(base.g_zy(x, y, z)),
    )  # fmt: skip
    bars = np.array([1.0, -2.0]), np.array([0.5, 1.0, -1.0, 2.0])
    np.testing.assert_allclose(rb.BilevelLayer(hidden, linear=linear).vjp(Z3, *bars), rb.BilevelLayer(base).vjp(Z3, *bars), rtol=1e-10)

"""The layer on drawn quartic problems, at changes of the lower active set, and with equalities at the upper level."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import refbilevel as rb
from refbilevel.errors import StatusError

from examples import difference

SIZES = [(1, 2, 3), (2, 1, 3), (2, 3, 1), (3, 1, 2), (1, 3, 2), (3, 2, 1), (2, 4, 3)]


@st.composite
def quartics(draw):
    """g = y'(M'M + 2)y/4 + w.y^4/12 + x_0 z_0 y_0^2/20 - y'(Bx + Ez)/2,  f = 2 |x - Az/2|^2 + y'y/2 + y.d, small integers throughout."""
    n, m, k = draw(st.sampled_from(SIZES))

    def integers(*shape, low=-2, high=2):
        size = int(np.prod(shape))
        return np.array(draw(st.lists(st.integers(low, high), min_size=size, max_size=size)), float).reshape(shape)

    M, B, E, A, d, w = integers(m, m), integers(m, n), integers(m, k), integers(n, k), integers(m), integers(m, low=0, high=3)
    H, e_x, e_y, e_z = (M.T @ M + 2 * np.eye(m)) / 2, np.eye(n)[0], np.eye(m)[0], np.eye(k)[0]
    problem = rb.LayerProblem(
        n=n, m=m, k=k,
        f=lambda x, y, z: 2 * (x - A @ z / 2) @ (x - A @ z / 2) + 0.5 * y @ y + y @ d,
        f_x=lambda x, y, z: 4 * (x - A @ z / 2), f_y=lambda x, y, z: y + d, f_z=lambda x, y, z: -2 * A.T @ (x - A @ z / 2),
        g=lambda x, y, z: 0.5 * y @ H @ y + w @ y**4 / 12 + x[0] * z[0] * y[0] ** 2 / 20 - y @ (B @ x + E @ z) / 2,
        g_y=lambda x, y, z: H @ y + w * y**3 / 3 + x[0] * z[0] * y[0] * e_y / 10 - (B @ x + E @ z) / 2,
        g_yy=lambda x, y, z: H + np.diag(w * y**2) + x[0] * z[0] / 10 * np.outer(e_y, e_y),
        g_xy=lambda x, y, z: np.outer(e_x, e_y) * z[0] * y[0] / 10 - B.T / 2,
        g_zy=lambda x, y, z: np.outer(e_z, e_y) * x[0] * y[0] / 10 - E.T / 2,
        adjoint_hvp=lambda x, y, z, v, dx, dy, dz: (
            4 * dx - 2 * A @ dz - v[0] / 10 * (dz[0] * y[0] + z[0] * dy[0]) * e_x,
            dy - v * 2 * w * y * dy - v[0] / 10 * (dx[0] * z[0] + x[0] * dz[0]) * e_y,
            -2 * A.T @ dx + A.T @ A @ dz - v[0] / 10 * (dx[0] * y[0] + x[0] * dy[0]) * e_z,
        ),
    )  # fmt: skip
    return problem, integers(k, low=-1, high=1) / 2


@settings(max_examples=12)
@given(quartics())
def test_jacobian_to_eight_digits_and_its_transpose_to_twelve(drawn):
    problem, z = drawn
    exact, differenced = rb.BilevelLayer(problem), rb.BilevelLayer(replace(problem, adjoint_hvp=None))
    s = exact.solution(z)
    assert s.success, s.message
    J = np.vstack(exact.jacobian(z, solution=s))
    solved = difference(lambda z: np.concatenate(exact.solve(z)), z, 5e-3).T
    scale = max(1.0, np.abs(J).max())
    assert np.abs(J - solved).max() < 1e-8 * scale
    bars = np.cos(np.arange(problem.n)), np.sin(1.0 + np.arange(problem.m))
    wanted = J.T @ np.concatenate(bars)
    for layer in (exact, differenced):
        found = layer.differentiate(z, *bars)
        assert np.abs(found.z_bar - wanted).max() < 1e-12 * scale + 3 * found.error_estimate
    assert exact.differentiate(z, *bars).error_estimate == 0.0 and found.error_estimate < 1e-10


def test_the_nash_jacobian_would_fail_the_comparison():
    """F replaced by f_x: dx/dz = A/2 here, far from the difference of the solved layer."""
    n, k, a = 1, 1, 0.5
    problem = rb.LayerProblem(
        n=n, m=1, k=k, f=lambda x, y, z: 2 * (x - a * z) @ (x - a * z) + y @ y - 2 * y[0],
        f_x=lambda x, y, z: 4 * (x - a * z), f_y=lambda x, y, z: 2 * y - 2,
        g=lambda x, y, z: 0.5 * y @ y + y[0] ** 4 / 4 - y @ (x + z), g_y=lambda x, y, z: y + y**3 - x - z,
        g_yy=lambda x, y, z: np.diag(1 + 3 * y**2), g_xy=lambda x, y, z: -np.eye(1),
    )  # fmt: skip
    layer, z = rb.BilevelLayer(problem), np.array([0.7])
    solved = difference(lambda z: layer.solve(z)[0], z, 5e-3)[0, 0]
    assert abs(layer.jacobian(z)[0][0, 0] - solved) < 1e-8 < 0.1 < abs(a - solved)


def clipped(a=0.5, b=1.0):
    """y*(x, z) = max(a x + z, 0), f = (x - b)^2/2 + y^2/2: x* = (b - a z)/(1 + a^2) while z > -a b, and b below."""
    rows = rb.LayerConstraints(
        p=lambda x, y, z: -y, p_x=lambda x, y, z: np.zeros((1, 1)), p_y=lambda x, y, z: -np.eye(1),
        p_z=lambda x, y, z: np.zeros((1, 1)), linear=True,
    )  # fmt: skip
    return rb.BilevelLayer(rb.LayerProblem(
        n=1, m=1, k=1, constraints=rows,
        f=lambda x, y, z: 0.5 * (x[0] - b) ** 2 + 0.5 * y @ y, f_x=lambda x, y, z: x - b, f_y=lambda x, y, z: y.copy(),
        f_z=lambda x, y, z: np.zeros(1), g=lambda x, y, z: 0.5 * (y - a * x - z) @ (y - a * x - z), g_y=lambda x, y, z: y - a * x - z,
        g_yy=lambda x, y, z: np.eye(1), g_xy=lambda x, y, z: np.array([[-a]]), g_zy=lambda x, y, z: -np.eye(1),
    ), x0=[b])  # fmt: skip


def test_the_lower_active_set_changes_between_z_and_a_perturbed_z():
    layer, kink = clipped(), np.array([-0.5])
    for z, dx, dy in ((kink + 1e-3, -0.4, 0.8), (kink - 1e-3, 0.0, 0.0)):
        assert layer.jacobian(z)[0][0, 0] == pytest.approx(dx, abs=1e-12) and layer.jacobian(z)[1][0, 0] == pytest.approx(dy, abs=1e-12)
    (above, _), (below, _) = layer.solve(kink + 1e-3), layer.solve(kink - 1e-3)
    assert (above - below)[0] / 2e-3 == pytest.approx(-0.2, abs=1e-6)  # neither derivative: the set changed in between
    s = layer.solution(kink)
    assert s.status == "degenerate" and s.x[0] == pytest.approx(1.0)
    assert rb.hypergradient(layer.problem.at(kink), s.x).success  # F is differentiable there, since f_y = 0; x*, y* are not
    with pytest.raises(StatusError, match="weakly active"):
        layer.vjp(kink, [1.0], [0.0])
    assert np.isnan(layer.differentiate(kink, [1.0], [0.0], solution=s).z_bar).all()


@pytest.mark.parametrize("linear", ["schur", "gmres"])
def test_upper_equalities_by_null_space_elimination(linear):
    """Upper c.x = z_0/3: x = c z_0 / (3 c.c) + N u turns the problem into one without it, with the same x*, y* and derivatives."""
    from test_continuous import Z3, quartic

    base, c = quartic(), np.array([[1.0, 2.0]])
    rows = rb.LayerUpperConstraints(
        H=lambda x, y, z: c @ x - z[:1] / 3, H_x=lambda x, y, z: c, H_y=lambda x, y, z: np.zeros((1, 4)),
        H_z=lambda x, y, z: np.array([[-1 / 3, 0, 0]]),
    )  # fmt: skip
    N, shift = np.array([[2.0], [-1.0]]) / np.sqrt(5), np.outer(c[0], [1.0, 0, 0]) / 15

    def at(oracle, transform=lambda value: value):
        return lambda u, y, z: transform(oracle(N @ u + shift @ z, y, z))

    reduced = rb.LayerProblem(
        n=1, m=4, k=3, f=at(base.f), f_x=at(base.f_x, lambda v: N.T @ v), f_y=at(base.f_y),
        f_z=lambda u, y, z: at(base.f_z)(u, y, z) + shift.T @ at(base.f_x)(u, y, z),
        g=at(base.g), g_y=at(base.g_y), g_yy=at(base.g_yy), g_xy=at(base.g_xy, lambda v: N.T @ v),
        g_zy=lambda u, y, z: at(base.g_zy)(u, y, z) + shift.T @ at(base.g_xy)(u, y, z),
    )  # fmt: skip
    kkt, null = rb.BilevelLayer(replace(base, upper_constraints=rows), linear=linear), rb.BilevelLayer(reduced)
    (x, y), (u, w) = kkt.solve(Z3), null.solve(Z3)
    np.testing.assert_allclose(x, N @ u + shift @ Z3, atol=1e-10)
    np.testing.assert_allclose(y, w, atol=1e-10)
    x_bar, y_bar = np.array([1.0, -2.0]), np.array([0.5, 1.0, -1.0, 2.0])
    np.testing.assert_allclose(kkt.vjp(Z3, x_bar, y_bar), null.vjp(Z3, N.T @ x_bar, y_bar) + shift.T @ x_bar, rtol=1e-9, atol=1e-10)

"""LayerProblem.from_jax and from_torch: oracles as written by hand, third derivatives without differences."""

import sys

import numpy as np
import pytest

import refbilevel as rb
from refbilevel.errors import DtypeError

from examples import difference

FRAMEWORKS = [pytest.param(name, marks=getattr(pytest.mark, name)) for name in ("jax", "torch")]
RNG = np.random.default_rng(0)
M, N, B = RNG.standard_normal((4, 2)), RNG.standard_normal((4, 3)), RNG.standard_normal((2, 3))
Z = np.array([0.3, -0.2, 0.4])
BARS = np.array([1.0, -2.0]), np.array([0.5, 1.0, -1.0, 2.0])


def namespace(a):
    return sys.modules["torch"] if type(a).__module__.startswith("torch") else a.__array_namespace__()


def constant(C, like):
    return namespace(like).asarray(C, dtype=like.dtype)


def f(x, y, z):
    d, xp = x - constant(B, x) @ z, namespace(y)
    return 0.5 * d @ d + xp.sum(xp.sin(y)) / 4 + 0.5 * y @ y


def g(x, y, z):
    xp = namespace(y)
    w = xp.exp(x[0] / 2 + z[0] / 3)
    return y @ y + xp.sum(y**4) / 12 + 0.5 * w * (y @ y) - y @ (constant(M, x) @ x + constant(N, x) @ z)


def p(x, y, z):
    xp = namespace(y)
    return xp.stack([y[1] ** 2 / 2 + 0.1 * x[0] * y[1] - y[0] + 0.3 + z[0] ** 2 / 10, -y[3] - 5.0])


def q(x, y, z):
    xp = namespace(y)
    return xp.stack([xp.sum(y) - x[0] / 4 - z[1] / 5])


def G(x, y, z):
    xp = namespace(y)
    return xp.stack([xp.sum(x) + y[1] ** 2 + z[2] / 3 + 0.8])


def problem(framework, **changes):
    pytest.importorskip(framework)
    return getattr(rb.LayerProblem, f"from_{framework}")(f, g, n=2, m=4, k=3, **changes)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_third_derivatives_are_exact(framework):
    from dataclasses import replace

    full = problem(framework)
    x, y, v, direction = np.array([0.4, -0.3]), np.array([0.3, 0.1, -0.2, 0.5]), np.arange(1.0, 5.0), np.linspace(-1.0, 1.0, 9)
    parts = np.split(direction, [2, 6])
    found = np.concatenate(full.adjoint_hvp(x, y, Z, v, *parts))

    def slope(w):  # gradient of f - v.g_y in (x, y, z)
        w = np.split(w, [2, 6])
        return np.concatenate([full.f_x(*w) - full.g_xy(*w) @ v, full.f_y(*w) - full.g_yy(*w) @ v, full.f_z(*w) - full.g_zy(*w) @ v])

    wanted = difference(lambda t: slope(np.concatenate([x, y, Z]) + t[0] * direction), np.zeros(1))[0]
    np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-10)
    exact, differenced = rb.BilevelLayer(full), rb.BilevelLayer(replace(full, adjoint_hvp=None))
    one, other = exact.differentiate(Z, *BARS), differenced.differentiate(Z, *BARS)
    assert one.error_estimate == 0.0 < other.error_estimate < 1e-10
    np.testing.assert_allclose(one.z_bar, other.z_bar, rtol=1e-12, atol=10 * other.error_estimate)


@pytest.mark.slow
@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_curved_constraints_at_both_levels(framework):
    layer = rb.BilevelLayer(problem(framework, p=p, q=q, G=G))
    s = layer.solution(Z)
    assert s.success, s.message
    assert s.lower.active.any() and len(s.multipliers) == 1
    dz = np.array([1.0, -0.5, 2.0])
    along = np.concatenate(layer.jvp(Z, dz, solution=s))
    solved = difference(lambda t: np.concatenate(layer.solve(Z + t[0] * dz)), np.zeros(1), 1e-3)[0]
    assert np.abs(along - solved).max() < 1e-7 * np.abs(along).max()
    assert layer.vjp(Z, *BARS, solution=s) @ dz == pytest.approx(np.concatenate(BARS) @ along, rel=1e-11)


@pytest.mark.torch
def test_float32_inside_is_refused():
    torch = pytest.importorskip("torch")
    narrow = rb.LayerProblem.from_torch(lambda x, y, z: (x @ x + y @ y + z @ z).to(torch.float32), g, n=2, m=4, k=3)
    with pytest.raises(DtypeError, match="float64"):
        narrow.f(np.ones(2), np.ones(4), np.ones(3))

"""Projections on dual cones: against 50-digit optimality, Moreau's identities, and differences; each property can fail."""

import mpmath as mp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refbilevel.conic import Cones, project_dual
from refbilevel.kernels import cones as kernels

ONE_CONE = {
    "nonneg": (Cones(nonneg=3), 3),
    "soc2": (Cones(soc=(2,)), 2),
    "soc5": (Cones(soc=(5,)), 5),
    "psd3": (Cones(psd=(3,)), 6),
    "exp": (Cones(exp=1), 3),
    "power": (Cones(power=((0.3, 0.7),)), 3),
    "power4": (Cones(power=((0.2, 0.5, 0.3),)), 4),
}
MIXED = Cones(zero=2, nonneg=2, soc=(1, 4), psd=(2, 1), exp=2, power=((0.5, 0.5), (0.2, 0.5, 0.3)))


def dense(at, size):
    return np.array([at.derivative(row) for row in np.eye(size)])


def member(cones, v, tol):
    """True if v lies in the primal cone K, to tol, by the cone's defining inequality alone."""
    if cones.nonneg:
        return (v >= -tol).all()
    if cones.soc:
        return np.linalg.norm(v[1:]) <= v[0] + tol
    if cones.psd:
        S = np.array([[v[0], v[1] / 2**0.5, v[3] / 2**0.5], [0, v[2], v[4] / 2**0.5], [0, 0, v[5]]])
        return np.linalg.eigvalsh(np.triu(S) + np.triu(S, 1).T)[0] >= -tol
    if cones.exp:
        x, y, z = v
        return (y <= tol and x <= tol and z >= -tol) or (y > 0 and y * np.exp(min(x / y, 700)) <= z + tol)
    a, x = np.array(cones.power[0]), v[:-1]
    return (x >= -tol).all() and np.prod(np.maximum(x, 0) ** a) >= abs(v[-1]) - tol


def dual_member(cones, v, tol):
    """True if v lies in K*."""
    if cones.exp:
        u, p, w = v
        return (abs(u) <= tol and p >= -tol and w >= -tol) or (u < 0 and -u * np.exp(min(p / u, 700)) <= np.e * w + tol)
    if cones.power:
        a, x = np.array(cones.power[0]), v[:-1]
        return (x >= -tol).all() and np.prod((np.maximum(x, 0) / a) ** a) >= abs(v[-1]) - tol
    return member(cones, v, tol)


@pytest.mark.parametrize("name", ONE_CONE)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_moreau(name, data):
    """u = z - s with z in K*, s in K, z.s = 0: this characterises both projections. Integer points, boundaries included."""
    cones, size = ONE_CONE[name]
    u = np.array(data.draw(st.lists(st.integers(-6, 6), min_size=size, max_size=size)), float) / 2
    z = project_dual(u, cones).z
    tol = 1e-13 * (1 + np.linalg.norm(u))
    assert abs(z @ (z - u)) <= tol * (1 + np.linalg.norm(u))
    assert dual_member(cones, z, 30 * tol)
    assert member(cones, z - u, 30 * tol)


@pytest.mark.parametrize("name", ONE_CONE)
def test_derivative_against_differences(name):
    """Sixth-order differences, at points a step away from a kink."""
    cones, size = ONE_CONE[name]
    r, checked = np.random.default_rng(0), 0
    for _ in range(60):
        u = r.standard_normal(size) * np.exp(r.standard_normal())
        at, h = project_dual(u, cones), 1e-3
        if min(at.cone_margin, np.abs(u).min() if cones.nonneg else 1.0) < 0.1:
            continue
        checked += 1
        shifted = {k: np.array([project_dual(u + k * h * e, cones).z for e in np.eye(size)]) for k in (-3, -2, -1, 1, 2, 3)}
        D = (45 * (shifted[1] - shifted[-1]) - 9 * (shifted[2] - shifted[-2]) + (shifted[3] - shifted[-3])) / (60 * h)
        np.testing.assert_allclose(dense(at, size), D, rtol=0, atol=2e-8)  # the differences' truncation at margin 0.1
    assert checked >= 10


def test_derivative_identities():
    """D is symmetric, 0 <= D <= I, and D u = z, D z = z where the cone is not at a kink (Pi is homogeneous of degree one)."""
    r = np.random.default_rng(1)
    for _ in range(40):
        u = r.standard_normal(MIXED.rows)
        at = project_dual(u, MIXED)
        D = dense(at, MIXED.rows)
        np.testing.assert_allclose(D, D.T, atol=1e-13)
        eigenvalues = np.linalg.eigvalsh(0.5 * (D + D.T))
        assert eigenvalues[0] >= -1e-13 and eigenvalues[-1] <= 1 + 1e-13
        np.testing.assert_allclose(D @ u, at.z, atol=1e-12)
        np.testing.assert_allclose(D @ at.z, at.z, atol=1e-12)
        np.testing.assert_allclose(at.d + at.e, 1, atol=1e-15)
        Q = at.Q_transpose.toarray()
        np.testing.assert_allclose(Q @ Q.T, np.eye(MIXED.rows), atol=1e-13)


def exponential_truth(v):
    """(Pi_K(v), D_K(v)) outside the cone and its polar, 50 digits: minimise over the surface s (rho, 1, e^rho)."""
    with mp.workdps(50):
        x, y, z = (mp.mpf(t) for t in v)
        start = kernels.exponential_root(*map(float, v))

        def h(rho):
            return ((rho - 1) * x + y) * mp.exp(rho) - (x - rho * y) * mp.exp(-rho) - (rho * (rho - 1) + 1) * z

        rho = mp.findroot(h, mp.mpf(start))
        s = ((rho - 1) * x + y) / (rho * (rho - 1) + 1)
        return [s * rho, s, s * mp.exp(rho)]


@pytest.mark.parametrize("scale", [1e-3, 1.0, 30.0])
def test_exponential_against_mpmath(scale):
    """Points of the surface moved along its normal, s and t over four decades: the projection is known by construction."""
    r = np.random.default_rng(2)
    for _ in range(100):
        rho, s, t = r.uniform(-8, 8), scale * 10 ** r.uniform(-2, 2), scale * 10 ** r.uniform(-2, 2)
        with mp.workdps(50):
            a = [mp.mpf(rho), mp.mpf(1), mp.exp(rho)]
            n = [mp.mpf(1), 1 - mp.mpf(rho), -mp.exp(-mp.mpf(rho))]
            v = np.array([float(s * p + t * q) for p, q in zip(a, n)])
        truth = np.array([float(c) for c in exponential_truth(v)])
        z = project_dual(-v, Cones(exp=1)).z  # Pi_{K*}(-v) = Pi_K(v) - v
        np.testing.assert_allclose(v + z, truth, rtol=0, atol=4e-15 * np.linalg.norm(v))


def test_exponential_derivative_against_mpmath():
    """The 50-digit projection differentiated by 40-digit differences."""
    r = np.random.default_rng(3)
    for _ in range(12):
        rho, s, t = r.uniform(-4, 4), 10 ** r.uniform(-2, 1), 10 ** r.uniform(-2, 1)
        v = s * np.array([rho, 1, np.exp(rho)]) + t * np.array([1, 1 - rho, -np.exp(-rho)])
        D = np.empty((3, 3))
        for j in range(3):
            with mp.workdps(50):
                h = mp.mpf(10) ** -18
                up, down = ([mp.mpf(t) + (sign * h if i == j else 0) for i, t in enumerate(v)] for sign in (1, -1))
                D[:, j] = [float((p - q) / (2 * h)) for p, q in zip(exponential_truth(up), exponential_truth(down))]
        at = project_dual(-v, Cones(exp=1))
        np.testing.assert_allclose(np.eye(3) - dense(at, 3), D, rtol=0, atol=1e-12)


def test_power_against_mpmath():
    """Points moved along the normal (prod^(1-a) weights): v = p + t n with n = (-a_i P / p_i, sign) at p on the surface."""
    r = np.random.default_rng(4)
    for a in ((0.3, 0.7), (0.2, 0.5, 0.3)):
        a = np.array(a)
        for _ in range(100):
            p, t, sign = 10 ** r.uniform(-2, 2, a.size), 10 ** r.uniform(-2, 2), r.choice([-1.0, 1.0])
            with mp.workdps(50):
                P = mp.fprod(mp.mpf(x) ** mp.mpf(float(e)) for x, e in zip(p, a))
                point = [mp.mpf(x) for x in p] + [sign * P]
                v = [x - t * float(e) * P / x for x, e in zip(point, a)] + [sign * (P + t)]
                truth, v = np.array([float(x) for x in point]), np.array([float(x) for x in v])
            found = kernels.power_projection(v, a)[0]
            np.testing.assert_allclose(found, truth, rtol=0, atol=1e-13 * np.linalg.norm(v))


@pytest.mark.parametrize(
    "u,cones,margin",
    [
        ([5.0, 3.0, 4.0], Cones(soc=(3,)), 0.0),
        ([6.0, 3.0, 4.0], Cones(soc=(3,)), 0.5**0.5),
        ([1.0, 0.0, 0.0], Cones(psd=(2,)), 0.0),
        ([0.0, 0.0], Cones(soc=(2,)), 0.0),
    ],
)
def test_margin(u, cones, margin):
    at = project_dual(np.array(u), cones)
    assert at.cone_margin == pytest.approx(margin, abs=1e-15)


def test_margin_is_a_distance_for_exponential_cones():
    """Far along the surface (a saturated logistic term) the margin stays of order one: no false alarm."""
    s, z = np.array([-60.0, 1.0, np.exp(-60.0)]), np.exp(-60.0) * np.array([-1.0, -1 - 60.0, np.exp(60.0)])
    at = project_dual(z - s, Cones(exp=1))
    assert at.cone_margin > 0.5


@pytest.mark.parametrize("name", ["soc5", "psd3", "exp", "power4"])
def test_compiled_and_interpreted_agree(name):
    cones, size = ONE_CONE[name]
    u = np.random.default_rng(5).standard_normal(size)
    calls = {
        "soc5": (kernels.second_order, (np.array([5]),)), "psd3": (kernels.semidefinite, (np.array([3]),)),
        "exp": (kernels.exponential, (1,)), "power4": (kernels.power, (np.array([0.2, 0.5, 0.3]), np.array([4]))),
    }  # fmt: skip
    kernel, data = calls[name]
    for fast, slow in zip(kernel(u, *data), getattr(kernel, "py_func", kernel)(u, *data)):
        np.testing.assert_allclose(fast, slow, atol=1e-14)

"""What must not change the hypergradient: scaling, order and redundancy of rows, signs of equations, coordinates of y."""

import numpy as np
from constrained_examples import constrained
from hypothesis import given
from hypothesis import strategies as st

import refbilevel as rb
from refbilevel.problem import replace

CASE = st.tuples(st.integers(1, 3), st.integers(3, 6), st.integers(0, 10**6))


def same(problem, e, tol=1e-9):
    ours, theirs = rb.hypergradient(problem, e.x), rb.hypergradient(e.problem, e.x)
    assert ours.success, ours.message
    scale = 1 + np.abs(theirs.gradient).max()
    assert np.abs(ours.gradient - theirs.gradient).max() < tol * scale
    return ours, theirs


def with_rows(problem, T, shift=None):
    """p replaced by T p (T (j, k) non-negative, one entry a row or new rows)."""
    c = problem.constraints
    shift = np.zeros(len(T)) if shift is None else shift
    rows = dict(p=lambda x, y: T @ c.p(x, y) - shift, p_x=lambda x, y: T @ c.p_x(x, y), p_y=lambda x, y: T @ c.p_y(x, y))
    if c.q is not None:
        rows |= dict(q=c.q, q_x=c.q_x, q_y=c.q_y)
    curvature = dict(linear=True) if c.linear else dict(
        lagrangian_yy=lambda x, y, mu, nu: c.lagrangian_yy(x, y, T.T @ mu, nu), lagrangian_xy=lambda x, y, mu, nu: c.lagrangian_xy(x, y, T.T @ mu, nu)
    )  # fmt: skip
    return replace(problem, constraints=rb.Constraints(**rows, **curvature))


@given(case=CASE, powers=st.lists(st.integers(-3, 3), min_size=8, max_size=8), kind=st.sampled_from(["inequality", "curved", "mixed"]))
def test_scaling_and_order_of_rows(case, powers, kind):
    e = constrained(kind, *case)
    k = e.mu.size
    order = np.random.default_rng(case[2]).permutation(k)
    T = np.diag(10.0 ** np.resize(powers, k))[order]
    ours, theirs = same(with_rows(e.problem, T), e)
    np.testing.assert_allclose(T.T @ ours.lower.mu, theirs.lower.mu, rtol=1e-8, atol=1e-9)


@given(case=CASE)
def test_an_inactive_redundant_row_changes_nothing(case):
    e = constrained("inequality", *case)
    k = e.mu.size
    T = np.vstack([np.eye(k), np.ones((1, k)) / k])
    same(with_rows(e.problem, T, np.append(np.zeros(k), 5.0)), e)


@given(case=CASE)
def test_sign_of_an_equation(case):
    e = constrained("mixed", *case)
    c = e.problem.constraints
    flipped = rb.Constraints(
        p=c.p, p_x=c.p_x, p_y=c.p_y, q=lambda x, y: -c.q(x, y), q_x=lambda x, y: -c.q_x(x, y), q_y=lambda x, y: -c.q_y(x, y),
        lagrangian_yy=lambda x, y, mu, nu: c.lagrangian_yy(x, y, mu, -nu), lagrangian_xy=lambda x, y, mu, nu: c.lagrangian_xy(x, y, mu, -nu),
    )  # fmt: skip
    ours, theirs = same(replace(e.problem, constraints=flipped), e)
    np.testing.assert_allclose(ours.lower.nu, -theirs.lower.nu, rtol=1e-9, atol=1e-9)


@given(case=CASE, kind=st.sampled_from(["inequality", "equality", "mixed"]))
def test_coordinates_of_y(case, kind):
    """y = T z."""
    e = constrained(kind, *case)
    m = e.y.size
    T = np.eye(m) + 0.3 * np.random.default_rng(case[2]).standard_normal((m, m))
    b, c = e.problem, e.problem.constraints
    rows = {}
    for name in ("p", "q"):
        if getattr(c, name) is not None:
            at, at_x, at_y = getattr(c, name), getattr(c, name + "_x"), getattr(c, name + "_y")
            rows[name] = lambda x, z, at=at: at(x, T @ z)
            rows[name + "_x"] = lambda x, z, at=at_x: at(x, T @ z)
            rows[name + "_y"] = lambda x, z, at=at_y: at(x, T @ z) @ T
    curvature = dict(linear=True) if c.linear else dict(
        lagrangian_yy=lambda x, z, mu, nu: T.T @ c.lagrangian_yy(x, T @ z, mu, nu) @ T,
        lagrangian_xy=lambda x, z, mu, nu: c.lagrangian_xy(x, T @ z, mu, nu) @ T,
    )  # fmt: skip
    moved = rb.BilevelProblem(
        n=b.n, m=m, f=lambda x, z: b.f(x, T @ z), f_x=lambda x, z: b.f_x(x, T @ z), f_y=lambda x, z: T.T @ b.f_y(x, T @ z),
        g=lambda x, z: b.g(x, T @ z), g_x=lambda x, z: b.g_x(x, T @ z), g_y=lambda x, z: T.T @ b.g_y(x, T @ z),
        g_yy=lambda x, z: T.T @ b.g_yy(x, T @ z) @ T, g_xy=lambda x, z: b.g_xy(x, T @ z) @ T, constraints=rb.Constraints(**rows, **curvature),
    )  # fmt: skip
    same(moved, e, 1e-8)

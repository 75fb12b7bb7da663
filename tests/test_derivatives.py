"""check_problem names the wrong derivative, in digits, with the slip it looks like."""

import numpy as np
import pytest

import refbilevel as rb
from refbilevel.derivatives import WrongDerivative
from refbilevel.errors import ArgumentError, BilevelError

from examples import quadratic, quartic

X = np.array([0.3, -0.7])


@pytest.mark.parametrize("kind", ["dense", "sparse", "operator"])
def test_right_derivatives_pass_with_many_digits(kind):
    report = rb.check_problem(quartic(kind=kind), X)
    assert report.success and min(row.digits for row in report.rows) > 8
    assert {row.name for row in report.rows} >= {"f_x", "f_y", "g_x", "g_y", "g_yy", "g_xy"}


def planted(name, change, n=2, m=4):
    problem = quartic(n=n, m=m)
    right = getattr(problem, name)
    return rb.problem.replace(problem, **{name: lambda x, y: change(right(x, y))})


@pytest.mark.parametrize(
    "name,change,hint",
    [
        ("f_x", lambda D: -D, "negative"),
        ("g_yy", np.tril, "triangle"),
        ("g_xy", lambda D: 2 * D, "half"),
        ("f_y", lambda D: D / 2, "twice"),
        ("g_y", lambda D: D + 0.1, ""),
    ],
)
def test_a_planted_slip_is_named(name, change, hint):
    with pytest.raises(WrongDerivative) as caught:
        rb.check_problem(planted(name, change), X)
    assert isinstance(caught.value, BilevelError)
    row = next(row for row in caught.value.report.rows if row.name == name)
    assert not row.ok and hint in row.hint and name in str(caught.value)


def test_a_transposed_square_cross_derivative_is_named():
    with pytest.raises(WrongDerivative, match="g_xy: 0.* digits; its transpose agrees to"):
        rb.check_problem(planted("g_xy", np.transpose, 4, 4), np.array([0.3, -0.7, 0.2, 0.9]))


def test_notes_on_side_effects():
    def in_place(x, y):
        y += 1.0
        return y

    problem, _ = quadratic(n=2)
    with pytest.raises(ArgumentError, match="in place"):
        rb.check_problem(rb.problem.replace(problem, f_y=in_place), X)
    rng = np.random.default_rng(0)
    noisy = rb.problem.replace(problem, f=lambda x, y: problem.f(x, y) + 1e-12 * rng.standard_normal())
    assert any("deterministic" in w for w in rb.check_problem(noisy, X, strict=False).warnings)
    single = rb.problem.replace(problem, g_x=lambda x, y: problem.g_x(x, y).astype(np.float32))
    assert any("float32" in w for w in rb.check_problem(single, X).warnings)
    skew = planted("g_yy", lambda H: H + np.triu(np.full(H.shape, 1e-3), 1))
    assert any("symmetric" in w for w in rb.check_problem(skew, X, strict=False).warnings)


def test_constraints_are_checked_too():
    problem, _ = quadratic(n=2, m=3)
    curved = rb.Constraints(
        p=lambda x, y: np.array([y @ y - x[0]]), p_x=lambda x, y: np.array([[-1.0, 0.0]]), p_y=lambda x, y: 2 * y[None, :],
        lagrangian_yy=lambda x, y, mu, nu: 2 * mu[0] * np.eye(3), lagrangian_xy=lambda x, y, mu, nu: np.zeros((2, 3)),
    )  # fmt: skip
    assert rb.check_problem(rb.problem.replace(problem, constraints=curved), X).success
    dropped = rb.Constraints(p=curved.p, p_x=curved.p_x, p_y=curved.p_y, linear=True)
    with pytest.raises(WrongDerivative, match="lagrangian_yy"):
        rb.check_problem(rb.problem.replace(problem, constraints=dropped), X)

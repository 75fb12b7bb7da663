"""Rows 17-29 and 31-34: what oracles may return, and what happens when they do not."""

import numpy as np
import pytest
from scipy.sparse.linalg import LinearOperator

import refbilevel as rb
from refbilevel.derivatives import WrongDerivative
from refbilevel.errors import ArgumentError, DtypeError, ShapeError

from examples import quadratic, quartic

from .record import row
from .rows_arguments import X3

Y5 = 0.5 + 0.25 * np.cos(np.arange(5))


def changed(**oracles):
    return rb.problem.replace(quadratic()[0], **oracles)


def raises(error, problem, *words, call=None):
    with pytest.raises(error) as caught:
        (call or (lambda p: rb.hypergradient(p, X3)))(problem)
    for word in words:
        assert word in str(caught.value), (word, str(caught.value))


@row(17, "g_y of the wrong shape")
def _():
    right = quadratic()[0].g_y
    raises(ShapeError, changed(g_y=lambda x, y: right(x, y)[:4]), "g_y", "(5,)", "(4,)")
    raises(ShapeError, changed(g_y=lambda x, y: right(x, y)[:, None]), "g_y", "(5, 1)")
    raises(ShapeError, changed(g_yy=lambda x, y: np.eye(4)), "g_yy", "(4, 4)")
    raises(ShapeError, changed(f=lambda x, y: np.ones(2)), "f", "scalar")


@row(18, "the cross derivative transposed")
def _():
    right = quadratic()[0].g_xy
    raises(ShapeError, changed(g_xy=lambda x, y: right(x, y).T), "g_xy", "(3, 5)", "(5, 3)", "transposed")
    square, _ = quadratic(4, 4)
    wrong = rb.problem.replace(square, g_xy=lambda x, y: square.g_xy(x, y).T)
    raises(WrongDerivative, wrong, "g_xy", "transpose", call=lambda p: rb.check_problem(p, np.ones(4)))


@row(19, "an oracle returns None")
def _():
    for name in ("f_x", "f_y", "g_y", "g_yy", "g_xy"):
        raises(DtypeError, changed(**{name: lambda x, y: None}), name, "None", "return")


@row(20, "an oracle changes its argument")
def _():
    right = quadratic()[0].g_y

    def g_y(x, y):
        y += 1e-12
        return right(x, y)

    raises(ArgumentError, changed(g_y=g_y), "g_y", "in place", "copy", call=lambda p: rb.check_problem(p, X3))


@row(21, "an oracle that is not deterministic")
def _():
    rng, right = np.random.default_rng(0), quadratic()[0].f_x
    noisy = changed(f_x=lambda x, y: right(x, y) + 1e-9 * rng.standard_normal(3))
    report = rb.check_problem(noisy, X3)
    assert any("f_x" in w and "deterministic" in w for w in report.warnings)


@row(22, "an oracle that returns float32")
def _():
    right = quadratic()[0].f_y
    single = changed(f_y=lambda x, y: right(x, y).astype(np.float32))
    report = rb.check_problem(single, X3)
    assert any("f_y" in w and "float32" in w for w in report.warnings)
    assert rb.hypergradient(single, X3).gradient.dtype == np.float64


@row(23, "an oracle raises")
def _():
    for name in ("f_x", "f_y", "g_y", "g_yy", "g_xy"):

        def broken(x, y):
            raise ZeroDivisionError("boom")

        with pytest.raises(ZeroDivisionError) as caught:
            rb.hypergradient(changed(**{name: broken}), X3)
        assert any(name in note and "0.3" in note for note in caught.value.__notes__), name


@row(24, "an interrupt keeps what was found")
def _():
    def stop(x, y):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as caught:
        rb.hypergradient(changed(f_y=stop), X3)
    np.testing.assert_allclose(caught.value.partial.y, rb.solve_lower(quadratic()[0], X3).y, rtol=1e-12)
    with pytest.raises(KeyboardInterrupt) as caught:
        rb.hypergradient(changed(g_yy=stop), X3)
    assert caught.value.partial["oracle"] == "g_yy" and caught.value.partial["y"].shape == (5,)


@row(25, "a gradient that is not that of its function")
def _():
    right = quadratic()[0].f_y
    raises(WrongDerivative, changed(f_y=lambda x, y: 2 * right(x, y)), "f_y", "digits", "half of it", call=lambda p: rb.check_problem(p, X3))
    report = rb.check_problem(changed(f_y=lambda x, y: 2 * right(x, y)), X3, strict=False)
    assert not report.success and [r.name for r in report.rows if not r.ok] == ["f_y"]


@row(26, "a Hessian that is not that of its gradient")
def _():
    right = quadratic()[0].g_yy
    raises(WrongDerivative, changed(g_yy=lambda x, y: right(x, y) + 1e-3 * np.eye(5)), "g_yy", "digits", call=lambda p: rb.check_problem(p, X3))


@row(27, "a Hessian that is not symmetric")
def _():
    problem, _ = quadratic()
    H = problem.g_yy(X3, Y5) + np.triu(0.05 * np.ones((5, 5)), 1)
    skew = rb.problem.replace(problem, g_yy=lambda x, y: H)
    y = rb.solve_lower(problem, X3).y
    h = rb.hypergradient(skew, X3, lower=y)
    assert "not symmetric" in h.message
    np.testing.assert_allclose(h.gradient, problem.f_x(X3, y) - problem.g_xy(X3, y) @ np.linalg.solve(H, problem.f_y(X3, y)), rtol=1e-11)
    assert any("g_yy is not symmetric" in w for w in rb.check_problem(skew, X3, strict=False).warnings)


@row(28, "half a Hessian")
def _():
    right = quadratic()[0].g_yy
    raises(WrongDerivative, changed(g_yy=lambda x, y: np.tril(right(x, y))), "g_yy", "one triangle", call=lambda p: rb.check_problem(p, X3))


@row(29, "a Hessian product that is not linear")
def _():
    right = quadratic()[0].g_yy(X3, Y5)
    bent = changed(g_yy=lambda x, y: LinearOperator((5, 5), matvec=lambda v: right @ v + 1e-6 * np.linalg.norm(v) ** 2 * v, dtype=float))
    raises(ArgumentError, bent, "g_yy", "linear", call=lambda p: rb.check_problem(p, X3))


@row(31, "NaN on the way")
def _():
    for name in ("g_y", "g_yy", "f_y", "f_x", "g_xy"):
        right = getattr(quadratic()[0], name)
        calls = []

        def broken(x, y, right=right, calls=calls):
            calls.append(1)
            return right(x, y) * np.nan

        h = rb.hypergradient(changed(**{name: broken}), X3)
        assert h.status == "nonfinite" and not np.isfinite(h.gradient).all() and len(calls) < 10, (name, h.status)
        assert "finite" in h.message


@row(32, "infinity outside the domain")
def _():
    problem = rb.BilevelProblem(
        n=1, m=1, f=lambda x, y: y[0] ** 2, f_x=lambda x, y: np.zeros(1), f_y=lambda x, y: 2 * y,
        g=lambda x, y: y[0] - np.exp(x[0]) * np.log(y[0]) if y[0] > 0 else np.inf,
        g_y=lambda x, y: 1 - np.exp(x) / y, g_yy=lambda x, y: np.exp(x)[:, None] / y**2, g_xy=lambda x, y: -(np.exp(x) / y)[:, None],
    )  # fmt: skip
    for x, start in ((-3.0, 1.0), (0.5, 9.0)):  # the first Newton steps leave the domain
        h = rb.hypergradient(problem, [x], y0=[start])
        assert h.success
        np.testing.assert_allclose(h.gradient, 2 * np.exp(2 * x), rtol=1e-12)


@row(33, "overflow at a large x")
def _():
    rng = np.random.default_rng(0)
    A, t = rng.standard_normal((20, 3)), rng.standard_normal(20)
    for problem in (rb.problems.ridge(A, t, A, t, penalties="per-feature"), rb.problems.logistic(A, np.sign(t), A, np.sign(t), penalties="per-feature")):
        h = rb.hypergradient(problem, [0.0, 800.0, 0.0])
        assert h.status == "nonfinite" and not np.isfinite(h.gradient).any()
        assert "x[1]" in h.message, h.message


@row(34, "scales from 1e-150 to 1e150")
def _():
    for s in (1e-150, 1e-60, 1.0, 1e60, 1e150):
        problem, exact = quadratic()
        scaled = rb.problem.replace(
            problem, g=lambda x, y: s * problem.g(x, y), g_y=lambda x, y: s * problem.g_y(x, y),
            g_x=lambda x, y: s * problem.g_x(x, y), g_yy=lambda x, y: s * problem.g_yy(x, y), g_xy=lambda x, y: s * problem.g_xy(x, y),
        )  # fmt: skip
        h = rb.hypergradient(scaled, X3)
        right = np.linalg.norm(h.gradient - exact(X3)) <= 1e-10 * np.linalg.norm(exact(X3))
        assert right or not h.success, (s, h.gradient)
        assert h.success or not 1e-100 < s < 1e100
    assert rb.hypergradient(quartic(), [0.4, -0.3]).success

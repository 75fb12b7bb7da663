"""Derivatives of an exact function F(x, y) of lists of mpf, by numerical differentiation at 40 digits."""

import mpmath
import numpy as np

mpmath.mp.dps = 40


def directional(F, x, y, u, w, order):
    """order = (i, j): the mixed derivative of F, i times along u in x and j times along w in y."""
    x, y, u, w = (list(map(mpmath.mpf, z.tolist())) for z in (x, y, u, w))
    return float(mpmath.diff(lambda s, r: F([a + s * b for a, b in zip(x, u)], [a + r * b for a, b in zip(y, w)]), (0, 0), order))


def assert_oracles_exact(problem, f, g, seed=7, rtol=1e-13, atol=1e-14):
    """Every first and second derivative of `problem` along random directions (eighths), against f and g at 40 digits."""
    rng = np.random.default_rng(seed)
    x, y, u, w = (rng.integers(-8, 9, size) / 8 for size in (problem.n, problem.m, problem.n, problem.m))
    for letter, F in (("f", f), ("g", g)):
        oracle = lambda suffix: getattr(problem, letter + suffix)(x, y)  # noqa: E731, B023
        got = {
            (0, 0): getattr(problem, letter)(x, y),
            (1, 0): oracle("_x") @ u,
            (0, 1): oracle("_y") @ w,
            (2, 0): u @ (oracle("_xx") @ u),
            (1, 1): u @ (oracle("_xy") @ w),
            (0, 2): w @ (oracle("_yy") @ w),
        }
        for order, value in got.items():
            truth = directional(F, x, y, u, w, order)
            np.testing.assert_allclose(value, truth, rtol=rtol, atol=atol, err_msg=f"{letter} {order}")
        np.testing.assert_allclose(w @ (oracle("_xy").T @ u), got[1, 1], rtol=rtol, atol=atol)

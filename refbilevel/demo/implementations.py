"""Three implementations of a hypergradient, as people write them: one right, two wrong in ways that tests rarely see."""

from __future__ import annotations

import numpy as np

from ..driver import hypergradient


def implicit(problem, x):
    """This library's implicit differentiation."""
    return hypergradient(problem, x, method="implicit").gradient


def unrolled(problem, x, K=5):
    """Five unrolled gradient steps from zero: a gradient check passes on it, since it differentiates the same five steps."""
    return hypergradient(problem, x, method="reverse", K=K).gradient


def previous_iterate(problem, x, tol=1e-10):
    """Implicit differentiation by a conjugate gradient that returns the iterate before the last, as a much copied one does."""
    y = hypergradient(problem, x, diagnostics=False).lower.y
    H, r = problem.g_yy(x, y), np.asarray(problem.f_y(x, y), float)
    v, p, rr = np.zeros(problem.m), r.copy(), r @ r
    for _ in range(problem.m):
        if rr == 0:
            break
        Hp = H @ p
        alpha = rr / (p @ Hp)
        r = r - alpha * Hp
        if np.sqrt(r @ r) < tol:
            break  # the step alpha p is never taken
        v, rr, old = v + alpha * p, r @ r, rr
        p = r + (rr / old) * p
    return problem.f_x(x, y) - problem.g_xy(x, y) @ v


IMPLEMENTATIONS = {"implicit": implicit, "unrolled, K = 5": unrolled, "previous-iterate CG": previous_iterate}

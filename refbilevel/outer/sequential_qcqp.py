"""A single loop that keeps |g_y| small at every iterate (experimental: the half-space form, derived from the published abstract).

    h = (|g_y|^2 - eps^2) / 2,   grad h = (g_xy g_y; g_yy g_y);    d = argmin |d + grad f|^2 / 2  subject to  grad h.d <= -a h
    d = -grad f - max(0, (a h - grad h.grad f) / |grad h|^2) grad h;       (x, y) <- (x, y) + s d

Fixed points satisfy the first-order conditions of min f subject to |g_y| <= eps: O(eps) from the bilevel solution.

After arXiv 2505.14647; the quadratic form of its constraint is not reproduced here.
"""

from __future__ import annotations

import numpy as np

from .protocol import OuterMethod
from .single_loop import run, steps


def _move(problem, s, k):
    x, y = s.x, s.y
    r = problem.g_y(x, y)
    p = np.concatenate([problem.f_x(x, y), problem.f_y(x, y)])
    q = np.concatenate([problem.g_xy(x, y) @ r, problem.g_yy(x, y) @ r])
    h, square = 0.5 * (r @ r - s.eps**2), q @ q
    d = -p - (max(0.0, (s.a * h - q @ p) / square) * q if square > 0 else 0.0)
    s.x, s.y = s.project(x + s.step_x * d[: len(x)]), y + s.step_x * d[len(x) :]


def _run(objective, x0, *, tol=1e-8, maxiter=500, eps=1e-3, a=None, inner=200, step_x=None):
    def prepare(problem, s):
        problem.needs("g_yy", "g_xy", purpose="method 'sequential_qcqp'")
        asked = s.step_x
        steps(objective, problem, s)
        s.y = objective.evaluate(s.x).lower.y.copy()
        s.step_x = asked or 0.1 * min(s.step_x, s.step_y)
        s.a = 1.0 / s.step_x if s.a is None else s.a

    return run(objective, x0, _move, tol=tol, maxiter=maxiter, inner=inner, prepare=prepare, eps=eps, a=a, step_x=step_x, step_y=None)


sequential_qcqp = OuterMethod("sequential_qcqp", _run, reference="after arXiv 2505.14647 (experimental)", classes=("smooth",))

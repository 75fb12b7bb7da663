"""BOME: a direction, not a hypergradient.

    w = T gradient steps on g(x, .) from y;   q = (g_x(x, y) - g_x(x, w); g_y(x, y))       (gradient of g(x, y) - g(x, w), w held)
    lambda = max((phi - <grad f, q>) / |q|^2, 0),   phi = eta |q|^2;        (x, y) <- (x, y) - s (grad f + lambda q)

The direction d = grad f + lambda q is the nearest to grad f with <d, q> >= phi, so that the lower gap falls at every step. At q = 0
lambda = 0: no division by zero, no bias.

Ye, Liu, Wright, Stone & Liu, BOME! Bilevel optimization made easy, NeurIPS 2022, alg. 1, eq. 6.
"""

from __future__ import annotations

import numpy as np

from .protocol import OuterMethod
from .single_loop import run, steps


def direction(problem, x, y, *, T, step_y, eta):
    """(d_x (n,), d_y (m,), lambda, q) at (x, y)."""
    w = y
    for _ in range(T):
        w = w - step_y * problem.g_y(x, w)
    q = np.concatenate([problem.g_x(x, y) - problem.g_x(x, w), problem.g_y(x, y)])
    p = np.concatenate([problem.f_x(x, y), problem.f_y(x, y)])
    square = q @ q
    multiplier = max(eta - p @ q / square, 0.0) if square > 0 else 0.0
    d = p + multiplier * q
    return d[: len(x)], d[len(x) :], multiplier, q


def _move(problem, s, k):
    d_x, d_y, _, _ = direction(problem, s.x, s.y, T=s.T, step_y=s.step_y, eta=s.eta)
    s.x, s.y = s.project(s.x - s.step_x * d_x), s.y - s.step_x * d_y


def _run(objective, x0, *, tol=1e-8, maxiter=500, eta=0.5, T=10, inner=100, step_x=None, step_y=None):
    def prepare(problem, s):
        problem.needs("g_x", purpose="method 'bome'")
        asked = s.step_x
        steps(objective, problem, s)
        s.step_x = asked or 0.5 * min(s.step_x, s.step_y)  # one step length for both blocks

    return run(objective, x0, _move, tol=tol, maxiter=maxiter, inner=inner, prepare=prepare, eta=eta, T=T, step_x=step_x, step_y=step_y)


bome = OuterMethod("bome", _run, reference="Ye et al. 2022, alg. 1", classes=("smooth",))

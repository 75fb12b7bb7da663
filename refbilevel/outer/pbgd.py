"""Penalty-based bilevel gradient descent, in its value-function and its gradient form.

    "value":    w = T gradient steps on g(x, .);   (x, y) <- P[(x, y) - a (grad f + gamma (grad g(x, y) - (g_x(x, w), 0)))]
    "gradient": (x, y) <- P[(x, y) - a grad(f + gamma/2 |g_y|^2)]

In x it is 1 / (L_F + gamma |g_xy|^2 / mu) in the value form: what w lags behind y*(x) acts on x gamma-fold. Fixed points are O(1/gamma) from a bilevel solution.

Shen & Chen, On penalty-based bilevel gradient descent method, ICML 2023, alg. 1 and 2.
"""

from __future__ import annotations

from ..certificates import norm
from ..errors import unknown
from .protocol import OuterMethod
from .single_loop import least_curvature, run, steps


def _value(problem, s, k):
    x, y = s.x, s.y
    for _ in range(s.T):
        s.w = s.w - s.step_y * problem.g_y(x, s.w)
    p_x = problem.f_x(x, y) + s.gamma * (problem.g_x(x, y) - problem.g_x(x, s.w))
    p_y = problem.f_y(x, y) + s.gamma * problem.g_y(x, y)
    s.x, s.y = s.project(x - s.step_penalty * p_x), y - s.step_y / (1 + s.gamma) * p_y


def _gradient(problem, s, k):
    x, y = s.x, s.y
    r = problem.g_y(x, y)
    p_x = problem.f_x(x, y) + s.gamma * (problem.g_xy(x, y) @ r)
    p_y = problem.f_y(x, y) + s.gamma * (problem.g_yy(x, y) @ r)
    s.x = s.project(x - s.step_penalty * p_x)
    s.y = y - 1.0 / (s.L_f + s.gamma * s.L_g**2) * p_y


def _run(objective, x0, *, tol=1e-8, maxiter=500, variant="value", gamma=100.0, T=5, inner=50, step_x=None, step_y=None):
    moves = {"value": _value, "gradient": _gradient}
    if variant not in moves:
        raise unknown("variant", variant, moves)

    def prepare(problem, s):
        problem.needs(*(("g_x",) if variant == "value" else ("g_yy", "g_xy")), purpose=f"method 'pbgd', variant {variant!r}")
        steps(objective, problem, s)
        s.w, s.L_f = s.y.copy(), 1.0
        size = norm(problem.g_xy(s.x, s.y)) if problem.g_xy is not None else 1.0 / s.step_y
        stiffness = size**2 / least_curvature(problem, s) if variant == "value" else size**2
        s.step_penalty = 1.0 / (1.0 / s.step_x + s.gamma * stiffness)

    return run(
        objective, x0, moves[variant], tol=tol, maxiter=maxiter, inner=inner, prepare=prepare, gamma=gamma, T=T, step_x=step_x, step_y=step_y
    )


pbgd = OuterMethod("pbgd", _run, reference="Shen & Chen 2023, alg. 1-2", classes=("smooth",))

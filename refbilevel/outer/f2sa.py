"""F2SA, the fully first-order method (deterministic form).

    z <- z - s_z g_y(x, z);    y <- y - s_y (f_y + lambda g_y)(x, y);    x <- P(x - s_x [f_x(x, y) + lambda (g_x(x, y) - g_x(x, z))])

with lambda_k = lambda_0 (k + 1)^growth; its fixed point at lambda has bias O(1/lambda). s_y = s_z / (1 + lambda) follows lambda.

Kwon, Kwon, Wright & Nowak, A fully first-order method for stochastic bilevel optimization, ICML 2023, alg. 1.
"""

from __future__ import annotations

from .protocol import OuterMethod
from .single_loop import run, steps


def _move(problem, s, k):
    multiplier = s.lam * (k + 1) ** s.growth
    x = s.x
    for _ in range(s.T):
        s.z = s.z - s.step_y * problem.g_y(x, s.z)
        s.y = s.y - s.step_y / (1 + multiplier) * (problem.f_y(x, s.y) + multiplier * problem.g_y(x, s.y))
    s.x = s.project(x - s.step_x * (problem.f_x(x, s.y) + multiplier * (problem.g_x(x, s.y) - problem.g_x(x, s.z))))


def _run(objective, x0, *, tol=1e-8, maxiter=500, lam=100.0, growth=1 / 7, T=5, inner=50, step_x=None, step_y=None):
    def prepare(problem, s):
        problem.needs("g_x", purpose="method 'f2sa'")
        steps(objective, problem, s)
        s.z = s.y.copy()

    return run(
        objective, x0, _move, tol=tol, maxiter=maxiter, inner=inner, prepare=prepare, lam=lam, growth=growth, T=T, step_x=step_x, step_y=step_y
    )


f2sa = OuterMethod("f2sa", _run, reference="Kwon et al. 2023, alg. 1", classes=("smooth",))

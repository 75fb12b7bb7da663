"""MinimaxOPT's multi-stage gradient descent ascent on L_alpha = f(x, u) + alpha (g(x, u) - g(x, w)).

    for stage i:   alpha <- tau alpha;   steps <- steps / tau (for x, tau^-i)
        K times, all at the old point:   w <- w - s_w alpha g_y(x, w);   u <- u - s_u (f_y + alpha g_y)(x, u);
                                         x <- P(x - s_x [f_x(x, u) + alpha (g_x(x, u) - g_x(x, w))])

The distance to the bilevel solution falls like 1/alpha until rounding. `alpha_final` fixes the last alpha, else stages go on.

Wang, Pan, Pi & Zhang, Effective bilevel optimization via minimax reformulation, arXiv 2305.13153, alg. 1.
"""

from __future__ import annotations

from .protocol import OuterMethod
from .single_loop import run, steps


def _move(problem, s, k):
    if k % s.K == 0 and s.alpha * s.tau <= s.alpha_final:
        s.alpha *= s.tau
    x, u, w, alpha = s.x, s.y, s.w, s.alpha
    s.w = w - s.step_y * problem.g_y(x, w)
    s.y = u - s.step_y / (1 + alpha) * (problem.f_y(x, u) + alpha * problem.g_y(x, u))
    # alpha (g_x(u) - g_x(w)) multiplies what u and w still lack by alpha, so the step of x shrinks with it
    s.x = s.project(x - s.step_x / (1 + alpha / s.slow) * (problem.f_x(x, u) + alpha * (problem.g_x(x, u) - problem.g_x(x, w))))


def _run(
    objective, x0, *, tol=1e-8, maxiter=500, alpha=1.0, tau=2.0, K=1000, alpha_final=1e6, slow=100.0, inner=200, step_x=None, step_y=None
):
    def prepare(problem, s):
        problem.needs("g_x", purpose="method 'minimax'")
        steps(objective, problem, s)
        s.w = s.y.copy()

    return run(
        objective, x0, _move, tol=tol, maxiter=maxiter, inner=inner, prepare=prepare, alpha=alpha, tau=tau, K=K, alpha_final=alpha_final,
        slow=slow, step_x=step_x, step_y=step_y,
    )  # fmt: skip


minimax = OuterMethod("minimax", _run, reference="Wang et al. 2305.13153, alg. 1", classes=("smooth",))

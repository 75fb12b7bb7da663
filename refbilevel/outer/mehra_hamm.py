"""Mehra and Hamm's penalty method with its schedules, and its augmented-Lagrangian form.

    lower   h_y = f + nu.g_y + (rho/2) |g_y|^2 + lambda g        T Adam steps on y
    upper   h_x = f + nu.g_y + (rho/2) |g_y|^2                   one Adam step on x
    when |grad_x h_x|^2 + |grad_y h_y|^2 < eps^2:   rho <- c rho, lambda <- lambda / c, eps <- eps / c, rates / c;
                                                    "augmented": nu <- nu + rho g_y

The penalty form keeps nu = 0 and is exact as rho grows, O(1/rho) before; the augmented form converges at fixed rho, nu -> -g_yy^{-1} f_y.
eps starts at a tenth of the first gradients unless given. The term lambda g steers y to minima, since g_y = 0 holds at maxima too.

Mehra & Hamm, Penalty method for inversion-free deep bilevel optimization, ACML 2021, alg. 1 and sec. 3.4.
"""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from .protocol import OuterMethod
from .single_loop import adam, run


def _gradients(problem, s):
    """(grad_x h_x, grad_y h_y, g_y) at (x, y)."""
    x, y = s.x, s.y
    r = problem.g_y(x, y)
    a = s.nu + s.rho * r
    return problem.f_x(x, y) + problem.g_xy(x, y) @ a, problem.f_y(x, y) + problem.g_yy(x, y) @ a + s.lam * r, r


def _move(problem, s, k):
    for _ in range(s.T):
        s.y = s.y - adam(_gradients(problem, s)[1], s.memory_y, s.rate_y)
    h_x, h_y, r = _gradients(problem, s)
    s.x = s.project(s.x - adam(h_x, s.memory_x, s.rate_x))
    stationary = s.x - s.project(s.x - h_x)
    if stationary @ stationary + h_y @ h_y < s.eps**2:
        if s.augmented:
            s.nu = s.nu + s.rho * r
        s.rho, s.lam, s.eps = s.c * s.rho, s.lam / s.c, s.eps / s.c
        s.rate_x, s.rate_y = s.rate_x / s.shrink, s.rate_y / s.shrink


def _method(augmented):
    def _run(
        objective, x0, *, tol=1e-8, maxiter=500, rho=10.0, lam=1.0, eps=None, c=1.1, shrink=1.05, T=10, inner=50, rate_x=1e-2, rate_y=1e-2
    ):
        def prepare(problem, s):
            problem.needs("g_yy", "g_xy", purpose="Mehra and Hamm's method")
            if s.eps is None:
                h_x, h_y, _ = _gradients(problem, SimpleNamespace(**vars(s), nu=np.zeros(problem.m)))
                s.eps = 0.1 * float(np.sqrt(h_x @ h_x + h_y @ h_y))
            s.nu, s.memory_x, s.memory_y = np.zeros(problem.m), {}, {}

        return run(
            objective, x0, _move, tol=tol, maxiter=maxiter, inner=inner, prepare=prepare, rho=rho, lam=lam, eps=eps, c=c, shrink=shrink, T=T,
            rate_x=rate_x, rate_y=rate_y, augmented=augmented,
        )  # fmt: skip

    return _run


penalty = OuterMethod("penalty", _method(False), reference="Mehra & Hamm 2021, alg. 1", classes=("smooth",))
augmented_lagrangian = OuterMethod("augmented_lagrangian", _method(True), reference="Mehra & Hamm 2021, sec. 3.4", classes=("smooth",))

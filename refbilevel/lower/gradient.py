"""First-order dynamics for min_y g(x, y) that can keep their trajectory.

    gradient descent    y_{k+1} = y_k - s g_y(y_k)
    heavy ball          y_{k+1} = y_k - s g_y(y_k) + b (y_k - y_{k-1})
    accelerated         z_k = y_k + b (y_k - y_{k-1}),  y_{k+1} = z_k - s g_y(z_k)      (Nesterov, constant b)

With curvature between mu and L: s = 1/L by default (4/(sqrt L + sqrt mu)^2 for heavy ball, as Polyak), and
b = ((sqrt L - sqrt mu)/(sqrt L + sqrt mu))^j, j = 2 for heavy ball, 1 for the accelerated method.
Without `constants` the curvature L is the largest Ritz value of g_yy at (x, y0).
"""

from __future__ import annotations

import numpy as np

from ..errors import ArgumentError
from ..results import LowerSolution, Status
from .protocol import LowerSolver


def curvature(problem, x, y, iterations=60):
    """L: the largest eigenvalue of g_yy(x, y), by constants["L"] or by power iteration from a fixed start."""
    if problem.constants and "L" in problem.constants:
        return float(problem.constants["L"])
    problem.needs("g_yy", purpose="a default step")
    H = problem.g_yy(x, y)
    u = np.cos(np.arange(1.0, problem.m + 1))
    for _ in range(iterations):
        u = H @ (u / max(np.linalg.norm(u), 1e-300))
    return 1.02 * float(np.linalg.norm(u))


def default_step(problem, x, y):
    """1/L, with L from `curvature`."""
    L = curvature(problem, x, y)
    return 1.0 / L if L > 0 else 1.0


def _iterate(problem, x, y0, *, name, tol, maxiter, step, momentum, look_ahead, keep):
    if step is not None and not step > 0:
        raise ArgumentError(f"step must be positive, got {step!r}")
    s = default_step(problem, x, y0) if step is None else float(step)
    maxiter = 10_000 if maxiter is None else maxiter
    y, previous, kept, growth, last = y0.copy(), y0, [y0.copy()], 0, np.inf
    for k in range(maxiter + 1):
        z = y + momentum * (y - previous) if look_ahead else y
        r = problem.g_y(x, z)
        norm_r = float(np.linalg.norm(r))
        status = _status(norm_r, last, growth, k, maxiter, tol)
        if status is not None:
            break
        growth, last = (growth + 1 if norm_r > 2 * last else 0), norm_r
        step_from = z if look_ahead else y + momentum * (y - previous)
        previous, y = y, step_from - s * r
        if keep:
            kept.append(y.copy())
    trajectory = np.array(kept) if keep else None
    residual = float(np.linalg.norm(problem.g_y(x, y)))
    return LowerSolution(y=y, residual=residual, iterations=k, status=status, method=name, trajectory=trajectory)


def _status(norm_r, last, growth, k, maxiter, tol):
    if not np.isfinite(norm_r):
        return Status.DIVERGED if k > 1 else Status.NONFINITE
    if norm_r <= (1e-13 if tol is None else tol) or norm_r == 0:
        return Status.CONVERGED
    if growth >= 3:
        return Status.DIVERGED
    return Status.LOWER_MAXITER if k >= maxiter else None


def _gradient_descent(problem, x, y0, *, tol=None, maxiter=None, step=None, keep=False):
    return _iterate(
        problem, x, y0, name="gradient_descent", tol=tol, maxiter=maxiter, step=step, momentum=0.0, look_ahead=False, keep=keep
    )


def _heavy_ball(problem, x, y0, *, tol=None, maxiter=None, step=None, momentum=0.5, keep=False):
    return _iterate(
        problem, x, y0, name="heavy_ball", tol=tol, maxiter=maxiter, step=step, momentum=momentum, look_ahead=False, keep=keep
    )


def _accelerated(problem, x, y0, *, tol=None, maxiter=None, step=None, momentum=0.9, keep=False):
    return _iterate(
        problem, x, y0, name="accelerated_gradient", tol=tol, maxiter=maxiter, step=step, momentum=momentum, look_ahead=True, keep=keep
    )


gradient_descent = LowerSolver("gradient_descent", _gradient_descent, reference="Cauchy 1847")
heavy_ball = LowerSolver("heavy_ball", _heavy_ball, reference="Polyak 1964")
accelerated_gradient = LowerSolver("accelerated_gradient", _accelerated, reference="Nesterov 2004, eq. 2.2.22")

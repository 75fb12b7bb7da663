"""Unrolled differentiation: the exact gradient of x -> f(x, y_K(x)), y_{k+1} = y_k - s g_y(x, y_k).

    a_K = f_y(x, y_K),  p = f_x(x, y_K);   for k = K-1, ..., 0:   p <- p - s g_xy(x, y_k) a,   a <- a - s g_yy(x, y_k) a.

Error law against grad F: O(K q^K), q = |I - s g_yy|; against the K-step map itself: exact, for every K. The start y_0 and the
step s do not depend on x. Memory K m.

Franceschi et al., Forward and reverse gradient-based hyperparameter optimization, ICML 2017, alg. 1.
"""

from __future__ import annotations

from ..errors import ArgumentError
from ..lower.gradient import default_step
from ..results import Estimate, Status
from .protocol import Estimator


def trajectory(problem, x, y0, K, step):
    """[y_0, ..., y_K] of gradient descent."""
    path = [y0]
    for _ in range(K):
        path.append(path[-1] - step * problem.g_y(x, path[-1]))
    return path


def _check(K, step):
    if isinstance(K, bool) or not isinstance(K, int) or K < 0:
        raise ArgumentError(f"K must be a non-negative integer, got {K!r}")
    if step is not None and not step > 0:
        raise ArgumentError(f"step must be positive, got {step!r}")


def _compute(problem, x, lower, *, K=100, step=None):
    _check(K, step)
    s = default_step(problem, x, lower.y) if step is None else step
    path = trajectory(problem, x, lower.y, K, s)
    y = path[-1]
    direct, a = problem.f_x(x, y), problem.f_y(x, y)
    p = direct.copy()
    for y_k in reversed(path[:-1]):
        p -= s * (problem.g_xy(x, y_k) @ a)
        a = a - s * (problem.g_yy(x, y_k) @ a)
    return Estimate(gradient=p, direct=direct, y=y, status=Status.CONVERGED, extra={"step": s, "K": K})


reverse = Estimator(
    name="reverse",
    family="unrolled",
    compute=_compute,
    requires=("f_x", "f_y", "g_y", "g_yy", "g_xy"),
    error="O(K q^K)",
    reference="Franceschi et al. 2017, alg. 1",
    lower="start",
)

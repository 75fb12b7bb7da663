"""Log-barrier smoothing: the classical baseline that replaces p <= 0 by a barrier and differentiates the result exactly.

    y_t = argmin { g - t sum log(-p_i) : q = 0 },     gradient of f(x, y_t(x)) = f_x - (L_xy + p_x' W p_y) w_y - q_x' w_nu,
    [ L_yy + p_y' W p_y   q_y' ] w = (f_y; 0),         mu_i = t / (-p_i),  W = diag(mu_i / -p_i).
    [ q_y                 0    ]

It is defined everywhere, at kinks too, and smooth; its error against grad F is O(t) where strict complementarity holds and does not
vanish at kinks (it returns an average of the branches). y_t is found by the primal-dual path, so small t loses nothing.

Fiacco & McCormick, Nonlinear Programming: Sequential Unconstrained Minimization Techniques, 1968, ch. 4.
"""

from __future__ import annotations

import numpy as np

from .. import kkt, linear
from ..errors import ArgumentError
from ..kkt.conditions import dense
from ..lower.interior_point import interior_point
from ..results import Estimate, Status
from .protocol import Estimator


def _compute(problem, x, lower, *, t=1e-6):
    if not (np.isfinite(t) and t > 0):
        raise ArgumentError(f"t must be positive, got {t!r}")
    path = interior_point(problem, x, lower.y, tol=1e-14, maxiter=200, end=t)
    y, mu, nu = path.y, path.mu, path.nu
    at, (p_x, q_x) = kkt.rows(problem, x, y), kkt.rows_x(problem, x, y)
    p_y, q_y, l = dense(at.p_y), dense(at.q_y), at.q.size
    f_x, f_y = problem.f_x(x, y), problem.f_y(x, y)
    W = mu / -at.p
    K = np.zeros((y.size + l,) * 2)
    K[: y.size, : y.size] = dense(kkt.conditions.lagrangian_yy(problem, x, y, mu, nu)) + (p_y.T * W) @ p_y
    K[y.size :, : y.size], K[: y.size, y.size :] = q_y, q_y.T
    solution = linear.solve(K, np.append(f_y, np.zeros(l)), "ldl")
    w, w_nu = solution.x[: y.size], solution.x[y.size :]
    gradient = f_x - kkt.conditions.lagrangian_xy(problem, x, y, mu, nu) @ w - p_x.T @ (W * (p_y @ w)) - q_x.T @ w_nu
    status, detail = solution.status, solution.detail
    if path.residual > 1e-9 or not (at.p < 0).all():
        status, detail = Status.LOWER_STALLED, f"The barrier problem's residual is {path.residual:.1e}; is there a y with p < 0?"
    return Estimate(gradient=gradient, direct=f_x, adjoint=w, linear=solution, y=y, status=status, detail=detail, extra={"t": t, "mu": mu})


log_barrier = Estimator(
    name="log_barrier",
    family="smoothing",
    compute=_compute,
    requires=("f_x", "f_y", "g_y", "g_yy", "g_xy"),
    error="O(t)",
    reference="Fiacco & McCormick 1968, ch. 4",
    linear_solve="symmetric indefinite",
    classes=("constrained",),
)

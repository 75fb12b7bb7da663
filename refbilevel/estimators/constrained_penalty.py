"""The gradient-norm penalty under constraints: penalise the residual of the lower level's KKT system on its active set.

    z = (y, mu_J, nu),  R(z, x) = (L_y, p_J, q),      z_gamma stationary for f + gamma/2 |R|^2:   (f_y; 0) + gamma K R = 0,
    gradient = f_x + gamma N' R(z_gamma) = f_x - N' K^{-1} (f_y; 0) at z_gamma                                         for every gamma

(the first form is the penalty's, without any solve with K at the end; the second says what it equals). So it is the exact implicit
formula at a displaced point, |z_gamma - z*| = O(1/gamma), and its error is O(1/gamma). z_gamma is found from z* by the iteration
z <- z - K^{-1} [R + K^{-1} (f_y; 0) / gamma], which contracts like 1/gamma and needs no third derivatives.

Mehra & Hamm, Penalty method for inversion-free deep bilevel optimization, ACML 2021 (arXiv 1911.03432), with constraints as in its sec. 3.
"""

from __future__ import annotations

import numpy as np

from .. import kkt
from ..errors import ArgumentError
from ..lower.constrained_auxiliary import noise
from ..results import Estimate, Status
from .protocol import Estimator


def _compute(problem, x, lower, *, gamma=None, maxiter=50):
    if gamma is not None and not (np.isfinite(gamma) and gamma > 0):
        raise ArgumentError(f"gamma must be positive, got {gamma!r}")
    gamma = noise(problem, x, lower) ** -0.5 if gamma is None else float(gamma)
    J = np.flatnonzero(lower.active)
    y, mu, nu = lower.y, np.where(lower.active, lower.mu, 0.0), lower.nu
    smallest, status, detail = np.inf, Status.LOWER_STALLED, "The penalty's stationary point was not found; use a larger gamma."
    for _ in range(maxiter):
        S = kkt.build(problem, x, y, mu, nu, J)
        R, at = _residual(problem, x, y, mu, nu, J, S)
        wanted = kkt.solve(S, S.rhs(problem.f_y(x, y)))
        move = kkt.solve(S, R + wanted.x / gamma)
        if not wanted.success or not move.success:
            status, detail = wanted.status if not wanted.success else move.status, wanted.detail or move.detail
            break
        size = np.abs(move.x).max()
        if size <= 1e-15 * (1 + np.abs(y).max()) or size >= 0.5 * smallest and size <= 1e-9 * (1 + np.abs(y).max()):
            status, detail = Status.CONVERGED, ""
            break
        smallest = min(smallest, size)
        dy, dmu, dnu = S.split(move.x)
        y, mu, nu = y - dy, mu - dmu, nu - dnu
    gradient = problem.f_x(x, y) + gamma * S.N_transpose(R)
    return Estimate(
        gradient=gradient, direct=problem.f_x(x, lower.y), status=status, detail=detail, extra={"gamma": gamma, "y_gamma": y, "residual": R}
    )


def _residual(problem, x, y, mu, nu, J, S):
    """R with the rows of p and q divided by S.scale, as in K."""
    at = kkt.rows(problem, x, y)
    return np.concatenate([kkt.stationarity(problem, x, y, mu, nu, at), np.concatenate([at.p[J], at.q]) / S.scale]), at


constrained_penalty = Estimator(
    name="constrained_penalty",
    family="penalty",
    compute=_compute,
    requires=("f_x", "f_y", "g_y", "g_yy", "g_xy"),
    error="O(1/gamma)",
    reference="Mehra & Hamm 1911.03432, lemma 1, eq. 6",
    linear_solve="symmetric indefinite",
    classes=("constrained",),
)

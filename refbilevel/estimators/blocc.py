"""BLOCC: the value-function gradient under coupled constraints p(x, y) <= 0, q(x, y) = 0, by max-min.

    F_gamma(x) = max_{mu >= 0, nu} min_y f + gamma (g - v(x)) + mu.p + nu.q,        v(x) = min { g : p <= 0, q = 0 },
    gradient = f_x(y_F) + gamma [g_x(y_F) - g_x(y_g) - p_x(y_g)' mu_g - q_x(y_g)' nu_g] + p_x(y_F)' mu_F + q_x(y_F)' nu_F

with (y_g, mu_g, nu_g) the lower solution. Exact for F_gamma; O(1/gamma) from grad F. The max is found by projected dual ascent,
accelerated with restarts, around Newton's method for the inner min; `inner="solve"` takes the constrained solver instead.
gamma=None takes delta^(-1/2), delta the relative error of the equilibria. Assumes f + gamma g strongly convex in y.

Jiang, Xiao, Tenorio, Real-Rojas, Marques & Chen, arXiv 2406.10148, eq. 9 and algorithm 2.
"""

from __future__ import annotations

import numpy as np

from .. import kkt, linear
from ..errors import ArgumentError, unknown
from ..kkt.conditions import dense
from ..lower.constrained_auxiliary import lagrangian_x, noise, nudged_constrained, same_rows, solve_nudged
from ..results import Estimate, LowerSolution, Status
from .protocol import Estimator


def _compute(problem, x, lower, *, gamma=None, inner="maxmin", maxiter=300):
    if gamma is not None and not (np.isfinite(gamma) and gamma > 0):
        raise ArgumentError(f"gamma must be positive, got {gamma!r}")
    if inner not in ("maxmin", "solve"):
        raise unknown("inner", inner, ("maxmin", "solve"))
    gamma, tries = (noise(problem, x, lower) ** -0.5, 3) if gamma is None else (float(gamma), 1)
    for attempt in range(tries):
        upper = _dual_ascent(problem, x, lower, 1 / gamma, maxiter) if inner == "maxmin" else solve_nudged(problem, x, lower, 1 / gamma)
        if same_rows(lower, upper):
            break
        gamma *= 10.0 if attempt + 1 < tries else 1.0
    gradient = gamma * (lagrangian_x(problem, x, upper, 1 / gamma) - lagrangian_x(problem, x, lower))
    status, detail = upper.status, upper.detail
    if status.success and not same_rows(lower, upper):
        status, detail = Status.INACCURATE, f"At gamma = {gamma:.1e} the penalty changes the active set; use a larger gamma."
    return Estimate(
        gradient=gradient, direct=problem.f_x(x, lower.y), status=status, detail=detail,
        extra={
            "gamma": gamma, "y_F": upper.y, "mu_F": gamma * upper.mu, "nu_F": gamma * upper.nu, "ascent_residual": upper.residual_before,
        },
    )  # fmt: skip


def _dual_ascent(problem, x, lower, beta, maxiter):
    """max_{mu >= 0, nu} min_y g + beta f + mu.p + nu.q by accelerated projected ascent from lower's multipliers, then polish."""
    energy = nudged_constrained(problem, beta)
    y, k = lower.y, lower.mu.size
    lam = old = np.concatenate([lower.mu, lower.nu])
    at = kkt.rows(problem, x, y)
    H = dense(kkt.conditions.lagrangian_yy(energy, x, y, lower.mu, lower.nu))
    A = np.vstack([dense(at.p_y), dense(at.q_y)])
    if not A.shape[0] or not np.isfinite(H).all():
        return solve_nudged(problem, x, lower, beta)
    step = 1.0 / max(np.linalg.norm(A @ linear.solve(H, A.T).x, 2), 1e-300)
    theta = 1.0
    for iteration in range(maxiter):
        following = 0.5 * (1 + np.sqrt(1 + 4 * theta**2))
        ahead = lam + (theta - 1) / following * (lam - old)
        ahead[:k] = np.maximum(ahead[:k], 0.0)
        y = _inner_minimum(energy, x, y, ahead[:k], ahead[k:])
        at = kkt.rows(problem, x, y)
        new = ahead + step * np.concatenate([at.p, at.q])
        new[:k] = np.maximum(new[:k], 0.0)
        restart = (new - lam) @ (lam - ahead) > 0
        old, lam, theta = lam, new, 1.0 if restart else following
        if np.abs(lam - ahead).max() <= 1e-13 * (1 + np.abs(lam).max()):
            break
    polished = kkt.polish(energy, x, y, lam[:k], lam[k:])
    at = kkt.rows(problem, x, polished.y)
    small = polished.residual <= 1e-9 * (1 + np.abs(problem.g_y(x, polished.y)).max())
    return LowerSolution(
        y=polished.y, mu=polished.mu, nu=polished.nu, residual=polished.residual, residual_before=polished.before, iterations=iteration,
        active=kkt.active(polished.mu, at), status=Status.CONVERGED if small else Status.LOWER_MAXITER, method="dual_ascent",
    )  # fmt: skip


def _inner_minimum(energy, x, y, mu, nu, steps=50):
    """argmin_y of the Lagrangian by Newton's method from y."""
    for _ in range(steps):
        r = kkt.stationarity(energy, x, y, mu, nu)
        d = -linear.solve(dense(kkt.conditions.lagrangian_yy(energy, x, y, mu, nu)), r).x
        t = next((t for t in 0.5 ** np.arange(20) if np.linalg.norm(kkt.stationarity(energy, x, y + t * d, mu, nu)) < np.linalg.norm(r)), 0.0)
        y = y + t * d
        if t == 0 or np.abs(t * d).max() <= 1e-14 * (1 + np.abs(y).max()):
            return y
    return y


blocc = Estimator(
    name="blocc",
    family="penalty",
    compute=_compute,
    requires=("f", "f_x", "f_y", "g", "g_x", "g_y", "g_yy"),
    error="O(1/gamma)",
    reference="Jiang et al. 2406.10148, eq. 9, alg. 2",
    classes=("constrained",),
)

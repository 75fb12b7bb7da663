"""The active-set certificate: which rows hold y*(x), proved, and the bound on the hypergradient that follows.

z = (y, mu_J, nu), F(z) = (L_y, p_J, q) with rows normalised, K = F_z, s = sigma_min(K), R = |F(z)|, L a Lipschitz constant of K:

    h = L R / s^2 <= 1/2   =>   a zero z* of F lies within  rho = 2 R / (s (1 + sqrt(1 - 2 h)))  of z     (Newton-Kantorovich)

If besides every multiplier of J and every slack off J exceeds what it can lose on the way, rho (slacks of curved rows: rho + L rho^2 / 2),
then z* is a KKT point with the active set J and strict complementarity; with |J| + l negative eigenvalues of K it is a strict minimum
and, for convex g and p, the only one. The bound (1) of bounds.py then holds with K, N, w in place of g_yy, g_xy', v and mu = s - L rho.
z is the point one Newton step on from the lower solution, so that rho is about the square of its error or rounding.

Constants: L_H of K (of g_yy where rows are affine), L_B of N = [L_yx; p_x,J; q_x], L_f, L_fx as in bounds.py.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .. import kkt
from ..kkt import conditions
from .bounds import LIPSCHITZ, ROUNDING, SPECTRUM_LIMIT, U, Sizes, constants_at, inexact_bound, kantorovich, norm_2


@dataclass(frozen=True, eq=False)
class ActiveSetCertificate:
    """`radius` of the ball about (y, mu_J, nu) that holds z*; `margin` the smallest multiplier or slack; `holds` if the set is proved.

    `bound` is that on the gradient given, nan without L_f, L_fx, L_B.
    """

    holds: bool
    radius: float
    margin: float
    active: np.ndarray
    bound: float = np.nan


NOTHING = ActiveSetCertificate(False, np.nan, np.nan, np.zeros(0, int))


def certify_active_set(problem, x, lower, gradient):
    """`ActiveSetCertificate` of a lower solution and the bound on |gradient - grad F|; nothing is claimed where L_H is not known."""
    known = constants_at(problem, x)
    if not np.isfinite(known.get("L_H", np.nan)) or not np.isfinite(lower.y).all():
        return NOTHING
    with np.errstate(all="ignore"):
        return _certify(problem, x, lower, gradient, known)


def _certify(problem, x, lower, gradient, known):
    at = conditions.rows(problem, x, lower.y)
    mu, nu = lower.mu, lower.nu
    if mu.size != at.p.size or nu.size != at.q.size:
        mu, nu = conditions.least_squares_multipliers(problem, x, lower.y)
    J = np.flatnonzero(conditions.active(mu, at))
    if J.size + at.q.size > problem.m or problem.m + J.size + at.q.size > SPECTRUM_LIMIT:
        return NOTHING
    y, mu, nu = kkt.newton_step(problem, x, lower.y, mu, nu, at)
    if not all(np.isfinite(part).all() for part in (y, mu, nu)):
        return NOTHING
    S = kkt.build(problem, x, y, mu, nu, J)
    if not S.explicit:
        return NOTHING
    return _judged(problem, x, y, mu, nu, S, gradient, known)


def _judged(problem, x, y, mu, nu, S, gradient, known):
    at = conditions.rows(problem, x, y)
    K = conditions.dense(S.matrix())
    values = np.linalg.eigvalsh(K)
    s = float(np.abs(values).min() - 4 * len(K) * U * np.linalg.norm(K))
    unit = ROUNDING * np.sqrt(len(K)) * U
    L = known["L_H"] * (1.0 if problem.constraints.linear else max(1.0, 1.0 / S.scale.min(initial=np.inf)) ** 3)
    residual = np.concatenate([conditions.stationarity(problem, x, y, mu, nu, at), np.concatenate([at.p[S.J], at.q]) / S.scale])
    R = np.linalg.norm(residual) + unit * _terms(problem, x, y, mu, nu, S, K)
    rho, strength = kantorovich(s, R, L)
    margin, holds = _margin(problem, x, y, mu, at, S, rho, 0.0 if problem.constraints.linear else L)
    holds = bool(holds and strength > 0 and (values < 0).sum() == S.A.shape[0])
    bound = _bound(problem, x, y, S, K, gradient, known | {"L_H": L}, rho, strength, unit) if holds else np.nan
    return ActiveSetCertificate(holds, float(rho), float(margin), S.J, bound)


def _terms(problem, x, y, mu, nu, S, K):
    """The sizes that are added to form F(z)."""
    origin, N = np.zeros_like(y), np.linalg.norm(conditions.dense(S.H_xy)) + np.linalg.norm(conditions.dense(S.A_x))
    rows = conditions.rows(problem, x, origin)
    constants = np.concatenate([rows.p[S.J], rows.q]) / S.scale
    z = np.concatenate([y, np.concatenate([mu[S.J], nu]) * S.scale])
    size = np.linalg.norm(K) * np.linalg.norm(z) + N * np.linalg.norm(x)
    return size + np.linalg.norm(problem.g_y(x, origin)) + np.linalg.norm(constants)


def _margin(problem, x, y, mu, at, S, rho, curvature):
    """(min multiplier or slack in scaled rows, True if each exceeds what it can lose within rho)."""
    norms = conditions.row_norms(at.p_y)
    off = np.setdiff1d(np.arange(at.p.size), S.J)
    multipliers, slacks = (mu * norms)[S.J], (-at.p / norms)[off]
    origin = np.abs(conditions.rows(problem, x, np.zeros_like(y)).p[off]) / norms[off]
    lost = rho + curvature / norms[off] * rho**2 / 2 + ROUNDING * U * (np.linalg.norm(y) + origin)
    margin = min(multipliers.min(initial=np.inf), slacks.min(initial=np.inf))
    return margin, bool((multipliers > rho).all() and (slacks > lost).all())


def _bound(problem, x, y, S, K, gradient, known, rho, strength, unit):
    if not all(np.isfinite(known.get(name, np.nan)) for name in LIPSCHITZ) or not np.isfinite(gradient).all():
        return np.nan
    f_x, f_y = problem.f_x(x, y), problem.f_y(x, y)
    w = kkt.solve(S, S.rhs(f_y)).x
    N = np.hstack([conditions.dense(S.H_xy), conditions.dense(S.A_x).T])
    size_w, size_y, norm_N = np.linalg.norm(w), np.linalg.norm(y), norm_2(N)
    r = np.linalg.norm(S.rhs(f_y) - K @ w) + unit * (np.linalg.norm(K) * size_w + np.linalg.norm(f_y) + known["L_f"] * size_y)
    rounding = unit * (np.linalg.norm(f_x) + known["L_fx"] * size_y + norm_N * size_w)
    gap = np.linalg.norm(gradient - (f_x - N @ w))
    return float(gap + inexact_bound(Sizes(norm_N, size_w, r, rho, strength, rounding), known))

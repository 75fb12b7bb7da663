"""A primal-dual interior-point method for convex min_y g s.t. p <= 0, q = 0, from any start, feasible or not.

With slacks s > 0 it follows, for tau -> 0, the perturbed conditions

    r_d = g_y + p_y' mu + q_y' nu = 0,   r_p = p + s = 0,   r_q = q = 0,   r_c = mu * s - tau = 0.

Newton's step, with W = mu / s and (ds, dmu) eliminated, solves

    [ L_yy + p_y' W p_y   q_y' ] [ dy  ]     [ r_d + p_y' (W r_p - r_c / s) ]
    [ q_y                  0   ] [ dnu ] = - [ r_q                          ]

tau is chosen from the affine step as Mehrotra does; a step keeps s, mu > 0 and reduces |(r_d, r_p, r_q, r_c)|. A start strictly
inside p < 0 stays inside under affine p, which keeps g in its domain. Accuracy ends near 1e-9: polish does the rest.
Boyd & Vandenberghe, Convex Optimization, section 11.7; Nocedal & Wright, algorithms 16.4 and 19.1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.linalg as la
from scipy import sparse
from scipy.sparse.linalg import splu

from .. import kkt
from ..kkt import conditions


@dataclass
class _Iterate:
    y: np.ndarray
    s: np.ndarray
    mu: np.ndarray
    nu: np.ndarray

    def moved(self, step, primal, dual):
        dy, ds, dmu, dnu = step
        return _Iterate(self.y + primal * dy, self.s + primal * ds, self.mu + dual * dmu, self.nu + dual * dnu)


@dataclass(frozen=True, eq=False)
class Path:
    """Where the path ended: (y, mu, nu), scaled residual, complementarity gap, iterations, and whether every residual is small."""

    y: np.ndarray
    mu: np.ndarray
    nu: np.ndarray
    residual: float
    iterations: int
    converged: bool
    finite: bool = True


def interior_point(problem, x, y0, tol=1e-9, maxiter=100, hessian=None, end=0.0):
    """Follow the central path from y0 until the scaled residuals of tau = `end` fall below tol."""
    at = kkt.rows(problem, x, y0)
    slack = np.maximum(-at.p, 1e-2 if (at.p < 0).all() else 1.0) if not (at.p < 0).all() else -at.p
    z = _Iterate(y0, slack, np.ones(at.p.size), np.zeros(at.q.size))
    hessian = hessian or (lambda *a: conditions.lagrangian_yy(problem, *a))
    start = best = None
    mark = (np.inf, 0)  # the last residual that halved the one before it, and when
    for k in range(maxiter + 1):
        r, at = _residuals(problem, x, z, end)
        if not np.isfinite(r).all():
            return Path(z.y, z.mu, z.nu, np.inf, k, False, finite=False)
        start = max(1.0, _size(problem, x, z, at)) if start is None else start
        error = _error(r, z, end) / start
        if best is None or error < best[0]:
            best = (error, z)
        if error <= 0.5 * mark[0]:
            mark = (error, k)
        if error <= tol or k == maxiter or k > mark[1] + 20 or np.abs(z.y).max() > 1e15:
            break
        step = _step(problem, x, z, at, r, hessian, end)
        moved = None if step is None else _line_search(problem, x, z, *step, tol * start)
        if moved is None:
            break
        z = moved
    error, z = best
    return Path(z.y, z.mu, z.nu, error, k, error <= tol)


def _error(r, z, end):
    """The largest residual; on the way to tau = 0, min(mu, s) in place of mu s, which would stop sqrt(tol) short of a small margin."""
    if end or not z.s.size:
        return np.abs(r).max(initial=0.0)
    return max(np.abs(r[: -z.s.size]).max(), np.minimum(z.mu, z.s).max())


def _size(problem, x, z, at):
    return max(np.abs(problem.g_y(x, z.y)).max(), np.abs(at.p).max(initial=0.0), np.abs(at.q).max(initial=0.0))


def _residuals(problem, x, z, tau):
    with np.errstate(all="ignore"):
        at = kkt.rows(problem, x, z.y)
        r_d = problem.g_y(x, z.y) + at.p_y.T @ z.mu + at.q_y.T @ z.nu
    return np.concatenate([r_d, at.p + z.s, at.q, z.mu * z.s - tau]), at


def _step(problem, x, z, at, r, hessian, end):
    """(step, tau >= end) with tau from the affine step; None if the matrix defeats the factorisation."""
    m, k, l = z.y.size, z.s.size, z.nu.size
    r_d, r_p, r_q, r_c = np.split(r, [m, m + k, m + k + l])
    with np.errstate(all="ignore"):
        W = z.mu / z.s
    if not np.isfinite(W).all():
        return None
    solve = _factor(hessian(x, z.y, z.mu, z.nu), at, W)
    if solve is None:
        return None

    def newton(r_c):
        dy, dnu = solve(-(r_d + at.p_y.T @ (W * r_p - r_c / z.s)), -r_q)
        ds = -r_p - at.p_y @ dy
        return dy, ds, (-r_c - z.mu * ds) / z.s, dnu

    affine = newton(r_c)
    if not all(np.isfinite(part).all() for part in affine):
        return None
    if not k:
        return affine, 0.0
    gap = z.mu @ z.s / k
    reached = (z.mu + _to_boundary(z.mu, affine[2]) * affine[2]) @ (z.s + _to_boundary(z.s, affine[1]) * affine[1]) / k
    tau = max(end, gap * min(0.5, max((reached / gap) ** 3, 1e-4)))
    if end and tau == end:
        return affine, end
    second_order = affine[1] * affine[2] if _to_boundary(z.s, affine[1]) > 0.1 else 0.0
    return newton(r_c + end - tau + second_order), tau


def _factor(H, at, W):
    """(b_y, b_q) -> (dy, dnu); a small ridge where the matrix is singular."""
    m, l = H.shape[0], at.q.size
    if sparse.issparse(H) or sparse.issparse(at.p_y):
        p_y, q_y = sparse.csc_array(at.p_y), sparse.csc_array(at.q_y)
        M = sparse.csc_array(H) + p_y.T @ sparse.diags_array(W) @ p_y + 1e-13 * sparse.eye_array(m)
        K = sparse.block_array([[M, q_y.T], [q_y, -1e-13 * sparse.eye_array(l)]], format="csc") if l else sparse.csc_array(M)
        try:
            lu = splu(K)
        except RuntimeError:
            return None
        return lambda b, c: np.split(lu.solve(np.concatenate([b, c])), [m])
    H = conditions.dense(H)
    K = np.zeros((m + l, m + l))
    K[:m, :m] = H + (at.p_y.T * W) @ at.p_y
    K[m:, :m], K[:m, m:] = at.q_y, at.q_y.T
    ridge = 0.0
    if not np.isfinite(K).all():
        return None
    for _ in range(4):
        K[np.arange(m), np.arange(m)] += ridge
        K[np.arange(m, m + l), np.arange(m, m + l)] -= ridge
        lu, pivots, info = la.lapack.dgetrf(K)
        if info == 0 and la.lapack.dgecon(lu, la.norm(K, 1))[0] > 1e-16:
            return lambda b, c: np.split(la.lu_solve((lu, pivots), np.concatenate([b, c])), [m])
        ridge = max(100 * ridge, 1e-12 * max(1.0, np.abs(K).max()))
    return None


def _to_boundary(v, dv, fraction=1.0):
    """Longest step in [0, 1] that keeps v + t dv >= (1 - fraction) v."""
    falling = dv < 0
    return min(1.0, fraction * float((-v[falling] / dv[falling]).min())) if falling.any() else 1.0


def _line_search(problem, x, z, step, tau, floor):
    """The longest backtracked step that reduces the residual of tau; below `floor` only that of complementarity counts, the
    others being rounding there."""
    fraction = 1 - min(0.01, max(tau, 1e-3)) if z.s.size else 1.0
    t_primal, t_dual = _to_boundary(z.s, step[1], fraction), _to_boundary(z.mu, step[2], fraction)

    def sizes(z):
        r = _residuals(problem, x, z, tau)[0]
        return la.norm(r[: r.size - z.s.size], check_finite=False), la.norm(r[r.size - z.s.size :], check_finite=False)

    here = sizes(z)
    for t in 0.5 ** np.arange(30):
        for primal, dual in ((t * t_primal, t * t_dual), (t * min(t_primal, t_dual),) * 2):
            moved, keep = z.moved(step, primal, dual), 1 - 1e-4 * min(primal, dual)
            there = sizes(moved)
            if np.hypot(*there) <= keep * np.hypot(*here) or z.s.size and there[0] <= floor and there[1] <= keep * here[1]:
                return moved
    return None

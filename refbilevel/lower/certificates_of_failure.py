"""Why there is no lower solution: a Farkas ray (no y is feasible) or a ray of recession (g falls for ever).

Affine rows G y <= h, A y = b: infeasible iff some mu >= 0, nu have G'mu + A'nu = 0 and h'mu + b'nu < 0, found as a linear program
in the unit box. Curved rows: min t s.t. p - t <= 0, q = 0 by the interior-point method; a positive optimum is the proof, its
multipliers (sum mu = 1) the certificate: no y makes mu.p + nu.q smaller than t > 0.
Unbounded: d with G d <= 0, A d = 0, L_yy d = 0, g_y d < 0, confirmed by walking along it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import linprog

from .. import kkt
from ..kkt.conditions import dense
from ..problem import BilevelProblem, Constraints
from .interior_point import interior_point


@dataclass(frozen=True, eq=False)
class Farkas:
    """mu (k,) >= 0, nu (l,) with (mu.p + nu.q)(y) >= gap > 0 for every y."""

    mu: np.ndarray
    nu: np.ndarray
    gap: float


def affine(problem, x, y):
    """True if p and q are affine in y, judged by one finite step."""
    c = problem.constraints
    if c is None or c.linear:
        return True
    step = np.cos(np.arange(y.size) + 1.0) * (1 + np.abs(y))
    a, b = kkt.rows(problem, x, y), kkt.rows(problem, x, y + step)
    gap = np.concatenate([b.p - a.p - a.p_y @ step, b.q - a.q - a.q_y @ step])
    size = 1 + np.abs(np.concatenate([a.p, b.p, a.q, b.q])).max(initial=0.0)
    slopes = [dense(b.p_y) - dense(a.p_y), dense(b.q_y) - dense(a.q_y)]
    return bool(np.abs(gap).max(initial=0.0) <= 1e-10 * size and all(np.abs(s).max(initial=0.0) <= 1e-10 for s in slopes))


def infeasibility(problem, x, y, tol=1e-9):
    """A `Farkas` certificate, or None if a feasible y seems to exist."""
    at = kkt.rows(problem, x, y)
    if not at.p.size + at.q.size:
        return None
    if affine(problem, x, y):
        return _farkas_ray(at, y, tol)
    return _phase_one(problem, x, y, tol)


def _farkas_ray(at, y, tol):
    G, A = dense(at.p_y), dense(at.q_y)
    scale = np.concatenate([kkt.conditions.row_norms(G), kkt.conditions.row_norms(A)])
    rows = np.vstack([G, A]) / scale[:, None]
    right = np.concatenate([G @ y - at.p, A @ y - at.q]) / scale
    k = at.p.size
    answer = linprog(right, A_eq=rows.T, b_eq=np.zeros(y.size), bounds=[(0, 1)] * k + [(-1, 1)] * at.q.size, method="highs-ds")
    if answer.status != 0 or answer.fun >= -tol * (1 + np.abs(right).max()):
        return None
    lam = answer.x / scale
    return Farkas(lam[:k], lam[k:], float(-answer.fun))


def _phase_one(problem, x, y, tol):
    """min_t: p <= t, q = 0, from a strictly feasible start."""
    c, m = problem.constraints, problem.m

    def append(column):
        return lambda x, z: np.column_stack([dense(getattr(c, column)(x, z[:-1])), -np.ones(c.p(x, z[:-1]).size)])

    def hessian(x, z, mu, nu):
        H = np.zeros((m + 1, m + 1))
        H[:m, :m] = dense(c.lagrangian_yy(x, z[:-1], mu, nu)) + 1e-10 * np.eye(m)
        return H

    phase = BilevelProblem(
        n=problem.n, m=m + 1, g=lambda x, z: z[-1], g_y=lambda x, z: np.append(1e-10 * z[:-1], 1.0),
        constraints=Constraints(
            p=lambda x, z: c.p(x, z[:-1]) - z[-1], p_x=lambda x, z: c.p_x(x, z[:-1]), p_y=append("p_y"),
            q=c.q and (lambda x, z: c.q(x, z[:-1])), q_x=c.q and (lambda x, z: c.q_x(x, z[:-1])),
            q_y=c.q and (lambda x, z: np.column_stack([dense(c.q_y(x, z[:-1])), np.zeros(c.q(x, z[:-1]).size)])),
        ),
    )  # fmt: skip
    if c.p is None or c.lagrangian_yy is None:
        return None
    start = np.append(y, max(0.0, c.p(x, y).max()) + 1.0)
    path = interior_point(phase, x, start, tol=1e-8, maxiter=150, hessian=hessian)
    t = path.y[-1]
    if not path.converged or t <= 1e3 * tol * (1 + np.abs(path.y).max()):
        return None
    return Farkas(path.mu, path.nu, float(t))


def recession(problem, x, y, tol=1e-9):
    """A unit direction d along which y + t d stays feasible and g falls for ever, or None."""
    at, g_y = kkt.rows(problem, x, y), problem.g_y(x, y)
    if not np.isfinite(g_y).all():
        return None
    rows = [dense(problem.g_yy(x, y)) if problem.g_yy is not None else np.zeros((0, y.size)), dense(at.q_y)]
    norms = kkt.conditions.row_norms
    rows = np.vstack([r / norms(r)[:, None] for r in rows])
    G = dense(at.p_y)
    answer = linprog(
        g_y, A_ub=G / norms(G)[:, None] if G.size else None, b_ub=np.zeros(len(G)) if G.size else None,
        A_eq=rows if rows.size else None, b_eq=np.zeros(len(rows)) if rows.size else None, bounds=(-1, 1), method="highs-ds",
    )  # fmt: skip
    if answer.status != 0 or answer.fun >= -tol * (1 + np.abs(g_y).max()):
        return None
    d = answer.x / np.linalg.norm(answer.x)
    for t in (1.0, 1e3, 1e6):
        there = problem.g_y(x, y + t * d) @ d
        if not there < -tol * np.abs(g_y).max() or (kkt.rows(problem, x, y + t * d).p > np.maximum(at.p, 0) + 1e-7 * t).any():
            return None
    return d

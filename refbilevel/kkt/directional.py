"""The directional derivative of y*(x), which exists where the derivative does not.

For a direction d, y'(x; d) is the unique solution w of the sensitivity QP

    min  1/2 w' L_yy w + d' L_xy w    s.t.  p_y,i w = -p_x,i d (mu_i > 0),  p_y,i w <= -p_x,i d (weakly active),  q_y w = -q_x d.

Where multipliers are not unique they are first chosen to maximise L_x d (a linear program). The QP is solved on the null space of
its equations by least-distance programming, a finite method that ends on an exact active set.
Jittorntrum, Math. Prog. Study 21 (1984) 127-138; Ralph & Dempe, Math. Prog. 70 (1995) 159-172; Xu & Zhu, arXiv 2302.01970.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.linalg as la
from scipy.optimize import linprog

from . import conditions
from .conditions import dense, least_distance
from .system import RANK_TOL, build


@dataclass(frozen=True, eq=False)
class Direction:
    """y' (m,), mu' (k,), nu' (l,) along d, and the inequality rows that hold y* along it. `exists` is False where no y follows d."""

    dy: np.ndarray
    dmu: np.ndarray
    dnu: np.ndarray
    J: np.ndarray
    exists: bool = True


def directional(problem, local, d):
    """`Direction` of y* along d (n,)."""
    mu, nu, strong, weak = local.mu, local.nu, local.sets.strong, local.sets.weak
    if not (local.independent or local.consistent):
        chosen = _multipliers(problem, local, d)
        if chosen is None:
            return _nothing(local)
        mu, nu, strong, weak = chosen
    J = np.concatenate([strong, weak]).astype(int)
    S = build(problem, local.x, local.y, mu, nu, J)
    A, H, s = dense(S.A), dense(S.H), strong.size
    inequality = np.arange(J.size) >= s
    equality = np.concatenate([~inequality, np.ones(A.shape[0] - J.size, bool)])
    inequality = ~equality
    right = -(S.A_x @ d)
    w = _quadratic_program(H, S.H_xy.T @ d, A[equality], right[equality], A[inequality], right[inequality])
    if w is None:
        return _nothing(local)
    held = equality.copy()
    tight = A @ w - right > -1e-10 * (1 + np.abs(right).max(initial=0.0))
    held |= tight
    lam = np.zeros(A.shape[0])
    order = np.flatnonzero(held)
    order = order[np.argsort(equality[order], kind="stable")]  # sign-restricted rows first
    found = conditions.least_norm_multipliers(A[order], -(H @ w + S.H_xy.T @ d), int((~equality[order]).sum()))
    lam[order] = 0.0 if found is None else found
    _, dmu, dnu = S.split(np.concatenate([w, lam]))
    return Direction(w, dmu, dnu, np.sort(J[held[: J.size]]))


def _nothing(local):
    nan = np.full(local.y.size, np.nan)
    return Direction(nan, np.full(local.mu.size, np.nan), np.full(local.nu.size, np.nan), np.zeros(0, int), exists=False)


def _quadratic_program(H, c, E, e, G, h):
    """argmin 1/2 w'Hw + c'w s.t. E w = e, G w <= h, H positive definite on null(E); None if infeasible."""
    w0 = la.lstsq(E, e, cond=RANK_TOL)[0] if E.shape[0] else np.zeros(H.shape[0])
    if E.shape[0] and np.linalg.norm(E @ w0 - e) > 1e-9 * (1 + np.linalg.norm(e)):
        return None
    Z = la.null_space(E, rcond=RANK_TOL) if E.shape[0] else np.eye(H.shape[0])
    if not Z.shape[1]:
        return w0 if (G @ w0 <= h + 1e-9 * (1 + np.abs(h))).all() else None
    t = strictly_convex_qp(Z.T @ H @ Z, Z.T @ (H @ w0 + c), G @ Z, h - G @ w0)
    return None if t is None else w0 + Z @ t


def strictly_convex_qp(H, c, G, h):
    """argmin 1/2 t'Ht + c't s.t. G t <= h by least-distance programming; None if infeasible.

    H = R'R and z = R t + R^{-T} c turn the objective into 1/2 |z|^2. A singular H gets the ridge eps^{3/4} |H| (or 1), so that
    among the minimisers the one of about least norm is found.
    """
    size = max(np.abs(H).max(initial=0.0), np.finfo(float).tiny)
    try:
        R = la.cholesky(H)
        if np.diagonal(R).min() < 1e-7 * np.sqrt(size):
            raise la.LinAlgError
    except la.LinAlgError:
        ridge = 1e-12 * (size if size > 1e-100 else 1.0)
        values, vectors = la.eigh(H)
        R = la.qr(np.sqrt(np.maximum(values, 0) + ridge)[:, None] * vectors.T, mode="r")[0]
    shift = la.solve_triangular(R, c, trans=1)
    GR = la.solve_triangular(R, G.T, trans=1).T
    z = least_distance(-GR, -(h + GR @ shift))
    return None if z is None else la.solve_triangular(R, z - shift)


def _multipliers(problem, local, d):
    """(mu, nu, strong, weak) maximising L_x d over the multipliers; None where that is unbounded (no feasible y along d)."""
    S = build(problem, local.x, local.y, local.mu, local.nu, local.near)
    A, k = dense(S.A), local.near.size
    target = A.T @ (np.concatenate([local.mu[local.near], local.nu]) * S.scale)
    bounds = [(0, None)] * k + [(None, None)] * (A.shape[0] - k)
    answer = linprog(-(S.A_x @ d), A_eq=A.T, b_eq=target, bounds=bounds, method="highs-ds")
    if answer.status != 0:
        return None
    support = answer.x[:k] > 1e-9 * (1 + np.abs(target).max(initial=0.0))
    rows = np.concatenate([support, np.ones(A.shape[0] - k, bool)])
    lam = np.zeros(A.shape[0])
    lam[rows] = la.lstsq(A[rows].T, target, cond=RANK_TOL)[0] if rows.any() else 0.0
    _, mu, nu = S.split(np.concatenate([local.y, lam]))
    return mu, nu, local.near[support], local.near[~support]

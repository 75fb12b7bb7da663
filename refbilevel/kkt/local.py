"""What the lower solution looks like near x: which rows hold it, whether they are independent, whether it is a strict minimum.

`analyse` classifies the rows, mends the multipliers where LICQ fails (least norm, which has the largest support), and says which
of the cases of sensitivity theory applies:

- regular: LICQ and strict complementarity; y*, mu, nu are differentiable (Fiacco's theorem);
- dependent rows whose x-derivatives agree (duplicates, an equality written as two inequalities): y* is still differentiable;
- weakly active rows, or dependent rows that move apart: y* has only directional derivatives (directional.py, clarke.py).

The Newton-Kantorovich radius 2 |K^{-1}| R (R the residual) bounds the distance to the exact solution when K is Lipschitz with a
small enough constant; the active set is certified if every margin exceeds it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse
from scipy.optimize import linprog

from .. import linear
from . import conditions, system
from .conditions import EPS, ActiveSet
from .system import System

WEAK_TOL = 1e-11
DENSE_LIMIT = 2500


@dataclass(frozen=True, eq=False)
class Local:
    """The analysis. `system` is built on the strong rows and q; `near` are all active rows; `independent` is LICQ there."""

    x: np.ndarray
    y: np.ndarray
    mu: np.ndarray
    nu: np.ndarray
    sets: ActiveSet
    near: np.ndarray
    system: System
    residual: float
    independent: bool
    consistent: bool
    factor: Any
    negative: int | None
    flat: bool
    radius: float
    smallest: float
    weak_rows: np.ndarray

    @property
    def regular(self):
        """y* is differentiable here (a curved, dependent row may still spoil it)."""
        return self.sets.weak.size == 0 and self.consistent and not self.flat

    @property
    def minimum(self):
        """False where the reduced Hessian has negative curvature."""
        return self.negative is None or self.negative <= self.system.A.shape[0]


def analyse(problem, x, lower, weak_tol=None):
    """`Local` at the lower solution; multipliers are recovered by least squares where `lower` has none."""
    y, mu, nu = lower.y, lower.mu, lower.nu
    at = conditions.rows(problem, x, y)
    if mu.size != at.p.size or nu.size != at.q.size:
        mu, nu = conditions.least_squares_multipliers(problem, x, y)
    residual = conditions.natural_residual(problem, x, y, mu, nu, at)
    H = conditions.lagrangian_yy(problem, x, y, mu, nu)
    tol = _weak_tol(problem, x, y, at, mu, nu, H, residual) if weak_tol is None else weak_tol
    sets = conditions.classify(mu, at, tol)
    near = np.union1d(sets.strong, sets.weak).astype(int)
    A, scale = system.stack_rows(at, near)
    small = sum(A.shape) <= DENSE_LIMIT
    independent = not small or system.rank(A) == A.shape[0]
    if not independent:
        mu, nu = _least_norm(A, scale, near, mu, nu)
        sets = conditions.classify(mu, at, tol)
    S = system.build(problem, x, y, mu, nu, near)
    joint = independent or system.rank(np.hstack([conditions.dense(S.A), conditions.dense(S.A_x)])) == system.rank(S.A)
    if not independent:
        sets = _drop_implied(sets, near, S)
    S = system.build(problem, x, y, mu, nu, sets.strong)
    factor, negative, flat, radius, smallest = _spectrum(S, residual, small)
    weak_rows = system.stack_rows(at, sets.weak)[0][: sets.weak.size]
    return Local(x, y, mu, nu, sets, near, S, residual, independent, joint, factor, negative, flat, radius, smallest, weak_rows)


def _weak_tol(problem, x, y, at, mu, nu, H, residual):
    """A few rounding errors of the data, or the residual where the lower solve was stopped early."""
    curvature = 1.0 if not isinstance(H, np.ndarray) or not H.size else np.abs(H).max()
    scale = max(1.0, np.abs(y).max()) * max(1.0, curvature, np.abs(problem.g_y(x, y)).max(initial=0.0))
    return max(WEAK_TOL * scale, 10 * residual if residual > 1e-10 * scale else 0.0)


def _least_norm(A, scale, near, mu, nu):
    """Least-norm non-negative multipliers with the same A' lam."""
    A, k = conditions.dense(A), near.size
    lam = conditions.least_norm_multipliers(A, A.T @ (np.concatenate([mu[near], nu]) * scale), k)
    if lam is None:
        return mu, nu
    mu, nu = np.zeros_like(mu), lam[k:] / scale[k:]
    mu[near] = lam[:k] / scale[:k]
    return mu, nu


def _drop_implied(sets, near, S):
    """Weak rows whose joint gradient (in y and x) lies in the span of the strong rows' can never leave: not ambiguous."""
    joint = np.hstack([conditions.dense(S.A), conditions.dense(S.A_x)])
    place = {row: i for i, row in enumerate(near)}
    keep = [place[i] for i in sets.strong] + list(range(near.size, joint.shape[0]))
    base = system.rank(joint[keep])
    weak = [i for i in sets.weak if system.rank(joint[[*keep, place[i]]]) > base]
    return ActiveSet(sets.strong, np.array(weak, int), sets.inactive, sets.margins)


def _spectrum(S, residual, small):
    """(factor, negative eigenvalues of K, reduced Hessian singular?, Newton-Kantorovich radius, 1/|K^{-1}|) where K is small enough to tell.

    LDL' tells the inertia and a condition estimate; the eigenvalues are asked only where that says K may be singular.
    """
    if not S.explicit or not small:
        return None, None, False, np.nan, np.nan
    K = S.matrix()
    K = K.toarray() if sparse.issparse(K) else K
    if not np.isfinite(K).all():
        return None, None, False, np.nan, np.nan
    factor = linear.factorize(K, "ldl")
    size = np.abs(K).sum(axis=0).max(initial=0.0)
    floor = EPS * max(size, 1.0) * (1.0 + np.linalg.norm(S.scale))
    if not factor.singular and factor.condition < 1e12:
        smallest = size / factor.condition
        return factor, factor.negative, False, float(2 * max(residual, floor) / smallest), float(smallest)
    eigenvalues = np.linalg.eigvalsh(K)
    null = np.abs(eigenvalues) <= 1e-13 * np.abs(eigenvalues).max(initial=1.0) * max(1, len(eigenvalues)) ** 0.5
    dependent = S.A.shape[0] - system.rank(S.A)
    smallest = np.abs(eigenvalues[~null]).min(initial=np.inf)
    negative = int((eigenvalues[~null] < 0).sum()) + dependent
    return None, negative, int(null.sum()) > dependent, float(2 * max(residual, floor) / smallest), float(smallest)


def flat_direction(local):
    """A unit d with L_yy d = 0, A d = 0 on the strong rows and A d <= 0 on the weak ones: y* is not unique; None if there is none.

    Such d exist iff some linear functional is nonzero on that cone; the axes, both signs, are enough to tell.
    """
    S = local.system
    values, Z = system.reduced_hessian(S.H, S.A)
    eigenvalues, vectors = np.linalg.eigh(values)
    size = max(np.abs(conditions.dense(S.H)).max(initial=0.0), np.finfo(float).tiny)
    null = Z @ vectors[:, np.abs(eigenvalues) <= 1e-12 * size]
    if not null.shape[1]:
        return None
    weak = conditions.dense(local.weak_rows) @ null
    for axis in np.vstack([np.eye(null.shape[1]), -np.eye(null.shape[1])]):
        answer = linprog(axis, A_ub=weak if weak.size else None, b_ub=np.zeros(len(weak)) if weak.size else None, bounds=(-1, 1))
        if answer.status == 0 and answer.fun < -1e-9:
            d = null @ answer.x
            return d / np.linalg.norm(d)
    return None

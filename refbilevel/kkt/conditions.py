"""The Karush-Kuhn-Tucker conditions of min_y g(x, y) s.t. p(x, y) <= 0, q(x, y) = 0, evaluated.

    L = g + mu.p + nu.q,   L_y = g_y + p_y' mu + q_y' nu = 0,   min(mu, -p) = 0,   q = 0.

The natural residual is the Euclidean norm of the three left sides. A row i is *active* where mu_i > slack_i
(slack = -p), both measured in units where |p_y,i| = 1, so that scaling a row changes nothing; it is *weakly* active where
both vanish to `weak_tol`. Deciding by mu_i > slack_i rather than by a threshold on one of them is right down to margins at
rounding level. Reference: Facchinei, Fischer, Kanzow, SIAM J. Optim. 9 (1998) 14-32.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.optimize import nnls
from scipy.sparse.linalg import LinearOperator, aslinearoperator, lsmr

from ..errors import MissingDerivative

EPS = np.finfo(float).eps
NNLS_LIMIT = 2_000_000


@dataclass(frozen=True, eq=False)
class Rows:
    """p (k,), p_y (k, m), q (l,), q_y (l, m) at one (x, y); absent blocks have no rows."""

    p: np.ndarray
    p_y: np.ndarray
    q: np.ndarray
    q_y: np.ndarray


@dataclass(frozen=True, eq=False)
class ActiveSet:
    """Indices of strongly active, weakly active and inactive rows; `margins` (k,) = max(mu_i, slack_i), rows normalised."""

    strong: np.ndarray
    weak: np.ndarray
    inactive: np.ndarray
    margins: np.ndarray

    @property
    def margin(self):
        """min_i max(mu_i, slack_i); inf without inequalities."""
        return float(self.margins.min()) if self.margins.size else np.inf


def rows(problem, x, y):
    """The constraint rows at (x, y)."""
    c, m = problem.constraints, problem.m
    p, p_y = (c.p(x, y), c.p_y(x, y)) if c is not None and c.p is not None else (np.zeros(0), np.zeros((0, m)))
    q, q_y = (c.q(x, y), c.q_y(x, y)) if c is not None and c.q is not None else (np.zeros(0), np.zeros((0, m)))
    return Rows(p, p_y, q, q_y)


def rows_x(problem, x, y):
    """(p_x (k, n), q_x (l, n)) at (x, y)."""
    c, n = problem.constraints, problem.n
    p_x = c.p_x(x, y) if c is not None and c.p is not None else np.zeros((0, n))
    q_x = c.q_x(x, y) if c is not None and c.q is not None else np.zeros((0, n))
    return p_x, q_x


def stationarity(problem, x, y, mu, nu, at=None):
    """L_y (m,)."""
    at = rows(problem, x, y) if at is None else at
    return problem.g_y(x, y) + at.p_y.T @ mu + at.q_y.T @ nu


def natural_residual(problem, x, y, mu, nu, at=None):
    """|(L_y, min(mu, -p), q)|, zero exactly at a KKT point."""
    at = rows(problem, x, y) if at is None else at
    L_y = stationarity(problem, x, y, mu, nu, at)
    return float(np.sqrt(sum(np.dot(r, r) for r in (L_y, np.minimum(mu, -at.p), at.q))))


def row_norms(A):
    """Euclidean norms (r,) of the rows of an array or sparse array, 1 where a row vanishes."""
    if not A.shape[0]:
        return np.ones(0)
    norms = np.sqrt(np.asarray(A.multiply(A).sum(axis=1)).ravel()) if sparse.issparse(A) else np.sqrt(np.einsum("ij,ij->i", A, A))
    return np.where(norms > 0, norms, 1.0)


def active(mu, at):
    """(k,) bool: mu_i > slack_i in units where the row has length 1."""
    norms = row_norms(at.p_y)
    return mu * norms > -at.p / norms


def classify(mu, at, weak_tol):
    """Strong, weak and inactive rows; weak where multiplier and slack both lie within weak_tol of zero."""
    norms = row_norms(at.p_y)
    multiplier, slack = mu * norms, -at.p / norms
    margins = np.maximum(multiplier, slack)
    weak = margins <= weak_tol
    strong = (multiplier > slack) & ~weak
    return ActiveSet(*(np.flatnonzero(s) for s in (strong, weak, ~strong & ~weak)), margins)


def lagrangian_yy(problem, x, y, mu, nu):
    """L_yy (m, m): g_yy plus the constraints' weighted curvature."""
    return _with_curvature(problem, "lagrangian_yy", problem.g_yy(x, y), x, y, mu, nu)


def lagrangian_xy(problem, x, y, mu, nu):
    """L_xy (n, m): g_xy plus the constraints' weighted mixed derivatives."""
    return _with_curvature(problem, "lagrangian_xy", problem.g_xy(x, y), x, y, mu, nu)


def _with_curvature(problem, name, base, x, y, mu, nu):
    c = problem.constraints
    if c is None or c.linear:
        return base
    oracle = getattr(c, name)
    if oracle is None:
        raise MissingDerivative(f"curved constraints need {name}(x, y, mu, nu); pass it to Constraints, or say linear=True if it vanishes")
    extra = oracle(x, y, mu, nu)
    if isinstance(base, LinearOperator) or isinstance(extra, LinearOperator):
        return aslinearoperator(base) + aslinearoperator(extra)
    total = base + extra
    return total if sparse.issparse(total) else np.asarray(total)


def least_squares_multipliers(problem, x, y, tol=1e-8):
    """(mu, nu) with mu >= 0, supported on the rows within tol of active, that minimise |L_y| (non-negative least squares)."""
    at = rows(problem, x, y)
    near = np.flatnonzero(-at.p / row_norms(at.p_y) <= tol * (1 + np.abs(y).max()))
    k, l = near.size, at.q.size
    mu, nu = np.zeros(at.p.size), np.zeros(l)
    if (k + l) * y.size > NNLS_LIMIT:  # a start for Newton's method is all that is wanted at this size
        A = sparse.vstack([sparse.csr_array(at.p_y)[near], sparse.csr_array(at.q_y)])
        weights = lsmr(A.T, -problem.g_y(x, y), atol=1e-10, btol=1e-10)[0]
        mu[near], nu[:] = np.maximum(weights[:k], 0.0), weights[k:]
    elif k + l:
        p_y, q_y = dense(at.p_y[near]), dense(at.q_y)
        weights, _ = nnls(np.vstack([p_y, q_y, -q_y]).T, -problem.g_y(x, y))
        mu[near], nu[:] = weights[:k], weights[k : k + l] - weights[k + l :]
    return mu, nu


def least_norm_multipliers(A, target, k):
    """Least-norm lam with A' lam = target and lam[:k] >= 0, A (r, m); None if there is none.

    With lam = lam0 + Z t (Z an orthonormal basis of null(A')) this is least-distance programming,
    min |t| s.t. Z t >= -lam0 on the first k rows (Lawson & Hanson, Solving Least Squares Problems, ch. 23).
    """
    lam0, _, rank, _ = np.linalg.lstsq(A.T, target, rcond=1e-11)
    if rank == A.shape[0] or (lam0[:k] >= 0).all():
        return lam0
    Z = np.linalg.svd(A)[0][:, rank:]
    t = least_distance(Z[:k], -lam0[:k])
    if t is None:
        return None
    lam = lam0 + Z @ t
    lam[:k] = np.maximum(lam[:k], 0.0)
    return lam


def least_distance(G, h):
    """argmin |t| s.t. G t >= h, G (k, r), by one non-negative least squares; None if infeasible (Lawson & Hanson, alg. LDP 23.27)."""
    if not (h > 0).any():
        return np.zeros(G.shape[1])
    E = np.vstack([G.T, h])
    f = np.zeros(E.shape[0])
    f[-1] = 1.0
    u, residual = nnls(E, f)
    r = E @ u - f
    if residual <= 1e-13 * max(1.0, np.abs(E).max()) or r[-1] == 0:
        return None
    return -r[:-1] / r[-1]


def dense(A):
    """A as an ndarray: from sparse or LinearOperator too."""
    if sparse.issparse(A):
        return A.toarray()
    if isinstance(A, LinearOperator):
        return A @ np.eye(A.shape[1])
    return np.asarray(A)

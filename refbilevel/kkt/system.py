"""The KKT system of an active set J: the derivative of the optimality conditions, and what its spectrum says.

    K = [ L_yy  A' ]     N = [ L_yx ]     A = [ p_y,J ; q_y ],  A_x = [ p_x,J ; q_x ]      (m + r) square, symmetric indefinite
        [ A     0  ]         [ A_x  ]

    d(y, mu_J, nu)/dx = -K^{-1} N,     adjoint K w = (y_bar, mu_bar_J, nu_bar),     x_bar = -N' w.

K is nonsingular iff A has full row rank (LICQ) and the reduced Hessian Z' L_yy Z is (Z spans null A); at a strict minimum
K has exactly r negative eigenvalues, so conjugate gradients and plain fixed points are never used on it. Rows of A are
normalised, so that the scaling of a constraint changes neither the solution nor the condition number.
Reference: Fiacco, Introduction to Sensitivity and Stability Analysis, 1983, th. 3.2.2; Nocedal & Wright, lemma 16.1, th. 16.3.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.linalg as la
from scipy import sparse
from scipy.sparse.linalg import LinearOperator, aslinearoperator

from . import conditions

RANK_TOL = 1e-11


@dataclass(frozen=True, eq=False)
class System:
    """K and N for rows [p_J; q], each divided by its `scale` (r,). `k`, `l` count all rows of p and q."""

    H: Any
    A: Any
    H_xy: Any
    A_x: Any
    scale: np.ndarray
    J: np.ndarray
    k: int
    l: int

    @property
    def m(self):
        return self.H.shape[0]

    @property
    def explicit(self):
        """True where K can be formed."""
        return not isinstance(self.H, LinearOperator) and not isinstance(self.A, LinearOperator)

    def matrix(self):
        """K, dense or (if any block is sparse) csc."""
        if sparse.issparse(self.H) or sparse.issparse(self.A):
            return sparse.block_array([[sparse.csc_array(self.H), sparse.csc_array(self.A).T], [sparse.csc_array(self.A), None]], format="csc")
        m, r = self.m, self.A.shape[0]
        K = np.zeros((m + r, m + r))
        K[:m, :m], K[m:, :m], K[:m, m:] = self.H, self.A, self.A.T
        return K

    def operator(self):
        """K as a symmetric LinearOperator."""
        H, A, m = aslinearoperator(self.H), self.A, self.m
        size = m + A.shape[0]

        def apply(z):
            z = np.asarray(z).ravel()
            return np.concatenate([H.matvec(z[:m]) + A.T @ z[m:], A @ z[:m]])

        return LinearOperator((size, size), matvec=apply, rmatvec=apply, dtype=float)

    def N(self, dx):
        """N @ dx, dx (n,) or (n, j)."""
        return np.concatenate([self.H_xy.T @ dx, self.A_x @ dx])

    def N_transpose(self, w):
        """N' w, shape (n,) or (n, j)."""
        return self.H_xy @ w[: self.m] + self.A_x.T @ w[self.m :]

    def rounding(self, x, y, mu, nu):
        """What rounding of their terms leaves of the optimality conditions in the scaled rows, (m + r,): 2^-53 times the terms' sizes."""
        held = np.abs(self.scale * np.concatenate([mu[self.J], nu]))
        top, rows = abs(self.H) @ np.abs(y) + abs(self.A).T @ held, abs(self.A) @ np.abs(y)
        if not isinstance(self.A_x, LinearOperator):
            rows = rows + abs(self.A_x) @ np.abs(x)
        return 2.0**-53 * np.concatenate([top, rows])

    def rhs(self, y_bar=None, mu_bar=None, nu_bar=None):
        """(y_bar, mu_bar_J, nu_bar) in the scaled rows; None means zero."""
        mu_bar = np.zeros(self.k) if mu_bar is None else mu_bar
        nu_bar = np.zeros(self.l) if nu_bar is None else nu_bar
        y_bar = np.zeros(self.m) if y_bar is None else y_bar
        return np.concatenate([y_bar, np.concatenate([mu_bar[self.J], nu_bar]) / self.scale])

    def split(self, z):
        """(y, mu (k,), nu (l,)) parts of a solution z (m + r,) or (m + r, j), back in the caller's rows."""
        lam = z[self.m :] / self.scale.reshape(-1, *[1] * (z.ndim - 1))
        mu = np.zeros((self.k, *z.shape[1:]))
        mu[self.J] = lam[: self.J.size]
        return z[: self.m], mu, lam[self.J.size :]


def build(problem, x, y, mu, nu, J):
    """The system at (x, y, mu, nu) for the inequality rows J."""
    at = conditions.rows(problem, x, y)
    p_x, q_x = conditions.rows_x(problem, x, y)
    A, scale = stack_rows(at, J)
    A_x = _vstack(p_x[J], q_x)
    A_x = sparse.csr_array(A_x / scale[:, None]) if sparse.issparse(A_x) else A_x / scale[:, None]
    return System(
        H=conditions.lagrangian_yy(problem, x, y, mu, nu), A=A, H_xy=conditions.lagrangian_xy(problem, x, y, mu, nu), A_x=A_x,
        scale=scale, J=np.asarray(J), k=at.p.size, l=at.q.size,
    )  # fmt: skip


def stack_rows(at, J):
    """([p_y,J; q_y] with rows normalised, their norms (r,))."""
    A = _vstack(at.p_y[J], at.q_y)
    scale = conditions.row_norms(A)
    return (sparse.csr_array(sparse.diags_array(1 / scale) @ A) if sparse.issparse(A) else A / scale[:, None]), scale


def _vstack(top, bottom):
    if sparse.issparse(top) or sparse.issparse(bottom):
        if top.shape[0] and bottom.shape[0]:
            return sparse.csr_array(sparse.vstack([top, bottom]))
        return sparse.csr_array(top if top.shape[0] else bottom)
    return np.vstack([top, bottom])


def rank(A):
    """Numerical row rank by pivoted QR of the (normalised) rows."""
    A = conditions.dense(A)
    if not A.size:
        return 0
    R = la.qr(A.T, mode="r", pivoting=True)[0]
    diagonal = np.abs(np.diagonal(R))
    return int((diagonal > RANK_TOL * max(diagonal[0], 1e-300)).sum()) if diagonal[0] > 0 else 0


def inertia(K):
    """(positive, negative, zero) eigenvalue counts of a dense symmetric K, by LDL' (Sylvester's law)."""
    D = la.ldl(K)[1]
    eigenvalues = la.eigvalsh_tridiagonal(np.diagonal(D).copy(), np.diagonal(D, 1).copy()) if K.shape[0] > 1 else np.diagonal(D)
    zero = np.abs(eigenvalues) <= 1e-13 * np.abs(eigenvalues).max(initial=0.0)
    return int((eigenvalues > 0)[~zero].sum()), int((eigenvalues < 0)[~zero].sum()), int(zero.sum())


def reduced_hessian(H, A):
    """(Z' H Z, Z), Z an orthonormal basis of null(A)."""
    H, A = conditions.dense(H), conditions.dense(A)
    Z = la.null_space(A, rcond=RANK_TOL) if A.shape[0] else np.eye(H.shape[0])
    return Z.T @ H @ Z, Z

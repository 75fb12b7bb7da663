"""The derivative of the optimality conditions of a cone program, in block-eliminated form, and solves with it.

With u = z - s and z = Pi_{K*}(u) the conditions are F(x, u) = 0 and their derivative J:

    F = [ Px + A'z + q   ]        J = [ P   A'D   ]        D = DPi_{K*}(u) = Q diag(d) Q',  0 <= d <= 1, e = 1 - d.
        [ Ax + z - u - b ]            [ A   D - I ]

In the eigenbasis of D, with B = Q'A, soft rows (d < 1/2) are eliminated and hard rows kept, which leaves one symmetric matrix
for J and for its transpose; for a quadratic program it is the KKT matrix of the active rows, e = 0:

    M = [ P + B_s' (d/e)_s B_s    B_h'      ]        d/e on soft and e/d on hard rows are at most 1.
        [ B_h                    -(e/d)_h   ]

The residual of the *full* system, |J'w - rhs| / |rhs|, decides whether an adjoint exists: redundant rows make M singular and
leave the derivative of y as it is, so a condition number cannot decide. A singular J has a derivative only if the tangent
system is solvable as well, for every direction in which the data can move.
Reference: Busseti, Moursi, Boyd, Computational Optimization and Applications 74 (2019) 627-643, for F and J.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse

from ..errors import unknown
from ..results import LinearSolution, Status
from .factor import Factored, Products

METHODS = ("auto", "dense", "sparse", "minres", "gmres", "lsmr")
#: order of M up to which it is factored dense
DENSE = 300
#: relative residual of the full adjoint system above which it has no solution
CONSISTENT = 1e-6


@dataclass(frozen=True, eq=False)
class System:
    """J at one point. `hard` (k,) bool; rows B_soft, B_hard of Q'A with the ratios d/e and e/d; `factor` solves with M."""

    program: Any
    at: Any
    hard: np.ndarray
    soft: np.ndarray
    B_soft: Any
    B_hard: Any
    ratio_soft: np.ndarray
    ratio_hard: np.ndarray
    factor: Any
    method: str

    def tangent(self, r_x, r_u):
        """(dx, du) with J (dx, du) = (r_x, r_u)."""
        g = -self.at.to_spectrum(r_u)
        n, at, hard = r_x.size, self.at, self.hard
        z = self.factor.solve(np.concatenate([r_x - self.B_soft.T @ (self.ratio_soft * g[self.soft]), -g[hard]]))
        c = at.to_spectrum(self.program.A @ z[:n]) + g
        c[~hard] /= at.e[~hard]
        c[hard] = z[n:] / at.d[hard]
        return z[:n], at.from_spectrum(c)

    def adjoint(self, x_bar):
        """(w_x, w_u) with J' (w_x, w_u) = (x_bar, 0)."""
        n = x_bar.size
        z = self.factor.solve(np.concatenate([x_bar, np.zeros(self.ratio_hard.size)]))
        c = np.zeros(self.at.d.size)
        c[self.soft] = self.ratio_soft * (self.B_soft @ z[:n])
        c[self.hard] = z[n:]
        return z[:n], self.at.from_spectrum(c)

    def apply(self, dx, du):
        """J (dx, du)."""
        P, A, dz = self.program.P, self.program.A, self.at.derivative(du)
        return P @ dx + A.T @ dz, A @ dx + dz - du

    def apply_transpose(self, w_x, w_u):
        """J' (w_x, w_u)."""
        P, A = self.program.P, self.program.A
        return P @ w_x + A.T @ w_u, self.at.derivative(A @ w_x + w_u) - w_u

    def checked_adjoint(self, x_bar):
        """((w_x, w_u), LinearSolution): its residual is that of the full system and decides the status."""
        w = self.adjoint(x_bar)
        first, second = self.apply_transpose(*w)
        scale = np.linalg.norm(x_bar)
        residual = float(np.hypot(np.linalg.norm(first - x_bar), np.linalg.norm(second)) / scale) if scale > 0 else 0.0
        status, detail = Status.CONVERGED, ""
        if not residual <= CONSISTENT:
            status, detail = Status.UNDEFINED, f"The adjoint system has no solution: its relative residual is {residual:.1e}."
        return w, LinearSolution(x=np.concatenate(w), residual=residual, status=status, detail=detail, method=f"cone {self.method}")

    def solvable(self, r_x, r_u):
        """True if J (dx, du) = (r_x, r_u) has a solution: at a vertex with more rows than unknowns that move apart it has none."""
        first, second = self.apply(*self.tangent(r_x, r_u))
        size = np.hypot(np.linalg.norm(r_x), np.linalg.norm(r_u))
        return bool(np.hypot(np.linalg.norm(first - r_x), np.linalg.norm(second - r_u)) <= CONSISTENT * size)

    @property
    def null_space(self):
        """(n, r): x-parts of the null vectors of J where it is singular and small, else None."""
        null = self.factor.null_space
        return None if null is None else null[: self.program.q.size]


def system(program, at, method="auto"):
    """The `System` of `program` at the projection `at`; `method` one of METHODS.

    "dense" and "sparse" factor M; "minres", "gmres" and "lsmr" only multiply with it.
    """
    if method not in METHODS:
        raise unknown("linear method of a cone program", method, METHODS)
    hard = at.d >= 0.5
    soft = np.flatnonzero(~hard & (at.d > 0.0))
    ratio_soft, ratio_hard = at.d[soft] / at.e[soft], at.e[hard] / at.d[hard]
    if method == "auto":
        small = program.q.size + ratio_hard.size <= DENSE and program.A.shape[0] <= 4 * DENSE
        method = "dense" if small else "sparse"
    P, A = (program.dense_P, program.dense_A) if method == "dense" else (program.P, program.A)
    B = A if at.Q_transpose is None else at.Q_transpose @ A
    B = B if method == "dense" else sparse.csr_array(B)
    parts = (P, B[soft], B[np.flatnonzero(hard)], ratio_soft, ratio_hard)
    build = {"dense": _dense_matrix, "sparse": _sparse_matrix}.get(method)
    factor = Factored(build(*parts)) if build else _products(*parts, method)
    return System(program, at, hard, soft, *parts[1:], factor, method)


def _dense_matrix(P, B_soft, B_hard, ratio_soft, ratio_hard):
    """M as an ndarray."""
    n, r = P.shape[0], ratio_hard.size
    M = np.zeros((n + r, n + r), order="F")
    M[:n, :n] = P + (B_soft.T * ratio_soft) @ B_soft if ratio_soft.size else P
    M[n:, :n] = B_hard
    M[:n, n:] = B_hard.T
    M[range(n, n + r), range(n, n + r)] = -ratio_hard
    return M


def _sparse_matrix(P, B_soft, B_hard, ratio_soft, ratio_hard):
    """M as csc."""
    top = P + B_soft.T @ (sparse.diags_array(ratio_soft) @ B_soft) if ratio_soft.size else P
    if not ratio_hard.size:
        return sparse.csc_array(top)
    return sparse.block_array([[top, B_hard.T], [B_hard, sparse.diags_array(-ratio_hard)]], format="csc")


def _products(P, B_soft, B_hard, ratio_soft, ratio_hard, method):
    """M by products with P, A and Q alone."""
    n = P.shape[0]

    def apply(z):
        z = np.asarray(z).ravel()
        x, y = z[:n], z[n:]
        return np.concatenate([P @ x + B_soft.T @ (ratio_soft * (B_soft @ x)) + B_hard.T @ y, B_hard @ x - ratio_hard * y])

    return Products(apply, n + ratio_hard.size, method)

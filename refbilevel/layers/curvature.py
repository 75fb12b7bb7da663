"""Second derivatives of F(X) = f(X, y*(X)) at one point, X = (x, z), without solving the lower level again.

With the adjoint K w = (f_y; 0; 0), w = (v, w_p, w_q), and the tangent K ds = -N d of s = (y, mu_J, nu), both frozen,

    lambda(X, s) = f - v.L_y - w_p.p_J - w_q.q,      psi = Hessian of lambda times (d, ds),
    F'' d = psi_X - N' K^{-1} psi_s,                 L = g + mu.p + nu.q,

and K = g_yy, N = g_xy' without constraints. psi of f - v.g_y comes from the problem's `adjoint_hvp` where it is given, and that of
affine constraints vanishes; the rest is a difference of lambda's gradient, itself made of second derivatives (differences.py), with
an error estimate. Written with d = (b, 0) and ds = -a this is the gradient of b.f_x - a.f_y - v.g_yx b + a.g_yy v, b, a, v frozen.

Alesiani, Implicit bilevel optimization, AAAI 2023, th. 1 (the blocks F_x, F_y, F_z); Fiacco 1983 for K and N.
"""

from __future__ import annotations

import numpy as np
from scipy.sparse.linalg import LinearOperator

from .. import kkt, linear
from ..problem import counted
from .differences import directional


class Curvature:
    """The point (X, lower solution) of a LayerProblem with upper rows in force; products with F''.

    `terms` are triples (multiplier, r_X, r_y) of upper rows that count as part of f.
    """

    def __init__(self, problem, joint, X, lower, terms=()):
        self.problem, self.joint, self.X, self.terms = problem, joint, X, terms
        view = counted(joint)[0]
        self.y, self.mu, self.nu, self.system, self.factor = _local(view, X, lower)
        f_y = view.f_y(X, self.y) + sum((w * r_y(X, self.y) for w, _, r_y in terms), np.zeros(joint.m))
        self.v, self.w_p, self.w_q = self.system.split(self.solve(self.system.rhs(f_y)))

    def solve(self, b):
        """K^{-1} b."""
        if self.system.A.shape[0]:
            return kkt.solve(self.system, b, factor=self.factor).x
        return linear.solve(self.system.H, b, factor=self.factor).x

    def tangent(self, d):
        """(dy (m,), dmu, dnu) along d (n + k,)."""
        return self.system.split(-self.solve(self.system.N(d)))

    def cotangent(self, y_bar):
        """(dy/dX)' y_bar (n + k,)."""
        return -self.system.N_transpose(self.solve(self.system.rhs(y_bar)))

    def product(self, d):
        """(F'' d (n + k,), error estimate)."""
        if not d.any():
            return np.zeros(d.size), 0.0
        S = self.system
        return self._second(d, lambda psi: psi[0] - S.N_transpose(self.solve(S.rhs(*psi[1:]))))

    def partials(self, d):
        """(psi_X (n + k,), psi_s in the rows of K, error estimate): what the unreduced optimality system needs."""
        psi, error = self._second(d, lambda psi: np.concatenate([psi[0], self.system.rhs(*psi[1:])]))
        return psi[: d.size], psi[d.size :], error

    def _second(self, d, through):
        """(through(psi), error estimate), psi = (X, y, mu, nu) parts."""
        ds = self.tangent(d)
        parts = [d, *ds]
        cuts = np.cumsum([p.size for p in parts])[:-1]
        exact, error = 0.0, 0.0
        if self.problem.adjoint_hvp is not None:
            exact = through([*self._objective(d, ds[0]), np.zeros(self.mu.size), np.zeros(self.nu.size)])
            if not self.terms and not self._curved:
                return exact, 0.0
        point = np.concatenate([self.X, self.y, self.mu, self.nu])
        difference, error = directional(
            lambda W: np.concatenate(self._gradient(*np.split(W, cuts))), point, np.concatenate(parts),
            through=lambda psi: through(np.split(psi, cuts)),
        )  # fmt: skip
        return exact + difference, error

    @property
    def _curved(self):
        return self.joint.constraints is not None and not self.joint.constraints.linear

    def _objective(self, d, dy):
        """(psi_X, psi_y) of f - v.g_y, by the problem's oracle."""
        n = self.problem.n
        psi = self.problem.adjoint_hvp(self.X[:n], self.y, self.X[n:], self.v, d[:n], dy, d[n:])
        in_x, in_y, in_z = (np.asarray(p, float).ravel() for p in psi)
        return np.concatenate([in_x, in_z]), in_y

    def _gradient(self, X, y, mu, nu):
        """(X, y, mu, nu) parts of lambda's gradient, without those that `_objective` supplies."""
        j, v = self.joint, self.v
        in_X, in_y = np.zeros(X.size), np.zeros(y.size)
        if self.problem.adjoint_hvp is None:
            in_X, in_y = j.f_x(X, y) - j.g_xy(X, y) @ v, j.f_y(X, y) - j.g_yy(X, y) @ v
        for weight, r_X, r_y in self.terms:
            in_X, in_y = in_X + weight * r_X(X, y), in_y + weight * r_y(X, y)
        if not self._curved:
            return in_X, in_y, np.zeros(mu.size), np.zeros(nu.size)
        c = j.constraints
        at, (p_X, q_X) = kkt.conditions.rows(j, X, y), kkt.conditions.rows_x(j, X, y)
        in_X = in_X - np.asarray(c.lagrangian_xy(X, y, mu, nu) @ v).ravel() - p_X.T @ self.w_p - q_X.T @ self.w_q
        in_y = in_y - np.asarray(c.lagrangian_yy(X, y, mu, nu) @ v).ravel() - at.p_y.T @ self.w_p - at.q_y.T @ self.w_q
        return in_X, in_y, -at.p_y @ v, -at.q_y @ v


def _local(view, X, lower):
    """(y, mu, nu, system, factor of K or None) at the lower solution."""
    if view.constraints is None:
        nothing = np.zeros(0)
        S = kkt.build(view, X, lower.y, nothing, nothing, np.zeros(0, int))
        return lower.y, nothing, nothing, S, None if isinstance(S.H, LinearOperator) else linear.factorize(S.H)
    local = kkt.analyse(view, X, lower)
    return local.y, local.mu, local.nu, local.system, local.factor

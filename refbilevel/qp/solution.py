"""The answer to a quadratic program, and its derivatives through the factor that the polish left.

With W the rows of N = [A; G] in force, lam = (nu, mu), K = [P N_W'; N_W 0] and r = (b, h):

    jvp    K (dy, dlam_W) = -(dP y + dq + dN_W' lam_W,  dN_W y - dr_W),          dlam = 0 off W
    vjp    K (w, v) = (y_bar, lam_bar_W):   q_bar = -w,  P_bar = -(w y' + y w')/2,  N_bar_W = -(lam_W w' + v y'),  r_bar_W = v

P_bar is the Frobenius-symmetric gradient: <P_bar, dP> is the change for every symmetric dP. For a sparse block the gradient
is given on the block's own pattern.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import combinations
from typing import Any

import numpy as np
from scipy import sparse

from ..errors import ArgumentError, ShapeError
from ..kernels import qp as kernel
from ..results import Status, _Outcome
from .data import QPData
from .factor import RangeFactor, factorize, pseudo
from .gradient import QPGradient, expand, not_a_number, pull_back, record

_NONE = np.zeros(0)


@dataclass(frozen=True, eq=False)
class QPSolution(_Outcome):
    """y (n,), mu (m,) >= 0, nu (p,) with their status; `.vjp` and `.jvp` differentiate them.

    `active` (m,) marks the rows in force, mu_i > slack_i; `margin` = min_i max(mu_i, slack_i) (inf without inequalities).
    `residual` is the largest KKT residual, each relative to the terms it sums; `weak` (m,) marks weakly active rows.
    `certificate`: (mu, nu) with G'mu + A'nu = 0, mu >= 0, h'mu + b'nu < 0 if infeasible; d with Pd = 0, Gd <= 0, Ad = 0,
    q'd < 0 if unbounded; d with d'Pd < 0 if not convex. `solvers` are the methods tried, with their outcome.
    Without a solution y, mu, nu and all derivatives are NaN.
    """

    y: np.ndarray
    mu: np.ndarray
    nu: np.ndarray
    active: np.ndarray
    margin: float
    residual: float
    status: Status
    detail: str = ""
    method: str = ""
    certificate: Any = None
    solvers: tuple = ()
    weak_rows: tuple = ()
    data: QPData | None = field(default=None, repr=False)
    factor: Any = field(default=None, repr=False)
    W: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64), repr=False)
    multipliers: np.ndarray = field(default_factory=lambda: _NONE, repr=False)

    @property
    def condition(self):
        """Condition number of K (1-norm estimate; inf if singular, nan without a solution). Computed on request."""
        return np.nan if self.factor is None else self.factor.condition

    @cached_property
    def weak(self):
        """(m,) bool: rows whose multiplier and slack both vanish and that no other active row implies."""
        mask = np.zeros(self.mu.size, bool)
        mask[list(self.weak_rows)] = True
        return mask

    @property
    def objective(self):
        """1/2 y'Py + q'y."""
        return float(self.y @ (0.5 * (self.data.P @ self.y) + self.data.q))

    @property
    def slack(self):
        """(m,): h - Gy (+inf for the rows that were dropped)."""
        return expand(self.data.h - self.data.G @ self.y, self.data, np.inf)

    def vjp(self, y_bar, mu_bar=None, nu_bar=None):
        """QPGradient of a loss whose gradients with respect to y, mu, nu are y_bar (n,), mu_bar (m,), nu_bar (p,).

        mu_bar counts on active rows only (elsewhere mu is identically zero near this point).

        Raises
        ------
        ShapeError, ArgumentError
            A cotangent of the wrong shape, or not finite.
        """
        data = self.data
        y_bar = _cotangent(y_bar, data.n, "y_bar")
        row_bar = self._rows(mu_bar, nu_bar)
        if self.factor is None:
            return not_a_number(data)
        if type(self.factor) is RangeFactor:
            f = self.factor
            P_bar, q_bar, N_bar, r_bar = kernel.vjp_dense(
                f.P, f.N, f.L, f.M, f.R, f.sigma, self.W, row_bar.size, self.y, self.multipliers, y_bar, row_bar, 1
            )
        else:
            w, v = self.factor.solve(y_bar, row_bar[self.W])
            return pull_back(data, self.y, self.multipliers, self.W, w, v)
        return record(data, P_bar, q_bar, N_bar, r_bar)

    def _rows(self, mu_bar, nu_bar):
        """(p + m,): cotangents of the multipliers in the order of N."""
        data = self.data
        p = data.b.size
        row_bar = np.zeros(p + data.h.size)
        if nu_bar is not None:
            row_bar[:p] = _cotangent(nu_bar, p, "nu_bar")
        if mu_bar is not None:
            mu_bar = _cotangent(mu_bar, data.rows, "mu_bar")
            row_bar[p:] = mu_bar if data.kept is None else mu_bar[data.kept]
        return row_bar

    def jvp(self, dP=None, dq=None, dG=None, dh=None, dA=None, db=None):
        """(dy, dmu, dnu): the derivative along a change of the blocks (None: that block does not change).

        dP is symmetrised, as P is. At a degenerate point this is the derivative with the rows `active` held in force; for
        the derivative to one side see `one_sided`.
        """
        if self.factor is None:
            return tuple(np.full(z.size, np.nan) for z in (self.y, self.mu, self.nu))
        top, rows = self._forcing(dP, dq, dG, dh, dA, db)
        dy, dlam = self.factor.solve(-top, rows[self.W])
        full = np.zeros(rows.size)
        full[self.W] = dlam
        p = self.data.b.size
        return dy, expand(full[p:], self.data, 0.0), full[:p]

    def _forcing(self, dP, dq, dG, dh, dA, db):
        """(dP y + dq + dN'lam (n,), dr - dN y (p + m,)) for a change of the blocks."""
        data, p = self.data, self.data.b.size
        n, m = data.n, data.rows
        top = np.zeros(n) if dq is None else _cotangent(dq, n, "dq").copy()
        if dP is not None:
            dP = _shaped(dP, (n, n), "dP")
            top += 0.5 * (dP @ self.y + dP.T @ self.y)
        below = np.zeros(m) if dh is None else _cotangent(dh, m, "dh").copy()
        if dG is not None:
            dG = _shaped(dG, (m, n), "dG")
            top += dG.T @ self.mu
            below -= dG @ self.y
        above = np.zeros(p) if db is None else _cotangent(db, p, "db").copy()
        if dA is not None:
            dA = _shaped(dA, (p, n), "dA")
            top += dA.T @ self.nu
            above -= dA @ self.y
        return top, np.concatenate([above, below if data.kept is None else below[data.kept]])

    def one_sided(self, dP=None, dq=None, dG=None, dh=None, dA=None, db=None):
        """(dy, dmu, dnu): the one-sided derivative along a change, valid at weakly active rows too (LICQ on the rest).

        dy = argmin_w 1/2 w'Pw + (dP y + dq + dN'lam)'w  with  N_W w = dr - dN y on the strongly active rows, <= on the
        weakly active ones (Shapiro, SIAM J. Control Optim. 26, 1988); the multipliers are those of that program.
        """
        from .driver import solve_qp

        if self.factor is None or not self.weak.any():
            return self.jvp(dP, dq, dG, dh, dA, db)
        data, p = self.data, self.data.b.size
        top, rows = self._forcing(dP, dq, dG, dh, dA, db)
        weak = p + np.flatnonzero(self.weak if data.kept is None else self.weak[data.kept])
        strong = np.setdiff1d(self.W, weak)
        N = data.N
        answer = solve_qp(data.P, top, N[weak], rows[weak], N[strong], rows[strong])
        full = np.zeros(rows.size)
        full[weak], full[strong] = answer.mu, answer.nu
        return answer.y, expand(full[p:], data, 0.0), full[:p]

    def branches(self, limit=10):
        """The 2^k solutions-with-derivative that meet at this point, one for each subset of the k weak rows held in force.

        Their `vjp` generate the Clarke set. `limit` caps k: beyond it an ArgumentError says so. Subsets whose rows are
        dependent are left out.
        """
        weak = np.flatnonzero(self.weak)
        if weak.size > limit:
            raise ArgumentError(f"branches: {weak.size} weakly active rows have 2^{weak.size} branches; raise limit (now {limit}) or use one_sided")
        if self.factor is None or not weak.size:
            return [self]
        subsets = (s for size in range(weak.size + 1) for s in combinations(weak, size))
        found = (self._branch(np.array(s, int)) for s in subsets)
        return [branch for branch in found if branch is not None]

    def _branch(self, chosen):
        active = self.active & ~self.weak
        active[chosen] = True
        data, p = self.data, self.data.b.size
        inner = active if data.kept is None else active[data.kept]
        W = np.concatenate([self.W[self.W < p], p + np.flatnonzero(inner)])
        factor = factorize(data.P, data.N[W])
        if factor is None:
            if self.status is not Status.LICQ_FAILS:
                return None
            factor = pseudo(data.P, data.N[W])
        return replace(self, active=active, W=W, factor=factor)


def _cotangent(value, size, name):
    array = np.asarray(value)
    if array.dtype != np.float64 or array.ndim != 1 or not (array.flags.c_contiguous and array.flags.writeable):
        if array.dtype.kind not in "fiub":
            raise ArgumentError(f"{name} must hold real numbers, got dtype {array.dtype}")
        array = np.require(array, np.float64, ["C", "W"])
        if array.ndim == 0 or (size == 1 and array.size == 1):
            array = array.reshape(-1)
    if array.shape != (size,):
        raise ShapeError(f"{name} must have shape ({size},), got {array.shape}")
    if not np.isfinite(array).all():
        raise ArgumentError(f"{name} must be finite; it has NaN or infinite elements")
    return array


def _shaped(value, shape, name):
    value = value if sparse.issparse(value) else np.asarray(value, np.float64)
    if value.shape != shape:
        raise ShapeError(f"{name} must have shape {shape}, got {value.shape}")
    return value

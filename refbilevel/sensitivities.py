"""How the lower solution moves: dy/dx and its products, unconstrained lower level.

    dy/dx = -g_yy^{-1} g_xy^T  (m, n),     jvp(dx) = -g_yy^{-1} (g_xy^T dx),     vjp(y_bar) = -g_xy (g_yy^{-1} y_bar),

so that y_bar . jvp(dx) = vjp(y_bar) . dx, and the hypergradient is f_x + vjp(f_y). Exact at y*, error O(|g_y| / mu) near it.
Under constraints the same verb answers with dmu/dx and dnu/dx as well (kkt_sensitivity.py).

Fiacco, Introduction to Sensitivity and Stability Analysis in Nonlinear Programming, 1983.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import LinearOperator

from .errors import ArgumentError
from .kkt_sensitivity import kkt_sensitivity
from .linear import METHODS, factorize, solve
from .lower.solve import solve_view
from .problem import as_vector, counted
from .results import LowerSolution, Status, _Outcome


@dataclass(frozen=True, eq=False)
class Sensitivity(_Outcome):
    """dy/dx at one x. A product whose linear solve fails raises StatusError; `status` tells what is known beforehand."""

    lower: LowerSolution
    g_yy: Any
    g_xy: Any
    linear: str = "auto"
    factor: Any = None
    status: Status = Status.CONVERGED
    detail: str = ""

    def jvp(self, dx):
        """dy (m,) along dx (n,)."""
        dx = as_vector(dx, self.g_xy.shape[0], "dx")
        return -self._solve(np.asarray(self.g_xy.T @ dx))

    def vjp(self, y_bar):
        """x_bar (n,) of the cotangent y_bar (m,)."""
        y_bar = as_vector(y_bar, self.g_xy.shape[1], "y_bar")
        return -np.asarray(self.g_xy @ self._solve(y_bar))

    @property
    def jacobian(self):
        """dy/dx (m, n), formed when asked for: n solves, or m if that is fewer."""
        n, m = self.g_xy.shape
        if n <= m:
            return -self._solve(_dense(self.g_xy.T, n))
        return -np.asarray(self.g_xy @ self._solve(np.eye(m))).T

    dy_dx = jacobian

    def _solve(self, b):
        return solve(self.g_yy, b, self.linear, factor=self.factor).raise_for_status().x


def _dense(A, columns):
    if sparse.issparse(A):
        return A.toarray()
    return np.asarray(A @ np.eye(columns)) if isinstance(A, LinearOperator) else A


def sensitivity(problem, x, *, lower=None, y0=None, tol=None, linear="auto"):
    """The derivative of the lower solution at x.

    Parameters
    ----------
    problem : BilevelProblem
    x : (n,) array_like
    lower : LowerSolution, optional
        The lower solution at x; solved for from y0 (m,) to `tol` where it is not given.
    linear : str
        Linear method for g_yy (or for the KKT matrix).

    Returns
    -------
    Sensitivity
        `.jacobian` (m, n), `.jvp(dx)`, `.vjp(y_bar)`, `.status`; a KKTSensitivity under constraints; for a problem with its own
        solution map, the products that map offers.

    Raises
    ------
    ShapeError, DtypeError, ArgumentError, UnknownOption, MissingDerivative
    """
    view, _ = counted(problem)
    x = as_vector(x, problem.n, "x")
    if lower is not None and not isinstance(lower, LowerSolution):
        raise ArgumentError("lower must be a LowerSolution, as solve_lower returns it")
    if view.solution_map is None and view.constraints is not None:
        return kkt_sensitivity(problem, x, lower=lower, y0=y0, tol=tol, linear=linear)
    if lower is None:
        start = np.zeros(problem.m) if y0 is None else as_vector(y0, problem.m, "y0")
        lower = solve_view(view, x, "auto", start, tol, None, {})
    if view.solution_map is not None:
        return MapSensitivity(view, x, lower, lower.status, lower.detail)
    view.needs("g_yy", "g_xy", purpose="sensitivity")
    H = view.g_yy(x, lower.y)
    status, detail, factor = lower.status, lower.detail, None
    if not isinstance(H, LinearOperator) and (linear == "auto" or linear in METHODS and METHODS[linear].direct):
        factor = factorize(H, linear)
        if status.success and factor.negative:
            status = Status.NOT_A_MINIMUM
        elif status.success and factor.condition > 1.0 / np.finfo(float).eps:
            status = Status.ILL_CONDITIONED
    return Sensitivity(lower, H, view.g_xy(x, lower.y), linear, factor, status, detail)


@dataclass(frozen=True, eq=False)
class MapSensitivity(_Outcome):
    """Products of a problem's own solution map."""

    problem: Any
    x: np.ndarray
    lower: LowerSolution
    status: Status = Status.CONVERGED
    detail: str = ""

    def jvp(self, dx):
        return self.problem.solution_map.jvp(self.x, self.lower, as_vector(dx, self.problem.n, "dx"))

    def vjp(self, y_bar):
        return self.problem.solution_map.vjp(self.x, self.lower, as_vector(y_bar, self.problem.m, "y_bar"))

    @property
    def jacobian(self):
        """dy/dx (m, n) from m products."""
        return np.array([self.vjp(e) for e in np.eye(self.problem.m)])

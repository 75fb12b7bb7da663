"""Sensitivities of a constrained lower level: dy/dx, dmu/dx, dnu/dx, their products, one-sided derivatives, the envelope gradient.

    d(y, mu_J, nu)/dx = -K^{-1} N,    jvp: dx -> -K^{-1} N dx,    vjp: (y_bar, mu_bar, nu_bar) -> -N' K^{-1} (y_bar; mu_bar_J; nu_bar)

and dmu_i/dx = 0 for rows that are not active. At weakly active rows these are the derivatives of the branch that lets go of them,
with status `degenerate`; `directional_derivative` gives the one-sided values. The envelope gradient is that of min_y g:

    d/dx min{g : p <= 0, q = 0} = g_x + p_x' mu + q_x' nu.

Fiacco, Introduction to Sensitivity and Stability Analysis, 1983, ch. 3; Jittorntrum 1984 for the one-sided values.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from . import kkt
from .errors import ArgumentError
from .lower.solve import solve_view
from .problem import as_vector, counted
from .results import LowerSolution, Status, _Outcome

NO_SOLUTION = (Status.LOWER_INFEASIBLE, Status.LOWER_UNBOUNDED, Status.NONFINITE)


@dataclass(frozen=True, eq=False)
class KKTSensitivity(_Outcome):
    """Derivatives of (y, mu, nu) at one x: `dy_dx` (m, n), `dmu_dx` (k, n), `dnu_dx` (l, n), formed when asked for.

    Without a lower solution (infeasible, unbounded) every derivative is nan; a linear solve that fails raises StatusError.
    `local` and `system` are those of g / `unit` (kkt/units.py).
    """

    lower: LowerSolution
    local: Any
    system: Any
    linear: str = "auto"
    unit: float = 1.0
    status: Status = Status.CONVERGED
    detail: str = ""

    def jvp(self, dx):
        """(dy (m,), dmu (k,), dnu (l,)) along dx (n,)."""
        dx = as_vector(dx, self.system.A_x.shape[1], "dx")
        return self._split(-self._solve(self.system.N(dx)))

    def vjp(self, y_bar=None, mu_bar=None, nu_bar=None):
        """x_bar (n,) of the cotangents y_bar (m,), mu_bar (k,), nu_bar (l,); None means zero."""
        S = self.system
        given = (("y_bar", y_bar, S.m), ("mu_bar", mu_bar, S.k), ("nu_bar", nu_bar, S.l))
        bars = [None if bar is None else as_vector(bar, size, name) for name, bar, size in given]
        y_bar, *others = bars
        return -S.N_transpose(self._solve(S.rhs(y_bar, *(None if bar is None else self.unit * bar for bar in others))))

    @property
    def dy_dx(self):
        """(m, n)"""
        return self._all()[0]

    jacobian = dy_dx

    @property
    def dmu_dx(self):
        """(k, n), zero rows where the constraint is inactive."""
        return self._all()[1]

    @property
    def dnu_dx(self):
        """(l, n)"""
        return self._all()[2]

    def _all(self):
        S = self.system
        return self._split(-self._solve(S.N(np.eye(S.A_x.shape[1]))))

    def _split(self, z):
        dy, dmu, dnu = self.system.split(z)
        return dy, self.unit * dmu, self.unit * dnu

    def _solve(self, b):
        if self.lower.status in NO_SOLUTION:
            return np.full(b.shape, np.nan)
        if not self.local.independent or self.local.flat:
            return kkt.least_squares(self.system, b).x
        return kkt.solve(self.system, b, self.linear, factor=self.local.factor).raise_for_status().x


def kkt_sensitivity(problem, x, *, lower=None, y0=None, tol=None, linear="auto", weak_tol=None):
    """`KKTSensitivity` at x; the lower level is solved unless `lower` is given. Raises as `solve_lower` does."""
    view, x, lower = _solved(problem, x, lower, y0, tol)
    view.needs("g_y", "g_yy", "g_xy", purpose="sensitivity")
    c = kkt.unit(view, x, lower.y)
    view = kkt.in_units(view, c)
    local = kkt.analyse(view, x, kkt.solution_in_units(lower, c), weak_tol)
    S = local.system if local.independent else kkt.build(view, x, local.y, local.mu, local.nu, local.near)
    status, detail = lower.status, lower.detail
    if status.success and local.flat and kkt.flat_direction(local) is not None:
        status = Status.NONUNIQUE
    elif status.success and not local.regular:
        status, detail = Status.DEGENERATE, f"Rows {local.sets.weak.tolist()} are weakly active: see directional_derivative."
    elif status.success and not local.independent:
        status = Status.LICQ_FAILS
    return KKTSensitivity(lower, local, S, linear, c, status, detail)


def directional_derivative(problem, x, direction, *, lower=None, y0=None, tol=None):
    """The one-sided derivative of F(x) = f(x, y*(x)) along `direction`, at kinks too: f_x d + f_y y'(x; d).

    Parameters
    ----------
    problem : BilevelProblem
    x, direction : (n,) array_like

    Returns
    -------
    float
        nan where no feasible y follows x in that direction, or the lower level has no solution.
    """
    view, x, lower = _solved(problem, x, lower, y0, tol)
    d = as_vector(direction, problem.n, "direction")
    view.needs("f_x", "f_y", "g_y", "g_yy", "g_xy", purpose="directional_derivative")
    if lower.status in NO_SOLUTION:
        return np.nan
    c = kkt.unit(view, x, lower.y)
    view = kkt.in_units(view, c)
    local = kkt.analyse(view, x, kkt.solution_in_units(lower, c))
    return float(view.f_x(x, lower.y) @ d + view.f_y(x, lower.y) @ kkt.directional(view, local, d).dy)


def one_sided(problem, local, f_x, f_y, limit=64):
    """(n, 2): left and right derivatives of F along each axis; None for n above `limit`."""
    n = f_x.size
    if n > limit:
        return None
    slopes = [[s * (s * f_x[i] + f_y @ kkt.directional(problem, local, s * np.eye(n)[i]).dy) for s in (-1.0, 1.0)] for i in range(n)]
    return np.array(slopes)


def envelope_gradient(problem, x, *, lower=None, y0=None, tol=None):
    """Gradient (n,) of the lower value min_y g(x, y) under its constraints: g_x + p_x' mu + q_x' nu. First derivatives only."""
    view, x, lower = _solved(problem, x, lower, y0, tol)
    view.needs("g_x", purpose="envelope_gradient")
    if lower.status in NO_SOLUTION:
        return np.full(problem.n, np.nan)
    p_x, q_x = kkt.rows_x(view, x, lower.y)
    return view.g_x(x, lower.y) + p_x.T @ lower.mu + q_x.T @ lower.nu


def _solved(problem, x, lower, y0, tol):
    view, _ = counted(problem)
    x = as_vector(x, problem.n, "x")
    if lower is None:
        start = np.zeros(problem.m) if y0 is None else as_vector(y0, problem.m, "y0")
        lower = solve_view(view, x, "auto", start, tol, None, {})
    elif not isinstance(lower, LowerSolution):
        raise ArgumentError("lower must be a LowerSolution, as solve_lower returns it")
    return view, x, lower

"""The independent re-check: is (x, y) what it claims to be?

The lower level is solved anew at x, whatever method found y. With g* its minimum,

    residual = max( upper violation, lower violation, (g(x, y) - g*) / (1 + |g*|) )        bilevel feasibility
    LICQ                    the active rows' y-gradients are independent
    strict complementarity  max { t <= 1 : g_y + p_y'mu + q_y'nu = 0, mu_i >= t on the active rows, 0 elsewhere } > 0
    uniqueness              S(x) = {y} : for a convex QP lower level S(x) is the polyhedron
                            {Q_yy d = 0, A_i d = 0 where mu_i > 0, A_i d <= slack_i, C d = 0}, y + d, whose width is measured
    optimistic, pessimistic min and max of F(x, .) over S(x) (the optimistic one under the upper rows).

Violations are measured in units of 1 + |row's largest term|. For a lower level that is no QP, uniqueness is that of the second-order
sufficient condition (None if it does not decide).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..problem import as_vector, counted
from ..results import Status
from . import global_convex
from .lower_set import licq, lower_point, lower_program, multipliers, quadratic_lower, second_order, solution_set

ACTIVE = 1e-7


@dataclass(frozen=True, eq=False)
class Recheck:
    """What the re-check found. `accepted` is residual <= tol; None stands for "not decided"."""

    residual: float
    upper_violation: float
    lower_violation: float
    lower_gap: float
    lower_objective: float
    active: np.ndarray
    mu: np.ndarray
    nu: np.ndarray
    licq: bool
    strict_complementarity: bool
    margin: float
    unique: bool | None
    optimistic: float
    pessimistic: float
    accepted: bool
    status: Status
    detail: str = ""

    @property
    def message(self):
        return f"{self.status.message} {self.detail}".strip()

    @property
    def gap(self):
        """Pessimistic minus optimistic value of F over the lower solutions at x; nan where it is not known."""
        return self.pessimistic - self.optimistic


def recheck(problem, x, y, *, tol=1e-6):
    """Check (x, y) against the bilevel problem, independently of how it was found.

    Parameters
    ----------
    problem : BilevelProblem
    x : (n,), y : (m,) array_like
    tol : float
        Largest residual that is accepted.

    Returns
    -------
    Recheck
    """
    view, _ = counted(problem)
    x, y = as_vector(x, problem.n, "x"), as_vector(y, problem.m, "y")
    point = lower_point(view, x, y)
    quadratic = quadratic_lower(problem)
    best, certificate = (_solve_quadratic if quadratic else _solve_general)(problem, x, y)
    g = view.g(x, y)
    gap = max(0.0, g - best) / (1.0 + abs(best)) if np.isfinite(best) else np.inf
    lower = max(_worst(point.p), float(np.abs(point.q).max(initial=0.0))) / (1.0 + np.abs(y).max() + np.abs(x).max())
    upper = upper_violation(view, x, y)
    active = point.p >= -ACTIVE * (1.0 + np.linalg.norm(point.p_y, axis=1) * (1.0 + np.abs(y).max()))
    mu, nu, margin = multipliers(point, active)
    unique, low, high = (solution_set if quadratic else second_order)(problem, view, x, point, active, mu, nu)
    residual = max(upper, lower, gap)
    accepted = bool(residual <= tol)
    status = Status.CONVERGED if accepted else certificate or Status.INACCURATE
    detail = "" if accepted else f"Re-check: upper violation {upper:.1e}, lower violation {lower:.1e}, lower optimality gap {gap:.1e}, tolerance {tol:.1e}."
    return Recheck(
        residual, upper, lower, gap, best, active, mu, nu, licq(point, active), bool(margin > 1e-7), margin, unique, low, high,
        accepted, status, detail,
    )  # fmt: skip


def _worst(values):
    return float(np.maximum(values, 0.0).max(initial=0.0))


def upper_violation(view, x, y):
    """Largest violation of bounds and upper rows, over 1 + |x| + |y|."""
    worst = 0.0
    if view.bounds is not None:
        worst = max(_worst(view.bounds[0] - x), _worst(x - view.bounds[1]))
    c = view.upper_constraints
    if c is not None:
        worst = max(worst, _worst(c.G(x, y)) if c.G is not None else 0.0, float(np.abs(c.H(x, y)).max(initial=0.0)) if c.H is not None else 0.0)
    return worst / (1.0 + np.abs(x).max() + np.abs(y).max())


def _solve_quadratic(problem, x, y):
    """(minimum of the lower level at x, status if it has none)."""
    answer = global_convex.solve(lower_program(problem, x))
    if answer.outcome == "optimal":
        return answer.value, None
    if answer.outcome == "infeasible":  # x on the very edge: rounding may leave no y; widen the rows by rounding
        program = lower_program(problem, x)
        slack = 1e-9 * (1.0 + np.abs(x).max() + np.abs(program.b))
        answer = global_convex.solve(replace(program, b=program.b + slack))
        if answer.outcome == "optimal":
            return answer.value, None
    failures = {"infeasible": Status.LOWER_INFEASIBLE, "unbounded": Status.LOWER_UNBOUNDED}
    return (-np.inf if answer.outcome == "unbounded" else np.inf), failures.get(answer.outcome, Status.LOWER_STALLED)


def _solve_general(problem, x, y):
    """The lower minimum by the library's own solver, started away from y too so that a poor y cannot vouch for itself."""
    from ..lower.solve import solve_lower

    solutions = [solve_lower(problem, x, y0=start) for start in (None, y)]
    good = [s for s in solutions if s.success]
    if not good:
        return np.inf, solutions[0].status
    return min(float(problem.g(x, s.y)) for s in good), None

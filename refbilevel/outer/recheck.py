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
from scipy.optimize import minimize

from ..certificates.bounds import constants_at
from ..problem import as_vector, counted
from ..results import Status
from . import global_convex
from .lower_set import dense, licq, lower_level, lower_point, lower_program, multipliers, second_order, solution_set

ACTIVE = 1e-7
#: multipliers below this count as zero
STRICT = 1e-6
#: the bound by strong convexity serves where it leaves this much, over 1 + |g|
TIGHT = 1e-12
#: how near to y the fallback solver's end point must be to confirm y
TOUCHING = 1e-4


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
    licq: bool | None
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
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        return _nonfinite(0, 0)
    x, y = as_vector(x, problem.n, "x"), as_vector(y, problem.m, "y")
    if problem.solution_map is not None:
        return _recheck_map(view, x, y, tol)
    point = lower_point(view, x, y)
    if not all(np.isfinite(part).all() for part in (view.f(x, y), view.g(x, y), point.g_y, point.p, point.p_y, point.q, point.q_y)):
        return _nonfinite(len(point.p), len(point.q))
    level = lower_level(problem)
    best, certificate = _solve_general(view, x, y) if level is None else _solve_quadratic(level, x)
    g = view.g(x, y)
    gap = max(0.0, g - best) / (1.0 + abs(best)) if np.isfinite(best) else np.inf
    lower = max(_worst(point.p), float(np.abs(point.q).max(initial=0.0))) / (1.0 + np.abs(y).max() + np.abs(x).max())
    upper = upper_violation(view, x, y)
    active = point.p >= -ACTIVE * (1.0 + np.linalg.norm(point.p_y, axis=1) * (1.0 + np.abs(y).max()))
    mu, nu, margin = multipliers(point, active)
    if level is None:
        unique, low, high = second_order(problem, view, x, point, mu, nu)
    else:
        unique, low, high = solution_set(problem, level, view, x, point, mu)
    residual = max(upper, lower, gap)
    accepted = bool(residual <= tol)
    status = Status.CONVERGED if accepted else certificate or Status.INACCURATE
    detail = "" if accepted else f"Re-check: upper violation {upper:.1e}, lower violation {lower:.1e}, lower optimality gap {gap:.1e}, tolerance {tol:.1e}."
    return Recheck(
        residual, upper, lower, gap, best, active, mu, nu, licq(point, active), bool(margin > STRICT), margin, unique, low, high,
        accepted, status, detail,
    )  # fmt: skip


def _recheck_map(view, x, y, tol):
    """A problem whose solution map owns the lower level: its own solver anew, from no start; y must be what it finds."""
    solution = view.solution_map.solve(x)
    f = float(view.f(x, y)) if view.f is not None else np.nan
    upper = upper_violation(view, x, y)
    same = np.abs(solution.y - y).max() / (1.0 + np.abs(y).max()) if np.isfinite(solution.y).all() else np.inf
    flat = solution.status in (Status.NONUNIQUE, Status.MINIMUM_NORM)
    lower = 0.0 if flat else float(same)  # of several solutions the map returns any
    accepted = bool(max(upper, lower) <= tol)
    detail = "" if accepted else f"Re-check: upper violation {upper:.1e}, distance of y to a new lower solution {lower:.1e}, tolerance {tol:.1e}."
    strict = bool(solution.margin > STRICT)
    return Recheck(
        max(upper, lower), upper, np.nan, lower, np.nan, solution.active, solution.mu, solution.nu, None, strict, float(solution.margin), None, f, np.nan,
        accepted, Status.CONVERGED if accepted else Status.INACCURATE, detail,
    )  # fmt: skip


def _nonfinite(k, l):
    inf, nan = np.inf, np.nan
    detail = "An oracle is not finite at (x, y)."
    none = np.full(k, nan), np.full(l, nan)
    return Recheck(inf, nan, nan, inf, nan, np.zeros(k, bool), *none, False, False, nan, None, nan, nan, False, Status.NONFINITE, detail)


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


def _solve_quadratic(level, x):
    """(minimum of the lower level at x, status if it has none)."""
    program = lower_program(level, x)
    answer = global_convex.solve(program)
    if answer.outcome == "infeasible":  # x on the very edge: rounding may leave no y; widen the rows by rounding
        slack = 1e-9 * (1.0 + np.abs(x).max() + np.abs(program.b))
        answer = global_convex.solve(replace(program, b=program.b + slack))
    if answer.outcome == "optimal":
        return answer.value, None
    failures = {"infeasible": Status.LOWER_INFEASIBLE, "unbounded": Status.LOWER_UNBOUNDED}
    return (-np.inf if answer.outcome == "unbounded" else np.inf), failures.get(answer.outcome, Status.LOWER_STALLED)


#: statuses under which y is a lower minimiser all the same
SOLVED = (Status.CONVERGED, Status.CERTIFIED, Status.NONUNIQUE, Status.MINIMUM_NORM, Status.DEGENERATE, Status.LICQ_FAILS)


def _solve_general(view, x, y):
    """A lower bound of g where strong convexity gives a tight one; else the lower minimum by the library's own solver, started away
    from y too so that a poor y cannot vouch for itself; by SLSQP where that one cannot say (no Slater point, say)."""
    from ..lower.solve import solve_lower

    g, below = float(view.g(x, y)), _room_below(view, x, y)
    if below <= TIGHT * (1.0 + abs(g)):
        return g - below, None
    solutions = [solve_lower(view, x, y0=start) for start in (None, y)]
    values = [float(view.g(x, s.y)) for s in solutions if s.status in SOLVED]
    if values:
        return min(values), None
    value = _slsqp(view, x, y)
    return (np.inf, solutions[0].status) if value is None else (value, None)


def _room_below(view, x, y):
    """How far g(x, .) can fall below g(x, y), |g_y|^2 / (2 mu), where it is mu-strongly convex; infinity where that is not known."""
    mu = constants_at(view, x).get("mu", 0.0) if view.constraints is None else 0.0
    return float(np.sum(view.g_y(x, y) ** 2) / (2 * mu)) if mu > 0 else np.inf


def _slsqp(view, x, y):
    """The lowest value SLSQP reaches from zero and from beside y, None if it never succeeds at a feasible point.

    Where it is needed there is no Slater point as a rule, and rows met to delta hold y to sqrt(delta) only: an end point
    that close to y confirms y.
    """
    c, values = view.constraints, []
    rows = [{"type": "ineq", "fun": lambda v: -c.p(x, v), "jac": lambda v: -dense(c.p_y(x, v))}] if c is not None and c.p else []
    rows += [{"type": "eq", "fun": lambda v: c.q(x, v), "jac": lambda v: dense(c.q_y(x, v))}] if c is not None and c.q else []
    for start in (np.zeros_like(y), y + 0.1, y - 0.1):
        answer = minimize(
            lambda v: view.g(x, v), start, jac=lambda v: view.g_y(x, v), constraints=rows, method="SLSQP", options={"ftol": 1e-14, "maxiter": 500}
        )
        worst = max((_worst(-r["fun"](answer.x)) if r["type"] == "ineq" else np.abs(r["fun"](answer.x)).max() for r in rows), default=0.0)
        near = np.abs(answer.x - y).max() <= TOUCHING * (1.0 + np.abs(y).max())
        if worst <= TOUCHING**2 and (answer.success or near):
            values.append(float(view.g(x, y) if near else answer.fun))
    return min(values, default=None)

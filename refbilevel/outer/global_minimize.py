"""`minimize_global`: the proven optimum of a bilevel problem whose lower level is a linear program or a convex QP.

    min_{x, y} F(x, y)  s.t.  upper rows,  y in argmin_y { g(x, y) : rows }

by branch and bound over the lower level's complementarity (global_kkt, global_search) or, method "sos1", by SCIP on the same
system with special ordered sets (global_scip; extra `global`). No bound on multipliers is asked for or assumed. The answer carries
the value, a lower bound and their gap, and is re-checked by a separate solve of the lower level (recheck.py).

Accuracy: bounds of linear relaxations are simplex values (feasibility and optimality 1e-10), those of quadratic ones the values at
KKT points polished to rounding level, or the interior point's dual value where the polish does not settle; so the bound is
rigorous up to the solvers' arithmetic, not in interval arithmetic.
"""

from __future__ import annotations

import importlib.util
import time

import numpy as np
from scipy.optimize import OptimizeResult

from ..errors import ArgumentError, StatusError, unknown
from ..results import Status
from . import global_convex
from .global_identity import convexified
from .global_kkt import build, check_global, is_convex
from .global_progress import reporter
from .global_search import Search
from .lower_set import lower_point, lower_program, multipliers
from .recheck import recheck

METHODS = ("auto", "branch-and-bound", "sos1")


def minimize_global(problem, *, tol=1e-9, time_limit=np.inf, pessimistic=False, method="auto", progress=None, strict=False):
    """The global minimum of a `QuadraticBilevel` with linear lower rows and a lower objective convex in y.

    Parameters
    ----------
    problem : QuadraticBilevel
        Upper rows may involve y (coupling) and may be quadratic: convex ones by branch and bound, others by "sos1".
        The upper objective may be nonconvex if the parts of its negative curvature are bounded by the rows.
    tol : float
        Relative gap at which the search ends: fun - bound <= tol (1 + |fun|).
    time_limit : float
        Seconds.
    pessimistic : bool
        If True minimise max { F(x, y) : y lower-optimal } instead of the optimistic min-min, for F linear in y and no coupling
        rows; `fun` is then the infimum, which may be approached and not attained (`attained`).
    method : "auto", "branch-and-bound" or "sos1"
        "auto" is branch and bound, and SCIP, if installed, where that cannot decide (nonconvex upper rows, a nonconvex F whose
        negative curvature the rows leave unbounded).
    progress : True or callable(search, bound), optional
        Told after every node; True shows a bar on standard error.
    strict : bool
        Raise StatusError unless the optimum is proven.

    Returns
    -------
    scipy.optimize.OptimizeResult
        x, y, mu, nu, fun, success, status (`Status`), message, bound, gap, nodes, residual, licq, strict_complementarity,
        margin, unique, optimistic, pessimistic (F's extremes over the lower solutions at x), recheck (`Recheck`), method, time.
        If unbounded, (x, y) is feasible and `ray` a direction in (x, y) of endless descent.

    Raises
    ------
    ArgumentError
        The problem is not in matrix form, its lower level no convex QP, or an option cannot be used.
    MissingDependency
        "sos1" without pyscipopt.
    """
    check_global(problem)
    _check_options(tol, time_limit, method)
    started = time.monotonic()
    if pessimistic:
        from .global_pessimistic import minimize_pessimistic

        result = minimize_pessimistic(problem, tol, started + time_limit)
    else:
        result = _optimistic(problem, tol, started + time_limit, method, progress)
    result.time = time.monotonic() - started
    if strict and not result.success:
        raise StatusError(result)
    return result


def _check_options(tol, time_limit, method):
    if method not in METHODS:
        raise unknown("method of minimize_global", method, METHODS)
    if not (isinstance(tol, (int, float, np.number)) and 0 < tol < 1):
        raise ArgumentError(f"tol must be a number between 0 and 1, got {tol!r}")
    if not (isinstance(time_limit, (int, float, np.number)) and time_limit > 0):
        raise ArgumentError(f"time_limit must be a positive number of seconds, got {time_limit!r}")


def _optimistic(problem, tol, deadline, method, progress):
    kkt = build(problem)
    readable = all(is_convex(Q) for Q, _, _ in kkt.root.quadratic) and (is_convex(kkt.root.Q) or not kkt.root.quadratic)
    if method == "sos1" or (method == "auto" and not readable and _scip()):
        return _sos1(problem, kkt, tol, deadline)
    if not readable:
        raise ArgumentError(
            'branch and bound needs convex upper rows, and a convex F beside quadratic ones; method="sos1" takes others: '
            "pip install 'refbilevel[global]'"
        )
    with reporter(progress) as report:
        search = Search(kkt if is_convex(kkt.root.Q) else convexified(kkt), PatternSource(problem, kkt), tol, deadline, report)
        state, bound = search.run()
    result = conclude(problem, kkt, search, state, bound, tol)
    if method == "auto" and result.status is Status.INACCURATE and not is_convex(kkt.root.Q) and _scip():
        second = _sos1(problem, kkt, tol, deadline)
        return second if second.success else result
    return result


def _scip():
    return importlib.util.find_spec("pyscipopt") is not None


def _sos1(problem, kkt, tol, deadline):
    from .global_scip import sos1

    return sos1(problem, kkt, tol, deadline)


class PatternSource:
    """x -> w = (x, y, mu, nu) (scaled) with y, mu, nu the lower solution at x: which rows it holds tight is a good guess."""

    def __init__(self, problem, kkt):
        self.problem, self.kkt = problem, kkt

    def __call__(self, x):
        answer = global_convex.solve(lower_program(self.problem.lower, x))
        if answer.outcome != "optimal":
            return None
        point = lower_point(self.problem, x, answer.w)
        active = point.p >= -1e-8 * (1.0 + np.abs(point.p_y).sum(axis=1) * (1.0 + np.abs(answer.w).max()))
        mu, nu, _ = multipliers(point, active)
        if not np.isfinite(mu).all():
            return None
        mu = mu * self.kkt.row_scale / self.kkt.objective_scale
        return np.concatenate([x, answer.w, mu, nu / self.kkt.objective_scale])


def conclude(problem, kkt, search, state, bound, tol):
    """The OptimizeResult of a finished search, re-checked."""
    best = search.best
    if state == "unbounded":
        return _unbounded(problem, kkt, search)
    if best.w is None and state == "done" and np.isinf(bound):
        return _empty(problem, Status.INFEASIBLE, why_infeasible(problem, kkt), search, np.inf)
    if best.w is None:
        reason = "The time limit came before any feasible point." if state == "time" else "A convex solve failed and could not be avoided."
        return _empty(problem, Status.TIME_LIMIT if state == "time" else Status.INACCURATE, reason, search, bound)
    x, y, mu, nu = kkt.split(best.w)
    fun = float(problem.f(x, y))
    gap = max(0.0, fun - bound)
    check = recheck(problem, x, y)
    status, detail = _verdict(state, gap, fun, tol, check)
    return OptimizeResult(
        x=x, y=y, mu=mu, nu=nu, fun=fun, success=status.success, status=status, message=f"{status.message} {detail}".strip(),
        bound=bound, gap=gap, nodes=search.nodes, nit=search.nodes, method="branch-and-bound", **checked(check),
    )  # fmt: skip


def checked(check):
    """The fields of a result that come from its `Recheck`."""
    return dict(
        residual=check.residual, licq=check.licq, strict_complementarity=check.strict_complementarity, margin=check.margin,
        unique=check.unique, optimistic=check.optimistic, pessimistic=check.pessimistic, recheck=check,
    )  # fmt: skip


def _verdict(state, gap, fun, tol, check):
    if not check.accepted:
        return Status.INACCURATE, check.detail
    if gap <= tol * (1.0 + abs(fun)) * 1.01:
        return Status.CERTIFIED, f"The optimum is proven: gap {gap:.1e}."
    if state == "time":
        return Status.TIME_LIMIT, f"Gap {gap:.1e}."
    return Status.INACCURATE, f"Some pieces could neither be solved nor divided; gap {gap:.1e}."


def _empty(problem, status, detail, search, bound, ray=None):
    nothing_x, nothing_y = np.full(problem.n, np.nan), np.full(problem.m, np.nan)
    fun = {Status.INFEASIBLE: np.inf, Status.UNBOUNDED: -np.inf}.get(status, np.nan)
    return OptimizeResult(
        x=nothing_x, y=nothing_y, mu=np.zeros(0), nu=np.zeros(0), fun=fun, success=False, status=status,
        message=f"{status.message} {detail}", bound=bound, gap=np.nan, nodes=search.nodes, nit=search.nodes, method="branch-and-bound",
        residual=np.nan, licq=None, strict_complementarity=None, margin=np.nan, unique=None, optimistic=np.nan, pessimistic=np.nan,
        recheck=None, ray=ray,
    )  # fmt: skip


def _unbounded(problem, kkt, search):
    """x, y a bilevel feasible point and `ray` a direction in (x, y) along which it stays feasible while F falls."""
    detail = "The search gives no ray."
    if search.ray is not None:
        detail = "From (x, y) the direction `ray` stays bilevel feasible for ever while F falls."
    result = _empty(problem, Status.UNBOUNDED, detail, search, -np.inf)
    if search.ray is not None:
        result.x, result.y, result.mu, result.nu = kkt.split(search.ray_start)
        result.ray = search.ray[: kkt.n + kkt.m]
    return result


def why_infeasible(problem, kkt):
    """One sentence: which part of the problem rules every point out."""
    from dataclasses import replace

    N = kkt.n + kkt.m
    root = kkt.root
    rows = len(root.d) - kkt.m
    both = replace(root, E=root.E[:rows], d=root.d[:rows])
    if global_convex.is_feasible(both) is False:
        return "The upper and the lower rows contradict each other: no (x, y) satisfies them all."
    lower = slice(kkt.first, kkt.first + kkt.k)
    lo, hi = root.lo.copy(), root.hi.copy()
    lo[:N], hi[:N] = -np.inf, np.inf
    optimal = replace(root, A=root.A[lower], b=root.b[lower], E=root.E[rows - kkt.l :], d=root.d[rows - kkt.l :], lo=lo, hi=hi)
    if global_convex.is_feasible(optimal) is False:
        return "The lower level has no solution for any x: its objective is unbounded below, or its rows contradict each other."
    return "The lower level's every optimal y, for every x, violates the upper rows."

"""Method "sos1": the KKT system with special ordered sets, solved by SCIP (extra `global`).

    min t  s.t.  t >= F(w), rows, stationarity, SOS1{mu_i, slack_i}, i = 1..k

SOS1 says that at most one of the two is nonzero, so again no big-M. SCIP branches spatially on nonconvex F and nonconvex quadratic
upper rows. It works in floating point with feasibility 1e-6, so its bound is proven to that only (`ACCURACY`), and its point is
sharpened: the piece it names is solved again (global_convex, or the concave-convex procedure), and taken unless it is worse;
with nonconvex rows SCIP's own point stands. Where F is unbounded below SCIP may name a large finite value instead (its infinity
is 1e20 and its tolerances are relative): branch and bound, which looks for the ray, is the judge of that.
Reference: Kleinert & Schmidt (2023), Why there is no need to use a big-M in linear bilevel optimization, Comput. Manag. Sci. 20.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from ..errors import require
from . import global_concave, global_convex
from .global_convex import Answer
from .global_identity import convexified
from .global_kkt import is_convex

#: relative accuracy of SCIP's bounds: its own feasibility tolerance; tighter ones make its LP solver fail
ACCURACY = 1e-6


@dataclass(eq=False)
class ScipSearch:
    """What `conclude` reads of a search."""

    best: Answer
    nodes: int
    ray: np.ndarray | None = None
    ray_start: np.ndarray | None = None


def sos1(problem, kkt, tol, deadline):
    """The OptimizeResult of SCIP's search."""
    from .global_minimize import conclude

    scip = require("pyscipopt", "global", 'minimize_global(method="sos1")')
    kkt = kkt if is_convex(kkt.root.Q) else convexified(kkt)
    model, w = formulate(scip, kkt)
    model.setParam("limits/gap", max(tol, ACCURACY / 10))
    model.setParam("limits/absgap", max(tol, ACCURACY / 10))
    if np.isfinite(deadline):
        model.setParam("limits/time", max(deadline - time.monotonic(), 0.01))
    try:
        model.optimize()
        state, bound = _state(model)
    except Exception as error:  # pyscipopt raises bare Exceptions for numerical trouble inside SCIP
        if not str(error).startswith("SCIP"):
            raise
        state, bound = "failed", -np.inf
    found = state not in ("unbounded", "failed") and model.getNSols() > 0
    best = improve(kkt, np.array([model.getVal(v) for v in w])) if found else Answer("failed")
    nodes = 0 if state == "failed" else int(model.getNTotalNodes())
    result = conclude(problem, kkt, ScipSearch(best, nodes), state, bound, max(tol, ACCURACY))
    result.method = "sos1"
    return result


def formulate(scip, kkt):
    """(model, variables w) of the KKT system."""
    root, model = kkt.root, scip.Model("bilevel")
    model.hideOutput()
    lo = [None if np.isinf(v) else v for v in root.lo]
    hi = [None if np.isinf(v) else v for v in root.hi]
    w = [model.addVar(f"w{j}", lb=lo[j], ub=hi[j]) for j in range(len(root.c))]
    rows = range(kkt.first, kkt.first + kkt.k)
    for i in set(range(len(root.b))) - set(rows):
        _row(scip, model, w, root.A[i], root.b[i], "<=")
    for a, side in zip(root.E, root.d):
        _row(scip, model, w, a, side, "==")
    for i, row in enumerate(rows):
        slack = model.addVar(f"s{i}", lb=0.0)
        model.addCons(_linear(scip, w, root.A[row]) + slack == root.b[row])
        model.addConsSOS1([w[kkt.n + kkt.m + i], slack])
    for Q, c, const in root.quadratic:
        model.addCons(_quadratic(scip, w, Q, c) + const <= 0)
    objective = model.addVar("t", lb=None)
    model.addCons(_quadratic(scip, w, root.Q, root.c) + root.const <= objective)
    model.setObjective(objective, "minimize")
    return model, w


def _linear(scip, w, a):
    return scip.quicksum(float(v) * w[j] for j, v in enumerate(a) if v != 0.0)


def _row(scip, model, w, a, side, sense):
    if not a.any():
        if (sense == "<=" and side < -1e-12) or (sense == "==" and abs(side) > 1e-12):
            never = model.addVar("never", lb=0.0, ub=0.0)
            model.addCons(never >= 1.0)
        return
    model.addCons(_linear(scip, w, a) <= side if sense == "<=" else _linear(scip, w, a) == side)


def _quadratic(scip, w, Q, c):
    terms = [0.5 * float(Q[i, j]) * w[i] * w[j] for i, j in zip(*np.nonzero(Q))]
    return scip.quicksum(terms) + _linear(scip, w, c)


def _state(model):
    status = model.getStatus()
    if status in ("optimal", "gaplimit"):
        return "done", model.getDualbound()
    if status == "infeasible":
        return "done", np.inf
    if status in ("unbounded", "inforunbd"):
        return "unbounded", -np.inf
    return "time", -np.inf if model.isInfinity(-model.getDualbound()) else model.getDualbound()


def improve(kkt, w):
    """The point SCIP found, or the better one of its piece solved to rounding level."""
    own = Answer("optimal", w, kkt.root.objective(w))
    if not all(is_convex(Q) for Q, _, _ in kkt.root.quadratic):
        return own
    program = kkt.program(kkt.pattern(w))
    if is_convex(kkt.root.Q):
        piece = global_convex.solve(program)
    elif program.quadratic:
        return own
    else:
        piece = global_concave.descend(program, w)
    close = piece.outcome == "optimal" and piece.value <= own.value + 1e-6 * (1.0 + abs(own.value))
    return piece if close else own

"""The pessimistic problem: inf_x max { F(x, y) : y in S(x) }, for F linear in y and upper rows in x alone.

Let mu be optimal multipliers of the lower level at x. Then S(x) is the face {Q_yy d = 0, C d = 0, A_i d = 0 where mu_i > 0}, and a y in
S(x) is the worst one there iff the linear program's own multipliers exist:

    F_y = Q_yy eta + C' rho + A' lambda,    and for every row i one of
      P:  mu_i > 0,  slack_i = 0,  lambda_i free           S:  mu_i = 0,  lambda_i = 0,  slack_i >= 0
      Z:  mu_i = 0,  slack_i = 0,  lambda_i >= 0

A choice of P, Z or S for every row is a polyhedron whose points all have the value max F; mu_i > 0 is relaxed to mu_i >= 0, its
closure, after one linear program has shown that some point of it has all those mu_i > 0. So the minimum found is the infimum
of the pessimistic problem; it need not be attained (`attained`), because S jumps. Branch and bound over the three choices.
If the optimistic solution already has max F = min F over S(x), it solves the pessimistic problem too and nothing else is done.
Reference: Wiesemann, Tsoukalas, Kleniati & Rustem (2013), Pessimistic bilevel optimization, SIAM J. Optim. 23(1).
"""

from __future__ import annotations

import heapq
import itertools
import time
from dataclasses import dataclass, field, replace

import numpy as np

from ..results import Status
from . import global_concave, global_convex
from .global_convex import Answer, Program
from .global_identity import convexified
from .global_kkt import build, is_convex
from .global_minimize import _optimistic, checked
from .lower_set import lower_level, lower_point, lower_program, multipliers, solution_set
from .recheck import recheck

POSITIVE = 1e-8


def minimize_pessimistic(problem, tol, deadline):
    """The OptimizeResult of the pessimistic problem, with `attained` and, in `optimistic_result`, the optimistic one."""
    optimistic = _optimistic(problem, tol, deadline, "auto", None)
    if not optimistic.success:
        optimistic.message += " (This is the optimistic problem, which the pessimistic one cannot undercut.)"
        return optimistic
    if optimistic.pessimistic <= optimistic.fun + tol * (1.0 + abs(optimistic.fun)):
        return _finish(optimistic, optimistic, True)
    reason = cannot(problem)
    if reason:
        return _bracket(optimistic, reason)
    kkt = build(problem)
    kkt = kkt if is_convex(kkt.root.Q) else convexified(kkt)
    search = Pessimistic(problem, kkt, widen(problem, kkt), tol, deadline)
    state, bound = search.run()
    return _conclude(problem, kkt, search, state, bound, tol, optimistic)


def cannot(problem):
    """Why the three-way search does not apply, or an empty string."""
    n = problem.n
    if problem.upper.inequalities.quadratic or problem.upper.equalities.quadratic:
        return "quadratic upper rows"
    if problem.upper.inequalities.A[:, n:].any() or problem.upper.equalities.A[:, n:].any():
        return "upper rows that involve y, whose pessimistic meaning would have to be chosen"
    if problem.upper.objective.Q[n:, n:].any():
        return "an objective that is not linear in y"
    return ""


def _bracket(optimistic, reason):
    """The optimistic x with its own worst y: an upper bound on the pessimistic value, the optimistic value the lower one."""
    result = _finish(optimistic, optimistic, None)
    result.fun, result.bound = optimistic.pessimistic, optimistic.fun
    result.gap, result.status, result.success = result.fun - result.bound, Status.INACCURATE, False
    result.message = f"{Status.INACCURATE.message} The pessimistic problem is only bracketed here: it has {reason}."
    return result


def _finish(result, optimistic, attained):
    copied = type(result)(result)
    copied.attained, copied.optimistic_result = attained, optimistic
    return copied


def widen(problem, kkt):
    """The root program over w = (x, y, mu, nu, lambda, eta, rho) with the inner problem's stationarity."""
    root, n, m, k, l = kkt.root, kkt.n, kkt.m, kkt.k, kkt.l
    W, extra = len(root.c), kkt.k + kkt.m + kkt.l
    rows = slice(kkt.first, kkt.first + k)
    f, Q_yy = problem.upper.objective, root.E[-m:, n : n + m]
    inner = np.zeros((m, W + extra))
    inner[:, :n] = -f.Q[n:, :n]
    inner[:, W : W + k] = root.A[rows, n : n + m].T
    inner[:, W + k : W + k + m] = Q_yy
    inner[:, W + k + m :] = problem.lower.equalities.A[:, n:].T
    pad = lambda A: np.hstack([A, np.zeros((len(A), extra))])
    Q = np.zeros((W + extra, W + extra))
    Q[:W, :W] = root.Q
    free = np.full(extra, np.inf)
    return Program(
        Q, np.append(root.c, np.zeros(extra)), root.const, pad(root.A), root.b, np.vstack([pad(root.E), inner]), np.append(root.d, f.c[n:]),
        np.append(root.lo, -free), np.append(root.hi, free),
    )  # fmt: skip


@dataclass(frozen=True)
class Cell:
    """A node: choices ((row, letter), ...) and spatial cuts."""

    choices: tuple = ()
    cuts: tuple = ()
    bound: float = -np.inf


@dataclass(eq=False)
class Pessimistic:
    """Best-first search over the choices P, Z, S."""

    problem: object
    kkt: object
    root: Program
    tol: float
    deadline: float
    best: Answer = field(default_factory=lambda: Answer("failed"))
    nodes: int = 0
    leftover: float = np.inf
    convex: bool = True

    def run(self):
        """("done" | "time", lower bound)."""
        self.convex = is_convex(self.root.Q)
        rows = self.root.A[self.kkt.first : self.kkt.first + self.kkt.k, self.kkt.n : self.kkt.n + self.kkt.m]
        counter, start = itertools.count(), Cell(tuple((int(i), "S") for i in np.flatnonzero(~rows.any(axis=1))))
        heap = [(-np.inf, 0, next(counter), start)]
        while heap and heap[0][0] < self.cutoff():
            if time.monotonic() > self.deadline:
                return "time", min(heap[0][0], self.leftover)
            for cell in self._visit(heapq.heappop(heap)[3]):
                heapq.heappush(heap, (cell.bound, -len(cell.choices), next(counter), cell))
        return "done", min(heap[0][0] if heap else np.inf, self.leftover, self.best.value)

    def cutoff(self):
        value = self.best.value
        return value - self.tol * (1.0 + abs(value)) if np.isfinite(value) else np.inf

    def program(self, cell):
        """The closed polyhedron of a cell, undecided rows relaxed."""
        n, m, k, first = self.kkt.n, self.kkt.m, self.kkt.k, self.kkt.first
        mu, lam = n + m, len(self.kkt.root.c)
        lo, hi, tight = self.root.lo.copy(), self.root.hi.copy(), []
        for i, letter in cell.choices:
            if letter != "P":
                hi[mu + i] = 0.0
                lo[lam + i] = 0.0
            if letter == "S":
                hi[lam + i] = 0.0
            else:
                tight.append(first + i)
        loose = np.delete(np.arange(len(self.root.b)), tight)
        A, b = self.root.A[loose], self.root.b[loose]
        if cell.cuts:
            A, b = np.vstack([A, [v for v, _ in cell.cuts]]), np.append(b, [t for _, t in cell.cuts])
        E, d = np.vstack([self.root.E, self.root.A[tight]]), np.append(self.root.d, self.root.b[tight])
        return replace(self.root, A=A, b=b, E=E, d=d, lo=lo, hi=hi)

    def _visit(self, cell):
        self.nodes += 1
        program = self.program(cell)
        relaxed = global_concave.Relaxed(global_convex.solve(program)) if self.convex else global_concave.relax(program)
        answer = relaxed.answer
        if answer.outcome == "infeasible" or not self._open(program, cell):
            return []
        if answer.w is None:
            return self._divide(cell, np.zeros(self.kkt.k), ())
        cell = replace(cell, bound=max(cell.bound, answer.bound))
        if cell.bound >= self.cutoff():
            return []
        self._try(answer.w)
        if len(cell.choices) == self.kkt.k:
            value = program.objective(answer.w)
            if value < self.best.value:
                self.best = Answer("optimal", answer.w, value)
        return [] if cell.bound >= self.cutoff() else self._divide(cell, self._violations(answer.w), relaxed.splits)

    def _open(self, program, cell):
        """Whether some point of the cell has mu_i > 0 for every row chosen P; its closure counts only then."""
        rows = [self.kkt.n + self.kkt.m + i for i, letter in cell.choices if letter == "P"]
        if not rows:
            return True
        k, size = len(rows), len(program.c)
        floor = np.zeros((k, size + 1))
        floor[np.arange(k), rows], floor[:, -1] = -1.0, 1.0
        lifted = replace(
            program, Q=np.zeros((size + 1, size + 1)), c=np.append(np.zeros(size), -1.0), A=np.vstack([np.hstack([program.A, np.zeros((len(program.A), 1))]), floor]),
            b=np.append(program.b, np.zeros(k)), E=np.hstack([program.E, np.zeros((len(program.E), 1))]),
            lo=np.append(program.lo, -np.inf), hi=np.append(program.hi, 1.0),
        )  # fmt: skip
        result = global_convex.linear_program(lifted)
        return result is None or result.status != 0 or -result.fun > POSITIVE

    def _try(self, w):
        """The pessimistic value at w's x, an upper bound that is attained."""
        x = w[: self.kkt.n]
        y, value = worst_response(self.problem, x)
        if y is not None and value < self.best.value:
            point = np.zeros(len(w))
            point[: self.kkt.n + self.kkt.m] = np.concatenate([x, y])
            self.best = Answer("optimal", point, value)

    def _violations(self, w):
        """How far each row is from all of P, Z and S."""
        n, m, k = self.kkt.n, self.kkt.m, self.kkt.k
        mu, lam = np.maximum(w[n + m : n + m + k], 0.0), w[len(self.kkt.root.c) :][:k]
        slack = np.maximum(self.kkt.slack(w[: len(self.kkt.root.c)]), 0.0)
        inner = np.where(mu > POSITIVE, 0.0, np.where(slack > POSITIVE, np.abs(lam), np.maximum(-lam, 0.0)))
        total = np.minimum(mu, slack) + inner
        return np.where(total > POSITIVE, total, 0.0)

    def _divide(self, cell, violations, splits):
        decided = {i for i, _ in cell.choices}
        worst = max((i for i in range(self.kkt.k) if i not in decided), key=lambda i: violations[i], default=None)
        error, v, t = max(splits, key=lambda s: s[0], default=(0.0, None, None))
        if worst is not None and (violations[worst] > 0 or error <= 0):
            return [replace(cell, choices=cell.choices + ((worst, letter),)) for letter in "PZS"]
        if error > 0:
            return [replace(cell, cuts=cell.cuts + ((v, t),)), replace(cell, cuts=cell.cuts + ((-v, -t),))]
        if self.best.value > cell.bound + self.tol * (1.0 + abs(self.best.value)):
            self.leftover = min(self.leftover, cell.bound)
        return []


def worst_response(problem, x):
    """(y, max F): a lower solution at x and the largest F over all of them; (None, inf) if there is none or it is not decided."""
    level = lower_level(problem)
    answer = global_convex.solve(lower_program(level, x))
    if answer.outcome != "optimal":
        return None, np.inf
    point = lower_point(problem, x, answer.w)
    active = point.p >= -1e-8 * (1.0 + np.abs(point.p_y).sum(axis=1) * (1.0 + np.abs(answer.w).max()))
    _, _, high = solution_set(problem, level, problem, x, point, multipliers(point, active)[0])
    return (answer.w, high) if np.isfinite(high) else (None, np.inf)


def _conclude(problem, kkt, search, state, bound, tol, optimistic):
    if search.best.w is None:
        return _bracket(optimistic, "no point that the search could evaluate" if state == "done" else "more cells than the time allowed")
    n, m = kkt.n, kkt.m
    x, y = search.best.w[:n] + 0.0, search.best.w[n : n + m] + 0.0
    check, fun = recheck(problem, x, y), search.best.value
    gap = max(0.0, fun - bound)
    proven = gap <= tol * (1.0 + abs(fun)) * 1.01 and check.accepted
    status = Status.CERTIFIED if proven else Status.TIME_LIMIT if state == "time" else Status.INACCURATE
    attained = bool(worst_response(problem, x)[1] <= fun + 1e-7 * (1.0 + abs(fun)))
    detail = f"The pessimistic infimum, {'attained' if attained else 'approached but not attained'} at x; gap {gap:.1e}."
    result = type(optimistic)(
        x=x, y=y, mu=check.mu, nu=check.nu, fun=fun, success=status.success, status=status, message=f"{status.message} {detail}", bound=bound,
        gap=gap, nodes=search.nodes + optimistic.nodes, nit=search.nodes, method="branch-and-bound", **checked(check),
    )  # fmt: skip
    return _finish(result, optimistic, attained)

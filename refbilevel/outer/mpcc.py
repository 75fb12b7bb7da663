"""The lower level by its KKT conditions: one program in (x, y, mu, nu) with complementarity, relaxed and then solved branch by branch.

    min f(x, y)  subject to the upper rows and bounds,  L_y(x, y, mu, nu) = 0,  q = 0,  p <= 0,  mu >= 0,  -mu_i p_i <= t
    t = 1, 1e-1, ..., 1e-8 (Scholtes), then on a branch: each i has either p_i = 0 (mu_i >= 0) or mu_i = 0 (p_i <= 0).

A row with p_i = mu_i = 0 belongs to both kinds: every branch that such rows allow is tried, and the point is left only if one improves f.
Where none does, it is a local minimum over each branch (B-stationary). Valid where the lower level is convex and has multipliers; f
may be multivalued in y there, the choice is the optimistic one. This is what is left where y*(x) jumps or is not unique, so that
F(x) = f(x, y*(x)) has no gradient to follow.

Scholtes, Convergence properties of a regularization scheme for MPCCs, SIAM J. Optim. 11, 2001; Scheel & Scholtes, Math. Oper. Res.
25, 2000.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice, product

import numpy as np
from scipy.optimize import Bounds, OptimizeResult, linprog
from scipy.optimize import minimize as scipy_minimize

from ..kkt import conditions
from ..problem import counted
from ..results import Status
from .coupling import dense
from .protocol import OuterMethod, Outcome

FEASIBLE = 1e-7


@dataclass(frozen=True, eq=False)
class Joint:
    """The joint program's functions of z = (x, y, mu, nu); `sizes` (n, m, k, l)."""

    problem: object
    sizes: tuple

    def parts(self, z):
        return np.split(z, np.cumsum(self.sizes)[:-1])

    def objective(self, z):
        x, y, mu, nu = self.parts(z)
        gradient = np.concatenate([self.problem.f_x(x, y), self.problem.f_y(x, y), np.zeros(len(mu) + len(nu))])
        return self.problem.f(x, y), gradient

    def p(self, z):
        x, y, _, _ = self.parts(z)
        return conditions.rows(self.problem, x, y).p

    def p_jacobian(self, z):
        x, y, mu, nu = self.parts(z)
        at = conditions.rows(self.problem, x, y)
        return np.hstack([dense(conditions.rows_x(self.problem, x, y)[0]), dense(at.p_y), np.zeros((len(mu), len(mu) + len(nu)))])

    def equations(self, z):
        """(L_y, q, H)."""
        x, y, mu, nu = self.parts(z)
        at = conditions.rows(self.problem, x, y)
        return np.concatenate([conditions.stationarity(self.problem, x, y, mu, nu, at), at.q, self._upper("H", x, y)])

    def equations_jacobian(self, z):
        x, y, mu, nu = self.parts(z)
        at, problem = conditions.rows(self.problem, x, y), self.problem
        q_x, p_y, q_y = dense(conditions.rows_x(problem, x, y)[1]), dense(at.p_y), dense(at.q_y)
        L_yx, L_yy = dense(conditions.lagrangian_xy(problem, x, y, mu, nu)).T, dense(conditions.lagrangian_yy(problem, x, y, mu, nu))
        multipliers = np.zeros((len(nu), len(mu) + len(nu)))
        return np.vstack([np.hstack([L_yx, L_yy, p_y.T, q_y.T]), np.hstack([q_x, q_y, multipliers]), self._upper_jacobian("H", x, y)])

    def complementarity(self, z, t):
        return t + self.parts(z)[2] * self.p(z)

    def complementarity_jacobian(self, z):
        n, m, k, _ = self.sizes
        mu = self.parts(z)[2]
        rows = mu[:, None] * self.p_jacobian(z)
        rows[:, n + m : n + m + k] += np.diag(self.p(z))
        return rows

    def upper(self, z):
        return self._upper("G", *self.parts(z)[:2])

    def upper_jacobian(self, z):
        return self._upper_jacobian("G", *self.parts(z)[:2])

    def _upper(self, letter, x, y):
        u = self.problem.upper_constraints
        row = getattr(u, letter) if u is not None else None
        return np.zeros(0) if row is None else np.atleast_1d(row(x, y))

    def _upper_jacobian(self, letter, x, y):
        n, m, k, l = self.sizes
        u = self.problem.upper_constraints
        if u is None or getattr(u, letter) is None:
            return np.zeros((0, n + m + k + l))
        by_x = dense(getattr(u, letter + "_x")(x, y))
        by_y = getattr(u, letter + "_y")
        by_y = np.zeros((len(by_x), m)) if by_y is None else dense(by_y(x, y))
        return np.hstack([by_x, by_y, np.zeros((len(by_x), k + l))])


def _run(objective, x0, *, tol=1e-8, maxiter=500, relaxations=9, branches=16):
    problem, counts = counted(objective.problem)
    problem.needs("f_x", "f_y", "g_y", "g_yy", "g_xy", purpose="method 'mpcc'")
    joint, z = _start(objective, problem, x0)
    box = _box(objective, joint)
    for t in 10.0 ** -np.arange(relaxations):
        z = _solve(joint, z, box, _relaxed(joint, t), maxiter, tol) if np.isfinite(z).all() else z
    best, settled = _branches(joint, z, objective, maxiter, tol, branches)
    objective.counts.update({f"joint_{name}": count for name, count in counts.items()})
    if best is None:
        return Outcome(x0, Status.STALLED, "No branch of the lower level's KKT conditions was reached.")
    x, y = (part.copy() for part in joint.parts(best)[:2])
    x = objective.project(x)
    objective.record(x)
    if settled and not qualified(problem, x, y):
        detail = "The lower constraints leave no interior direction, so lower solutions nearby may have no multipliers."
        return Outcome(x, Status.LICQ_FAILS, detail, 1, y)
    if settled:
        return Outcome(x, Status.CONVERGED, "A local minimum on every branch of the lower KKT conditions that meets the point.", 1, y)
    return Outcome(x, Status.STALLED, "The joint program stopped above its tolerance, or too many branches meet the point.", 1, y)


def qualified(problem, x, y):
    """Whether the lower constraints are linear or meet Mangasarian and Fromovitz's condition at y: q_y d = 0, p_y d < 0 has a solution."""
    if problem.constraints.linear:
        return True
    at = conditions.rows(problem, x, y)
    rows = dense(at.p_y)[at.p >= -1e-6 * (1.0 + np.abs(y).max())]
    A = np.hstack([rows, np.ones((len(rows), 1))])
    answer = linprog(
        np.append(np.zeros(len(y)), -1.0), A_ub=A, b_ub=np.zeros(len(rows)), A_eq=np.hstack([dense(at.q_y), np.zeros((len(at.q), 1))]),
        b_eq=np.zeros(len(at.q)), bounds=[(-1, 1)] * len(y) + [(0, 1)], method="highs-ds",
    )  # fmt: skip
    independent = np.linalg.matrix_rank(dense(at.q_y)) == len(at.q) if len(at.q) else True
    return bool(independent and answer.status == 0 and answer.x[-1] > 1e-4)


def _start(objective, problem, x0):
    """(Joint, z) from the lower solution at x0, zeros where there is none."""
    lower = objective.evaluate(x0).lower
    y = lower.y if np.isfinite(lower.y).all() else np.zeros(problem.m)
    at = conditions.rows(problem, x0, y)
    sizes = (problem.n, problem.m, len(at.p), len(at.q))
    mu, nu = (v if v.size == size and np.isfinite(v).all() else np.zeros(size) for v, size in ((lower.mu, sizes[2]), (lower.nu, sizes[3])))
    return Joint(problem, sizes), np.concatenate([x0, y, np.maximum(mu, 0.0), nu])


def _box(objective, joint):
    n, m, k, l = joint.sizes
    free = np.full(m, np.inf)
    lo = np.concatenate([objective.lo, -free, np.zeros(k), np.full(l, -np.inf)])
    return lo, np.concatenate([objective.hi, free, np.full(k + l, np.inf)])


def _relaxed(joint, t):
    rows = [("ineq", lambda z: -joint.p(z), lambda z: -joint.p_jacobian(z))]
    return rows + [("ineq", lambda z: joint.complementarity(z, t), joint.complementarity_jacobian)]


def _branch(joint, tight):
    """Rows of one branch; its mu_i = 0 are bounds. Equalities as pairs of inequalities: dependent ones do not stop SLSQP then."""
    equal = np.flatnonzero(tight)
    return [
        ("ineq", lambda z: joint.p(z)[equal], lambda z: joint.p_jacobian(z)[equal]),
        ("ineq", lambda z: -joint.p(z), lambda z: -joint.p_jacobian(z)),
    ]


def _solve(joint, z, box, rows, maxiter, tol, full=False):
    """The end point of SLSQP (the OptimizeResult if `full`)."""
    upper = ("ineq", lambda z: -joint.upper(z), lambda z: -joint.upper_jacobian(z))
    rows = [*rows, ("eq", joint.equations, joint.equations_jacobian), upper]
    z = np.clip(z, *box)
    rows = [{"type": kind, "fun": _finite(fun), "jac": _finite(jac)} for kind, fun, jac in rows if len(fun(z))]
    try:
        with np.errstate(all="ignore"):
            answer = _slsqp(joint, z, box, rows, maxiter)
            if answer.status in (5, 6, 7):  # dependent equations: as pairs of inequalities they do not stop it
                answer = _slsqp(joint, z, box, [pair for row in rows for pair in _pairs(row)], maxiter)
            answer.violation = max((_violation(r["type"], r["fun"](answer.x)) for r in rows), default=0.0)
    except FloatingPointError:
        answer = OptimizeResult(x=z, fun=np.inf, violation=np.inf)
    return answer if full else answer.x


def _slsqp(joint, z, box, rows, maxiter):
    options = {"maxiter": min(maxiter, 200), "ftol": 1e-15}
    return scipy_minimize(_finite(joint.objective), z, jac=True, method="SLSQP", bounds=Bounds(*box), constraints=rows, options=options)


def _pairs(row):
    if row["type"] == "ineq":
        return [row]
    return [row | {"type": "ineq"}, {"type": "ineq", "fun": lambda z: -row["fun"](z), "jac": lambda z: -row["jac"](z)}]


def _finite(function):
    """`function`, but SLSQP, which never ends once it has met a NaN, is stopped by FloatingPointError instead."""

    def call(z):
        value = function(z)
        if not all(np.isfinite(part).all() for part in (value if isinstance(value, tuple) else (value,))):
            raise FloatingPointError("not finite")
        return value

    return call


def _violation(kind, values):
    return np.maximum(-values, 0.0).max() if kind == "ineq" else np.abs(values).max()


def _branches(joint, z, objective, maxiter, tol, limit, rounds=10):
    """(best z, whether no branch that meets it improves it); (None, False) if no branch is feasible."""
    best, value, tried, n, m, k, _ = None, np.inf, set(), *joint.sizes
    near = 1e-3
    for _ in range(rounds):
        mu, slack = joint.parts(z)[2], -joint.p(z)
        both = np.flatnonzero(np.maximum(mu, slack) <= near * (1.0 + np.abs(z).max()))
        base, improved, complete = mu > slack, False, len(both) <= np.log2(limit)
        for choice in islice(product((False, True), repeat=len(both)), limit):
            tight = base.copy()
            tight[both] ^= np.array(choice, bool)
            key = tuple(tight)
            if key in tried:
                continue
            tried.add(key)
            lo, hi = _box(objective, joint)
            hi[n + m : n + m + k][~tight] = 0.0
            answer = _solve(joint, z, (lo, hi), _branch(joint, tight), maxiter, tol, full=True)
            if answer.violation <= FEASIBLE * (1.0 + np.abs(answer.x).max()) and answer.fun < value - 1e-10 * (1.0 + abs(answer.fun)):
                best, value, improved = answer.x, answer.fun, True
        if best is None:
            return None, False
        z, near = best, 1e-6
        if not improved:
            return best, complete
    return best, False


mpcc = OuterMethod(
    "mpcc", _run, reference="Scholtes 2001; Scheel & Scholtes 2000", constraints=("bounds", "linear", "nonlinear", "coupling"),
    classes=("constrained",), kinks=True, joint=True,
)  # fmt: skip

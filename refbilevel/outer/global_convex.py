"""Convex leaves: min 1/2 w'Qw + c'w + const s.t. A w <= b, E w = d, lo <= w <= hi, and convex quadratic rows.

Linear programs go to HiGHS's dual simplex (a vertex, tolerances 1e-10), the others to Clarabel's interior point. An interior
point ends some 1e-9 from the answer, so it is *polished*: the rows that its multipliers call active are solved as equations,

    [Q  B'] [dw]       [Q w + c + B'l]
    [B  0 ] [dl]  =  - [B w - b_B    ],        B = active rows,

which gives the answer to rounding level; a polish that violates a row or turns a multiplier negative is corrected by exchanging
that row, and dropped if it does not settle. Feasibility is always decided by the simplex method, never by an interior point.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import clarabel
import numpy as np
from scipy import sparse
from scipy.optimize import linprog

FEASIBLE = 1e-9


@dataclass(frozen=True, eq=False)
class Program:
    """The data above. `quadratic` holds convex rows (Q, c, const): 1/2 w'Qw + c'w + const <= 0."""

    Q: np.ndarray
    c: np.ndarray
    const: float
    A: np.ndarray
    b: np.ndarray
    E: np.ndarray
    d: np.ndarray
    lo: np.ndarray
    hi: np.ndarray
    quadratic: tuple = ()

    def objective(self, w):
        return float(0.5 * w @ self.Q @ w + self.c @ w + self.const)

    @property
    def is_linear(self):
        return not self.quadratic and not self.Q.any()

    def violation(self, w):
        """Largest violation of any row or bound, in the rows' own units."""
        parts = [self.A @ w - self.b, np.abs(self.E @ w - self.d), self.lo - w, w - self.hi]
        parts += [np.array([0.5 * w @ Q @ w + c @ w + const]) for Q, c, const in self.quadratic]
        return max((float(part.max()) for part in parts if part.size), default=0.0)


@dataclass(frozen=True, eq=False)
class Answer:
    """What a convex program gave. `outcome`: "optimal", "infeasible", "unbounded" or "failed"; `bound` <= the true minimum."""

    outcome: str
    w: np.ndarray | None = None
    value: float = np.inf
    bound: float = -np.inf


def solve(program):
    """The minimum of a convex program, as an `Answer`."""
    if not len(program.c):
        value = program.const if program.violation(program.c) <= FEASIBLE else np.inf
        return Answer("optimal", program.c, value, value) if np.isfinite(value) else Answer("infeasible", bound=np.inf)
    if program.is_linear:
        return _linear(program)
    return _conic(program)


def linear_program(program, c=None):
    """SciPy's result of minimising c'w over the program's linear rows; None if lo > hi somewhere.

    Presolve may call an unbounded program infeasible, so every answer but an optimum is asked for again without it.
    """
    if (program.lo > program.hi).any():
        return None
    tight = {"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10}
    data = dict(A_ub=program.A, b_ub=program.b, A_eq=program.E, b_eq=program.d, bounds=np.column_stack([program.lo, program.hi]))
    c = program.c if c is None else c
    for options in (tight, tight | {"presolve": False}, {"presolve": False}):
        result = linprog(c, method="highs-ds", options=options, **data)
        if result.status == 0 or (result.status in (2, 3) and "presolve" in options):
            return result
    return result


def is_feasible(program):
    """Whether some w satisfies the linear rows, decided by phase one, a program that always has a solution:

        min t  s.t.  A w - t <= b,  |E w - d| <= t,  lo <= w <= hi,  t >= 0;

    None if the simplex method could not even solve that.
    """
    if (program.lo > program.hi).any():
        return False
    A = np.vstack([program.A, program.E, -program.E])
    b = np.concatenate([program.b, program.d, -program.d])
    lo, hi = np.append(program.lo, 0.0), np.append(program.hi, np.inf)
    scale = 1.0 + np.abs(b).max(initial=0.0)
    for presolve in (True, False):
        result = linprog(
            np.append(np.zeros(len(program.c)), 1.0), A_ub=np.hstack([A, -np.ones((len(A), 1))]), b_ub=b, bounds=np.column_stack([lo, hi]),
            method="highs-ds", options={"presolve": presolve, "primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10},
        )  # fmt: skip
        if result.status == 0:
            return bool(result.fun <= FEASIBLE * scale)
    return None


def _linear(program):
    result = linear_program(program)
    if result is not None and result.status == 0:
        value = program.objective(result.x)
        return Answer("optimal", result.x, value, value)
    feasible = is_feasible(program)
    if feasible is False:
        return Answer("infeasible", bound=np.inf)
    if feasible and recession(program) is not None:
        return Answer("unbounded")
    return Answer("failed")


def recession(program, reach=1.0):
    """A direction of descent that never leaves the program: Qv = 0, c'v < 0, in the recession cone; None if there is none.

    Quadratic rows 1/2 w'Qw + c'w <= .. need Qv = 0 and c'v <= 0.
    """
    rows = [program.A] + [c[None, :] for _, c, _ in program.quadratic]
    flat = [program.E, program.Q] + [Q for Q, _, _ in program.quadratic]
    A, E = np.vstack(rows), np.vstack(flat)
    lo, hi = np.where(np.isfinite(program.lo), 0.0, -reach), np.where(np.isfinite(program.hi), 0.0, reach)
    cone = replace(program, A=A, b=np.zeros(len(A)), E=E, d=np.zeros(len(E)), lo=lo, hi=hi, Q=np.zeros_like(program.Q), quadratic=())
    result = linear_program(cone)
    if result is None or result.status != 0 or result.fun > -1e-7 * max(1.0, np.abs(program.c).max()):
        return None
    return result.x


def _conic(program):
    """Clarabel, then the polish. Variables with lo = hi are taken out first."""
    free = program.lo < program.hi
    if (program.lo > program.hi).any():
        return Answer("infeasible", bound=np.inf)
    small = _restrict(program, free)
    if not free.any():
        w = program.lo
        return Answer("optimal", w, program.objective(w), program.objective(w)) if program.violation(w) <= FEASIBLE else Answer("infeasible", bound=np.inf)
    if is_feasible(small) is False:
        return Answer("infeasible", bound=np.inf)
    answer = _interior(small)
    if answer.w is None:
        return answer
    w = program.lo.copy()
    w[free] = answer.w
    return Answer(answer.outcome, w, program.objective(w), answer.bound)


def _restrict(program, free):
    fixed = np.where(free, 0.0, program.lo)
    fixed[~np.isfinite(fixed)] = 0.0
    quadratic = tuple(
        (Q[np.ix_(free, free)], (Q @ fixed + c)[free], 0.5 * fixed @ Q @ fixed + c @ fixed + const) for Q, c, const in program.quadratic
    )
    return Program(
        program.Q[np.ix_(free, free)], (program.Q @ fixed + program.c)[free], program.objective(fixed),
        program.A[:, free], program.b - program.A @ fixed, program.E[:, free], program.d - program.E @ fixed,
        program.lo[free], program.hi[free], quadratic,
    )  # fmt: skip


def _all_rows(program):
    """(A, b) of the inequalities with the finite bounds as rows."""
    eye = np.eye(len(program.c))
    low, high = np.isfinite(program.lo), np.isfinite(program.hi)
    A = np.vstack([program.A, -eye[low], eye[high]])
    return A, np.concatenate([program.b, -program.lo[low], program.hi[high]])


def _interior(program):
    A, b = _all_rows(program)
    blocks, sides = [program.E, A], [program.d, b]
    cones = [clarabel.ZeroConeT(len(program.d)), clarabel.NonnegativeConeT(len(b))]
    for Q, c, const in program.quadratic:
        block, side = _second_order(Q, c, const)
        blocks, sides, cones = blocks + [block], sides + [side], cones + [clarabel.SecondOrderConeT(len(side))]
    rows = sparse.csc_matrix(np.vstack(blocks))
    upper = sparse.csc_matrix(np.triu(program.Q))
    for accuracy in (1e-11, 1e-9):
        answer = clarabel.DefaultSolver(upper, program.c, rows, np.concatenate(sides), cones, _settings(accuracy)).solve()
        state = str(answer.status)
        if state == "Solved":
            break
    w, l = np.array(answer.x), np.array(answer.z)
    if "Infeasible" in state:
        return _infeasible(program, state)
    if not np.isfinite(w).all() or (state not in ("Solved", "AlmostSolved") and program.violation(w) > 1e-6):
        return Answer("failed")
    bound = min(answer.obj_val, answer.obj_val_dual) + program.const if state in ("Solved", "AlmostSolved") else -np.inf
    if not program.quadratic:
        polished = polish(program, A, b, w, l)
        if polished is not None:
            value = program.objective(polished)
            return Answer("optimal", polished, value, value)
    return Answer("optimal", w, program.objective(w), bound)


def _infeasible(program, state):
    """An interior point's claim of unboundedness is proven by a recession direction; of infeasibility, by quadratic rows only."""
    if "Dual" in state:
        return Answer("unbounded") if recession(program) is not None else Answer("failed")
    return Answer("infeasible", bound=np.inf) if program.quadratic else Answer("failed")


def _settings(accuracy):
    settings = clarabel.DefaultSettings()
    settings.verbose = False
    settings.tol_gap_abs = settings.tol_gap_rel = settings.tol_feas = accuracy
    settings.max_iter = 200
    return settings


def _second_order(Q, c, const):
    """1/2 w'Qw + c'w + const <= 0 as |(sqrt(2) L w, t - 1)| <= t + 1 with Q = L'L, t = -(c'w + const)."""
    values, vectors = np.linalg.eigh(Q)
    keep = values > 1e-14 * max(1.0, values[-1])
    L = np.sqrt(values[keep])[:, None] * vectors[:, keep].T
    block = np.vstack([c[None, :], -np.sqrt(2.0) * L, c[None, :]])
    side = np.concatenate([[1.0 - const], np.zeros(len(L)), [-const - 1.0]])
    return block, side


def polish(program, A, b, w, l, rounds=8):
    """w to rounding level by solving the active rows as equations; None if the active set does not settle."""
    k = len(program.d)
    multipliers = l[k : k + len(b)]
    slack = b - A @ w
    active = multipliers > slack
    nu = l[:k]
    for _ in range(rounds):
        point, lam, equal = _active_solve(program, A, b, w, np.where(active, multipliers, 0.0), nu, active)
        slack, scale = b - A @ point, 1.0 + np.abs(point).max(initial=0.0)
        violated, wrong = slack < -FEASIBLE * scale, active & (lam < -1e-8 * (1.0 + np.abs(lam).max(initial=0.0)))
        if not equal:
            return None
        if not violated.any() and not wrong.any():
            return point
        active = (active | violated) & ~wrong
    return None


def _active_solve(program, A, b, w, multipliers, nu, active):
    """(w, multipliers, whether the equations hold) of the equality-constrained program, as a least-squares correction."""
    B, side = np.vstack([program.E, A[active]]), np.concatenate([program.d, b[active]])
    l = np.concatenate([nu, multipliers[active]])
    size = len(w)
    K = np.block([[program.Q, B.T], [B, np.zeros((len(B), len(B)))]])
    for _ in range(2):  # the second correction is iterative refinement
        residual = np.concatenate([program.Q @ w + program.c + B.T @ l, B @ w - side])
        step = np.linalg.lstsq(K, -residual, rcond=1e-13)[0]
        w, l = w + step[:size], l + step[size:]
    residual = np.concatenate([program.Q @ w + program.c + B.T @ l, B @ w - side])
    full = np.zeros(len(b))
    full[active] = l[len(program.d) :]
    scale = 1.0 + np.abs(program.c).max(initial=0) + np.abs(side).max(initial=0) + np.abs(w).max(initial=0) * np.abs(program.Q).max(initial=0)
    return w, full, np.abs(residual).max() <= 1e-9 * scale

"""The single-level form: a lower level that is a convex QP in y is replaced by its KKT system, w = (x, y, mu, nu).

    minimise  F(x, y)  over the upper rows and
        Q_yx x + Q_yy y + c_y + A_y' mu + C_y' nu = 0            stationarity
        A z <= b,  C z = d,  mu >= 0                             feasibility
        mu_i (b - A z)_i = 0, i = 1..k                           complementarity, the only nonconvex part.

Rows are linear, so the system is necessary and sufficient without a constraint qualification, and a term x'Q_xy y in the lower
objective stays linear in it. A `Node` fixes for some i either mu_i = 0 or a tight row, and may hold further cuts v'w <= t; with
every i decided the program is a polyhedron. No bound on the multipliers is assumed anywhere (no big-M).
Rows are scaled to |A_y| = 1 and the lower objective to largest coefficient 1; `multipliers` undoes it.
Reference: Bard & Moore (1990), A branch and bound algorithm for the bilevel programming problem, SIAM J. Sci. Stat. Comput. 11.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..errors import ArgumentError
from .global_convex import Program


@dataclass(frozen=True)
class Node:
    """A piece of the search: rows with mu_i = 0, rows that are tight, cuts ((v, t), ...), and what is known of it."""

    zero: frozenset = frozenset()
    tight: frozenset = frozenset()
    cuts: tuple = ()
    bound: float = -np.inf
    depth: int = 0

    @property
    def decided(self):
        return self.zero | self.tight


@dataclass(frozen=True, eq=False)
class KKT:
    """The root program and where its parts stand: w = (x, y, mu, nu); lower row i is inequality row `first + i`."""

    n: int
    m: int
    k: int
    l: int
    root: Program
    first: int
    row_scale: np.ndarray
    objective_scale: float

    def split(self, w):
        """(x, y, mu, nu) in the problem's own units."""
        n, m, k = self.n, self.m, self.k
        mu = w[n + m : n + m + k] * self.objective_scale / self.row_scale
        w = w + 0.0  # never -0.0
        return w[:n], w[n : n + m], mu + 0.0, w[n + m + k :] * self.objective_scale

    def scaled_multipliers(self, w):
        return w[self.n + self.m : self.n + self.m + self.k]

    def slack(self, w):
        rows = slice(self.first, self.first + self.k)
        return self.root.b[rows] - self.root.A[rows] @ w

    def complementarity(self, w):
        """min(mu_i, slack_i) >= 0, zero where the pair is complementary."""
        return np.maximum(np.minimum(self.scaled_multipliers(w), self.slack(w)), 0.0)

    def pattern(self, w):
        """The fully decided node that w suggests: tight where the multiplier exceeds the slack."""
        tight = self.scaled_multipliers(w) > self.slack(w)
        return Node(frozenset(np.flatnonzero(~tight).tolist()), frozenset(np.flatnonzero(tight).tolist()))

    def program(self, node):
        """The node's program: complementarity relaxed where undecided."""
        hi = self.root.hi.copy()
        hi[[self.n + self.m + i for i in node.zero]] = 0.0
        rows = [self.first + i for i in sorted(node.tight)]
        loose = np.delete(np.arange(len(self.root.b)), rows)
        A, b = self.root.A[loose], self.root.b[loose]
        if node.cuts:
            A, b = np.vstack([A, [v for v, _ in node.cuts]]), np.append(b, [t for _, t in node.cuts])
        E, d = np.vstack([self.root.E, self.root.A[rows]]), np.append(self.root.d, self.root.b[rows])
        return replace(self.root, A=A, b=b, E=E, d=d, hi=hi)


def check_global(problem):
    """Raise ArgumentError unless the lower level is a convex QP for every x, in matrix form."""
    from ..problems.quadratic_bilevel import QuadraticBilevel

    if not isinstance(problem, QuadraticBilevel):
        raise ArgumentError(
            f"minimize_global reads the matrices of a QuadraticBilevel, got {type(problem).__name__}; "
            "write the problem as refbilevel.QuadraticBilevel(...), or use refbilevel.minimize"
        )
    lower = problem.lower
    if not (lower.inequalities.linear and lower.equalities.linear):
        raise ArgumentError("minimize_global needs linear lower rows; this problem has quadratic ones: use refbilevel.minimize")
    if not is_convex(lower.objective.Q[problem.n :, problem.n :]):
        raise ArgumentError("minimize_global needs a lower objective convex in y; Q_yy has a negative eigenvalue")
    levels = (problem.f, problem.upper.objective.value, "f"), (problem.g, lower.objective.value, "g")
    for oracle, matrix, name in levels:
        if getattr(oracle, "call", oracle) != matrix:
            raise ArgumentError(f"minimize_global: the oracle {name} was replaced and no longer agrees with the matrices; build the problem anew")


def is_convex(Q):
    """Whether the symmetric Q is positive semidefinite, to rounding."""
    values = np.linalg.eigvalsh(Q)
    return values[0] >= -1e-10 * max(1.0, np.abs(values).max())


def build(problem):
    """The `KKT` form of a `QuadraticBilevel`. Quadratic upper rows are kept in `root.quadratic`, H rows as two of them."""
    n, m = problem.n, problem.m
    lower, upper = problem.lower, problem.upper
    k, l, N = len(lower.inequalities), len(lower.equalities), n + m
    W = N + k + l
    norms = np.linalg.norm(lower.inequalities.A[:, n:], axis=1)
    norms = np.where(norms > 0, norms, np.maximum(np.linalg.norm(lower.inequalities.A, axis=1), 1.0))
    low_A, low_b = lower.inequalities.A / norms[:, None], lower.inequalities.b / norms
    y_part, c_y = lower.objective.Q[n:], lower.objective.c[n:]
    scale = max(np.abs(y_part).max(initial=0.0), np.abs(c_y).max(initial=0.0)) or 1.0

    linear, quadratic = _upper_rows(upper, W)
    first = len(linear[1])
    A = np.vstack([linear[0], _widen(low_A, W)])
    stationarity = np.hstack([y_part / scale, low_A[:, n:].T, lower.equalities.A[:, n:].T])
    E = np.vstack([linear[2], _widen(lower.equalities.A, W), stationarity])
    d = np.concatenate([linear[3], lower.equalities.b, -c_y / scale])
    lo, hi = np.full(W, -np.inf), np.full(W, np.inf)
    if problem.bounds is not None:
        lo[:n], hi[:n] = problem.bounds
    lo[N : N + k] = 0.0
    hi[N : N + k][~lower.inequalities.A[:, n:].any(axis=1)] = 0.0  # a row without y has no say in the lower level's choice
    objective = _widen_objective(upper.objective, W)
    root = Program(*objective, A, np.concatenate([linear[1], low_b]), E, d, lo, hi, quadratic)
    return KKT(n, m, k, l, root, first, norms, scale)


def _widen(A, W):
    return np.hstack([A, np.zeros((len(A), W - A.shape[1]))])


def _widen_objective(q, W):
    Q = np.zeros((W, W))
    Q[: len(q.c), : len(q.c)] = q.Q
    return Q, np.append(q.c, np.zeros(W - len(q.c))), q.const


def _upper_rows(upper, W):
    """((A, b, C, d) linear, quadratic rows) of the upper level; a quadratic equality is two quadratic inequalities."""
    G, H = upper.inequalities, upper.equalities
    quadratic = [_widen_objective(G.row(i), W) for i, _ in G.quadratic]
    for i, _ in H.quadratic:
        Q, c, const = _widen_objective(H.row(i), W)
        quadratic += [(Q, c, const), (-Q, -c, -const)]
    g = np.delete(np.arange(len(G)), [i for i, _ in G.quadratic]).astype(int)
    h = np.delete(np.arange(len(H)), [i for i, _ in H.quadratic]).astype(int)
    return (_widen(G.A[g], W), G.b[g], _widen(H.A[h], W), H.b[h]), tuple(quadratic)

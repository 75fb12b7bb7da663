"""The lower level at one point (x, y): its rows, multipliers, LICQ, and the set S(x) of its solutions.

For a convex QP lower level with any optimal multipliers mu, S(x) is the polyhedron

    y + { d : Q_yy d = 0,  C d = 0,  A_i d = 0 where mu_i > 0,  A_i d <= slack_i elsewhere },

so its width and the extremes of F over it are linear programs (or small QPs). For other lower levels only the second-order
sufficient condition speaks.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import linprog

from ..certificates.bounds import constants_at
from . import global_convex
from .global_convex import Program
from .global_kkt import KKT, is_convex
from .global_search import Search


@dataclass(frozen=True, eq=False)
class Point:
    """Everything about the lower level at (x, y): rows, gradients, scales."""

    y: np.ndarray
    g_y: np.ndarray
    p: np.ndarray
    p_y: np.ndarray
    q: np.ndarray
    q_y: np.ndarray


def lower_level(problem):
    """The lower level's matrices (`Level`) if it is a convex QP with linear rows whose oracles come from matrices, else None."""
    from ..problems.quadratic_bilevel import Level, Quadratic, Rows

    def owner(oracle):
        return getattr(getattr(oracle, "call", oracle), "__self__", None)

    n, m, c = problem.n, problem.m, problem.constraints
    none = Rows(np.zeros((0, n + m)), np.zeros(0), n)
    g = owner(problem.g)
    p, q = (none if c is None or oracle is None else owner(oracle) for oracle in (getattr(c, "p", None), getattr(c, "q", None)))
    if not (isinstance(g, Quadratic) and isinstance(p, Rows) and isinstance(q, Rows) and p.linear and q.linear):
        return None
    return Level(g, p, q) if is_convex(g.Q[n:, n:]) else None


#: sparse and matrix-free Hessians larger than this are not formed to decide uniqueness
LARGE = 500


def dense(matrix):
    """An ndarray of an ndarray, a sparse array or a LinearOperator."""
    if hasattr(matrix, "toarray"):
        return matrix.toarray()
    return np.asarray(matrix @ np.eye(matrix.shape[1]) if hasattr(matrix, "matvec") else matrix, float)


def lower_point(view, x, y):
    c, m = view.constraints, view.m
    p = c.p(x, y) if c is not None and c.p is not None else np.zeros(0)
    q = c.q(x, y) if c is not None and c.q is not None else np.zeros(0)
    p_y = dense(c.p_y(x, y)) if len(p) else np.zeros((0, m))
    q_y = dense(c.q_y(x, y)) if len(q) else np.zeros((0, m))
    return Point(y, view.g_y(x, y), p, p_y, q, q_y)


def lower_program(level, x):
    """The lower level of matrices `level` at x, as a `Program` in y."""
    n = len(x)
    m = level.objective.Q.shape[0] - n
    g, p, q = level.objective, level.inequalities, level.equalities
    const = g.value(x, np.zeros(m))
    free = np.full(m, np.inf)
    return Program(
        g.Q[n:, n:], g.Q[n:, :n] @ x + g.c[n:], float(const), p.A[:, n:], p.b - p.A[:, :n] @ x, q.A[:, n:], q.b - q.A[:, :n] @ x, -free, free
    )


# multipliers --------------------------------------------------------------------------------------------------------


def multipliers(point, active):
    """(mu, nu, margin): multipliers of the active rows with the largest smallest entry, capped at 1.

    margin = max { t <= 1 : stationarity, mu_i >= t }; where stationarity holds only to rounding it is taken to within the
    least possible error.
    """
    rows, k, l = np.flatnonzero(active), len(point.p), len(point.q)
    if not len(rows):
        nu = np.linalg.lstsq(point.q_y.T, -point.g_y, rcond=None)[0] if l else np.zeros(0)
        return np.zeros(k), nu, 1.0
    B = np.hstack([point.p_y[rows].T, point.q_y.T])
    size, scale = B.shape[1], 1.0 + np.abs(point.g_y).max()
    error = _least_error(B, point.g_y, len(rows), scale)
    if error is None or error > 1e-5:
        return np.full(k, np.nan), np.full(l, np.nan), np.nan
    slack = (2.0 * error + 1e-10) * scale
    A = np.vstack([np.hstack([B, np.zeros((len(B), 1))]), np.hstack([-B, np.zeros((len(B), 1))])])
    b = np.concatenate([slack - point.g_y, slack + point.g_y])
    floor = np.hstack([-np.eye(len(rows)), np.zeros((len(rows), l)), np.ones((len(rows), 1))])
    answer = linprog(
        np.append(np.zeros(size), -1.0), A_ub=np.vstack([A, floor]), b_ub=np.append(b, np.zeros(len(rows))),
        bounds=[(0, None)] * len(rows) + [(None, None)] * l + [(0, 1)], method="highs-ds",
    )  # fmt: skip
    if answer.status != 0:
        return np.full(k, np.nan), np.full(l, np.nan), np.nan
    mu = np.zeros(k)
    mu[rows] = np.maximum(answer.x[: len(rows)], 0.0)
    return mu, answer.x[len(rows) : size], float(answer.x[-1])


def _least_error(B, g_y, positive, scale):
    """min |g_y + B l|_inf / scale over l with its first `positive` entries >= 0, None if the program fails."""
    size = B.shape[1]
    one = np.ones((len(B), 1)) * scale
    bounds = [(0, None)] * positive + [(None, None)] * (size - positive) + [(0, None)]
    answer = linprog(
        np.append(np.zeros(size), 1.0), A_ub=np.vstack([np.hstack([B, -one]), np.hstack([-B, -one])]), b_ub=np.append(-g_y, g_y),
        bounds=bounds, method="highs-ds",
    )  # fmt: skip
    return float(answer.fun) if answer.status == 0 else None


def licq(point, active):
    """Whether the active rows' gradients are independent."""
    rows = np.vstack([point.p_y[active], point.q_y])
    if not len(rows):
        return True
    norms = np.linalg.norm(rows, axis=1)
    if (norms == 0).any() or len(rows) > rows.shape[1]:
        return False
    return bool(np.linalg.svd(rows / norms[:, None], compute_uv=False)[-1] > 1e-9)


# the set of lower solutions -----------------------------------------------------------------------------------------


def solution_set(problem, level, view, x, point, mu):
    """(unique, optimistic, pessimistic) over S(x) of a convex QP lower level."""
    f = view.f(x, point.y)
    if not np.isfinite(mu).all():
        return None, f, np.nan
    face = solution_face(level, x, point, mu)
    strict = np.vstack([face.E, np.zeros((1, problem.m))])
    if np.linalg.matrix_rank(strict, tol=1e-9) == problem.m:
        return True, f, f
    width = _width(face)
    if width is None:
        return None, f, np.nan
    if width <= 1e-6 * (1.0 + np.abs(point.y).max()):
        return True, f, f
    return False, *_extremes(problem, x, point.y, face)


def solution_face(level, x, point, mu):
    """S(x) - y as the rows of a `Program` in the displacement d."""
    program = lower_program(level, x)
    positive = mu > 1e-8 * (1.0 + mu.max(initial=0.0))
    E = np.vstack([program.Q, program.E, program.A[positive]])
    A, b = program.A[~positive], np.maximum(-point.p[~positive], 0.0)
    return replace(program, Q=np.zeros_like(program.Q), c=np.zeros(len(point.y)), const=0.0, A=A, b=b, E=E, d=np.zeros(len(E)))


def _width(face):
    """Largest |d_j| over the face, None if a linear program fails."""
    widest = 0.0
    for j, sign in ((j, s) for j in range(len(face.c)) for s in (1.0, -1.0)):
        c = np.zeros(len(face.c))
        c[j] = sign
        result = global_convex.linear_program(face, c)
        if result is None or result.status not in (0, 3):
            return None
        widest = np.inf if result.status == 3 else max(widest, -result.fun)
    return widest


def _extremes(problem, x, y, face):
    """(min of F over S(x) under the upper rows, max of F over S(x)); nan where it is not decided."""
    from ..problems.quadratic_bilevel import QuadraticBilevel

    if not isinstance(problem, QuadraticBilevel):
        return np.nan, np.nan
    n, f, G, H = problem.n, problem.upper.objective, problem.upper.inequalities, problem.upper.equalities
    Q, c, const = f.Q[n:, n:], f.y(x, y), f.value(x, y)
    highest = _minimum(replace(face, Q=-Q, c=-c, const=-const))
    if not (G.linear and H.linear):
        return const, -highest
    z = np.concatenate([x, y])
    A = np.vstack([face.A, G.A[:, n:]])
    b = np.concatenate([face.b, np.maximum(-G.at(z), 0.0)])
    E = np.vstack([face.E, H.A[:, n:]])
    lowest = _minimum(replace(face, Q=Q, c=c, const=const, A=A, b=b, E=E, d=np.zeros(len(E))))
    return min(lowest, const) if np.isfinite(lowest) else lowest, -highest


def _minimum(program):
    """The minimum of a program whose objective may be nonconvex: -inf if unbounded, nan if not decided."""
    none = np.zeros(0)
    size = len(program.c)
    kkt = KKT(size, 0, 0, 0, program, len(program.b), none, 1.0)
    search = Search(kkt, lambda x: None, 1e-9, time.monotonic() + 10.0)
    state, bound = search.run()
    if state == "unbounded":
        return -np.inf
    closed = state == "done" and np.isfinite(search.best.value) and bound >= search.cutoff() - 1e-9
    return search.best.value if closed else np.nan


def second_order(problem, view, x, point, mu, nu):
    """(True if the second-order sufficient condition holds, else None; F; F or nan) at a point of a general lower level."""
    f = view.f(x, point.y)
    if view.constraints is None and constants_at(problem, x).get("mu", 0.0) > 0:  # strongly convex
        return True, f, f
    if view.g_yy is None or not np.isfinite(mu).all():
        return None, f, np.nan
    m, c = problem.m, view.constraints
    hessian = view.g_yy(x, point.y)
    if m > LARGE and not isinstance(hessian, np.ndarray):
        return None, f, np.nan  # not decided: a large matrix-free Hessian stays one
    hessian = dense(hessian)
    if c is not None and not c.linear:
        if c.lagrangian_yy is None:
            return None, f, np.nan
        hessian = hessian + dense(c.lagrangian_yy(x, point.y, mu, nu))
    rows = np.vstack([point.p_y[mu > 1e-8 * (1.0 + mu.max(initial=0.0))], point.q_y])
    basis = np.eye(m)
    if len(rows):
        _, values, vt = np.linalg.svd(rows)
        basis = vt[int((values > 1e-10 * values.max(initial=1.0)).sum()) :].T
    reduced = basis.T @ hessian @ basis
    scale = np.abs(hessian).max(initial=0.0)
    if not reduced.size or np.linalg.eigvalsh(reduced)[0] > 1e-9 * max(1.0, scale):
        return True, f, f
    return None, f, np.nan

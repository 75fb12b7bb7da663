"""The pieces of a hypergradient, dense, so that a mutant can get exactly one of them wrong.

With L = g + mu.p + nu.q and J the active inequalities (mu_i > slack_i), the correct formula is

    gradient = f_x - C K^{-T} r,   K = [[L_yy, A'], [A, 0]],   C = [L_xy, B'],   r = (f_y, 0),

A (r, m) and B (r, n) the y- and x-derivatives of the active rows (p_J; q). Without constraints K = g_yy, C = g_xy.
Written on its own, with nothing but dense NumPy: it is the kit's second opinion about the library's estimators.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ...results import LowerSolution


@dataclass(frozen=True, eq=False)
class System:
    """f_x (n,), f_y (m,), hessian (m, m) = L_yy, cross (n, m) = L_xy, rows_y (r, m), rows_x (r, n)."""

    f_x: np.ndarray
    f_y: np.ndarray
    hessian: np.ndarray
    cross: np.ndarray
    rows_y: np.ndarray
    rows_x: np.ndarray

    @property
    def K(self):
        r = len(self.rows_y)
        return np.block([[self.hessian, self.rows_y.T], [self.rows_y, np.zeros((r, r))]])

    @property
    def C(self):
        return np.hstack([self.cross, self.rows_x.T])

    @property
    def r(self):
        return np.concatenate([self.f_y, np.zeros(len(self.rows_y))])

    def but(self, **changes):
        """This system with one piece changed."""
        return replace(self, **changes)

    def with_adjoint(self, v):
        """f_x - C v, for v (m + r,)."""
        return self.f_x - self.C @ v

    def gradient(self):
        return self.with_adjoint(solve(self.K.T, self.r))


def dense(operator, shape):
    """ndarray of an ndarray, sparse array or LinearOperator."""
    if hasattr(operator, "toarray"):
        operator = operator.toarray()
    elif not isinstance(operator, np.ndarray) and hasattr(operator, "matmat"):
        operator = operator.matmat(np.eye(shape[1]))
    return np.asarray(operator, float).reshape(shape)


def solve(K, b):
    """K^{-1} b; the minimum-norm solution where K is singular to working precision. nan where K or b is not finite."""
    if not (np.isfinite(K).all() and np.isfinite(b).all()):
        return np.full(np.shape(K)[1:] + np.shape(b)[1:], np.nan)
    if K.size and np.linalg.cond(K) < 1e14:
        return np.linalg.solve(K, b)
    return np.linalg.lstsq(K, b, rcond=1e-12)[0]


def active_rows(problem, x, y, mu):
    """Mask of the inequalities with mu_i > slack_i."""
    return np.asarray(mu) > -np.atleast_1d(problem.constraints.p(x, y))


def system(problem, x, y, mu, nu, active=None, curvature=True):
    """The `System` at (x, y, mu, nu). `active` overrides the mask; curvature=False leaves g_yy and g_xy alone."""
    n, m = problem.n, problem.m
    if problem.solution_map is not None:
        return _map_system(problem, x, y)
    hessian = dense(problem.g_yy(x, y), (m, m))
    cross = dense(problem.g_xy(x, y), (n, m))
    rows_y, rows_x = np.zeros((0, m)), np.zeros((0, n))
    c = problem.constraints
    if c is not None:
        if curvature and not c.linear:
            hessian = hessian + dense(c.lagrangian_yy(x, y, mu, nu), (m, m))
            cross = cross + dense(c.lagrangian_xy(x, y, mu, nu), (n, m))
        rows_y, rows_x = _rows(problem, x, y, mu, active)
    return System(np.asarray(problem.f_x(x, y), float), np.asarray(problem.f_y(x, y), float), hessian, cross, rows_y, rows_x)


def _map_system(problem, x, y):
    """A solution map y(x) as the fixed point y - y(x) = 0: hessian I, cross -(dy/dx)'."""
    pulled = [problem.solution_map.vjp(x, LowerSolution(y=y), e) for e in np.eye(problem.m)]
    return System(np.asarray(problem.f_x(x, y), float), np.asarray(problem.f_y(x, y), float), np.eye(problem.m), -np.array(pulled).T,
                  np.zeros((0, problem.m)), np.zeros((0, problem.n)))  # fmt: skip


def _rows(problem, x, y, mu, active):
    c, rows_y, rows_x = problem.constraints, [np.zeros((0, problem.m))], [np.zeros((0, problem.n))]
    if c.p is not None:
        mask = active_rows(problem, x, y, mu) if active is None else active
        rows_y.append(dense(c.p_y(x, y), (len(mask), problem.m))[mask])
        rows_x.append(dense(c.p_x(x, y), (len(mask), problem.n))[mask])
    if c.q is not None:
        count = np.size(c.q(x, y))
        rows_y.append(dense(c.q_y(x, y), (count, problem.m)))
        rows_x.append(dense(c.q_x(x, y), (count, problem.n)))
    return np.vstack(rows_y), np.vstack(rows_x)


def reference_gradient(problem, x, y, mu, nu):
    """The correct formula."""
    return system(problem, x, y, mu, nu).gradient()


def largest(K):
    """Spectral norm: the L of the step 1/L."""
    return float(np.linalg.norm(K, 2)) if K.size else 1.0


def nudged(problem, x, y, beta, steps=60):
    """argmin_y g + beta f by Newton steps with the Hessian of g frozen at y (first derivatives of f suffice)."""
    hessian = dense(problem.g_yy(x, y), (problem.m, problem.m))
    z = np.array(y, float)
    for _ in range(steps):
        move = solve(hessian, problem.g_y(x, z) + beta * problem.f_y(x, z))
        z = z - move
        if not np.isfinite(z).all() or np.linalg.norm(move) <= 1e-15 * (1 + np.linalg.norm(z)):
            break
    return z

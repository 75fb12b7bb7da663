"""The kit's own lower solver near a certified point: Newton's method on the KKT conditions with the active set frozen.

Dense, independent of the library's solvers, and only meant for x close to a case's x, where the active set is the same; it says
when it is not. F(x) = f(x, y*(x)) along a line is what Taylor tests and curl tests compare an implementation with.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from .mutants.system import active_rows, dense, solve, system


@dataclass(frozen=True, eq=False)
class Near:
    """y, mu, nu at x near a case's x, and whether they can be trusted (`valid`)."""

    y: np.ndarray
    mu: np.ndarray
    nu: np.ndarray
    valid: bool


def lower(case, x, steps=30):
    """The lower solution at `x`, followed from the case's own."""
    problem = case.problem
    y, mu, nu = case.y.copy(), case.mu.copy(), case.nu.copy()
    active = active_rows(problem, case.x, y, mu) if _has_p(problem) else np.zeros(0, bool)
    for _ in range(steps):
        s = system(problem, x, y, mu, nu, active=active)
        residual = np.concatenate([_stationarity(problem, x, y, mu, nu), _row_values(problem, x, y, active)])
        move = solve(s.K, residual)
        y, mu, nu = _moved(problem, y, mu, nu, active, move)
        if not np.isfinite(y).all() or np.linalg.norm(move) <= 1e-15 * (1 + np.linalg.norm(y)):
            break
    small = np.isfinite(y).all() and np.linalg.norm(move) <= max(1e-9, 1e-14 * case.condition) * (1 + np.linalg.norm(y))
    return Near(y, mu, nu, bool(small and _same_active(problem, x, y, mu, active)))


def _has_p(problem):
    return problem.constraints is not None and problem.constraints.p is not None


def _stationarity(problem, x, y, mu, nu):
    gradient, c = np.array(problem.g_y(x, y), float), problem.constraints
    if c is not None and c.p is not None:
        gradient = gradient + dense(c.p_y(x, y), (mu.size, problem.m)).T @ mu
    if c is not None and c.q is not None:
        gradient = gradient + dense(c.q_y(x, y), (nu.size, problem.m)).T @ nu
    return gradient


def _row_values(problem, x, y, active):
    c, rows = problem.constraints, []
    if c is not None and c.p is not None:
        rows.append(np.atleast_1d(c.p(x, y))[active])
    if c is not None and c.q is not None:
        rows.append(np.atleast_1d(c.q(x, y)))
    return np.concatenate(rows) if rows else np.zeros(0)


def _moved(problem, y, mu, nu, active, move):
    m, count = problem.m, int(active.sum())
    mu = mu.copy()
    if count:
        mu[active] -= move[m : m + count]
    return y - move[:m], mu, nu - move[m + count :] if nu.size else nu


def _same_active(problem, x, y, mu, active):
    if not _has_p(problem):
        return True
    values = np.atleast_1d(problem.constraints.p(x, y))
    return bool((mu[active] > 0).all() and (values[~active] < 0).all())


def objective(case, x):
    """F(x) = f(x, y*(x)), or nan where the active set has changed."""
    near = lower(case, x)
    return float(case.problem.f(x, near.y)) if near.valid else np.nan


def moved(case, x):
    """The case at another x near its own, its truth recomputed by the dense formula; None where the active set has changed."""
    near = lower(case, x)
    if not near.valid:
        return None
    s = system(case.problem, x, near.y, near.mu, near.nu)
    v = solve(s.K.T, s.r)
    return replace(
        case,
        id=f"{case.id}@{np.linalg.norm(x - case.x):.3e}",
        x=x,
        y=near.y,
        mu=near.mu,
        nu=near.nu,
        reference=s.with_adjoint(v),
        direct=s.f_x,
        indirect_scale=float(np.linalg.norm(s.C, 2) * np.linalg.norm(v)),
    )


def jacobian(case):
    """dy/dx (m, n) at the case's point."""
    s = system(case.problem, case.x, case.y, case.mu, case.nu)
    return -solve(s.K, s.C.T)[: case.problem.m]

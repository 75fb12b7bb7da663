"""Lower levels that are quadratic programs: detected, handed to `solve_qp`, and finished like every other.

g is quadratic and the rows affine in y where one finite step sees exactly the change that the derivatives at its start predict:
g_y(y + s) = g_y(y) + g_yy s,  p(y + s) = p + p_y s. Then P = g_yy, q = g_y(x, 0), G = p_y, h = p_y y - p, A = q_y, b = q_y y - q.
"""

from __future__ import annotations

import numpy as np

from .. import kkt
from ..errors import ArgumentError
from ..kkt.conditions import dense
from .certificates_of_failure import affine
from .convex import convex, finish
from .protocol import LowerSolver


def is_quadratic(problem, x, y):
    """True if the lower level is a quadratic program at this x, judged by one finite step."""
    step = np.sin(np.arange(y.size) + 1.0) * (1 + np.abs(y))
    change = problem.g_y(x, y + step) - problem.g_y(x, y)
    predicted = problem.g_yy(x, y) @ step
    size = 1 + np.abs(change).max() + np.abs(problem.g_y(x, y)).max()
    return bool(np.isfinite(size) and np.abs(change - predicted).max() <= 1e-10 * size and affine(problem, x, y))


def _solve(problem, x, y0, *, tol=None, maxiter=None):
    from ..qp import solve_qp  # on use: the general solver needs none of it

    if not is_quadratic(problem, x, y0):
        raise ArgumentError("lower method 'quadratic' needs g quadratic and p, q affine in y, and they are not here; use 'convex'")
    at = kkt.rows(problem, x, y0)
    P, G, A = dense(problem.g_yy(x, y0)), dense(at.p_y), dense(at.q_y)
    blocks = [(G, G @ y0 - at.p) if at.p.size else (None, None), (A, A @ y0 - at.q) if at.q.size else (None, None)]
    solution = solve_qp(P, problem.g_y(x, y0) - P @ y0, *blocks[0], *blocks[1])
    if solution.status.code in ("lower_infeasible", "lower_unbounded") or not np.isfinite(solution.y).all():
        return convex.solve(problem, x, y0, tol=tol)  # for the certificate
    mu, nu = (np.zeros(0) if part is None else part for part in (solution.mu, solution.nu))
    return finish(problem, x, kkt.polish(problem, x, solution.y, mu, nu), "quadratic", tol, ("quadratic",))


quadratic = LowerSolver(
    name="quadratic", solve=_solve, classes=("constrained",), requires=("g_y", "g_yy"), reference="solve_qp"
)

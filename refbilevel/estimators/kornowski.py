"""First-order oracles for linearly constrained lower levels, with equalities and (given the multipliers) with inequalities.

equality    (y_d, nu_d) = argmin { g + delta f : q = 0 },
            gradient = f_x(y*) + [ (g + nu_d.q)_x(y_d) - (g + nu*.q)_x(y*) ] / delta                                      error O(delta)

inequality  y_a = argmin_y  f + a1 (g + mu*.p + nu*.q) + a2/2 |h_I|^2,   a1 = alpha^-2, a2 = alpha^-4,
            h_I = the rows with mu*_i > 0, and q,
            gradient = f_x + a1 [ (g + mu*.p + nu*.q)_x(y_a) - (g + mu*.p + nu*.q)_x(y*) ] + a2 h_I,x' h_I              error O(alpha)

The second is the paper's upper bound; on smooth problems orders between 1 and 2 are met. Its system has condition a2/a1 = alpha^-2,
so alpha below 1e-4 loses digits to rounding.

Kornowski, Padmanabhan, Wang, Zhang & Sra, First-order methods for linearly constrained bilevel optimization, arXiv 2406.12771.
"""

from __future__ import annotations

import numpy as np

from .. import kkt
from ..errors import ArgumentError
from ..kkt.conditions import dense
from ..lower.auxiliary import nudged, solve_auxiliary
from ..lower.constrained_auxiliary import lagrangian_x, noise, solve_nudged
from ..problem import BilevelProblem
from ..results import Estimate
from .protocol import Estimator


def _linear_only(problem):
    if not problem.constraints.linear:
        raise ArgumentError("this oracle needs linear constraints; say linear=True in Constraints if they are, or use 'constrained_equilibrium'")


def _equality(problem, x, lower, *, delta=None):
    _linear_only(problem)
    if problem.constraints.p is not None:
        raise ArgumentError("kornowski_equality takes equalities q only; use kornowski_inequality")
    if delta is not None and not (np.isfinite(delta) and delta > 0):
        raise ArgumentError(f"delta must be positive, got {delta!r}")
    delta = noise(problem, x, lower) ** 0.5 if delta is None else float(delta)
    moved = solve_nudged(problem, x, lower, delta)
    f_x = problem.f_x(x, lower.y)
    gradient = f_x + (lagrangian_x(problem, x, moved) - lagrangian_x(problem, x, lower)) / delta
    return Estimate(gradient=gradient, direct=f_x, status=moved.status, detail=moved.detail, extra={"delta": delta})


def _inequality(problem, x, lower, *, alpha=1e-2):
    _linear_only(problem)
    if not (np.isfinite(alpha) and alpha > 0):
        raise ArgumentError(f"alpha must be positive, got {alpha!r}")
    a1, a2 = alpha**-2, alpha**-4
    held = np.flatnonzero(lower.active)
    solution = solve_auxiliary(_penalised(problem, lower, held, a1, a2), x, lower.y)
    moved = kkt.rows(problem, x, solution.y)
    p_x, q_x = kkt.rows_x(problem, x, solution.y)
    gradient = problem.f_x(x, solution.y) + a1 * (_with(problem, x, solution.y, lower) - _with(problem, x, lower.y, lower))
    gradient = gradient + a2 * (p_x[held].T @ moved.p[held] + q_x.T @ moved.q)
    return Estimate(
        gradient=gradient, direct=problem.f_x(x, lower.y), status=solution.status, detail=solution.detail, extra={"alpha": alpha, "y_alpha": solution.y}
    )


def _with(problem, x, y, lower):
    """(g + mu*.p + nu*.q)_x at y."""
    p_x, q_x = kkt.rows_x(problem, x, y)
    return problem.g_x(x, y) + p_x.T @ lower.mu + q_x.T @ lower.nu


def _penalised(problem, lower, held, a1, a2):
    """min_y [f + a1 (g + mu*.p + nu*.q) + a2/2 |h_I|^2] / a1, its value left out: Newton's method needs the gradient only."""
    energy = nudged(problem, 1 / a1)

    def rows(x, y):
        at = kkt.rows(problem, x, y)
        return at, np.vstack([dense(at.p_y)[held], dense(at.q_y)])

    def g_y(x, y):
        at, A = rows(x, y)
        return energy.g_y(x, y) + at.p_y.T @ lower.mu + at.q_y.T @ lower.nu + (a2 / a1) * (A.T @ np.concatenate([at.p[held], at.q]))

    def g_yy(x, y):
        _, A = rows(x, y)
        return dense(energy.g_yy(x, y)) + (a2 / a1) * (A.T @ A)

    return BilevelProblem(n=problem.n, m=problem.m, g_y=g_y, g_yy=g_yy)


kornowski_equality = Estimator(
    name="kornowski_equality",
    family="penalty",
    compute=_equality,
    requires=("f", "f_x", "f_y", "g", "g_x", "g_y", "g_yy"),
    error="O(delta)",
    reference="Kornowski et al. 2406.12771, section 3",
    classes=("constrained",),
)
kornowski_inequality = Estimator(
    name="kornowski_inequality",
    family="penalty",
    compute=_inequality,
    requires=("f", "f_x", "f_y", "g", "g_x", "g_y", "g_yy"),
    error="O(alpha)",
    reference="Kornowski et al. 2406.12771, section 4",
    classes=("constrained",),
)

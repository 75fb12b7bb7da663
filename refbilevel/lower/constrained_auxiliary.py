"""Nudged lower levels under constraints: min_y g + beta f s.t. p <= 0, q = 0, and the x-derivative of their Lagrangian.

    t(beta) = g_x + beta f_x + p_x' mu + q_x' nu    at (y_beta, mu_beta, nu_beta)

is the gradient in x of the value min_y g + beta f (the envelope theorem), so t'(0) is the hypergradient with constraints too.
"""

from __future__ import annotations

import numpy as np

from .. import kkt
from ..problem import replace
from .auxiliary import nudged, solve_auxiliary


def nudged_constrained(problem, beta):
    """The problem with lower objective g + beta f under the same constraints. Its g_xy is g's: only its presence matters."""
    return replace(nudged(problem, beta), constraints=problem.constraints, g_xy=problem.g_xy)


def solve_nudged(problem, x, lower, beta):
    """LowerSolution of the nudged problem from lower.y; NUDGE_TOO_LARGE where it is no longer convex."""
    return solve_auxiliary(nudged_constrained(problem, beta), x, lower.y)


def lagrangian_x(problem, x, solution, beta=0.0):
    """t(beta) (n,)."""
    p_x, q_x = kkt.rows_x(problem, x, solution.y)
    t = problem.g_x(x, solution.y) + p_x.T @ solution.mu + q_x.T @ solution.nu
    return t + beta * problem.f_x(x, solution.y) if beta else t


def noise(problem, x, lower):
    """Relative error of the equilibrium: its KKT residual against the multiplier-free |L_y| one unit away, at least rounding."""
    residual = kkt.natural_residual(problem, x, lower.y, lower.mu, lower.nu)
    far = np.linalg.norm(kkt.stationarity(problem, x, lower.y + 1.0, lower.mu, lower.nu))
    eps = np.finfo(float).eps
    return float(np.clip(residual / far, eps, 0.1)) if np.isfinite(far) and far > 0 else float(eps)


def same_rows(lower, *solutions):
    """True if every solution holds the rows that `lower` holds."""
    return all(np.array_equal(lower.active, s.active) for s in solutions)

"""Implicit differentiation of the KKT conditions: the hypergradient under lower-level constraints.

    K w = (f_y; 0; 0),      gradient = f_x - L_xy w_y - p_x,J' w_mu - q_x' w_nu,

K the KKT matrix of the active set J = {mu_i > slack_i} (kkt/system.py), L = g + mu.p + nu.q. Assumes LICQ, strict complementarity
and the second-order condition; then F is differentiable (Fiacco). Error law: exact at a KKT point; O(residual) otherwise.

Where that fails the answer says so: with weakly active rows the status is `degenerate`, the gradient is the element of least norm
of the Clarke set, and `extra` holds the generators and the one-sided derivatives; with dependent rows that move together the
gradient is still the derivative, multipliers are of least norm, and the status is `licq_fails`.

Fiacco 1983, th. 3.2.2; Xu & Zhu, arXiv 2302.01970, th. 1; Amos & Kolter 2017, eq. 6 for QPs.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from .. import kkt as conditions
from ..kkt_sensitivity import one_sided
from ..linear.operators import not_a_hessian
from ..results import Estimate, Status
from .protocol import Estimator


def _compute(problem, x, lower, *, linear="auto", rtol=None, maxiter=None, weak_tol=None, max_weak=10):
    c = conditions.unit(problem, x, lower.y)
    lower = conditions.solution_in_units(lower, c)
    estimate = _estimate(conditions.in_units(problem, c), x, lower, linear, rtol, maxiter, weak_tol, max_weak)
    return estimate if c == 1.0 else _back(estimate, c)


def _back(estimate, c):
    """Multipliers and adjoint of g from those of g / c: mu = c mu', w_y = w_y' / c; margin and radius stay lengths in y."""
    facts = {**estimate.extra, "mu": c * estimate.extra["mu"], "nu": c * estimate.extra["nu"]}
    adjoint = None if estimate.adjoint is None else estimate.adjoint / c
    return replace(estimate, adjoint=adjoint, extra=facts)


def _estimate(problem, x, lower, linear, rtol, maxiter, weak_tol, max_weak):
    f_x, f_y = problem.f_x(x, lower.y), problem.f_y(x, lower.y)
    local = conditions.analyse(problem, x, lower, weak_tol)
    facts = _facts(local)
    if local.regular:
        return _regular(problem, local, f_x, f_y, linear, rtol, maxiter, facts)
    if local.flat:
        d = conditions.flat_direction(local)
        if d is not None:
            return _nonunique(local, f_x, f_y, d, facts)
    return _degenerate(problem, local, f_x, f_y, max_weak, facts)


def _facts(local):
    sets = local.sets
    return {
        "active": sets.strong, "weak": sets.weak, "margin": sets.margin, "licq": local.independent, "mu": local.mu, "nu": local.nu,
        "negative": local.negative, "radius": local.radius, "active_set_certified": bool(sets.margin > local.radius),
    }  # fmt: skip


def _regular(problem, local, f_x, f_y, linear, rtol, maxiter, facts):
    """Differentiable: one adjoint solve."""
    S = local.system
    if local.independent:
        solution = conditions.solve(S, S.rhs(f_y), linear, rtol, maxiter, local.factor)
    else:
        S = conditions.build(problem, local.x, local.y, local.mu, local.nu, local.near)
        solution = conditions.least_squares(S, S.rhs(f_y))
    w = solution.x
    gradient = f_x - S.N_transpose(w)
    _, facts["adjoint_mu"], facts["adjoint_nu"] = S.split(w)
    status, detail = solution.status, solution.detail
    if not local.minimum:
        status = Status.NOT_A_MINIMUM
    elif not local.independent and status.success:
        status, detail = Status.LICQ_FAILS, "The gradient is that of the unique y; mu, nu in extra are of least norm."
    if status.success and (defect := not_a_hessian(S.H)):
        status, detail = Status.NONSYMMETRIC, defect
    return Estimate(
        gradient=gradient, direct=f_x, adjoint=w[: S.m], linear=solution, status=status, detail=detail, extra=facts,
        error_estimate=_newton_difference(problem, local, gradient, S),
    )  # fmt: skip


def _newton_difference(problem, local, gradient, S):
    """|gradient - gradient one Newton step on|, with the rows that are active there: asymptotically the error.

    The step goes as far as rounding of the residual's terms may reach, unless that is too far for first order to say anything.
    """
    if not S.explicit or not local.independent or isinstance(S.H, np.ndarray) and S.m + S.A.shape[0] > 1500:
        return None
    rounding = S.rounding(local.x, local.y, local.mu, local.nu)
    difference = _difference(problem, local, gradient, S, rounding)
    return difference if difference <= 1e-6 * np.linalg.norm(gradient) else _difference(problem, local, gradient, S, None)


def _difference(problem, local, gradient, S, rounding):
    y, mu, nu = conditions.newton_step(problem, local.x, local.y, local.mu, local.nu, rounding=rounding)
    f_x, f_y = problem.f_x(local.x, y), problem.f_y(local.x, y)
    held = np.flatnonzero(conditions.active(mu, conditions.rows(problem, local.x, y)))
    T = conditions.build(problem, local.x, y, mu, nu, held)
    solution = conditions.solve(T, T.rhs(f_y))
    if not solution.success and not np.array_equal(held, S.J):
        return np.inf  # the step leads where nothing can be said
    return float(np.linalg.norm(f_x - T.N_transpose(solution.x) - gradient))


def _nonunique(local, f_x, f_y, d, facts):
    S = local.system
    solution = conditions.least_squares(S, S.rhs(f_y))
    facts["flat_direction"] = d
    return Estimate(
        gradient=f_x - S.N_transpose(solution.x), direct=f_x, adjoint=solution.x[: S.m], status=Status.NONUNIQUE, extra=facts,
        detail="y* can move along extra['flat_direction']; the gradient is that of the branch of least change.",
    )  # fmt: skip


def _one_slope(slopes, size):
    """Left and right derivatives along every axis are the same, wherever both are known."""
    if slopes is None:
        return True
    jump = np.abs(slopes[:, 1] - slopes[:, 0])
    return not (jump > 1e-6 * (size + np.abs(slopes).max(axis=1))).any()


def _degenerate(problem, local, f_x, f_y, max_weak, facts):
    """Not differentiable, or not obviously: the Clarke set, its least-norm element, one-sided derivatives."""
    clarke = conditions.clarke_set(problem, local, f_x, f_y, max_weak=max_weak)
    if clarke is None:
        nothing = np.full(problem.n, np.nan)
        return Estimate(gradient=nothing, direct=f_x, status=Status.DEGENERATE, detail="No branch of y* follows x.", extra=facts)
    facts |= {
        "generators": clarke.generators, "held": clarke.held, "weights": clarke.weights, "capped": clarke.capped,
        "one_sided": one_sided(problem, local, f_x, f_y),
    }  # fmt: skip
    gradient = clarke.least_norm
    size = np.abs(f_x).max() + np.abs(clarke.generators).max()
    agree = clarke.spread <= 1e-9 * size and not clarke.capped and local.consistent and _one_slope(facts["one_sided"], size)
    status = Status.CONVERGED if agree else Status.DEGENERATE
    detail = f"{local.sets.weak.size} weakly active row(s), {len(clarke.generators)} branch(es)" + (" that agree." if agree else ".")
    if clarke.capped:
        detail += f" More than max_weak={max_weak} rows: only the branches met along axes and random directions are given."
    if not local.independent:
        detail += " The active rows are dependent."
    return Estimate(
        gradient=gradient, direct=f_x, adjoint=clarke.weights @ clarke.adjoints, status=status, detail=detail, extra=facts
    )


kkt = Estimator(
    name="kkt",
    family="implicit",
    compute=_compute,
    requires=("f_x", "f_y", "g_y", "g_yy", "g_xy"),
    error="exact",
    reference="Fiacco 1983, th. 3.2.2; Xu & Zhu 2302.01970, th. 1",
    linear_solve="symmetric indefinite",
    classes=("constrained", "smooth"),
)

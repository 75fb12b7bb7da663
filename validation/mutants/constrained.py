"""Faults under constraints: rows dropped, rows too many, multipliers doubled, curvature forgotten, kinks averaged."""

from __future__ import annotations

import numpy as np

from .record import mutant
from .system import System, dense, solve, system


def _lambda_terms(problem, x, y, mu, nu):
    """Multiplier-weighted curvature of the constraints alone: (yy, xy)."""
    c, n, m = problem.constraints, problem.n, problem.m
    if c.linear or c.lagrangian_yy is None:
        return np.zeros((m, m)), np.zeros((n, m))
    return dense(c.lagrangian_yy(x, y, mu, nu), (m, m)), dense(c.lagrangian_xy(x, y, mu, nu), (n, m))


@mutant("the constraints are ignored: the unconstrained formula at the constrained y", where="constrained")
def constraints_ignored(problem, x, y, mu, nu):
    s = system(problem, x, y, mu, nu, curvature=False)
    return s.but(rows_y=s.rows_y[:0], rows_x=s.rows_x[:0]).gradient()


@mutant(
    "active inequalities are treated as inactive (the kink is dropped)",
    where="inequality",
    source="GAM's code at |p| <= 1e-5 and mu <= 1e-5",
)
def active_as_inactive(problem, x, y, mu, nu):
    return system(problem, x, y, mu, nu, active=np.zeros(len(mu), bool)).gradient()


@mutant("inactive inequalities are treated as equalities", where="inequality", source="pounce #73")
def inactive_as_active(problem, x, y, mu, nu):
    return system(problem, x, y, mu, nu, active=np.ones(len(mu), bool)).gradient()


@mutant("the equality rows are left out of the system", where="equality")
def equalities_ignored(problem, x, y, mu, nu):
    s = system(problem, x, y, mu, nu)
    keep = len(s.rows_y) - len(nu)
    return s.but(rows_y=s.rows_y[:keep], rows_x=s.rows_x[:keep]).gradient()


@mutant("the x-derivative of the constraints is forgotten (only g_xy is pulled back)", where="constrained")
def constraint_x_dropped(problem, x, y, mu, nu):
    s = system(problem, x, y, mu, nu)
    return s.but(rows_x=0 * s.rows_x).gradient()


@mutant("the x-derivative of the constraints enters with the wrong sign", where="constrained")
def constraint_x_sign(problem, x, y, mu, nu):
    s = system(problem, x, y, mu, nu)
    return s.but(rows_x=-s.rows_x).gradient()


@mutant("the curvature of the constraints, mu.p_yy + nu.q_yy, is missing from the Hessian", where="curved")
def curvature_dropped(problem, x, y, mu, nu):
    s = system(problem, x, y, mu, nu)
    return s.but(hessian=s.hessian - _lambda_terms(problem, x, y, mu, nu)[0]).gradient()


@mutant("the mixed curvature of the constraints, mu.p_xy + nu.q_xy, is missing from the cross term", where="curved")
def mixed_curvature_dropped(problem, x, y, mu, nu):
    s = system(problem, x, y, mu, nu)
    return s.but(cross=s.cross - _lambda_terms(problem, x, y, mu, nu)[1]).gradient()


@mutant("all curvature of the constraints is dropped: g_yy and g_xy stand for L_yy and L_xy", where="curved")
def all_curvature_dropped(problem, x, y, mu, nu):
    return system(problem, x, y, mu, nu, curvature=False).gradient()


@mutant(
    "the multipliers enter twice (mu^2 where mu is meant) in the derivative with respect to the constraint matrix",
    where="constrained",
    source="qpax optnet_derivatives; OptNet eq. (8) (optnet #8)",
)
def multiplier_twice(problem, x, y, mu, nu):
    s = system(problem, x, y, mu, nu)
    once, twice = (_lambda_terms(problem, x, y, a, b)[1] for a, b in ((mu, nu), (mu * mu, nu * nu)))
    scale = np.concatenate([mu[mu > 0][: len(s.rows_y) - len(nu)], np.ones(len(nu))])
    scale = np.resize(scale, len(s.rows_y)) if len(s.rows_y) else scale[:0]
    return s.but(cross=s.cross - once + twice, rows_x=scale[:, None] * s.rows_x).gradient()


@mutant("the multipliers have the wrong sign in the Lagrangian", where="curved")
def multiplier_sign(problem, x, y, mu, nu):
    yy, xy = _lambda_terms(problem, x, y, mu, nu)
    s = system(problem, x, y, mu, nu)
    return s.but(hessian=s.hessian - 2 * yy, cross=s.cross - 2 * xy).gradient()


@mutant("the adjoint is projected on the tangent space with the Euclidean metric; the Hessian is left out", where="constrained")
def projected_identity(problem, x, y, mu, nu):
    s = system(problem, x, y, mu, nu)
    return s.but(hessian=np.eye(problem.m)).gradient()


@mutant(
    "complementarity is smoothed: the interior-point system at barrier tau, its limit never taken",
    where="inequality",
    source="qpth, qpax, LPGD and moreau's interior point near a weakly active constraint",
    tau=(1e-4, 1e-3, 1e-2, 1e-6, 1e-8),
)
def barrier_smoothing(problem, x, y, mu, nu, tau):
    c, m = problem.constraints, problem.m
    s = system(problem, x, y, mu, nu, active=np.ones(len(mu), bool))
    slack = np.maximum(-np.atleast_1d(c.p(x, y)), 0)
    root = np.sqrt((mu - slack) ** 2 + 4 * tau)  # the point of the central path with the same mu - slack
    ratio = ((slack - mu + root) / 2) / ((mu - slack + root) / 2)
    K = s.K
    K[m : m + len(mu), m : m + len(mu)] -= np.diag(ratio)
    return s.f_x - s.C @ solve(K, s.r)


@mutant(
    "the constraints are dropped from the lower solve: the unconstrained minimiser and its formula",
    where="constrained",
    source="CvxpyLayer(solver=MOREAU) of cvxpylayers 1.2.0 with cvxpy 1.9.3",
)
def constraints_dropped(problem, x, y, mu, nu):
    z = np.array(y, float)
    for _ in range(60):
        z = z - solve(dense(problem.g_yy(x, z), (problem.m,) * 2), problem.g_y(x, z))
    s = System(
        problem.f_x(x, z),
        problem.f_y(x, z),
        dense(problem.g_yy(x, z), (problem.m,) * 2),
        dense(problem.g_xy(x, z), (problem.n, problem.m)),
        np.zeros((0, problem.m)),
        np.zeros((0, problem.n)),
    )
    return s.gradient()


@mutant(
    "near a kink the mean of the two branches is returned where the gradient is unique (or the minimum norm is meant)",
    where="inequality",
    source="GAM's code (np.mean); half a gradient from qpth, qpax and the KKT root of jaxopt",
    epsilon=(1e-5, 1e-3, 1e-2, 1e-1),
)
def mean_of_branches(problem, x, y, mu, nu, epsilon):
    slack = -np.atleast_1d(problem.constraints.p(x, y))
    weak = np.maximum(mu, slack) <= epsilon
    strict = (mu > slack) & ~weak
    inside, outside = (system(problem, x, y, mu, nu, active=mask).gradient() for mask in (strict | weak, strict))
    return (inside + outside) / 2

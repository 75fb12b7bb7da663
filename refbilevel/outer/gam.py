"""Xu and Zhu's gradient approximation method: minimise F(x) = f(x, y*(x)) where y* has kinks, to Clarke stationarity.

    G_k = gradients of every branch of y* within epsilon_k of x_k,    g_k = least-norm element of conv G_k + normal cone of the bounds
    |g_k| <= nu_k:  epsilon <- theta_epsilon epsilon,  nu <- theta_nu nu       (stationary at this scale: look closer)
    else:           x <- x - t g_k, t the largest gamma^j t_0 with F(x - t g_k) <= F(x) - beta t |g_k|^2

Accumulation points are Clarke stationary as epsilon, nu -> 0. Plain hypergradient descent zigzags across a kink with ever shorter
steps, or stops where it should not: the least-norm element sees both sides. t_0 doubles after a step that needed no shortening.

Xu & Zhu, arXiv 2302.01970, algorithm 1; the skeleton is gradient sampling, Burke, Lewis & Overton, SIAM J. Optim. 15 (2005) 751-779.
"""

from __future__ import annotations

import numpy as np

from .. import kkt
from ..errors import ArgumentError
from ..problem import counted
from ..results import Status
from .protocol import OuterMethod, Outcome


def _run(
    objective, x0, *, tol=1e-8, maxiter=500, epsilon=0.1, nu=None, theta_epsilon=0.1, theta_nu=0.1, beta=1e-4, gamma=0.5, max_ambiguous=8
):
    _check(epsilon, theta_epsilon, theta_nu, beta, gamma)
    problem, _ = counted(objective.problem)
    x, t = x0, 1.0
    value = objective.evaluate(x).objective
    objective.record(x)
    if not np.isfinite(value):
        return Outcome(x, objective.evaluate(x).status, "There is no finite F at x0.")
    for k in range(maxiter):
        g, branches = _element(objective, problem, x, epsilon, max_ambiguous)
        size = np.linalg.norm(g)
        nu = 0.1 * size if nu is None else nu
        if not np.isfinite(size):
            return Outcome(x, Status.NONFINITE, "A branch gradient was not finite.", nit=k)
        if size <= tol and (epsilon <= tol or branches == 1):
            return Outcome(x, Status.CONVERGED, _verdict(branches, epsilon), nit=k)
        step = None if size <= nu or size <= tol else _search(objective, x, value, g, size, t, beta, gamma)
        if step is None and size > max(nu, tol):
            step = _by_norm(objective, problem, x, value, g, size, epsilon, max_ambiguous)
        if step is None:
            if epsilon <= 1e-3 * tol and size > tol:
                return Outcome(x, Status.STALLED, f"The least-norm element is {size:.1e}.", nit=k)
            epsilon, nu = max(theta_epsilon * epsilon, 1e-3 * tol), theta_nu * nu
            continue
        t, x, value = step
        objective.record(x)
    return Outcome(x, Status.MAXITER, f"The least-norm element is {size:.1e} at epsilon = {epsilon:.1e}.", nit=maxiter)


def _check(epsilon, theta_epsilon, theta_nu, beta, gamma):
    if not epsilon > 0:
        raise ArgumentError(f"epsilon must be positive, got {epsilon!r}")
    for name, value in (("theta_epsilon", theta_epsilon), ("theta_nu", theta_nu), ("beta", beta), ("gamma", gamma)):
        if not 0 < value < 1:
            raise ArgumentError(f"{name} must lie between 0 and 1, got {value!r}")


def _verdict(branches, epsilon):
    if branches == 1:
        return "No constraint changes status nearby: an ordinary stationary point."
    return f"Clarke stationary: zero lies in the hull of {branches} branch gradients within epsilon = {epsilon:.1e}."


def _element(objective, problem, x, epsilon, max_ambiguous):
    """(g (n,), number of branches)."""
    lower = objective.evaluate(x).lower
    f_x, f_y = problem.f_x(x, lower.y), problem.f_y(x, lower.y)
    local = kkt.analyse(problem, x, lower)
    rows, _ = kkt.ambiguous_rows(problem, local, epsilon)
    branches = kkt.clarke_set(problem, local, f_x, f_y, rows[:max_ambiguous], max_ambiguous, realised_only=False)
    points = branches.generators if branches is not None else np.full((1, x.size), np.nan)
    near = 1e-13 * (1 + np.abs(x))
    cone = np.vstack([-np.eye(x.size)[x <= objective.lo + near], np.eye(x.size)[x >= objective.hi - near]])
    return (kkt.least_norm_with_cone(points, cone)[1] if np.isfinite(points).all() else points[0]), len(points)


def _search(objective, x, value, g, size, t, beta, gamma):
    """(next t_0, x, F) of the longest step that Armijo accepts, None if none does."""
    first = t = max(t, 1e-4 * (1 + np.linalg.norm(x)) / size)  # one tiny step, onto a bound say, must not bind those after it
    for _ in range(60):
        if t * size < 1e-11 * (1 + np.linalg.norm(x)):
            return None
        trial = objective.project(x - t * g)
        there = objective.value(trial)
        if there <= value - beta * t * size**2 and there < value:
            return (2 * t if t == first else t), trial, there
        t *= gamma
        if t * size**2 <= 1e-16 * (1 + abs(value)):  # what is left to gain is rounding
            break
    return None


def _by_norm(objective, problem, x, value, g, size, epsilon, max_ambiguous):
    """Where differences of F are rounding: a step that shortens the least-norm element instead, F unchanged to rounding."""
    floor = 1e-13 * (1 + abs(value))
    for length in 4.0 ** np.arange(4, -12, -1):
        trial = objective.project(x - length * g)
        if length * size**2 > 1e3 * floor or objective.value(trial) > value + floor:
            continue
        if np.linalg.norm(_element(objective, problem, trial, epsilon, max_ambiguous)[0]) < 0.9 * size:
            return length, trial, objective.value(trial)
    return None


gam = OuterMethod("gam", _run, reference="Xu & Zhu 2302.01970, alg. 1", classes=("constrained", "smooth"), kinks=True)

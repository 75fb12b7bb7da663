"""MAID: the accuracy of the hypergradient is adapted so that every step is a descent step, by the error bound itself.

    solve to (eps, delta) until  omega <= (1 - eta) |p|       (else eps, delta <- nu_down (eps, delta)),
    omega the rigorous a-posteriori bound where the problem knows its constants, else twice the asymptotically exact estimate;
    t from backtracking with an inexact Armijo test:  F(x - t p) + e <= F(x) - e - rho t |p|^2,   e = |f_y| eps + eps^2
    after a success t <- 10/9 t, eps, delta <- nu_up (eps, delta): the next solves may be rougher.

Salehi, Mukherjee, Roberts & Ehrhardt, An adaptively inexact first-order method for bilevel optimization, arXiv 2308.10098, alg. 3.
"""

from __future__ import annotations

import numpy as np

from ..driver import hypergradient
from ..results import Status
from .protocol import OuterMethod, Outcome
from .single_loop import outer_curvature


def _run(objective, x0, *, tol=1e-8, maxiter=500, eps=1e-1, eta=0.5, rho=1e-4, nu_down=0.5, nu_up=1.25, step=None, backtracks=20):
    x, t = x0, step or 1.0 / outer_curvature(objective, x0)
    objective.record(x)
    for k in range(maxiter):
        eps, h = _accurate(objective, x, eps, eta, tol, nu_down)
        if not np.isfinite(h.gradient).all():
            return Outcome(x, h.status, "No hypergradient here.", k)
        norm = objective.projected_norm(x, h.gradient)
        if norm + omega(h) <= tol or (norm <= tol and eps <= 1e-14):
            return Outcome(x, Status.CONVERGED, f"Error of the hypergradient {omega(h):.1e}.", k)
        moved = _backtrack(objective, x, h, t, eps, rho, backtracks)
        if moved is None:
            if eps <= 1e-14:
                return Outcome(x, Status.STALLED, f"Projected hypergradient {norm:.1e}.", k)
            eps *= nu_down**3
            continue
        x, used = moved
        t, eps = used * 10 / 9, eps * nu_up
        objective.record(x)
    return Outcome(x, Status.MAXITER, nit=maxiter)


def omega(h):
    """The bound that decides: rigorous where it is known, else twice the estimate."""
    return h.error_bound if np.isfinite(h.error_bound) else 2 * h.error_estimate


def _accurate(objective, x, eps, eta, tol, down):
    """(eps, Hypergradient) with omega <= (1 - eta) |p|, or as accurate as rounding allows."""
    while True:
        h = hypergradient(objective.problem, x, objective.estimator, y0=objective.lower, tol=eps, **objective.options)
        objective.counts.update(h.cost)
        objective.counts["hypergradients"] += 1
        if np.isfinite(h.lower.y).all():
            objective.lower = h.lower
        size = np.linalg.norm(h.gradient)
        if not np.isfinite(size) or omega(h) <= max((1 - eta) * size, 0.0) or eps <= 1e-14 or not np.isfinite(omega(h)):
            return eps, h
        eps *= down


def _backtrack(objective, x, h, t, eps, rho, backtracks):
    """(x_new, t) or None if no step passes the inexact Armijo test."""
    objective.loosen(eps, None)
    f_y = np.linalg.norm(objective.problem.f_y(x, h.lower.y))
    e = f_y * min(eps, h.residual if np.isfinite(h.residual) else eps) if eps > 1e-14 else 0.0
    for _ in range(backtracks):
        x_new = objective.project(x - t * h.gradient)
        new = objective.evaluate(x_new)
        decrease = rho / t * np.sum((x_new - x) ** 2)
        if np.isfinite(new.objective) and new.objective + e <= h.objective - e - decrease:
            return x_new, t
        t *= 0.5
    return None


maid = OuterMethod("maid", _run, reference="Salehi et al. 2308.10098, alg. 3")

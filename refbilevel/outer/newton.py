"""Newton's method on F with bounds: the second-order hypergradient, projected, with Armijo backtracking.

    (F''_II + tau I) d_I = -F'_I  on the free variables I,    x <- P(x + t d),

tau raised until the matrix is positive definite. F'' by `refbilevel.hessian` (differences of the exact hypergradient, with their error).
Quadratic at a strict minimum with strict complementarity.

Bertsekas, Projected Newton methods, SIAM J. Control Optim. 20, 1982; Nocedal & Wright, alg. 3.3.
"""

from __future__ import annotations

import numpy as np
import scipy.linalg as la

from ..results import Status
from ..second_order import hessian
from .protocol import OuterMethod, Outcome


def _run(objective, x0, *, tol=1e-8, maxiter=500):
    x = x0
    for k in range(maxiter + 1):
        now = objective.record(x)
        if now.projected_norm <= tol:
            return Outcome(x, Status.CONVERGED, nit=k)
        if not np.isfinite(now.gradient).all():
            return Outcome(x, now.status, "No hypergradient here.", k)
        if k == maxiter:
            break
        x_new = _step(objective, x, now)
        if x_new is None:
            return Outcome(x, Status.STALLED, f"Projected hypergradient {now.projected_norm:.1e}.", k)
        x = x_new
    return Outcome(x, Status.MAXITER, nit=maxiter)


def _step(objective, x, now):
    p = now.gradient
    free = ~(((x <= objective.lo) & (p > 0)) | ((x >= objective.hi) & (p < 0)))
    d = np.zeros_like(x)
    H = hessian(objective.problem, x, lower=objective.evaluate(x).lower).value
    d[free] = _solve(H[np.ix_(free, free)], -p[free])
    t = 1.0
    for _ in range(40):
        x_new = objective.project(x + t * d)
        h = objective.evaluate(x_new)
        finite = np.isfinite(h.gradient).all()
        if finite and h.objective <= now.fun + 1e-4 * p @ (x_new - x) and h.objective < now.fun:
            return x_new
        flat = finite and abs(h.objective - now.fun) <= 1e-10 * max(abs(now.fun), 1e-300)  # F says nothing any more; its gradient does
        if flat and objective.projected_norm(x_new, h.gradient) < 0.9 * now.projected_norm:
            return x_new
        t *= 0.5
    return None


def _solve(H, b):
    """(H + tau I)^{-1} b, tau = 0 if H is positive definite."""
    tau, scale = 0.0, max(np.linalg.norm(H), 1e-300)
    while True:
        try:
            return la.cho_solve(la.cho_factor(H + tau * np.eye(len(b))), b)
        except la.LinAlgError:
            tau = max(4 * tau, 1e-3 * scale)


newton = OuterMethod("newton", _run, reference="Bertsekas 1982", classes=("smooth",))

"""The general solver for convex constrained lower levels: semismooth Newton from the start, else interior point; then polish.

1. Newton on the active-set KKT system from y0 (kkt/polish.py): one step or a few where y0 is near, and for most QPs from anywhere.
   A zero natural residual is a proof of optimality for convex g, p and affine q, however it was reached.
2. Otherwise the interior-point method, from a point strictly inside the rows if g is not finite at y0, and polish.
3. If that fails too: a certificate that no y is feasible, or that g is unbounded, or the honest residual.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.optimize import linprog

from .. import kkt
from ..kkt import conditions
from ..kkt.conditions import EPS, dense
from ..kkt.polish import Polished
from ..kkt.units import NEAR_ONE
from ..results import LowerSolution, Status
from .certificates_of_failure import affine, infeasibility, recession
from .interior_point import interior_point
from .protocol import LowerSolver


def _solve(problem, x, y0, *, tol=None, maxiter=None, warm_start=True, hessian=None):
    solution = _in_these_units(problem, x, y0, tol, maxiter, warm_start, hessian)
    if hessian is not None:
        return solution
    c = 1.0
    for _ in range(3):  # the size of g at the start may not be that at the solution
        wanted = _unit(problem, x, y0, solution, c)
        if wanted == c:
            break
        c, start = wanted, solution.y if solution.success else y0
        solution = _in_these_units(kkt.in_units(problem, c), x, start, None, maxiter, warm_start, None)
    return solution if c == 1.0 else _back(problem, x, solution, c, tol)


def _unit(problem, x, y0, solution, c):
    """The unit of g at the solution found with g / c, or at y0 where none was; c itself if that is near enough."""
    at = solution.y if solution.success or c != 1.0 and np.isfinite(solution.y).all() else y0
    wanted = kkt.unit(problem, x, at)
    return c if abs(np.log2(wanted / c)) <= NEAR_ONE else wanted


def _back(problem, x, solution, c, tol):
    """The solution found with g / c: its multipliers and residual are those of g again, and a tol is one on that residual."""
    mu, nu = c * solution.mu, c * solution.nu
    at = kkt.rows(problem, x, solution.y)
    residual = kkt.natural_residual(problem, x, solution.y, mu, nu, at)
    solution = replace(solution, mu=mu, nu=nu, residual=residual, margin=float(np.maximum(mu, -at.p).min(initial=np.inf)))
    if tol is None or not solution.success or residual <= tol:
        return solution
    return replace(solution, status=Status.LOWER_STALLED, detail=f"The KKT residual is {residual:.1e}, rounding of g.")


def _in_these_units(problem, x, y0, tol, maxiter, warm_start, hessian):
    tried = []
    if warm_start and np.isfinite(problem.g_y(x, y0)).all():
        polished = _newton_from(problem, x, y0, hessian)
        tried.append("newton")
        if solved(problem, x, polished, tol):
            return finish(problem, x, polished, "convex", tol, tried, hessian)
    y = y0 if np.isfinite(problem.g_y(x, y0)).all() else _interior(problem, x, y0)
    path = interior_point(problem, x, y, maxiter=150 if maxiter is None else maxiter, hessian=hessian)
    tried.append("interior_point")
    polished = kkt.polish(problem, x, path.y, path.mu, path.nu, hessian=hessian)
    polished = replace(polished, iterations=path.iterations + polished.iterations)
    return finish(problem, x, polished, "convex", tol, tried, hessian)


def _newton_from(problem, x, y0, hessian):
    at = kkt.rows(problem, x, y0)
    mu, nu = conditions.least_squares_multipliers(problem, x, y0, tol=1e-2)  # a warm start may sit a little off its rows
    with np.errstate(all="ignore"):
        return kkt.polish(problem, x, y0, mu, nu, maxiter=25 if at.p.size else 50, hessian=hessian)


def solved(problem, x, polished, tol):
    """The natural residual meets its target; at rounding level, so do the rows and L_y, each in its own units."""
    y, mu, nu = polished.y, polished.mu, polished.nu
    if not polished.residual <= target(problem, x, y, mu, nu, tol):
        return False
    if tol is not None:
        return True
    at = kkt.rows(problem, x, y)
    if not _rows_hold(at, y, mu, np.abs(problem.g_y(x, y)).max()):
        return False
    L_y = np.abs(conditions.stationarity(problem, x, y, mu, nu, at)).max()
    if L_y >= 1e-10:
        return True
    norms = np.concatenate([conditions.row_norms(at.p_y), conditions.row_norms(at.q_y)])
    H = problem.g_yy(x, y) if problem.g_yy is not None else None
    size = np.abs(H).max() if isinstance(H, np.ndarray) and H.size else np.inf
    terms = np.abs(problem.g_y(x, y)).max() + np.abs(problem.g_y(x, y + 1.0)).max() + size * (1 + np.abs(y).max())
    return not np.isfinite(terms) or bool(L_y <= 1e-9 * (terms + np.abs(np.concatenate([mu, nu]) * norms).max(initial=0.0)))


def _rows_hold(at, y, mu, g_y):
    """Feasibility and complementarity in the rows' own units, however large g is: each to 1e-8 of the size of its terms."""
    size = 1e-8 * (1 + np.abs(y).max())
    p_norm, q_norm = conditions.row_norms(at.p_y), conditions.row_norms(at.q_y)
    feasible = (at.p <= size * p_norm).all() and (np.abs(at.q) <= size * q_norm).all()
    price = 1e-8 * (g_y + np.abs(mu * p_norm).max(initial=0.0))
    return bool(feasible and ((-at.p <= size * p_norm) | (mu * p_norm <= price)).all())


def target(problem, x, y, mu, nu, tol):
    """The natural residual that counts as solved: tol, or the rounding level of its terms."""
    if tol is not None:
        return tol
    at = kkt.rows(problem, x, y)
    norms = np.concatenate([conditions.row_norms(at.p_y), conditions.row_norms(at.q_y)])
    curvature = problem.g_yy(x, y) if problem.g_yy is not None else 1.0
    size = np.abs(curvature).max() if isinstance(curvature, np.ndarray) and curvature.size else 1.0
    terms = np.abs(problem.g_y(x, y)).max() + (size + norms.max(initial=0.0)) * (1 + np.abs(y).max())
    terms += np.abs(np.concatenate([mu, nu])).max(initial=0.0) * norms.max(initial=0.0)
    return 100 * EPS * np.sqrt(y.size + norms.size) * terms


def finish(problem, x, polished, method, tol=None, tried=(), hessian=None):
    """The `LowerSolution` of a polished point: its residual, active rows, margin, and what its status honestly is."""
    y, mu, nu = polished.y, polished.mu, polished.nu
    at = kkt.rows(problem, x, y)
    norms = conditions.row_norms(at.p_y)
    margins = np.maximum(mu, -at.p)
    solution = LowerSolution(
        y=y, mu=mu, nu=nu, residual=polished.residual, active=mu * norms > -at.p / norms, margin=float(margins.min(initial=np.inf)),
        iterations=polished.iterations, method=method, residual_before=polished.before, solvers=tuple(tried),
    )  # fmt: skip
    if solved(problem, x, polished, tol):
        return solution if hessian is not None else _checked_minimum(problem, x, solution)
    return _explained(problem, x, solution, tol)


def with_multipliers(problem, x, y, tol):
    """The `LowerSolution` of a y found elsewhere: multipliers by non-negative least squares, the KKT residual measured, y untouched."""
    mu, nu = conditions.least_squares_multipliers(problem, x, y)
    residual = kkt.natural_residual(problem, x, y, mu, nu)
    return finish(problem, x, Polished(y, mu, nu, residual, residual, 0), "own", tol, ("own",))


def as_given(problem, x, lower):
    """A lower solution that is taken as it is, with the multipliers and active rows it lacks: those of the least KKT residual."""
    at = kkt.rows(problem, x, lower.y)
    if lower.mu.size == lower.active.size == at.p.size and lower.nu.size == at.q.size:
        return lower
    c = kkt.unit(problem, x, lower.y)
    scaled = kkt.in_units(problem, c)
    found = [conditions.least_squares_multipliers(scaled, x, lower.y, tol) for tol in (1e-8, 1e-5, 1e-2)]
    mu, nu = min(found, key=lambda z: kkt.natural_residual(scaled, x, lower.y, *z, at))
    active = kkt.active(mu, at)
    mu, nu = c * mu, c * nu
    residual, margin = kkt.natural_residual(problem, x, lower.y, mu, nu, at), float(np.maximum(mu, -at.p).min(initial=np.inf))
    return replace(lower, mu=mu, nu=nu, active=active, residual=residual, margin=margin)


def _checked_minimum(problem, x, solution):
    """A KKT point of a lower level that is not convex may be a saddle."""
    local = kkt.analyse(problem, x, solution) if problem.g_yy is not None and problem.g_xy is not None else None
    if local is None or (local.minimum or local.sets.weak.size) and not local.flat:
        return solution
    if not local.minimum and not local.sets.weak.size:
        detail = f"K has {local.negative} negative eigenvalues for {local.system.A.shape[0]} rows."
        return replace(solution, status=Status.NOT_A_MINIMUM, detail=detail)
    d = kkt.flat_direction(local)
    if d is None:
        return solution
    return replace(solution, status=Status.NONUNIQUE, certificate=d, detail="Along the certificate's direction y moves at no cost.")


def _explained(problem, x, solution, tol):
    """Above its target: infeasible, unbounded, not finite, or only inaccurate."""
    if not np.isfinite(solution.residual):
        return replace(solution, status=Status.NONFINITE, detail="g_y or the constraints were not finite.")
    certificate = infeasibility(problem, x, solution.y)
    if certificate is not None:
        detail = f"Farkas: mu.p + nu.q >= {certificate.gap:.2g} for every y."
        return replace(solution, status=Status.LOWER_INFEASIBLE, certificate=certificate, detail=detail)
    ray = recession(problem, x, solution.y)
    if ray is not None:
        return replace(solution, status=Status.LOWER_UNBOUNDED, certificate=ray, detail="g falls along the ray for ever.")
    return replace(solution, status=Status.LOWER_STALLED, detail=f"The KKT residual is {solution.residual:.1e}.")


def _interior(problem, x, y0):
    """A point strictly inside affine rows: the largest inscribed ball (a linear program), for the domain of g."""
    at = kkt.rows(problem, x, np.zeros(problem.m))
    if not affine(problem, x, np.zeros(problem.m)) or not at.p.size:
        return y0 + 1.0
    G, A, m = dense(at.p_y), dense(at.q_y), problem.m
    norms = np.where(np.linalg.norm(G, axis=1) > 0, np.linalg.norm(G, axis=1), 0.0)
    answer = linprog(
        np.append(np.zeros(m), -1.0), A_ub=np.column_stack([G, norms]), b_ub=-at.p, bounds=[(None, None)] * m + [(0, 1)],
        A_eq=np.column_stack([A, np.zeros(len(A))]) if len(A) else None, b_eq=-at.q if len(A) else None, method="highs-ds",
    )  # fmt: skip
    return answer.x[:m] if answer.status == 0 else y0


convex = LowerSolver(
    name="convex",
    solve=_solve,
    classes=("constrained", "smooth"),
    requires=("g_y", "g_yy"),
    reference="Boyd & Vandenberghe, section 11.7; Hintermueller, Ito & Kunisch 2002",
)

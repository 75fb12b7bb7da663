"""Refinement: a column's x += correction(b - A x) while its true residual at least halves.

This is iterative refinement (Wilkinson 1963; Higham 2002, chapter 12) for the factorisations, and removes the drift of the
recurrences for the Krylov methods. A column is done at
    |b - A x| <= max(rtol |b|, eps (|A| |x| + |b|)),
and the solve counts as converged when |b - A x| <= rtol |b| or <= 10 sqrt(N) eps (|A| |x| + |b|): Rigal & Gaches' backward error, at which
no double x does essentially better. |A| is the largest |A v| / |v| met.
"""

from __future__ import annotations

import math

import numpy as np

from ..results import LinearSolution, Status
from .methods import method_named
from .operators import ASYMMETRY_LIMIT, NonFinite, Watched, length

EPS = float(np.finfo(float).eps)
#: restarts at most; one run reduces the residual by at most REDUCTION, so a few are enough
CYCLES = 12
REDUCTION = 1e-13


class Task:
    """What is to be solved, as columns, with what has been seen of A so far."""

    def __init__(self, A, B, X0, rtol, maxiter, preconditioner):
        self.A, self.B, self.X0, self.rtol, self.maxiter = Watched(A), B, X0, rtol, maxiter
        self.preconditioner = preconditioner
        self.norms = np.linalg.norm(B, axis=0) if B.shape[1] != 1 else np.array((length(B[:, 0]),))


def refine(task, correct, watch=lambda: False):
    """X += correct(B - A X) while a column's residual at least halves and is above its goal."""
    X = np.zeros_like(task.B) if task.X0 is None else np.where(task.norms > 0, task.X0, 0.0)
    R = task.B.copy() if task.X0 is None else task.B - task.A @ X
    norms = np.linalg.norm(R, axis=0)
    active = np.flatnonzero(norms > target(task, X))
    for _ in range(CYCLES):
        if active.size == 0 or watch():
            break
        goals = np.maximum(0.3 * target(task, X[:, active], active), REDUCTION * norms[active])
        D = correct(R[:, active], goals, active)
        trial = X[:, active] + D
        R_trial = task.B[:, active] - task.A @ trial
        after = np.linalg.norm(R_trial, axis=0)
        better, fell = after < norms[active], after < 0.5 * norms[active]
        X[:, active[better]], R[:, active[better]] = trial[:, better], R_trial[:, better]
        norms[active[better]] = after[better]
        active = active[fell]
        active = active[norms[active] > target(task, X[:, active], active)]
    return X


def refine_column(task, solve):
    """`refine` for a single column and a direct factor: (X (N, 1), (|b - A x| / |b|, backward error)), norms taken as they come.

    |A x| >= |b| - |b - A x| puts |A| on record.
    """
    A, b, size = task.A, task.B[:, 0], float(task.norms[0])
    x, r, norm, reach = np.zeros(b.size), b, size, 0.0
    if task.X0 is not None:
        x = task.X0[:, 0]
        r = b - A.times(x)
        norm, reach = finite_length(r), length(x)
    for _ in range(CYCLES):
        if norm <= max(task.rtol * size, EPS * (A.norm * reach + size)):
            break
        trial = x + solve(r)
        left = b - A.times(trial)
        after, before = finite_length(left), norm
        if after < norm:
            x, r, norm, reach = trial, left, after, length(trial)
            A.norm = max(A.norm, (size - norm) / reach) if reach > 0 else A.norm
        if not after < 0.5 * before:
            break
    return x[:, None], (norm / size, norm / (A.norm * reach + size))


def finite_length(r):
    """|r| of a residual, NonFinite where a product was."""
    size = length(r)
    if not math.isfinite(size):
        raise NonFinite("a product with A is not finite")
    return size


def target(task, X, columns=slice(None)):
    """The residual below which a column is done: its tolerance, or one unit of backward error."""
    return np.maximum(task.rtol * task.norms[columns], EPS * (task.A.norm * np.linalg.norm(X, axis=0) + task.norms[columns]))


def recomputed(task, X):
    """(max |b - A x| / |b|, max backward error) over the columns, recomputed."""
    norms = np.linalg.norm(task.B - task.A @ X, axis=0)
    live = task.norms > 0
    relative = np.max(norms[live] / task.norms[live])
    backward = np.max(norms / (task.A.norm * np.linalg.norm(X, axis=0) + np.where(live, task.norms, 1.0)))
    return float(relative), float(backward)


def judged(task, X, method, iterations, condition, status, detail, negative, skew, factor=None, hit=False, seen=None):
    """The LinearSolution; without a `status` from the method, the recomputed residual decides (`seen`: as `recomputed` gives it)."""
    residual, backward = seen or recomputed(task, X)
    met = residual <= task.rtol or backward <= 10.0 * EPS * math.sqrt(X.shape[0])
    if status is None and not met:
        asymmetric = method_named(method).symmetric and skew > ASYMMETRY_LIMIT
        status = Status.NONSYMMETRIC if asymmetric else Status.LINEAR_MAXITER if hit else Status.LINEAR_BREAKDOWN
        detail = f"Relative residual {residual:.1e} after {iterations} iterations. {detail or ''}".strip()
    if skew > ASYMMETRY_LIMIT:
        detail = f"{detail or ''} A is not symmetric (|A - A'| = {skew:.1e} |A|).".strip()
    return LinearSolution(
        X, residual, iterations, task.A.matvecs, condition, status or Status.CONVERGED, detail or "", method, factor, negative
    )

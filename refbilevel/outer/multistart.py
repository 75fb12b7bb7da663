"""Several starts of a local method: x0 first, then random points in the bounds; the best re-checked point is kept, all are listed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import ArgumentError, BilevelError
from ..results import Status

#: what ends one start and not the others; its message is kept in the list of starts
FAILURES = (BilevelError, ArithmeticError, np.linalg.LinAlgError)


@dataclass(frozen=True, eq=False)
class Start:
    """One start: where it began and ended, F there, and the re-check's verdict."""

    x0: np.ndarray
    x: np.ndarray
    fun: float
    status: Status
    residual: float
    message: str = ""


def start_points(problem, count, rng, bounds=None):
    """Random x: uniform where the bounds are finite, else normal of standard deviation 3 about the nearer bound (or zero)."""
    bounds = problem.bounds if bounds is None else bounds
    lo, hi = bounds if bounds is not None else (np.full(problem.n, -np.inf), np.full(problem.n, np.inf))
    both = np.isfinite(lo) & np.isfinite(hi)
    base = np.clip(0.0, lo, hi)
    for _ in range(count):
        free = np.clip(base + 3.0 * rng.standard_normal(problem.n), lo, hi)
        yield np.where(both, rng.uniform(np.where(both, lo, 0.0), np.where(both, hi, 1.0)), free)


def best_of(points, run):
    """The best result of `run(x0)` over the points, with `.starts` set; raises what `run` raised if every start failed."""
    results, starts, failure = [], [], None
    for x0 in points:
        try:
            result = run(x0)
        except FAILURES as error:
            failure = error
            nothing = np.full(len(x0), np.nan)
            starts.append(Start(x0, nothing, np.nan, Status.NONFINITE, np.nan, str(error)))
            continue
        results.append(result)
        starts.append(Start(x0, result.x, float(result.fun), result.status, float(result.residual), result.message))
        if result.status is Status.STOPPED:
            break
    if not results:
        raise failure or ArgumentError("there was no start")
    best = min(results, key=rank)
    ties = [r for r in results if r.accepted == best.accepted and abs(r.fun - best.fun) <= 1e-9 * (1 + abs(best.fun))]
    best = min(ties, key=lambda r: (not r.success, r.fun)) if ties else best
    best.starts = tuple(starts)
    return best


def rank(result):
    """Accepted points first, then the lower F; what is not finite comes last."""
    finite = np.isfinite(result.fun) and np.isfinite(result.x).all() and np.isfinite(result.y).all()
    return not finite, not result.accepted, result.fun if finite else 0.0

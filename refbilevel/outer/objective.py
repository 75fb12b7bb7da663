"""The upper objective F(x) = f(x, y*(x)) as outer methods see it: evaluated once a point, counted, remembered, interruptible.

Each evaluation warm-starts the lower solve from the last one (its y, and its factor where the solver can use it), and an implicit
adjoint from the last v. `tolerance` is the lower residual asked for, `rtol` the adjoint's (None: to rounding); methods loosen them
far from a solution and tighten them as they converge.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np

from ..driver import NO_ANSWER, hypergradient, kind
from ..lower.solve import solve_lower, start_of
from ..results import Status


class Stop(Exception):
    """Raised by the objective when the callback asks to stop or an interrupt arrives."""


@dataclass(frozen=True, eq=False)
class Iterate:
    """What a callback receives (as `intermediate_result`)."""

    nit: int
    x: np.ndarray
    y: np.ndarray
    fun: float
    gradient: np.ndarray
    projected_norm: float
    error_estimate: float
    status: Status


class Objective:
    """F and its hypergradient for an outer method; `history` holds one Iterate an accepted step."""

    def __init__(self, problem, estimator="auto", options=None, bounds=None, callback=None, tolerance=None, y0=None):
        self.problem, self.estimator, self.options = problem, estimator, dict(options or {})
        n = problem.n
        self.lo, self.hi = bounds if bounds is not None else (np.full(n, -np.inf), np.full(n, np.inf))
        self.callback, self.tolerance, self.rtol = callback, tolerance, None
        self.history, self.counts, self.lower, self.start = [], Counter(), y0, start_of(y0, problem.m)[0]
        self._last, self._warm = None, {}
        self._implicit = estimator in ("auto", "implicit") and kind(problem) == "smooth"

    def loosen(self, tolerance, rtol):
        """Solve the lower level to `tolerance` and an implicit adjoint to `rtol` from here on (None: to rounding).

        The last answer still serves at its point if it was as accurate as that.
        """
        if (tolerance or 0.0) < (self.tolerance or 0.0) or (rtol or 0.0) < (self.rtol or 0.0):
            self._last = None
        self.tolerance, self.rtol = tolerance, rtol if self._implicit else None

    def project(self, x):
        return np.clip(x, self.lo, self.hi)

    def projected_norm(self, x, gradient):
        """|P(x - gradient) - x|_inf: zero exactly at a stationary point under bounds."""
        return float(np.abs(self.project(x - gradient) - x).max())

    def evaluate(self, x):
        """The `Hypergradient` at x; one solve a point."""
        if self._last is not None and np.array_equal(self._last.x, x):
            return self._last
        options = {**self._warm, **({} if self.rtol is None else {"rtol": self.rtol}), **self.options}
        result = hypergradient(self.problem, x, self.estimator, y0=self.lower, tol=self.tolerance, diagnostics=False, **options)
        self.counts.update(result.cost)
        self.counts["hypergradients"] += 1
        if np.isfinite(result.lower.y).all():
            self.lower = result.lower
        if self._implicit and result.success:
            self._warm = {"v0": result.adjoint}
        self._last = result
        return result

    def value(self, x):
        """F(x) alone, inf where the lower level has no solution: for line searches that need no gradient at a trial."""
        if self._last is not None and np.array_equal(self._last.x, x):
            return self(x)[0]
        x = np.asarray(x, float)
        lower = solve_lower(self.problem, x, y0=self.lower, tol=self.tolerance)
        self.counts["lower_solves"] += 1
        if not np.isfinite(lower.y).all() or lower.status in NO_ANSWER:
            return np.inf
        F = float(self.problem.f(x, lower.y))
        return F if np.isfinite(F) else np.inf

    def examined(self, x):
        """The `Hypergradient` at x to rounding, with its diagnostics; a lower solution just found there serves an implicit estimator."""
        self.loosen(None, None)
        known = self._implicit and self._last is not None and np.array_equal(self._last.x, x)
        options = {**self._warm, **self.options}
        return hypergradient(self.problem, x, self.estimator, y0=self.lower, lower=self._last.lower if known else None, **options)

    def __call__(self, x):
        """(F, gradient), as SciPy wants it; F is inf where the lower level has no solution, so that line searches back off."""
        result = self.evaluate(np.asarray(x, float))
        if not np.isfinite(result.objective) or not np.isfinite(result.gradient).all():
            return np.inf, np.zeros_like(result.x)
        return result.objective, result.gradient

    def record(self, x):
        """Append the accepted point to the history and tell the callback; returns the Iterate."""
        h = self.evaluate(np.asarray(x, float))
        iterate = Iterate(
            len(self.history), h.x, h.lower.y, h.objective, h.gradient, self.projected_norm(h.x, h.gradient), h.error_estimate, h.status
        )
        self.history.append(iterate)
        if self.callback is not None:
            try:
                asked = self.callback(iterate)
            except StopIteration:
                asked = True
            if asked:
                raise Stop("The callback asked to stop.")
        return iterate

"""Solution maps of nonsmooth lower levels: solve, find the support, differentiate on it.

At a solution the coordinates split into free ones S (off kinks and bounds) and fixed ones. Where the split is strict, it holds
in a neighbourhood of x, and y_S solves the smooth equations r_S(x, y) = 0, so that
    A dy_S = -dr_S[dx, dy_fixed],   A = dr_S/dy_S;        vjp: A v = y_bar_S,  x_bar = -(dr_S/dx)' v + (dy_fixed/dx)' (...).
margin = min_j max(how far y_j is off its kink or bound, how slack the kink's or bound's inequality is), in units of the
gradient; at margin ~ 0 the map has a kink and the status is "degenerate": `adjoint` gives one Clarke element, `branches` all choices
of which weakly held coordinates are free.
Exact away from kinks. Bertrand et al., "Implicit differentiation for fast hyperparameter selection in non-smooth convex
learning" (arXiv 2105.01637), Theorem 3.

A concrete map offers `_solve(x, y0, tol) -> (y, SupportFactor, residual, margin, scale, iterations)`, `free_matrix(x, y, free)`,
`stationarity(x, y) -> (m,)` (r on the free coordinates), `pull(x, y, free, v, y_bar) -> x_bar` and `push(x, y, free, dx) ->
(right-hand side (|S|,), dy of the fixed (m,))`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.sparse.linalg import LinearOperator

from ..kernels.coordinate import gauss_seidel
from ..linear import Factor, factorize, solve
from ..results import LinearSolution, LowerSolution, Status

EPS = np.finfo(float).eps
#: a margin below this fraction of the problem's gradient scale counts as a kink
KINK = 1e-11
#: the branches at a kink are listed for at most so many weakly held coordinates (2^10 of them)
MOST_WEAK = 10


@dataclass(frozen=True, eq=False)
class SupportFactor:
    """The free coordinates and the factor of A on them; kept in LowerSolution.factor."""

    free: np.ndarray
    factor: Factor | None


def factored(free, A):
    """The SupportFactor of A on the coordinates `free`."""
    return SupportFactor(free, factorize(A, "cholesky") if free.size else None)


class ProximalMap:
    """`solution_map` of a BilevelProblem: solve, vjp, jvp, adjoint. `quadratic`: A depends on y through the support alone."""

    quadratic = False

    def solve(self, x, y0=None, tol=None):
        """LowerSolution at x; `active` marks the coordinates held at a kink or bound, `margin` is their strictness."""
        start = np.zeros(self.m) if y0 is None else np.array(y0, np.float64)
        with np.errstate(over="ignore"):
            finite = np.isfinite(np.exp(x)).all()
        if not finite:
            return LowerSolution(y=start, status=Status.NONFINITE, detail="exp(x) overflows.", method="lasso_support")
        y, support, residual, margin, scale, iterations = self._solve(x, start, tol)
        status, detail = self._status(support, residual, margin, scale, tol)
        active = np.ones(self.m, bool)
        active[support.free] = False
        return LowerSolution(
            y=y, residual=float(residual), active=active, margin=float(margin), iterations=iterations, status=status, detail=detail,
            method="lasso_support", factor=support,
        )  # fmt: skip

    def _factor(self, x, y, free):
        return factored(free, self.free_matrix(x, y, free))

    def _status(self, support, residual, margin, scale, tol):
        limit = 1e-9 * scale if tol is None else max(tol, 100 * EPS * scale)
        if residual > limit:
            return Status.LOWER_STALLED, f"KKT residual {residual:.1e}."
        if support.factor is not None and (support.factor.singular or support.factor.negative or support.factor.condition > 1 / EPS):
            return Status.NONUNIQUE, f"The Hessian on the {support.free.size} free coordinates is singular."
        if margin <= KINK * scale:
            return Status.DEGENERATE, f"Margin {margin:.1e}: a coordinate is about to leave its kink or bound."
        return Status.CONVERGED, ""

    def _support(self, x, lower):
        if isinstance(lower.factor, SupportFactor):
            return lower.factor
        return self._factor(x, lower.y, self.free(x, lower.y))

    def corrected(self, x, lower):
        """The LowerSolution one Newton step on r_S = 0 on; None where that step leaves the piece on which the map is smooth."""
        if not isinstance(lower.factor, SupportFactor) or lower.factor.factor is None:
            return lower
        free, y = lower.factor.free, lower.y.copy()
        r = self.stationarity_on(x, y, free)
        y[free] -= solve(lower.factor.factor.matrix, r, factor=lower.factor.factor).x
        if not np.isfinite(y).all() or not np.array_equal(self.free(x, y), free):
            return None
        factor = lower.factor if self.quadratic else self._factor(x, y, free)
        return replace(lower, y=y, residual=float(np.linalg.norm(self.stationarity_on(x, y, free))), factor=factor)

    def stationarity_on(self, x, y, free):
        """`stationarity` on the free coordinates, (|S|,)."""
        return self.stationarity(x, y)[free]

    def _adjoint_solve(self, x, y, support, b, linear):
        if b.size == 0:
            return LinearSolution(b, 0.0, method=linear or "cholesky")
        if linear in (None, "auto", "cholesky"):
            return solve(support.factor.matrix, b, factor=support.factor)
        if linear == "sweeps":
            v, sweeps = gauss_seidel(np.ascontiguousarray(support.factor.matrix), b, 1e-14 * np.linalg.norm(b), 100_000)
            residual = float(np.linalg.norm(b - support.factor.matrix @ v) / max(np.linalg.norm(b), 1e-300))
            status = Status.CONVERGED if residual <= 1e-12 else Status.LINEAR_MAXITER
            return LinearSolution(v, residual, sweeps, condition=support.factor.condition, status=status, method="sweeps")
        return solve(self.free_operator(x, y, support.free), b, linear)

    def free_operator(self, x, y, free):
        """A as products only."""
        matrix = self.free_matrix(x, y, free)
        return LinearOperator(matrix.shape, matvec=lambda v: matrix @ v, rmatvec=lambda v: matrix.T @ v, dtype=np.float64)

    def adjoint(self, x, lower, y_bar, *, linear=None):
        """((dy/dx)' y_bar (n,), LinearSolution): linear "cholesky" (default), "sweeps", or a Krylov method on products."""
        support = self._support(x, lower)
        solution = self._adjoint_solve(x, lower.y, support, y_bar[support.free], linear)
        if lower.status is Status.DEGENERATE and solution.success:
            solution = replace(solution, status=Status.DEGENERATE, detail=lower.detail)
        return self.pull(x, lower.y, support.free, solution.x, y_bar), solution

    def reads(self, x, lower):
        """The indices of the entries of y_bar that `adjoint` reads, or None for all."""
        if lower.status is Status.DEGENERATE or not isinstance(lower.factor, SupportFactor):
            return None
        return np.append(lower.factor.free, self._bound(x, lower.y))

    def _bound(self, x, y):
        """The indices of the coordinates held at a bound that moves with x."""
        return np.zeros(0, int)

    def vjp(self, x, lower, y_bar, *, linear=None):
        """(dy/dx)' y_bar, (n,)."""
        return self.adjoint(x, lower, np.asarray(y_bar, np.float64), linear=linear)[0]

    def jvp(self, x, lower, dx, *, linear=None):
        """dy/dx dx, (m,)."""
        support = self._support(x, lower)
        rhs, dy = self.push(x, lower.y, support.free, np.asarray(dx, np.float64))
        dy[support.free] = self._adjoint_solve(x, lower.y, support, rhs, linear).x
        return dy

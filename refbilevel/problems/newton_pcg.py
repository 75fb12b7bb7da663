"""Newton-PCG for linear and multinomial models: the lower solver whose machinery the adjoint uses again.

    H s = -r,  r = g_y, H = g_yy = L_yy + diag(c);   y <- y + t s.

Inexact steps by Eisenstat and Walker's second choice (SIAM J. Sci. Comput. 17, 1996): |H s + r| <= eta |r| with
eta = 0.9 (|r| / |r_before|)^2. The preconditioner is the diagonal of H, until the iterations seen so far say that the rest would
cost more than forming H in float32: then its Cholesky factor (at the present y) serves every later step and the adjoint, at
about three iterations each. Rounding in it costs iterations, never digits: residuals are float64. A solve that resumes from the solution
at a nearby x starts with the L_yy formed there and the present c, and forms another one by the same count of iterations.

Acceptance: with `tol`, |r| <= tol min(1, mu), mu the smallest c, so that |y - y*| <= |r| / mu <= tol; where rounding forbids that,
and with tol=None, Newton goes on until |r| stops falling.

Small models (`model.dense`) take the Cholesky factor of the explicit H in every step instead, and leave that to the adjoint.

A model offers `evaluate(x, y) -> (g, g_y, weights)`, `curvature(x) -> c`, `diagonal(weights)`, `matrix(weights, c) -> H`,
`gram_float32(weights) -> L_yy` (of all classes, for softmax), `rounded` (its data in float32, or None), `factor_cost` (of that and its factor, in Hessian products), `factor_first`,
`threads` and `dense`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..linear import factorize
from ..results import LowerSolution, Status
from ..threads import numba_owns_threads
from .hessian_factor import NO_MATRIX, HessianFactor, cholesky_float32

@dataclass(frozen=True, eq=False)
class ModelSolver:
    """The `lower_solver` of a model's problem: (x, y0, tol) -> LowerSolution, and `resume` from the one at a nearby x."""

    model: object

    def __call__(self, x, y0=None, tol=None):
        return self.model.solve(x, y0, tol)

    def resume(self, x, near, tol=None):
        return self.model.solve(x, near.y, tol, factor=near.factor)


def newton_pcg(model, x, y0, tol=None, maxiter=100, factor=None):
    """y*(x) of the model from y0; LowerSolution.factor is the factor of H at y*, for the adjoint.

    `factor` is the one of a solution at a nearby x, whose L_yy makes the first preconditioner here.
    """
    gram = factor.gram if isinstance(factor, HessianFactor) else NO_MATRIX
    if model.dense:
        return _iterate(model, x, np.array(y0, np.float64), tol, maxiter, gram)
    with numba_owns_threads():
        return _iterate(model, x, np.array(y0, np.float64), tol, maxiter, gram)


def _iterate(model, x, y, tol, maxiter, gram):
    c = model.curvature(x)
    if not np.isfinite(c).all():
        return _solution(y, np.nan, 0, Status.NONFINITE, f"The penalty overflows at x[{int(np.argmax(x))}].", None)
    value, r, weights = model.evaluate(x, y)
    start = norm = before = np.linalg.norm(r)
    if not np.isfinite(norm + value):
        return _solution(y, norm, 0, Status.NONFINITE, "g or g_y is not finite at the start.", None)
    target = 0.0 if tol is None else tol * min(1.0, c.min())
    spent, digits, inverse, kept = 0, 0.0, None, gram.shape[0] > 0
    L = cholesky_float32(gram, c) if kept else NO_MATRIX
    for k in range(maxiter + 1):
        if not model.dense and (kept or L.shape[0] == 0) and _worth_factoring(model, spent, digits, norm, start, target, kept):
            gram, kept = model.gram_float32(weights), False
            L = cholesky_float32(gram, c)
        if inverse is None or norm > 0.01 * start:  # later the weights hardly change
            inverse = None if model.dense or L.shape[0] else 1.0 / (model.diagonal(weights) + c)
        factor = _factor(model, weights, c, L, gram, inverse)
        if norm <= target or norm == 0.0:
            return _solution(y, norm, k, Status.CONVERGED, "", factor)
        if k == maxiter:
            break
        eta = min(0.1, max(0.9 * (norm / before) ** 2 if k else 0.1, 0.3 * target / norm, 1e-6))
        s, inner, reached = _step(factor, r, eta * norm)
        spent, digits = spent + inner, digits + np.log10(norm / max(reached, 1e-300))
        t, trial = _line_search(model, x, y, value, r, s)
        if t == 0.0 or _at_rounding(norm, np.linalg.norm(trial[1]), s, y, start):
            if t and np.linalg.norm(trial[1]) < norm:
                y, (value, r, weights) = y + t * s, trial
                norm, factor = np.linalg.norm(r), _factor(model, weights, c, L, gram, inverse)
            return _stalled(y, norm, k, tol, start, c, factor)
        y, before = y + t * s, norm
        value, r, weights = trial
        norm = np.linalg.norm(r)
    return _solution(y, norm, maxiter, Status.LOWER_MAXITER, f"|g_y| = {norm:.1e}.", factor)


def _worth_factoring(model, spent, digits, norm, start, target, kept):
    """The factor costs fewer products than the present preconditioner still needs, and y is near enough for it to serve.

    (For softmax it is exact at y = 0 and later no better than that one, so it is formed first, `factor_first`, and once.)
    Ahead lie the digits of |r| down to the target (or rounding), and some 12 of the adjoint. One `kept` from a nearby x is near enough.
    """
    if model.factor_first:
        return model.factor_cost < np.inf and not kept
    if not kept and norm > 0.02 * start or digits < 1.0:
        return False
    ahead = 12.0 + np.log10(norm / max(target, 1e-15 * start))
    return ahead * (spent / digits - 0.6) > model.factor_cost


def _step(factor, r, goal):
    """(s, iterations, |H s + r|)."""
    if isinstance(factor, HessianFactor):
        return factor.run(-r, goal, 20 * len(r) + 100)
    return -factor.solve(r), 0, 0.0


def _factor(model, weights, c, L, gram, inverse):
    if model.dense:
        return factorize(model.matrix(weights, c))
    return HessianFactor(weights, c, c if inverse is None else inverse, L, gram, model.rounded, model.threads)


def _line_search(model, x, y, value, r, s):
    """Armijo on g; where rounding hides differences of g, a smaller |g_y| serves. (0, None) if no step helps."""
    slope, norm, t = r @ s, np.linalg.norm(r), 1.0
    for _ in range(40):
        trial = model.evaluate(x, y + t * s)
        if trial[0] - value <= 1e-4 * t * slope:
            return t, trial
        if abs(t * slope) <= 1e-8 * abs(value) and np.linalg.norm(trial[1]) < norm:
            return t, trial
        t *= 0.5
    return 0.0, None


def _at_rounding(norm, after, s, y, start):
    """A Newton step that no longer halves |r| although it is tiny."""
    return after > 0.5 * norm and np.linalg.norm(s) <= 1e-7 * np.linalg.norm(y) + 1e-300 or after > 0.5 * norm and norm <= 1e-10 * start


def _stalled(y, norm, k, tol, start, c, factor):
    reached = norm <= tol if tol is not None else norm <= 1e-8 * (start + np.linalg.norm(c * y))
    status = Status.CONVERGED if reached else Status.LOWER_STALLED
    return _solution(y, norm, k, status, "" if reached else f"|g_y| = {norm:.1e}.", factor)


def _solution(y, norm, k, status, detail, factor):
    return LowerSolution(y=y, residual=float(norm), iterations=k, status=status, detail=detail, method="newton_pcg", factor=factor)

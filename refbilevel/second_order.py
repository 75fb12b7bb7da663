"""Second derivatives of F(x) = f(x, y*(x)): F'' d and F'' itself.

Along d, with e = dy = -g_yy^{-1} g_xy^T d and the adjoint g_yy v = f_y, differentiating grad F = f_x - g_xy v gives

    g_yy w = D f_y - (D g_yy) v,        F'' d = D f_x - (D g_xy) v - g_xy w,        D = d/dt along (x + t d, y + t e).

Two linear solves with the matrix already factored. D f_y, D f_x come from f_xx, f_xy, f_yy where they are given, and the third-order
products (D g_yy) v, (D g_xy) v from `third(x, y, dx, dy, v) -> ((m,), (n,))` where it is; else each is a central difference of the
oracle itself along the direction, sixth order, at two steps, whose disagreement is the error estimate. Nothing is re-solved, so no
solver noise is differenced: about 11 digits, and 15 where g is quadratic. Exact at y*.

Alesiani, Implicit bilevel optimization (BiGrad), AAAI 2023, gives the same blocks as F_x - F_y g_yy^{-1} g_xy^T.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse.linalg import LinearOperator

from .linear import factorize, solve
from .lower.solve import solve_view
from .problem import as_vector, counted
from .results import LowerSolution, Status, _Outcome

#: relative steps of the two differences
STEPS = (2e-2, 1e-2)


@dataclass(frozen=True, eq=False)
class SecondOrder(_Outcome):
    """`value`: F'' d (n,) or F'' (n, n); `error_estimate` its 2-norm error, from differences at two steps (0: oracles only)."""

    value: np.ndarray
    error_estimate: float
    gradient: np.ndarray
    lower: LowerSolution
    status: Status = Status.CONVERGED
    detail: str = ""


class _Point:
    """Everything at (x, y*) that does not depend on the direction."""

    def __init__(self, problem, x, y, linear, third):
        self.problem, self.x, self.y, self.third, self.linear = problem, x, y, third, linear
        self.H, self.g_xy, self.f_x = problem.g_yy(x, y), problem.g_xy(x, y), problem.f_x(x, y)
        self.factor = None if isinstance(self.H, LinearOperator) or linear != "auto" else factorize(self.H)
        self.status, self.detail = Status.CONVERGED, ""
        self.v = self.solve(problem.f_y(x, y))
        self.gradient = self.f_x - self.g_xy @ self.v

    def solve(self, b):
        solution = solve(self.H, b, self.linear, factor=self.factor)
        if self.status.success and (not solution.success or solution.negative):
            self.status = Status.NOT_A_MINIMUM if solution.negative else solution.status
            self.detail = solution.detail
        return solution.x

    def product(self, d):
        """(F'' d, error estimate): the differences at two steps."""
        dy = -self.solve(np.asarray(self.g_xy.T @ d))
        size = np.sqrt(d @ d + dy @ dy)
        scale = (1.0 + np.sqrt(self.x @ self.x + self.y @ self.y)) / (size * np.sqrt(1.0 + d.size + dy.size)) if size > 0 else 1.0
        coarse, fine = (self._product(d, dy, h * scale) for h in STEPS)
        return fine, float(np.linalg.norm(fine - coarse))

    def _product(self, d, dy, h):
        D_f_x, D_f_y = self._upper("f_xx", "f_xy", "f_x", d, dy, h, False), self._upper("f_xy", "f_yy", "f_y", d, dy, h, True)
        bend_y, bend_x = self._third(d, dy, h)
        return D_f_x - bend_x - np.asarray(self.g_xy @ self.solve(D_f_y - bend_y))

    def _upper(self, by_x, by_y, oracle, d, dy, h, transposed):
        """Derivative of f_x or f_y along (d, dy)."""
        problem, x, y = self.problem, self.x, self.y
        if problem.has(by_x, by_y):
            A = getattr(problem, by_x)(x, y)
            return np.asarray((A.T if transposed else A) @ d + getattr(problem, by_y)(x, y) @ dy)
        return _along(lambda t: getattr(problem, oracle)(x + t * d, y + t * dy), h)

    def _third(self, d, dy, h):
        """((D g_yy) v, (D g_xy) v)."""
        problem, x, y, v = self.problem, self.x, self.y, self.v
        if self.third is not None:
            return self.third(x, y, d, dy, v)
        return (
            _along(lambda t: np.asarray(problem.g_yy(x + t * d, y + t * dy) @ v), h),
            _along(lambda t: np.asarray(problem.g_xy(x + t * d, y + t * dy) @ v), h),
        )


def _along(phi, h):
    """phi'(0) by sixth-order central differences."""
    return (45 * (phi(h) - phi(-h)) - 9 * (phi(2 * h) - phi(-2 * h)) + (phi(3 * h) - phi(-3 * h))) / (60 * h)


def _prepared(problem, x, lower, y0, linear, third):
    view, _ = counted(problem)
    x = as_vector(x, problem.n, "x")
    view.needs("f_x", "f_y", "g_y", "g_yy", "g_xy", purpose="the second-order hypergradient")
    if lower is None:
        start = np.zeros(problem.m) if y0 is None else as_vector(y0, problem.m, "y0")
        lower = solve_view(view, x, "auto", start, None, None, {})
    return _Point(view, x, lower.y, linear, third), lower


def _outcome(value, error, point, lower):
    for status, detail in ((lower.status, lower.detail), (point.status, point.detail)):
        if not status.success:
            return SecondOrder(value, error, point.gradient, lower, status, detail)
    return SecondOrder(value, error, point.gradient, lower)


def hessian_vector_product(problem, x, d, *, lower=None, y0=None, linear="auto", third=None):
    """F''(x) d for an unconstrained smooth lower level.

    Parameters
    ----------
    problem : BilevelProblem
    x, d : (n,) array_like
    lower : LowerSolution, optional
    linear : str
    third : callable (x, y, dx, dy, v) -> ((m,), (n,)), optional
        d/dt of g_yy(x + t dx, y + t dy) v and of g_xy(x + t dx, y + t dy) v at t = 0.

    Returns
    -------
    SecondOrder
        `.value` (n,), `.error_estimate`, `.gradient`, `.status`.
    """
    point, lower = _prepared(problem, x, lower, y0, linear, third)
    value, error = point.product(as_vector(d, problem.n, "d"))
    return _outcome(value, error, point, lower)


def hessian(problem, x, *, lower=None, y0=None, linear="auto", third=None):
    """F''(x) (n, n), symmetrised, from n products; the asymmetry found enters the error estimate. Arguments as above."""
    point, lower = _prepared(problem, x, lower, y0, linear, third)
    pairs = [point.product(e) for e in np.eye(problem.n)]
    columns, errors = np.column_stack([p[0] for p in pairs]), [p[1] for p in pairs]
    skew = 0.5 * np.linalg.norm(columns - columns.T)
    return _outcome(0.5 * (columns + columns.T), float(max(np.linalg.norm(errors), skew)), point, lower)

"""Auxiliary lower problems: the lower level with some of the upper objective added, solved from y*.

    nudged      min_y  g(x, y) + beta f(x, y)                                      beta of either sign
    penalised   min_y  f(x, y) + nu . g_y(x, y) + rho/2 |g_y(x, y)|^2

The first is equilibrium propagation's second phase, and with beta = 1/gamma the value-function penalty's; the second is the
gradient-norm penalty (nu = 0) and the augmented Lagrangian. Its gradient is f_y + g_yy w, w = nu + rho g_y, its Hessian
f_yy + rho g_yy^2 + D_y[g_yy w]; the last term, and f_yy where it is not given, are central differences along the direction
asked for, so no third derivative is needed. They steer Newton's method only: where it ends is decided by the exact gradient.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import LinearOperator

from ..linear import solve
from ..problem import BilevelProblem
from ..results import Status
from .solve import solve_view

EPS = np.finfo(float).eps
#: relative step of the central differences inside Hessian products, eps^(1/3)
STEP = 6e-6


#: a difference quotient whose noise exceeds this part of the answer, beyond the best step, is not silently returned
NOISE_LIMIT = 1e-6


def noise(problem, x, y):
    """Relative error of an equilibrium y: |g_y| against |g_y| one unit away from it, at least rounding."""
    far = np.linalg.norm(problem.g_y(x, y + 1.0))
    return float(np.clip(np.linalg.norm(problem.g_y(x, y)) / far if far > 0 else EPS, EPS, 0.1))


def drowned(name, weight, delta, size, answer):
    """A sentence if `weight` times the error delta * size drowns the answer, far beyond the best weight delta^(-1/2); else None."""
    best = delta**-0.5
    if weight <= 10 * best or weight * delta * np.linalg.norm(size) <= NOISE_LIMIT * np.linalg.norm(answer):
        return None
    return f"{name} = {weight:.1e} times the error of the equilibrium drowns the difference; suggested {name} {best:.1e}."


def nudged(problem, beta):
    """The problem whose lower objective is g + beta f; its g_x is that of the sum, the direct term included."""

    def total(first, second):
        return lambda x, y: first(x, y) + beta * second(x, y)

    return BilevelProblem(
        n=problem.n,
        m=problem.m,
        g=total(problem.g, problem.f) if problem.has("g", "f") else None,
        g_x=total(problem.g_x, problem.f_x) if problem.has("g_x", "f_x") else None,
        g_y=total(problem.g_y, problem.f_y),
        g_yy=_nudged_hessian(problem, beta) if problem.has("g_yy") else None,
        constants=_nudged_constants(problem.constants, beta),
    )


def _nudged_constants(constants, beta):
    """Curvature bounds of the sum: L grows by |beta| L_f."""
    if not constants or not {"L", "L_f"} <= set(constants):
        return None
    return {"L": constants["L"] + abs(beta) * constants["L_f"]}


def _nudged_hessian(problem, beta):
    def g_yy(x, y):
        H = problem.g_yy(x, y)
        if problem.f_yy is not None:
            D = problem.f_yy(x, y)
            if isinstance(H, LinearOperator) or isinstance(D, LinearOperator):
                return _operator(y.size, lambda p: H @ p + beta * (D @ p))
            return _array(H) + beta * _array(D)
        if isinstance(H, np.ndarray) and y.size <= 200:
            D = np.column_stack([along(problem.f_y, x, y, e) for e in np.eye(y.size)])
            return H + beta * 0.5 * (D + D.T)
        return _operator(y.size, lambda p: H @ p + beta * along(problem.f_y, x, y, p))

    return g_yy


def _array(A):
    return A.toarray() if sparse.issparse(A) else A


def along(oracle, x, y, p):
    """d/dt oracle(x, y + t p) at t = 0, by central differences."""
    size = np.linalg.norm(p)
    if size == 0:
        return np.zeros_like(oracle(x, y))
    h = STEP * (1.0 + np.linalg.norm(y)) / size
    return (oracle(x, y + h * p) - oracle(x, y - h * p)) / (2 * h)


def _operator(m, matvec):
    return LinearOperator((m, m), matvec=lambda p: matvec(np.ravel(p)), rmatvec=lambda p: matvec(np.ravel(p)), dtype=np.float64)


def penalised(problem, nu, rho):
    """The problem whose lower objective is f + nu . g_y + rho/2 |g_y|^2 (its g_x is left out)."""

    def weights(x, y):
        return nu + rho * problem.g_y(x, y)

    def g(x, y):
        r = problem.g_y(x, y)
        return problem.f(x, y) + nu @ r + 0.5 * rho * (r @ r)

    def g_y(x, y):
        return problem.f_y(x, y) + problem.g_yy(x, y) @ weights(x, y)

    def g_yy(x, y):
        H, w = problem.g_yy(x, y), weights(x, y)

        def product(p):
            bend = along(lambda x, y: problem.g_yy(x, y) @ w, x, y, p)
            f_yy_p = problem.f_yy(x, y) @ p if problem.f_yy is not None else along(problem.f_y, x, y, p)
            return f_yy_p + rho * (H @ (H @ p)) + bend

        if isinstance(H, np.ndarray) and y.size <= 200:
            columns = np.column_stack([product(e) for e in np.eye(y.size)])
            return 0.5 * (columns + columns.T)
        return _operator(y.size, product)

    return BilevelProblem(n=problem.n, m=problem.m, g=g if problem.has("f") else None, g_y=g_y, g_yy=g_yy)


def solve_auxiliary(auxiliary, x, y0, lower_method="auto", tol=None):
    """Its LowerSolution from y0; where negative curvature is why it failed, or where it ended, the status is NUDGE_TOO_LARGE."""
    with np.errstate(over="ignore", invalid="ignore"):  # a problem without a minimum runs away, and is told by its status
        solution = solve_view(auxiliary, x, lower_method, y0, tol, None, {})
    if solution.status in (Status.NOT_A_MINIMUM, Status.LOWER_UNBOUNDED, Status.DIVERGED, Status.NONFINITE):
        return replace(solution, status=Status.NUDGE_TOO_LARGE)
    if solution.status is Status.LOWER_STALLED and tol is None:
        # the terms of g_y may cancel at y0, which hides their rounding from the solver: one unit away they do not
        if solution.residual <= 1e3 * EPS * np.linalg.norm(auxiliary.g_y(x, solution.y + 1.0)):
            solution = replace(solution, status=Status.CONVERGED)
    if not solution.success and _curves_down(auxiliary, x, y0) or auxiliary.g_yy is None and _curves_down(auxiliary, x, solution.y):
        return replace(solution, status=Status.NUDGE_TOO_LARGE)
    return solution


def _curves_down(auxiliary, x, y):
    """True if CG from a generic right-hand side meets negative curvature at y (differences of g_y where there is no g_yy)."""
    if auxiliary.g_yy is not None:
        H = auxiliary.g_yy(x, y)
    else:
        H = _operator(y.size, lambda p: along(auxiliary.g_y, x, y, p))
    return solve(H, np.cos(1.0 + np.arange(y.size)), "cg", rtol=1e-3, maxiter=50).status is Status.NOT_A_MINIMUM

"""Programs that the active-set kernel does not take: start from a library solver, identify the rows in force, polish.

Polish: from (y, lam), W = equalities and {i : mu_i > slack_i} (both relative to the terms they come from), Newton
corrections with the factor of K until the residual stops falling; rows with negative multipliers leave W, violated rows
enter, and the step is repeated. The residual of the outcome decides whether it is an answer.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy import sparse

from ..errors import ArgumentError
from ..kernels.qp import WEAK
from ..results import Status
from .backends import attempt
from .certificates import _lengths, farkas, is_farkas, negative_curvature, recession
from .factor import EPS, PseudoFactor, equilibrate, factorize, pseudo
from .gradient import expand
from .solution import QPSolution

__all__ = ["Gauge", "Point", "infeasible", "is_farkas", "judge", "polish", "solve"]


@dataclass(frozen=True, eq=False)
class Point:
    """A primal-dual point: slack = r - N y, and slack and lam relative to the terms they come from."""

    y: np.ndarray
    lam: np.ndarray
    slack: np.ndarray
    relative_slack: np.ndarray
    relative_lam: np.ndarray
    residual: float
    margin: float


class Gauge:
    """Measures points of one program in equilibrated variables, so that scalings of y and of the rows change nothing.

    With K equilibrated by (s, t): y / s, P -> s P s, N -> t N s, r -> t r, lam / t.
    """

    def __init__(self, data):
        self.data, self.N = data, data.N
        K = [[data.P, self.N.T], [self.N, None]] if data.sparse else [[data.P, self.N.T], [self.N, np.zeros((data.r.size,) * 2)]]
        scale = equilibrate(sparse.block_array(K, format="csr") if data.sparse else np.block(K))
        self.s, self.t = scale[: data.n], scale[data.n :]
        if data.sparse:
            self.rows = _lengths(self.N @ sparse.diags_array(self.s)) * self.t
            self.P = abs(sparse.diags_array(self.s) @ data.P @ sparse.diags_array(self.s)).max()
        else:
            self.rows, self.P = _lengths(self.N * self.s) * self.t, abs(data.P * np.multiply.outer(self.s, self.s)).max()
        self.q, self.r = abs(data.q * self.s).max(), abs(data.r * self.t)

    def lengths(self, y):
        """(length, force) that the rounding of y and of lam is relative to; the rows' own where q and y vanish; scaled."""
        of_rows = np.max(self.r[self.rows > 0] / self.rows[self.rows > 0], initial=0.0)
        force = max(abs((self.data.P @ y) * self.s).max(), self.q)
        force = force if force > 1e-12 * self.P * of_rows else (self.P * of_rows or 1.0)
        length = max(abs(y / self.s).max(), 1e-8 * force)
        return (length if length > 1e-12 * of_rows else of_rows), force

    def measure(self, y, lam):
        """Point: every residual relative to the terms it sums."""
        data, p, (length, force) = self.data, self.data.b.size, self.lengths(y)
        slack = data.r - self.N @ y
        relative_slack = slack * self.t / (self.rows * length + self.r + 1e-300)
        relative_lam = lam / np.where(self.t > 0, self.t, 1.0) * self.rows / force
        gaps = [abs((data.P @ y + data.q + self.N.T @ lam) * self.s).max() / force, np.max(abs(relative_slack[:p]), initial=0.0)]
        gaps += [np.max(-relative_slack[p:], initial=0.0), np.max(-relative_lam[p:], initial=0.0)]
        gaps += [np.max(np.minimum(abs(relative_slack[p:]), abs(relative_lam[p:])), initial=0.0)]
        margin = float(np.min(np.maximum(lam[p:], slack[p:]), initial=np.inf))
        return Point(y, lam, slack, relative_slack, relative_lam, float(max(gaps)), max(margin, 0.0))


def polish(data, y, lam, rounds=12):
    """(point, W, factor): the rows in force identified and the point Newton-corrected on them."""
    gauge, p = Gauge(data), data.b.size
    N, point = gauge.N, gauge.measure(y, lam)
    inside = point.relative_lam[p:] > point.relative_slack[p:]
    best = None
    for turn in range(rounds):
        W = np.concatenate([np.arange(p), p + np.flatnonzero(inside)])
        factor = factorize(data.P, N[W]) or pseudo(data.P, N[W])
        point = gauge.measure(*_correct(data, N, W, factor, y, lam))
        if best is None or point.residual < best[0].residual:
            best = point, W, factor
        bad = (inside & (point.relative_lam[p:] < -WEAK)) | (~inside & (point.relative_slack[p:] < -WEAK))
        if not bad.any() or not np.isfinite(point.residual):
            break
        if turn >= 3:  # one row at a time, the worst, so that two rows do not keep changing places
            worst = np.where(bad, np.where(inside, -point.relative_lam[p:], -point.relative_slack[p:]), 0.0)
            bad = np.arange(bad.size) == np.argmax(worst)
        inside = inside ^ bad
    return best


def _correct(data, N, W, factor, y, lam):
    """Newton steps on K from (y, lam_W), lam = 0 off W, while they reduce the residual of K (not of the other rows)."""
    lam = np.where(np.isin(np.arange(lam.size), W), lam, 0.0)
    best = np.inf
    for _ in range(5):
        top, below = _extended_residual(data, N, W, y, lam)
        size = max(abs(top).max(), abs(below).max(initial=0.0))
        if not size < 0.5 * best:
            break
        best, kept = size, (y, lam)
        dy, dlam = factor.solve(top, below)
        y, lam = y + dy, lam.copy()
        lam[W] += dlam
    return kept if np.isfinite(best) else (y, lam)


def _extended_residual(data, N, W, y, lam):
    """(-q - P y - N'lam, r_W - N_W y) accumulated in extended precision where the machine has it."""
    wide = np.longdouble
    y, lam, P, N = y.astype(wide), lam.astype(wide), data.P.astype(wide), N.astype(wide)
    if sparse.issparse(N):
        P, N = sparse.csr_matrix(P), sparse.csr_matrix(N)
    top = -data.q - P @ y - N.T @ lam
    return np.ascontiguousarray(top, float), np.ascontiguousarray((data.r - N @ y)[W], float)


def judge(factor, residual, tol):
    """(status, detail) of a regular answer from its residual and condition number."""
    condition = factor.rough
    if not residual <= tol:
        return Status.LOWER_STALLED, f"Relative KKT residual {residual:.1e}, wanted {tol:.1e}."
    if condition > 1 / EPS:
        return Status.ILL_CONDITIONED, f"Condition number of the KKT matrix {condition:.1e}."
    if condition > EPS**-0.5:
        return Status.CONVERGED, f"Condition number {condition:.1e}: about {-np.log10(EPS * condition):.0f} digits of the derivatives are certain."
    return Status.CONVERGED, ""


def no_solution(data, status, detail, method, certificate, tried):
    """QPSolution without y: everything NaN, the certificate attached."""
    nan = np.full(data.r.size, np.nan)
    p = data.b.size
    return QPSolution(
        np.full(data.n, np.nan), np.full(data.rows, np.nan), nan[:p], np.zeros(data.rows, bool), np.nan, np.inf, status, detail, method,
        certificate, tried, data=data, multipliers=nan,
    )  # fmt: skip


def infeasible(data, ray, method, tried):
    p = data.b.size
    certificate = (expand(ray[p:], data, 0.0), ray[:p])
    detail = f"Farkas: mu, nu with |G'mu + A'nu| = {np.linalg.norm(data.N.T @ ray):.1e} and h'mu + b'nu = {ray @ data.r:.1e} < 0."
    return no_solution(data, Status.LOWER_INFEASIBLE, detail, method, certificate, tried)


def solve(data, method, tol, tried):
    """QPSolution by the backends in turn; `tried` tells what went before."""
    d, rho = negative_curvature(data)
    if d is not None:
        curvature = float(d @ (data.P @ d))
        return no_solution(data, Status.NOT_A_MINIMUM, f"P has negative curvature {curvature:.1e} on null(A).", method, d, tried)
    convex = data if not rho else replace(data, P=data.P + rho * data.A.T @ data.A, q=data.q - rho * data.A.T @ data.b)
    linear = not abs(data.P).max()
    best = None
    for name in _order(method, linear, data):
        word, y, lam = attempt(name, convex)
        tried += ((name, word),)
        if word in ("infeasible", "unbounded") or not np.isfinite(y).all():
            solution = _without_solution(data, name, tried)
            if solution is not None:
                return solution
            continue
        found = polish(data, y, lam)
        if best is None or found[0].residual < best[1][0].residual:
            best = name, found
        if best[1][0].residual <= min(tol, 1e-11):
            break
    if best is None:
        detail = "No solver found a point or a proof: " + "; ".join(f"{name}: {word}" for name, word in tried)
        return _without_solution(data, method, tried) or no_solution(data, Status.LOWER_STALLED, detail, method, None, tried)
    return _finish(data, *best[1], tol, best[0], tried)


def _order(method, linear, data):
    if method == "highs" and not linear:
        raise ArgumentError("method 'highs' solves linear programs only (its quadratic solver perturbs P); use 'auto' or 'clarabel'")
    if method in ("clarabel", "osqp", "highs"):
        return (method,)
    return ("highs", "clarabel", "osqp") if linear else ("clarabel", "osqp")


def _without_solution(data, method, tried):
    """QPSolution with a verified proof that there is no solution, or None."""
    ray = farkas(data) if data.r.size else None
    if ray is not None:
        return infeasible(data, ray, method, tried)
    d = recession(data)
    if d is not None:
        detail = f"Along d the objective falls without end: q'd = {data.q @ d:.1e}."
        return no_solution(data, Status.LOWER_UNBOUNDED, detail, method, d, tried)
    return None


def _finish(data, point, W, factor, tol, method, tried):
    """QPSolution from a polished point; anything degenerate is looked at closely."""
    from .classify import classify

    p = data.b.size
    weak = np.maximum(point.relative_lam[p:], point.relative_slack[p:]) <= WEAK
    if not point.residual <= tol:
        unsolvable = _without_solution(data, method, tried)
        if unsolvable is not None:
            return unsolvable
    elif weak.any() or isinstance(factor, PseudoFactor):
        return classify(data, point.y, point.lam, W, method, tried)
    status, detail = judge(factor, point.residual, tol)
    active = np.zeros(data.h.size, bool)
    active[W[W >= p] - p] = True
    return QPSolution(
        point.y, expand(point.lam[p:], data, 0.0), point.lam[:p], expand(active, data, False), point.margin, point.residual, status,
        detail, method, None, tried, data=data, factor=factor, W=W, multipliers=point.lam,
    )  # fmt: skip

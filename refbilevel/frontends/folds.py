"""K-fold cross-validation as one bilevel problem: the folds are followers that share x.

    F(x) = sum_k w_k f_k(y_k*(x)) + rho/2 |x - center|^2,      y_k*(x) = argmin_y g_k(P x, y),
    grad F = rho (x - center) - sum_k w_k P' g_xy,k (g_yy,k)^{-1} f_y,k

with each fold's own adjoint where it has a solution map (Lasso). P copies x into a fold's log-penalties, (P x)_j = x[of[j]];
of[j] = -1 means that coefficient j (an intercept) carries no penalty: (P x)_j = NONE, whose exponential is exactly 0 in float64.
Lower solves start from the fold's last solution, a first one from the fold before. Exact where every fold is differentiable.

Pedregosa, Hyperparameter optimization with approximate gradient, ICML 2016, Section 2 (the sum over folds).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..linear import solve
from ..lower.solve import solve_lower
from ..problem import BilevelProblem
from ..results import LinearSolution, LowerSolution, Status

#: log of no penalty: np.exp(NONE) == 0.0
NONE = -1000.0
#: the branches at a kink are listed up to so many
MOST = 1024


@dataclass(frozen=True, eq=False)
class Folds:
    """`solution_map` and upper oracles of the sum over `followers`, each of m coefficients; `of` is P, `weights` the w_k."""

    followers: tuple
    weights: np.ndarray
    of: np.ndarray
    n: int
    rho: float
    center: np.ndarray

    def spread(self, x):
        """P x."""
        return np.append(x, NONE)[self.of]

    def gather(self, parameters_bar):
        """P' of a cotangent, (n,)."""
        penalised = self.of >= 0
        return np.bincount(self.of[penalised], parameters_bar[penalised], minlength=self.n)

    def split(self, y):
        return np.split(y, len(self.followers))

    # the upper level
    def scores(self, x, y):
        """w_k f_k(y_k), one for each fold."""
        z = self.spread(x)
        return np.array([w * p.f(z, y_k) for w, p, y_k in zip(self.weights, self.followers, self.split(y))])

    def f(self, x, y):
        return self.scores(x, y).sum() + 0.5 * self.rho * np.sum((x - self.center) ** 2)

    def f_x(self, x, y):
        return self.rho * (x - self.center)

    def f_y(self, x, y):
        z = self.spread(x)
        return np.concatenate([w * p.f_y(z, y_k) for w, p, y_k in zip(self.weights, self.followers, self.split(y))])

    # the solution map
    def solve(self, x, y0=None, tol=None):
        """LowerSolution with y = (y_1, ..., y_K); `factor` holds the folds' own solutions."""
        z, parts, before = self.spread(x), [], None
        starts = [None] * len(self.followers) if y0 is None else self.split(y0)
        for follower, start in zip(self.followers, starts):
            warm = start if start is not None and start.any() else before
            parts.append(solve_lower(follower, z, y0=warm, tol=tol))
            before = parts[-1].y if np.isfinite(parts[-1].y).all() else None
        return _joined(parts)

    def corrected(self, x, lower):
        """The LowerSolution one Newton step on in every fold; None where a fold's step leaves its smooth piece."""
        z = self.spread(x)
        parts = [_newton(follower, z, part) for follower, part in zip(self.followers, self._parts(x, lower))]
        return None if any(part is None for part in parts) else _joined(parts)

    def _parts(self, x, lower):
        if isinstance(lower.factor, tuple):
            return lower.factor
        return self.solve(x, lower.y).factor

    def adjoint(self, x, lower, y_bar, *, linear="auto"):
        """((dy/dx)' y_bar (n,), LinearSolution of the worst fold's figures)."""
        z, total, solutions = self.spread(x), np.zeros(self.n), []
        for follower, part, bar in zip(self.followers, self._parts(x, lower), self.split(y_bar)):
            parameters_bar, solution = _adjoint(follower, z, part, bar, linear)
            total += self.gather(parameters_bar)
            solutions.append(solution)
        _, status, detail = _trouble(solutions)
        return total, LinearSolution(
            x=np.concatenate([s.x for s in solutions]), residual=max(s.residual for s in solutions),
            iterations=sum(s.iterations for s in solutions), matvecs=sum(s.matvecs for s in solutions),
            condition=max(s.condition for s in solutions), status=status, detail=detail, method="folds",
        )  # fmt: skip

    def branches(self, x, lower, y_bar):
        """x_bar of every choice at the folds' kinks (rows); None where a fold cannot list them or there are more than MOST."""
        z, rows = self.spread(x), np.zeros((1, self.n))
        for follower, part, bar in zip(self.followers, self._parts(x, lower), self.split(y_bar)):
            if part.status is Status.DEGENERATE:
                fold = follower.solution_map.branches(z, part, bar)
                if fold is None or len(rows) * len(fold) > MOST:
                    return None
            else:
                fold = _adjoint(follower, z, part, bar, "auto")[0][None, :]
            rows = np.concatenate([rows + self.gather(choice) for choice in fold])
        return rows

    def vjp(self, x, lower, y_bar, *, linear="auto"):
        """(dy/dx)' y_bar, (n,)."""
        return self.adjoint(x, lower, np.asarray(y_bar, np.float64), linear=linear)[0]

    def jvp(self, x, lower, dx, *, linear="auto"):
        """dy/dx dx, (K m,)."""
        z, dz = self.spread(x), np.append(dx, 0.0)[self.of]
        return np.concatenate([_tangent(p, z, part, dz, linear) for p, part in zip(self.followers, self._parts(x, lower))])


def _joined(parts):
    """The folds' LowerSolutions as one."""
    k, status, detail = _trouble(parts)
    return LowerSolution(
        y=np.concatenate([p.y for p in parts]), residual=float(np.linalg.norm([p.residual for p in parts])),
        margin=min(p.margin for p in parts), iterations=sum(p.iterations for p in parts), status=status,
        detail=f"Fold {k}: {detail}".strip(" :") if k is not None else "", method="folds", factor=tuple(parts),
    )  # fmt: skip


def _newton(follower, z, part):
    """One fold's LowerSolution after a Newton step, or None."""
    if follower.solution_map is not None:
        return follower.solution_map.corrected(z, part)
    step = solve(follower.g_yy(z, part.y), follower.g_y(z, part.y), factor=part.factor).x
    return replace(part, y=part.y - step, residual=float(np.linalg.norm(follower.g_y(z, part.y - step))))


def _trouble(parts):
    """(index, status, detail) of the first part that is not a success; (None, converged, "") if all are."""
    for k, part in enumerate(parts):
        if not part.success:
            return k, part.status, part.detail
    return None, Status.CONVERGED, ""


def _adjoint(follower, z, part, y_bar, linear):
    """((dy_k/dz)' y_bar, LinearSolution) of one fold."""
    if follower.solution_map is not None:
        return follower.solution_map.adjoint(z, part, y_bar, linear=linear)
    solution = solve(follower.g_yy(z, part.y), y_bar, linear, factor=part.factor)
    return -(follower.g_xy(z, part.y) @ solution.x), solution


def _tangent(follower, z, part, dz, linear):
    if follower.solution_map is not None:
        return follower.solution_map.jvp(z, part, dz, linear=linear)
    return -solve(follower.g_yy(z, part.y), follower.g_xy(z, part.y).T @ dz, linear, factor=part.factor).x


def fold_sum(followers, weights, of, *, prior=None, bounds=None, name="folds"):
    """The BilevelProblem of the followers' weighted sum; `of` (parameters,) as in the module's docstring, n = max(of) + 1.

    Problems of different data are independent, so `joblib.Parallel()(joblib.delayed(refbilevel.minimize)(p, x0) for p in problems)`
    runs many of them (they pickle); under `joblib.parallel_config(backend="dask")` the same line uses a cluster.
    """
    n, m = int(of.max()) + 1, followers[0].m
    rho, center = (0.0, np.zeros(n)) if prior is None else prior
    folds = Folds(tuple(followers), np.asarray(weights, float), of, n, float(rho), np.broadcast_to(np.asarray(center, float), (n,)))
    return BilevelProblem(
        n=n, m=m * len(followers), f=folds.f, f_x=folds.f_x, f_y=folds.f_y, solution_map=folds, bounds=bounds, name=name
    )


def stationary(result, bounds, tol):
    """Whether x is a kink where the element of least norm of the Clarke set, projected on the bounds, is within tol."""
    extra = result.hypergradient.extra
    if "weights" not in extra:
        return False
    least = extra["weights"] @ extra["generators"]
    return np.abs(np.clip(result.x - least, *bounds) - result.x).max() <= tol


def history(problem, points):
    """scikit-learn's cv_results_ of the points (x, y)."""
    folds = problem.solution_map
    scores = -np.array([folds.scores(x, y) for x, y in points])
    table = {"log_penalties": np.array([x for x, _ in points]), "mean_test_score": scores.sum(axis=1)}
    return table | {f"split{k}_test_score": len(folds.followers) * column for k, column in enumerate(scores.T)}

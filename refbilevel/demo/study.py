"""One split: grid search over a single penalty, then 30 penalties by hypergradient from there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..lower.solve import solve_lower
from ..outer.minimize_ import minimize
from .data import GRID


@dataclass(frozen=True)
class Study:
    """What one split shows; losses are mean logistic losses."""

    seed: int
    x_grid: float
    objective_grid: float
    objective: float
    validation_grid: float
    validation: float
    test_grid: float
    test: float
    accuracy_grid: float
    accuracy: float
    evaluations: int
    projected_norm: float
    error_estimate: float
    result: object
    problem: object


def grid_search(split):
    """(best log-penalty, its coefficients y): the validation loss over GRID, warm-started along it."""
    problem, y, best = split.single_penalty(), None, (np.inf, None, None)
    for x in GRID[::-1]:
        y = solve_lower(problem, [x], y0=y).y
        loss = problem.f(np.array([x]), y)
        if loss < best[0]:
            best = (loss, x, y)
    return best


def study(split, progress=False):
    """Grid search, then `minimize` from the best single penalty, to a projected hypergradient norm of 1e-8."""
    validation_grid, x_grid, y_grid = grid_search(split)
    problem = split.problem(x_grid)
    result = minimize(problem, np.full(problem.n, x_grid), tol=1e-9, progress=progress)
    prior = problem.f(result.x, result.y) - problem.f(np.full(problem.n, x_grid), result.y)
    return Study(
        seed=split.seed, x_grid=x_grid, objective_grid=validation_grid, objective=result.fun, validation_grid=validation_grid,
        validation=result.fun - prior, test_grid=split.test_loss(y_grid), test=split.test_loss(result.y),
        accuracy_grid=split.test_accuracy(y_grid), accuracy=split.test_accuracy(result.y), evaluations=result.nfev,
        projected_norm=result.projected_norm, error_estimate=result.error_estimate, result=result, problem=problem,
    )  # fmt: skip

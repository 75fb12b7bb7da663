"""Portfolio with a learned risk parameter: how averse to risk should a mean-variance investor have been?

    investor  w(gamma) = argmax  mean'w - gamma/2 w'(F'F + diag d) w   s.t. sum w = 1, 0 <= w <= 0.3
    above     the Sharpe ratio of w on returns not seen by the investor, a quotient

The landscape in one variable is drawn beside what is found: it has several local optima, so `minimize` runs from three starts.

    python -m refbilevel.validation.experiments.portfolio [--out figure.png]
"""

from __future__ import annotations

import cvxpy as cp
import numpy as np

import refbilevel as rb
from refbilevel.validation.experiments.worked import run


def problem(assets=20, factors=4, seed=0):
    r = np.random.default_rng(seed)
    F, noise, mean = r.standard_normal((factors, assets)) / 2, 0.2 + 0.3 * r.random(assets), 0.3 * r.standard_normal(assets)
    later = mean + 0.25 * r.standard_normal(assets)
    w, gamma = cp.Variable(assets, name="w"), cp.Variable(nonneg=True, name="gamma")
    risk = cp.sum_squares(F @ w) + cp.sum_squares(cp.multiply(np.sqrt(noise), w))
    investor = cp.Problem(cp.Maximize(mean @ w - gamma / 2 * risk), [cp.sum(w) == 1, w >= 0, w <= 0.3])
    above = cp.Problem(cp.Maximize(later @ w / cp.sqrt(risk)), [gamma >= 0.05, gamma <= 20])
    return rb.from_cvxpy(upper=above, lower=investor, lower_variables=[w], upper_variables=[gamma])


def study():
    bilevel = problem()
    runs = {start: rb.minimize(bilevel, x0=[start], tol=1e-8) for start in (0.2, 1.0, 10.0)}
    result = min(runs.values(), key=lambda run: run.fun)
    grid = np.geomspace(0.05, 20, 80)
    points = [rb.hypergradient(bilevel, [g]) for g in grid]
    values = np.array([-p.objective for p in points])
    best = int(np.argmax(values))
    rows = [
        (f"from {start:g}", float(run.x[0]), -float(run.fun), int(np.sum(run.y > 1e-9)), run.status.code) for start, run in runs.items()
    ]
    rows.append(("best of 80 on a grid", float(grid[best]), float(values[best]), int(np.sum(points[best].lower.y > 1e-9)), ""))

    def draw(figure):
        left, right = figure.subplots(1, 2)
        left.semilogx(grid, values)
        left.plot([run.x[0] for run in runs.values()], [-run.fun for run in runs.values()], "o")
        left.set(xlabel="risk aversion gamma", ylabel="Sharpe ratio later")
        right.semilogx(grid, [p.lower.y for p in points])
        right.axvline(result.x[0], color="0.6")
        right.set(xlabel="risk aversion gamma", ylabel="weights")

    return ("", "gamma", "Sharpe ratio", "assets held", "status"), rows, draw


if __name__ == "__main__":
    run(__doc__, study)

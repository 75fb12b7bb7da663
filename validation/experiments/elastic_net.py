"""Elastic net with one penalty a feature, learned on a validation set (diabetes data, ten features and ten of pure noise).

    fit    w(lam, rho) = argmin |X w - t|^2 / (2 rows) + lam'|w| + rho |w|^2 / 2        above  |X_val w - t_val|^2 / rows

Penalties grow where a feature does not pay. Twenty-one upper variables, no grid.

    python -m refbilevel.validation.experiments.elastic_net [--out figure.png]
"""

from __future__ import annotations

import cvxpy as cp
import numpy as np
from sklearn.datasets import load_diabetes

import refbilevel as rb
from refbilevel.validation.experiments.worked import run


def data(seed=0):
    """(X, t) of the training, validation and test thirds, standardised."""
    X, t = load_diabetes(return_X_y=True)
    r = np.random.default_rng(seed)
    X = np.column_stack([X / X.std(axis=0), r.standard_normal(X.shape)])
    t = (t - t.mean()) / t.std()
    order = r.permutation(len(t))
    return [(X[part], t[part]) for part in np.array_split(order, 3)]


def problem(parts):
    (X, t), (V, s), _ = parts
    features = X.shape[1]
    w, lam, rho = cp.Variable(features), cp.Variable(features, nonneg=True), cp.Variable(nonneg=True)
    fit = cp.Problem(cp.Minimize(cp.sum_squares(X @ w - t) / (2 * len(t)) + lam @ cp.abs(w) + rho * cp.sum_squares(w) / 2))
    above = cp.Problem(cp.Minimize(cp.sum_squares(V @ w - s) / len(s)), [lam >= 1e-4, lam <= 1, rho >= 1e-6, rho <= 1])
    return rb.from_cvxpy(upper=above, lower=fit, lower_variables=[w], upper_variables=[lam, rho])


def study():
    parts = data()
    bilevel = problem(parts)
    X, t = parts[2]

    def errors(x):
        y = rb.solve_lower(bilevel, x).y
        return float(bilevel.f(x, y)), float(np.mean((X @ y - t) ** 2)), int(np.sum(np.abs(y) > 1e-9))

    grid = [np.append(np.full(20, lam), 1e-3) for lam in np.geomspace(1e-3, 0.3, 20)]
    uniform = min(grid, key=lambda x: errors(x)[0])
    result = rb.minimize(bilevel, x0=uniform, tol=1e-6, maxiter=60)
    rows = [
        ("one penalty, best of a grid of 20", *errors(uniform), ""),
        ("one penalty a feature", *errors(result.x), result.status.code),
    ]

    def draw(figure):
        left, right = figure.subplots(1, 2)
        left.bar(range(20), result.x[:20], color=["C0"] * 10 + ["C3"] * 10)
        left.axhline(uniform[0], color="0.6")
        left.set(xlabel="feature (red: noise)", ylabel="learned penalty", xticks=range(0, 20, 5))
        right.bar(range(20), result.y, color=["C0"] * 10 + ["C3"] * 10)
        right.set(xlabel="feature (red: noise)", ylabel="weight", xticks=range(0, 20, 5))

    return ("", "validation error", "test error", "features used", "status"), rows, draw


if __name__ == "__main__":
    run(__doc__, study)

"""l1-logistic regression with one penalty a feature: exponential cones below, validation loss above (breast cancer data).

    fit    w(lam) = argmin sum_i log(1 + exp(-t_i x_i'w)) / rows + lam'|w|

    python -m refbilevel.validation.experiments.l1_logistic [--out figure.png]
"""

from __future__ import annotations

import cvxpy as cp
import numpy as np
from sklearn.datasets import load_breast_cancer

import refbilevel as rb
from refbilevel.validation.experiments.worked import run


def data(rows=60, features=10, seed=0):
    """(X, t) for training, validation and test."""
    X, t = load_breast_cancer(return_X_y=True)
    r = np.random.default_rng(seed)
    X, t = X[:, :features], 2.0 * t - 1.0
    X = (X - X.mean(axis=0)) / X.std(axis=0)
    order = r.permutation(len(t))
    return [(X[part], t[part]) for part in np.split(order, [rows, 2 * rows + 60])]


def problem(parts):
    (X, t), (V, s), _ = parts
    w, lam = cp.Variable(X.shape[1]), cp.Variable(X.shape[1], nonneg=True)
    fit = cp.Problem(cp.Minimize(cp.sum(cp.logistic(-cp.multiply(t, X @ w))) / len(t) + lam @ cp.abs(w)))
    above = cp.Problem(cp.Minimize(cp.sum(cp.logistic(-cp.multiply(s, V @ w))) / len(s)), [lam >= 1e-4, lam <= 1])
    return rb.from_cvxpy(upper=above, lower=fit, lower_variables=[w], upper_variables=[lam])


def study():
    parts = data()
    bilevel, features = problem(parts), parts[0][0].shape[1]
    X, t = parts[2]

    def row(name, x, status=""):
        y = rb.solve_lower(bilevel, x).y
        return name, float(bilevel.f(x, y)), float(np.mean(np.sign(X @ y) == t)), int(np.sum(np.abs(y) > 1e-9)), status

    grid = [np.full(features, lam) for lam in np.geomspace(1e-3, 0.3, 12)]
    uniform = min(grid, key=lambda x: row("", x)[1])
    result = rb.minimize(bilevel, x0=uniform, tol=1e-6, maxiter=40)
    rows = [row("one penalty, best of a grid of 12", uniform), row("one penalty a feature", result.x, result.status.code)]

    def draw(figure):
        left, right = figure.subplots(1, 2)
        left.bar(np.arange(features), result.x)
        left.axhline(uniform[0], color="0.6")
        left.set(xlabel="feature", ylabel="learned penalty")
        right.plot([i.fun for i in result.history], "o-")
        right.axhline(row("", uniform)[1], color="0.6")
        right.set(xlabel="iteration", ylabel="validation loss")

    return ("", "validation loss", "test accuracy", "features used", "status"), rows, draw


if __name__ == "__main__":
    run(__doc__, study)

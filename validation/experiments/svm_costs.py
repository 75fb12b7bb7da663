"""Support vector machine with a cost a sample: which training labels are not to be trusted?

    fit    (w, b)(C) = argmin |w|^2 / 2 + sum_i C_i max(0, 1 - t_i (x_i'w + b))      above  logistic loss on a small clean set

A quarter of the training labels are flipped. Learned costs of flipped samples fall to zero.

    python -m refbilevel.validation.experiments.svm_costs [--out figure.png]
"""

from __future__ import annotations

import cvxpy as cp
import numpy as np

import refbilevel as rb
from refbilevel.validation.experiments.worked import run

COST = 0.1


def data(rows=60, columns=5, seed=0):
    """(X, labels with a quarter flipped, flipped), (clean X, t), (test X, t)."""
    r = np.random.default_rng(seed)
    direction = r.standard_normal(columns)

    def sample(count):
        X = r.standard_normal((count, columns))
        return X, np.sign(X @ direction + 0.2 * r.standard_normal(count))

    X, t = sample(rows)
    flipped = r.random(rows) < 0.25
    return (X, np.where(flipped, -t, t), flipped), sample(60), sample(1000)


def problem(train, clean):
    (X, t, _), (V, s) = train, clean
    w, b, C = cp.Variable(X.shape[1]), cp.Variable(), cp.Variable(len(t), nonneg=True)
    fit = cp.Problem(cp.Minimize(cp.sum_squares(w) / 2 + C @ cp.pos(1 - cp.multiply(t, X @ w + b))))
    above = cp.Problem(cp.Minimize(cp.sum(cp.logistic(-cp.multiply(s, V @ w + b))) / len(s)), [C >= 1e-4, C <= 2])
    return rb.from_cvxpy(upper=above, lower=fit, lower_variables=[w, b], upper_variables=[C])


def study():
    train, clean, test = data()
    bilevel = problem(train, clean)
    start = np.full(len(train[1]), COST)
    result = rb.minimize(bilevel, x0=start, tol=1e-5, maxiter=40)

    def row(name, x, status=""):
        y = rb.solve_lower(bilevel, x).y
        accuracy = float(np.mean(np.sign(test[0] @ y[:-1] + y[-1]) == test[1]))
        flipped = train[2]
        return name, float(bilevel.f(x, y)), accuracy, float(np.median(x[flipped])), float(np.median(x[~flipped])), status

    rows = [row(f"C = {COST} for all", start), row("a cost a sample", result.x, result.status.code)]

    def draw(figure):
        left, right = figure.subplots(1, 2)
        order = np.argsort(result.x)
        left.bar(range(len(order)), result.x[order], color=np.where(train[2][order], "C3", "C0"))
        left.set(xlabel="sample (red: label flipped)", ylabel="learned cost")
        right.plot([i.fun for i in result.history], "o-")
        right.set(xlabel="iteration", ylabel="loss on the clean set")

    return ("", "clean loss", "test accuracy", "median C, flipped", "median C, right", "status"), rows, draw


if __name__ == "__main__":
    run(__doc__, study)

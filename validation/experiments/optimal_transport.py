"""Inverse optimal transport: from an observed plan back to the costs that made it.

    plan   T(theta) = argmin <C(theta), T> - eps entropy(T)  s.t. T 1 = a, T'1 = b,     C(theta) = sum_k theta_k D_k
    above  |T(theta) - observed|^2

Three candidate costs between towns on a line and a ring; the observation was made with theta = (1, 0.5, 0), which is recovered.

    python -m refbilevel.validation.experiments.optimal_transport [--out figure.png]
"""

from __future__ import annotations

import cvxpy as cp
import numpy as np

import refbilevel as rb
from refbilevel.validation.experiments.worked import run

TRUE, EPS = np.array([1.0, 0.5, 0.0]), 0.2


def costs(towns=6):
    """|i - j|, (i - j)^2 and the distance round the ring, scaled to mean one, as (towns, towns) matrices."""
    i, j = np.indices((towns, towns))
    gap = np.abs(i - j)
    found = [gap, gap**2, np.minimum(gap, towns - gap) % 3]
    return [c / c.mean() for c in found]


def problem(observed, a, b, D):
    T, theta = cp.Variable(observed.shape), cp.Variable(3, nonneg=True)
    C = sum(theta[k] * D[k] for k in range(3))
    plan = cp.Problem(cp.Minimize(cp.sum(cp.multiply(C, T)) - EPS * cp.sum(cp.entr(T))), [cp.sum(T, axis=1) == a, cp.sum(T, axis=0) == b])
    above = cp.Problem(cp.Minimize(1e3 * cp.sum_squares(T - observed)), [theta <= 5])
    return rb.from_cvxpy(upper=above, lower=plan, lower_variables=[T], upper_variables=[theta])


def study():
    r = np.random.default_rng(0)
    a, b, D = r.dirichlet(5 * np.ones(6)), r.dirichlet(5 * np.ones(6)), costs()
    seen = problem(np.zeros((6, 6)), a, b, D)
    observed = rb.solve_lower(seen, TRUE).y.reshape((6, 6), order="F")
    result = rb.minimize(problem(observed, a, b, D), x0=np.ones(3) * 0.3, tol=1e-9)
    names = ("|i - j|", "(i - j)^2", "ring")
    rows = [(name, float(t), float(x)) for name, t, x in zip(names, TRUE, result.x)]
    rows.append(("misfit", 0.0, float(result.fun)))
    rows.append(("status", "", result.status.code))

    def draw(figure):
        left, right = figure.subplots(1, 2)
        left.imshow(observed)
        left.set(title="observed plan")
        right.plot([i.x for i in result.history], "o-")
        for t in TRUE:
            right.axhline(t, color="0.6", lw=0.8)
        right.set(xlabel="iteration", ylabel="theta")

    return ("cost", "true weight", "learned weight"), rows, draw


if __name__ == "__main__":
    run(__doc__, study)

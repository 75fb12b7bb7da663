"""Stackelberg pricing: a seller sets five prices, a buyer with a budget of `cap` units answers with demands.

    buyer   min_y |y - a|^2 / 2 + x'y   s.t.  sum y <= cap, y >= 0          seller  max_x x'y(x),  0 <= x <= 10

For cap >= sum(a)/2 = 7.5 the optimum is x = y = a/2, value |a|^2/4 = 13.75; below, the optimum holds the cap with multiplier zero,
a point where the hypergradient is not unique, and is reported with that status. There y = (a - t)+ / 2 summing to cap.

    python -m refbilevel.validation.experiments.stackelberg_pricing [--out figure.png]
"""

from __future__ import annotations

import cvxpy as cp
import numpy as np
from scipy.optimize import brentq

import refbilevel as rb
from refbilevel.validation.experiments.worked import run

a = np.arange(1.0, 6.0)


def problem(cap):
    x, y = cp.Variable(5), cp.Variable(5)
    follower = cp.Problem(cp.Minimize(cp.sum_squares(y - a) / 2 + x @ y), [cp.sum(y) <= cap, y >= 0])
    leader = cp.Problem(cp.Minimize(-x @ y), [x >= 0, x <= 10])
    return rb.from_cvxpy(upper=leader, lower=follower, lower_variables=[y])


def closed_form(cap):
    """The seller's best revenue."""
    t = 0.0 if cap >= a.sum() / 2 else brentq(lambda t: np.maximum(a - t, 0).sum() / 2 - cap, 0, a.max())
    y = np.maximum(a - t, 0) / 2
    return float(y @ (a - y))


def study():
    caps = [3.0, 5.0, 7.0, 8.0, 10.0, 12.0]
    results = [rb.minimize(problem(cap), x0=0.9 * np.ones(5), tol=1e-8) for cap in caps]
    rows = [
        (cap, -float(r.fun), closed_form(cap), r.status.code, r.hypergradient.lower.margin, np.array2string(r.x, precision=3))
        for cap, r in zip(caps, results)
    ]

    def draw(figure):
        left, right = figure.subplots(1, 2)
        grid = np.linspace(1, 12, 200)
        left.plot(grid, [closed_form(cap) for cap in grid], color="0.6", label="closed form")
        left.plot(caps, [-r.fun for r in results], "o", label="found")
        left.set(xlabel="cap", ylabel="revenue")
        left.legend()
        for i in range(5):
            right.plot(caps, [r.x[i] for r in results], "o-", label=f"price {i + 1}")
        right.set(xlabel="cap", ylabel="price")
        right.legend(fontsize="small")

    return ("cap", "revenue", "closed form", "status", "margin", "prices"), rows, draw


if __name__ == "__main__":
    run(__doc__, study)

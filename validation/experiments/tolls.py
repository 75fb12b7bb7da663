"""Tolls on a small road network: drivers settle in Wardrop's equilibrium, the city wants the least total travel time.

Four nodes, five roads (Braess's network), demand 6 from left to right, travel time t_i(v) = a_i + b_i v. The equilibrium under tolls x
minimises Beckmann's potential sum_i a_i v_i + b_i v_i^2 / 2 + x_i v_i over flows. The best tolls are worth exactly the system optimum
(marginal-cost pricing), computed here independently as one convex program; without tolls the fifth road makes everybody slower.

    python -m refbilevel.validation.experiments.tolls [--out figure.png]
"""

from __future__ import annotations

import cvxpy as cp
import numpy as np

import refbilevel as rb
from refbilevel.validation.experiments.worked import run

ROADS = ["s-u", "u-t", "s-v", "v-t", "u-v"]
#: node balance: rows s, u, v; columns the roads
BALANCE = np.array([[1.0, 0, 1, 0, 0], [-1, 1, 0, 0, 1], [0, 0, -1, 1, -1]])
DEMAND = np.array([6.0, 0, 0])
FREE, SLOPE = np.array([0.5, 50.0, 50.0, 0.5, 10.0]), np.array([10.0, 1.0, 1.0, 10.0, 1.0])


def total_time(v):
    return FREE @ v + cp.sum(cp.multiply(SLOPE, cp.square(v)))


def problem():
    toll, v = cp.Variable(5, name="toll"), cp.Variable(5, name="flow")
    potential = FREE @ v + cp.sum(cp.multiply(SLOPE, cp.square(v))) / 2 + toll @ v
    drivers = cp.Problem(cp.Minimize(potential), [BALANCE @ v == DEMAND, v >= 0])
    city = cp.Problem(cp.Minimize(total_time(v)), [toll >= 0, toll <= 60])
    return rb.from_cvxpy(upper=city, lower=drivers, lower_variables=[v], upper_variables=[toll])


def system_optimum():
    """Least total time over all flows, drivers or no drivers."""
    v = cp.Variable(5)
    best = cp.Problem(cp.Minimize(total_time(v)), [BALANCE @ v == DEMAND, v >= 0])
    return best.solve(solver=cp.CLARABEL)


def study():
    network = problem()
    free = rb.solve_lower(network, np.zeros(5)).y
    result = rb.minimize(network, x0=np.full(5, 1.0), tol=1e-8)
    rows = [(name, float(f), float(v), float(t)) for name, f, v, t in zip(ROADS, free, result.y, result.x)]
    rows.append(("total time", float(network.f(np.zeros(5), free)), float(result.fun), f"system optimum {system_optimum():.6f}"))
    rows.append(("status", "", result.status.code, f"margin {result.hypergradient.lower.margin:.1e}"))

    def draw(figure):
        left, right = figure.subplots(1, 2)
        place = np.arange(5)
        left.bar(place - 0.2, free, 0.4, label="no tolls")
        left.bar(place + 0.2, result.y, 0.4, label="best tolls")
        left.set(xticks=place, xticklabels=ROADS, ylabel="flow")
        left.legend()
        right.plot([i.fun for i in result.history], "o-")
        right.axhline(system_optimum(), color="0.6", label="system optimum")
        right.set(xlabel="iteration", ylabel="total travel time")
        right.legend()

    return ("road", "flow, no tolls", "flow, best tolls", "toll"), rows, draw


if __name__ == "__main__":
    run(__doc__, study)

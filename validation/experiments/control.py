"""Control with a learned cost: watch a constrained controller drive a mass, and find the weights it must have had.

    controller  u(q) = argmin sum_t q_1 p_t^2 + q_2 v_t^2 + u_t^2   s.t. p, v follow a double integrator, |u_t| <= 0.6
    above       |u(q) - observed u|^2

The observation uses q = (1, 0.4). Where |u| = 0.6 binds, the trajectory tells nothing about q; the rest is enough.

    python -m refbilevel.validation.experiments.control [--out figure.png]
"""

from __future__ import annotations

import cvxpy as cp
import numpy as np

import refbilevel as rb
from refbilevel.validation.experiments.worked import run

TRUE, STEPS, DT = np.array([1.0, 0.4]), 15, 0.4


def problem(observed):
    q, u = cp.Variable(2, nonneg=True), cp.Variable(STEPS)
    states, free = dynamics()
    p, v = states[0] @ u + free[0], states[1] @ u + free[1]
    controller = cp.Problem(cp.Minimize(q[0] * cp.sum_squares(p) + q[1] * cp.sum_squares(v) + cp.sum_squares(u)), [cp.abs(u) <= 0.6])
    above = cp.Problem(cp.Minimize(cp.sum_squares(u - observed)), [q <= 10])
    return rb.from_cvxpy(upper=above, lower=controller, lower_variables=[u], upper_variables=[q])


def dynamics(start=(2.0, 0.0)):
    """(maps of u to positions and velocities, what they are without u) of the double integrator."""
    A, B = np.array([[1.0, DT], [0.0, 1.0]]), np.array([DT * DT / 2, DT])
    maps, free, state, response = np.zeros((2, STEPS, STEPS)), np.zeros((2, STEPS)), np.array(start), np.zeros((2, STEPS))
    for t in range(STEPS):
        response = A @ response
        response[:, t] += B
        state = A @ state
        maps[:, t], free[:, t] = response, state
    return maps, free


def study():
    observed = rb.solve_lower(problem(np.zeros(STEPS)), TRUE).y
    bilevel = problem(observed)
    result = rb.minimize(bilevel, x0=np.array([0.2, 2.0]), tol=1e-9)
    maps, free = dynamics()
    rows = [("position", TRUE[0].item(), float(result.x[0])), ("velocity", TRUE[1].item(), float(result.x[1]))]
    rows += [("misfit", 0.0, float(result.fun)), ("controls at the limit", "", int(np.sum(np.abs(result.y) > 0.6 - 1e-9)))]
    rows.append(("status", "", result.status.code))

    def draw(figure):
        left, right = figure.subplots(1, 2)
        start = rb.solve_lower(bilevel, [0.2, 2.0]).y
        for name, u in (("start", start), ("observed", observed), ("learned", result.y)):
            left.step(range(STEPS), u, label=name, ls="--" if name == "learned" else "-")
            right.plot(maps[0] @ u + free[0], label=name, ls="--" if name == "learned" else "-")
        left.set(xlabel="step", ylabel="control")
        right.set(xlabel="step", ylabel="position")
        left.legend()

    return ("weight of", "true", "learned"), rows, draw


if __name__ == "__main__":
    run(__doc__, study)

"""Robust control of a linear system under an adversarial disturbance: a bilevel layer against LQR and a single-level QP layer.

    s_{t+1} = A s_t + B u_t + E w_t,    cost(u, w) = 1/2 sum_t s_t' Q s_t + r |u_t|^2   over a horizon, |u_t| <= 1
    adversary   w(u) = argmin_w  rho/2 |w|^2 - cost(u, w)                             (rho = its price of disturbing)
    controller  u = argmin_u  cost(u, w(u))                                          (the layer: z = (s_0, log rho) -> u, w)

Three controllers run in closed loop on the same random systems: each step measures the state, plans, applies the first control; the
adversary sees the plan and answers with the first disturbance of its best response, cut to |w_t| <= 0.3. LQR plans without bounds and
is cut to them; the QP plans with bounds but without an adversary (two-step: plan first, disturbance after); the bilevel layer
plans against the best response. It is not told rho: it watches three games (u, w) of a controller that knows it and fits log rho by
gradient descent on the squared misfit of both, through the layer, starting from an adversary three times as expensive.

    python -m refbilevel.validation.experiments.robust_control [--out figure.png]

Claim (Alesiani, Implicit bilevel optimization, AAAI 2023, robust control): the bilevel layer's average cost under adversarial
disturbance is lower than that of LQR and of the two-step QP layer. Systems, sizes and adversary here are our own.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import block_diag

import refbilevel as rb
from refbilevel.validation.experiments.worked import mean_and_interval, run

STATES, HORIZON, STEPS, LIMIT, CUT, PRICE = 2, 5, 12, 1.0, 0.3, 1.5


@dataclass(frozen=True)
class System:
    """cost = 1/2 |s|_Q^2 + r/2 |u|^2 with the stacked states s = S s_0 + L u + M w (HORIZON STATES,); `floor` is |M' Q M|_2."""

    A: np.ndarray
    B: np.ndarray
    E: np.ndarray
    S: np.ndarray
    L: np.ndarray
    M: np.ndarray
    Q: np.ndarray
    r: float

    @property
    def floor(self):
        return float(np.linalg.eigvalsh(self.M.T @ self.Q @ self.M)[-1])

    @property
    def rho(self):
        """The true price: PRICE times the least at which the best response exists."""
        return PRICE * self.floor


def system(rng):
    """A rotation that grows a little, one control, one disturbance; stacked over the horizon."""
    angle, growth = rng.uniform(0.2, 0.8), rng.uniform(0.95, 1.1)
    A = growth * np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    B, E = rng.standard_normal((STATES, 1)), rng.standard_normal((STATES, 1))
    powers = [np.linalg.matrix_power(A, t) for t in range(HORIZON + 1)]
    S = np.vstack(powers[1:])

    def response(B):
        return np.block([[powers[i - j] @ B if j <= i else np.zeros((STATES, 1)) for j in range(HORIZON)] for i in range(HORIZON)])

    E = E / np.linalg.norm(E)
    B = B / np.linalg.norm(B)
    return System(A, B, E, S, response(B), response(E), block_diag(*[np.eye(STATES)] * HORIZON), 0.1)


def layer(plant):
    """z = (s_0 (2,), log rho) -> (u (HORIZON,), w (HORIZON,))."""
    S, L, M, Q, r, k = plant.S, plant.L, plant.M, plant.Q, plant.r, STATES

    def states(u, w, z):
        return S @ z[:k] + L @ u + M @ w

    def cost(u, w, z):
        s = states(u, w, z)
        return 0.5 * s @ Q @ s + 0.5 * r * u @ u

    def price(z):
        return plant.floor * (1.0 + np.exp(z[k]))  # the best response exists for every z

    def in_z(slope, last):
        return np.vstack([slope, last[None, :]]) if slope.ndim == 2 else np.append(slope, last)

    return rb.BilevelLayer(rb.LayerProblem(
        n=HORIZON, m=HORIZON, k=k + 1, bounds=(np.full(HORIZON, -LIMIT), np.full(HORIZON, LIMIT)),
        f=cost, f_x=lambda u, w, z: L.T @ Q @ states(u, w, z) + r * u, f_y=lambda u, w, z: M.T @ Q @ states(u, w, z),
        f_z=lambda u, w, z: in_z(S.T @ Q @ states(u, w, z), 0.0),
        g=lambda u, w, z: 0.5 * price(z) * w @ w - cost(u, w, z), g_y=lambda u, w, z: price(z) * w - M.T @ Q @ states(u, w, z),
        g_yy=lambda u, w, z: price(z) * np.eye(HORIZON) - M.T @ Q @ M, g_xy=lambda u, w, z: -L.T @ Q @ M,
        g_zy=lambda u, w, z: in_z(-S.T @ Q @ M, plant.floor * np.exp(z[k]) * w),
    ))  # fmt: skip


def best_response(plant, s, u):
    return np.linalg.solve(plant.rho * np.eye(HORIZON) - plant.M.T @ plant.Q @ plant.M, plant.M.T @ plant.Q @ (plant.S @ s + plant.L @ u))


def lqr(plant):
    """s -> the unbounded plan cut to the bounds."""
    H = plant.L.T @ plant.Q @ plant.L + plant.r * np.eye(HORIZON)
    return lambda s: np.clip(-np.linalg.solve(H, plant.L.T @ plant.Q @ plant.S @ s), -LIMIT, LIMIT)


def qp(plant):
    """s -> the bounded plan without an adversary."""
    H = plant.L.T @ plant.Q @ plant.L + plant.r * np.eye(HORIZON)
    G, h = np.vstack([np.eye(HORIZON), -np.eye(HORIZON)]), np.full(2 * HORIZON, LIMIT)
    return lambda s: rb.solve_qp(H, plant.L.T @ plant.Q @ plant.S @ s, G, h).y


def bilevel(plant, log_price):
    inside = layer(plant)
    return lambda s: inside.solve(np.append(s, log_price))[0]


def closed_loop(plant, plan, s, adversary=True):
    """(average cost per step, states (STEPS + 1, 2))."""
    total, states = 0.0, [s]
    for _ in range(STEPS):
        u = plan(s)
        w = best_response(plant, s, u)
        s = plant.A @ s + plant.B[:, 0] * u[0] + plant.E[:, 0] * np.clip(w[0], -CUT, CUT) * adversary
        total += 0.5 * s @ s + 0.5 * plant.r * u[0] ** 2
        states.append(s)
    return total / STEPS, np.array(states)


def fit_price(plant, starts, steps=30, rate=0.3):
    """theta = log(rho / floor - 1) from watched games (u, w) at `starts`, by Adam on half the squared misfit of u and w."""
    inside, true = layer(plant), np.log(PRICE - 1.0)
    watched = [inside.solve(np.append(s, true)) for s in starts]
    theta, first, second = np.log(3 * PRICE - 1.0), 0.0, 0.0
    for t in range(1, steps + 1):
        gradient = sum(_slope(inside, np.append(s, theta), *game) for s, game in zip(starts, watched))
        first, second = 0.8 * first + 0.2 * gradient, 0.9 * second + 0.1 * gradient**2
        theta -= rate * (1 - (t - 1) / steps) * first / (1 - 0.8**t) / (np.sqrt(second / (1 - 0.9**t)) + 1e-12)
    return theta


def _slope(inside, z, u, w):
    """d/d theta of the misfit at one start; a plan on a kink of its bounds teaches nothing."""
    solution = inside.solution(z)
    answer = inside.differentiate(z, solution.x - u, solution.y - w, solution=solution)
    return answer.z_bar[-1] if answer.success else 0.0


def trial(seed):
    """({controller: cost under the adversary}, {controller: cost without}, {controller: states}, fitted over true price)."""
    rng = np.random.default_rng(seed)
    plant = system(rng)
    theta = fit_price(plant, 0.8 * rng.standard_normal((3, STATES)))
    plans = {"LQR": lqr(plant), "QP layer (two-step)": qp(plant), "bilevel layer": bilevel(plant, theta)}
    s = 1.5 * rng.standard_normal(STATES)
    runs = {name: closed_loop(plant, plan, s) for name, plan in plans.items()}
    calm = {name: closed_loop(plant, plan, s, adversary=False)[0] for name, plan in plans.items()}
    price = plant.floor * (1 + np.exp(theta)) / plant.rho
    return {name: run[0] for name, run in runs.items()}, calm, {name: run[1] for name, run in runs.items()}, price


def study(seeds=range(12)):
    trials = [trial(seed) for seed in seeds]
    names = list(trials[0][0])
    costs = {name: np.array([t[0][name] for t in trials]) for name in names}
    calm = {name: np.array([t[1][name] for t in trials]) for name in names}
    best = costs["bilevel layer"]
    rows = []
    for name in names:
        mean, half = mean_and_interval(costs[name])
        gain, gain_half = mean_and_interval(100 * (costs[name] - best) / costs[name])
        lower = f"{(best < costs[name]).sum()} of {len(best)}"
        rows.append((name, f"{mean:.4f} ± {half:.4f}", f"{calm[name].mean():.4f}", f"{gain:.2f} ± {gain_half:.2f}", lower))
    price, price_half = mean_and_interval(np.array([t[3] for t in trials]))
    notes = [f"Fitted over true price of the adversary: {price:.3f} ± {price_half:.3f}.", verdict(costs)]

    def draw(figure):
        left, right = figure.subplots(1, 2)
        for i, name in enumerate(names):
            mean, half = mean_and_interval(100 * (costs[name] / costs["LQR"] - 1))
            left.errorbar([i], [mean], [half], fmt="o", capsize=4)
            left.plot(i + 0.15 + np.zeros(len(best)), 100 * (costs[name] / costs["LQR"] - 1), ".", color="0.7")
            right.plot(np.linalg.norm(trials[0][2][name], axis=1), label=name)
        left.set_xticks(range(len(names)), names)
        left.set(ylabel="cost against LQR, %", title="under adversarial disturbance")
        right.set(xlabel="step", ylabel="|state|", title=f"seed {list(seeds)[0]}", ylim=(0, None))
        right.legend()

    return ("controller", "cost under adversary", "without", "bilevel saves %", "bilevel lower in"), rows, draw, *notes


def verdict(costs):
    """Claim and measurement side by side."""
    said = "Claim: the bilevel layer costs less than LQR and than the two-step QP layer under adversarial disturbance. Measured: "
    parts = []
    for name in ("LQR", "QP layer (two-step)"):
        mean, half = mean_and_interval(costs[name] - costs["bilevel layer"])
        word = "holds" if mean > half else "is reversed" if mean < -half else "is not decided"
        parts.append(f"against {name} it {word} (difference {mean:.4f} ± {half:.4f})")
    return said + "; ".join(parts) + "."


if __name__ == "__main__":
    run(__doc__, study)

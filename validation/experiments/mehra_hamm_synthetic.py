"""Mehra and Hamm's synthetic problems: the penalty method against approximate gradients, reverse mode and alternating descent.

    SMD20  f = |u|^2 + |v|^2 - 1        g = |1 - u - v|^2           u = v = 1/2
    SMD21  f = |v|^2 - |u - v|^2        g = |u - v|^2               u = v = 0
    SMD22  f = |Av|^2 - |A(u - v)|^2    g = |A(u - v)|^2            Au = Av = 0
    SMD23  f = |v|^2 - |A(u - v)|^2     g = |A(u - v)|^2            Au = 0, v = 0   (optimistic)
    SMD24  f = |u|^2 + |v|^2            g = |A(1 - u - v)|^2        P u = P v = P 1 / 2,  P = A^+ A
    two blocks of ten variables, A 5 x 10 for each; in SMD22-24 the lower Hessian is singular.

T lower steps for each of the upper steps, all methods the same number of upper steps and the same Adam rates; distances to the
solution above, over seeds (A, start). Reverse mode differentiates T steps of plain descent and sees nothing where T is small;
alternating descent sees no lower level at all. The starts of u are uniform in [-5, 5], v starts at zero.

    python -m refbilevel.validation.experiments.mehra_hamm_synthetic [--out figure.png] [--quick]

Mehra & Hamm, Penalty method for inversion-free deep bilevel optimization, ACML 2021, arXiv 1911.03432, sec. 4.1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

import refbilevel as rb
from refbilevel.outer.single_loop import adam
from refbilevel.plot import CYCLE
from refbilevel.validation.experiments.papers import Claim, Study, run

SIZE = 20
SCHEDULE = {"rho": 1.0, "lam": 10.0, "eps": 1.0, "c": 1.1, "shrink": 1.02}
METHODS = ("penalty", "augmented_lagrangian", "approximate gradient", "reverse", "alternating")


@dataclass(frozen=True, eq=False)
class Synthetic:
    """f = u'F u + v'V v - (u - v)'W (u - v), g = r'M r with r = c - u - v or u - v; `distance(u, v)` to the solution set."""

    problem: rb.BilevelProblem
    H: np.ndarray
    distance: object


def synthetic(number, rng):
    blocks = [rng.standard_normal((5, 10)) for _ in range(2)]
    A = np.block([[blocks[0], np.zeros((5, 10))], [np.zeros((5, 10)), blocks[1]]])
    eye, zero, one = np.eye(SIZE), np.zeros((SIZE, SIZE)), np.ones(SIZE)
    P = np.linalg.pinv(A) @ A
    F, V, W, M, sign, half = {
        20: (eye, eye, zero, eye, 1.0, 0.5 * one),
        21: (zero, eye, eye, eye, -1.0, 0 * one),
        22: (zero, A.T @ A, A.T @ A, A.T @ A, -1.0, 0 * one),
        23: (zero, eye, A.T @ A, A.T @ A, -1.0, 0 * one),
        24: (eye, eye, zero, A.T @ A, 1.0, 0.5 * one),
    }[number]
    c = one if sign > 0 else 0 * one
    project = P if number >= 22 else eye

    def residual(u, v):
        return c - u - sign * v  # c - u - v, or -(u - v)

    problem = rb.BilevelProblem(
        n=SIZE, m=SIZE, name=f"SMD{number}", bounds=(-5.0, 5.0),
        f=lambda u, v: u @ F @ u + v @ V @ v - (u - v) @ W @ (u - v), f_x=lambda u, v: 2 * (F @ u - W @ (u - v)),
        f_y=lambda u, v: 2 * (V @ v + W @ (u - v)), g=lambda u, v: residual(u, v) @ M @ residual(u, v),
        g_x=lambda u, v: -2 * M @ residual(u, v), g_y=lambda u, v: -2 * sign * M @ residual(u, v), g_yy=lambda u, v: 2 * M,
        g_xy=lambda u, v: 2 * sign * M,
    )  # fmt: skip

    def distance(u, v):
        lower = v if number == 23 else project @ (v - half)
        return float(np.sqrt(np.sum((project @ (u - half)) ** 2) + np.sum(lower**2)))

    return Synthetic(problem, 2 * M, distance)


def ours(case, u, method, T, steps, rate):
    """The library's method; its schedule of rates starts as the others' do."""
    result = rb.minimize(case.problem, u, method, T=T, inner=steps, maxiter=1, rate_x=rate, rate_y=rate, tol=1e-300, **SCHEDULE)
    return case.distance(result.x, result.own_y)


def baseline(case, u, method, T, steps, rate):
    """Distance after `steps` upper steps of Adam along the method's direction; T steps of Adam (reverse: of descent) below."""
    p, v, H, q = case.problem, np.zeros(SIZE), case.H, np.zeros(SIZE)
    upper, lower, step = {}, {}, 1.0 / np.linalg.norm(case.H, 2)
    for k in range(steps):
        for _ in range(T):
            v = v - (step * p.g_y(u, v) if method == "reverse" else adam(p.g_y(u, v), lower, rate))
        f_y = p.f_y(u, v)
        if method == "alternating":
            d = p.f_x(u, v)
        elif method == "reverse":
            d, a = p.f_x(u, v), f_y
            for _ in range(T):
                d, a = d - step * p.g_xy(u, v) @ a, a - step * H @ a
        else:
            for _ in range(T + 1):
                q = q - step**2 * H @ (H @ q - f_y)
            d = p.f_x(u, v) - p.g_xy(u, v) @ q
        u = np.clip(u - adam(d, upper, rate * 0.5 ** (4 * k / steps)), -5.0, 5.0)
        if not np.isfinite(v).all():
            return np.inf
    return case.distance(u, v)


def study(quick=False):
    lower_steps, seeds, steps = ((1, 5), 1, 400) if quick else ((1, 5, 10), 2, 8000)
    numbers, rate = ((20, 23), 5e-2) if quick else ((20, 21, 22, 23, 24), 1e-2)
    distances = {}
    for number in numbers:
        for seed in range(seeds):
            rng = np.random.default_rng(seed)
            case, start = synthetic(number, rng), rng.uniform(-5.0, 5.0, SIZE)
            for T in lower_steps:
                for method in METHODS:
                    solve = ours if method in METHODS[:2] else baseline
                    distances.setdefault((number, method, T), []).append(solve(case, start, method, T, steps, rate))
    mean = {key: float(np.mean(values)) for key, values in distances.items()}
    rows = [(f"SMD{number}", method, *(mean[number, method, T] for T in lower_steps)) for number in numbers for method in METHODS]
    return Study(("problem", "method", *(f"distance, T = {T}" for T in lower_steps)), rows, _claims(mean, numbers, lower_steps), _drawer(distances, numbers, lower_steps))


def _claims(mean, numbers, lower_steps):
    T = lower_steps[-1]
    definite, singular = [n for n in numbers if n < 22], [n for n in numbers if n >= 22]
    penalty = {n: max(mean[n, "penalty", t] for t in lower_steps) for n in numbers}

    def listed(method, which, t=T):
        return ", ".join(f"SMD{n} {mean[n, method, t]:.2g}" for n in which)

    return [
        Claim("the penalty method converges on every problem and for every T", ", ".join(f"SMD{n} {d:.2g}" for n, d in penalty.items()) + " (worst T)",
              max(penalty.values()) < 0.2),
        Claim("alternating descent does not converge", listed("alternating", numbers), min(mean[n, "alternating", T] for n in numbers) > 0.2),
        Claim("reverse mode needs many lower steps; T = 1 is not enough", f"T = 1: {listed('reverse', definite + singular, 1)}; T = {T}: {listed('reverse', definite + singular)}",
              bool(np.mean([mean[n, "reverse", 1] for n in numbers]) > np.mean([mean[n, "reverse", T] for n in numbers]))),
        Claim("where the lower Hessian is singular the penalty method is nearer than approximate gradients",
              f"penalty {listed('penalty', singular)}; approximate gradient {listed('approximate gradient', singular)}",
              all(mean[n, "penalty", T] < mean[n, "approximate gradient", T] for n in singular)),
    ]  # fmt: skip


def _drawer(distances, numbers, lower_steps):
    def draw(figure):
        for ax, number in zip(np.atleast_1d(figure.subplots(1, len(numbers), sharey=True)), numbers):
            for color, method in zip(CYCLE, METHODS):
                for i, T in enumerate(lower_steps):
                    values = np.maximum(distances[number, method, T], 1e-12)
                    ax.semilogy([i] * len(values), values, "o", color=color, alpha=0.4, markersize=3)
                means = [np.maximum(np.mean(distances[number, method, T]), 1e-12) for T in lower_steps]
                ax.semilogy(range(len(lower_steps)), means, color=color, label=method)
            ax.set_xticks(range(len(lower_steps)), [f"T = {T}" for T in lower_steps])
            ax.set_title(f"SMD{number}")
            ax.spines[["top", "right"]].set_visible(False)
        figure.axes[0].set_ylabel("distance to the solution")
        figure.axes[-1].legend(frameon=False, fontsize=7)

    return draw


if __name__ == "__main__":
    run(__doc__, study, size=(14, 4))

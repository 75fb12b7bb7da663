"""A support vector machine with a log-cost a sample: y*(c) has kinks where samples cross the margin. GAM against plain descent.

    lower   min over (w, b, xi) of |w|^2 / 2 + sum_i e^{c_i} xi_i^2 / 2   subject to   1 - xi_i - t_i (w.z_i + b) <= 0
    upper   sum over validation samples of 2 sigma(-5 m_i) - 1,   m_i = t_i (w.z_i + b) / |w|          (data hyper-cleaning)

Breast cancer data, 40 % of the training labels flipped, c drawn from U(1, 2), scores a sample. Both methods take the same Armijo steps;
plain descent follows the gradient of the branch that it stands on.

    python -m refbilevel.validation.experiments.svm_kinks [--out figure.png] [--quick]

Xu & Zhu, Efficient gradient approximation method for constrained bilevel optimization, AAAI 2023, arXiv 2302.01970, sec. 5.
"""

from __future__ import annotations

import numpy as np

import refbilevel as rb
from refbilevel.plot import convergence
from refbilevel.validation.experiments.papers import Claim, Study, run


def data(rng, train, val):
    """(Z, t with flips, flipped), (Z, t) validation, (Z, t) test: the ten mean features, standardised."""
    from sklearn.datasets import load_breast_cancer
    from sklearn.preprocessing import StandardScaler

    Z, t = load_breast_cancer(return_X_y=True)
    order = rng.permutation(len(t))
    Z, t = StandardScaler().fit_transform(Z[:, :10])[order], (2.0 * t - 1.0)[order]
    flipped = rng.random(train) < 0.4
    rest = slice(train + val, None)
    return (Z[:train], np.where(flipped, -t[:train], t[:train]), flipped), (Z[train : train + val], t[train : train + val]), (Z[rest], t[rest])


def problem(train, val):
    """y = (w, b, xi), x = c."""
    (Z, t, _), (V, s) = train, val
    (N, d), sigmoid = Z.shape, lambda u: 1.0 / (1.0 + np.exp(-u))
    m = d + 1 + N
    rows = np.hstack([-t[:, None] * Z, -t[:, None], -np.eye(N)])
    head = np.concatenate([np.ones(d), [0.0]])

    def margins(y):
        length = np.linalg.norm(y[:d])
        return s * (V @ y[:d] + y[d]) / length, length

    def f_y(x, y):
        u, length = margins(y)
        slope = -10.0 * sigmoid(-5 * u) * (1 - sigmoid(-5 * u))
        w = (V * (slope * s)[:, None]).sum(axis=0) / length - (slope @ u) * y[:d] / length**2
        return np.concatenate([w, [slope @ s / length], np.zeros(N)])

    def g_xy(x, y):
        block = np.zeros((N, m))
        block[:, d + 1 :] = np.diag(np.exp(x) * y[d + 1 :])
        return block

    return rb.BilevelProblem(
        n=N, m=m, name="svm", f=lambda x, y: float(np.sum(2 * sigmoid(-5 * margins(y)[0]) - 1)), f_x=lambda x, y: np.zeros(N), f_y=f_y,
        g=lambda x, y: 0.5 * y[:d] @ y[:d] + 0.5 * np.exp(x) @ y[d + 1 :] ** 2, g_x=lambda x, y: 0.5 * np.exp(x) * y[d + 1 :] ** 2,
        g_y=lambda x, y: np.concatenate([y[:d], [0.0], np.exp(x) * y[d + 1 :]]), g_yy=lambda x, y: np.diag(np.concatenate([head, np.exp(x)])),
        g_xy=g_xy, bounds=(-6.0, 4.0),
        constraints=rb.Constraints(p=lambda x, y: 1.0 + rows @ y, p_x=lambda x, y: np.zeros((N, N)), p_y=lambda x, y: rows, linear=True),
    )  # fmt: skip


def descent(svm, c, steps):
    """Projected hypergradient descent with Armijo's rule, on the branch of the active set at hand: the values of F."""
    lo, hi = svm.bounds

    def at(x, y=None):
        return rb.hypergradient(svm, x, "kkt", y0=y, weak_tol=0.0, diagnostics=False)

    here, t, values = at(c), 1.0, []
    for _ in range(steps):
        values.append(here.objective)
        t = 4 * t
        while True:
            moved = np.clip(c - t * here.gradient, lo, hi)
            there = at(moved, here.lower.y)
            if there.objective <= here.objective - 1e-4 / t * np.sum((moved - c) ** 2):
                break
            t *= 0.5
            if t < 1e-12:
                return np.array(values), c
        c, here = moved, there
    return np.array([*values, here.objective]), c


def accuracy(svm, x, test):
    y = rb.solve_lower(svm, x).y
    d = test[0].shape[1]
    return float(np.mean(np.sign(test[0] @ y[:d] + y[d]) == test[1]))


def study(quick=False):
    size, steps, seeds = ((25, 30), 4, (1,)) if quick else ((60, 80), 30, (1, 2, 3))
    rows, curves, outcomes = [], {}, []
    for seed in seeds:
        rng = np.random.default_rng(seed)
        train, val, test = data(rng, *size)
        svm, start = problem(train, val), rng.uniform(1.0, 2.0, size[0])
        result = rb.minimize(svm, start, "gam", epsilon=0.3, maxiter=steps, tol=1e-6)
        ours, (values, end) = np.array([i.fun for i in result.history]), descent(svm, start, steps)
        curves[seed] = (ours, values)
        before, after, plain = (accuracy(svm, x, test) for x in (start, result.x, end))
        outcomes.append((ours[-1], values[-1], before, after))
        low, high = np.median(result.x[train[2]]), np.median(result.x[~train[2]])
        rows.append((seed, "start", float(ours[0]), before, "", ""))
        rows.append((seed, "gam", float(ours[-1]), after, float(low), float(high)))
        rows.append((seed, "plain hypergradient", float(values[-1]), plain, float(np.median(end[train[2]])), float(np.median(end[~train[2]]))))
    ours, plain, before, after = np.mean(outcomes, axis=0)
    claims = [
        Claim("learning the costs cleans the data: test accuracy rises", f"{before:.3f} before, {after:.3f} after, mean of {len(seeds)} seeds", after > before),
        Claim("GAM ends no worse than plain hypergradient descent in as many steps", f"mean F {ours:.3f} against {plain:.3f}", ours <= plain + 1e-3 * abs(plain)),
    ]

    def draw(figure):
        left, right = figure.subplots(1, 2)
        for seed, (ours, values) in curves.items():
            left.plot(ours, color="#0072B2", label="gam" if seed == seeds[0] else None)
            left.plot(values, "--", color="#D55E00", label="plain hypergradient" if seed == seeds[0] else None)
        left.set(xlabel="step", ylabel="F")
        left.legend(frameon=False)
        left.spines[["top", "right"]].set_visible(False)
        convergence({"gam": result}, right)
        right.set_title(f"seed {seeds[-1]}: the branch gradient where gam stands")

    return Study(("seed", "method", "F", "test accuracy", "median c, flipped", "median c, right"), rows, claims, draw)


if __name__ == "__main__":
    run(__doc__, study)

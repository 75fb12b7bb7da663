"""Label-noise denoising: a weight a training sample, learned on a small clean set, by the penalty method and by exact hypergradients.

    lower   softmax regression on the weighted noisy samples        upper   its loss on the clean samples

Digits, a share of the training labels replaced at random. Test accuracy of the weighted fit beside training on everything, on the clean
samples alone, and on the training samples whose labels are right ("oracle", which knows which those are).

    python -m refbilevel.validation.experiments.label_noise [--out figure.png] [--quick]

Mehra & Hamm, Penalty method for inversion-free deep bilevel optimization, ACML 2021, arXiv 1911.03432, sec. 4.2 (MNIST and others there;
the library's digits of 8 x 8 pixels here).
"""

from __future__ import annotations

import numpy as np

import refbilevel as rb
from refbilevel.plot import CYCLE
from refbilevel.validation.experiments.papers import Claim, Study, run

PENALTY = 1e-3
KNOWN = ("noisy and clean", "clean only", "oracle")
LEARNED = ("penalty", "augmented_lagrangian", "lbfgs")


def data(noise, train, clean, seed):
    """(X, noisy labels, wrong), clean (X, t), test (X, t)."""
    from sklearn.datasets import load_digits

    rng = np.random.default_rng(seed)
    X, t = load_digits(return_X_y=True)
    order = rng.permutation(len(t))
    X, t = X[order] / 16.0, t[order]
    labels, wrong = t[:train].copy(), rng.random(train) < noise
    labels[wrong] = (labels[wrong] + rng.integers(1, 10, wrong.sum())) % 10
    return (X[:train], labels, wrong), (X[train : train + clean], t[train : train + clean]), (X[train + clean :], t[train + clean :])


def fit(X, t, val):
    """Plain softmax regression: the lower level with every weight one half."""
    problem = rb.problems.softmax(X, t, *val, penalty=0.5 * PENALTY, k=10)
    return rb.solve_lower(problem, np.zeros(len(t))).y


def accuracy(y, test):
    return float(np.mean((test[0] @ y.reshape(10, -1).T).argmax(axis=1) == test[1]))


def learn(train, clean, method, iterations):
    problem = rb.problems.softmax(train[0], train[1], *clean, penalty=PENALTY, prior=(1e-5, 0.0), bounds=(-8.0, 8.0), hessian="operator")
    options = {"maxiter": 200, "tol": 1e-6} if method == "lbfgs" else {
        "maxiter": iterations, "inner": 100, "T": 5, "rho": 1.0, "rate_x": 0.1, "rate_y": 0.02, "tol": 1e-6,
    }  # fmt: skip
    return rb.minimize(problem, np.zeros(problem.n), method, **options)


def study(quick=False):
    sizes, levels, seeds = ((100, 60), (0.25,), 1) if quick else ((500, 200), (0.25, 0.5), 3)
    rows, scores, weights = [], {}, {}
    for noise in levels:
        for seed in range(seeds):
            train, clean, test = data(noise, *sizes, seed)
            X, t, wrong = train
            both = np.vstack([X, clean[0]]), np.concatenate([t, clean[1]])
            right = np.vstack([X[~wrong], clean[0]]), np.concatenate([t[~wrong], clean[1]])
            for name, (A, b) in zip(KNOWN, (both, clean, right)):
                scores.setdefault((noise, name), []).append(accuracy(fit(A, b, clean), test))
            for method in LEARNED:
                result = learn(train, clean, method, 2 if quick else 6)
                sigma = 1 / (1 + np.exp(-result.x))
                y = result.y if result.own_y is None else result.own_y
                scores.setdefault((noise, method), []).append(accuracy(y, test))
                weights[noise, method] = (sigma[wrong], sigma[~wrong])
    for (noise, name), values in scores.items():
        pair = [float(np.mean(w)) for w in weights.get((noise, name), ([], [])) if len(w)]
        rows.append((f"{noise:.0%}", name, float(np.mean(values)), float(np.std(values)), *(pair or ("", ""))))
    mean = {key: float(np.mean(v)) for key, v in scores.items()}
    claims = []
    for noise in levels:
        base, best, found, exact = (mean[noise, k] for k in ("noisy and clean", "oracle", "penalty", "lbfgs"))
        claims.append(Claim(f"{noise:.0%} noise: the penalty method beats training on all data", f"{found:.3f} against {base:.3f}", found > base))
        claims.append(Claim(f"{noise:.0%} noise: and comes near the oracle, within 2 points or closer than halfway from all data", f"{found:.3f}, oracle {best:.3f}",
                            best - found <= max(0.02, 0.5 * (best - base))))
        claims.append(Claim(f"{noise:.0%} noise: it matches methods that invert the lower Hessian (within 2 points)", f"{found:.3f} against {exact:.3f}", abs(found - exact) <= 0.02))

    def draw(figure):
        left, right = figure.subplots(1, 2)
        names = [*KNOWN, *LEARNED]
        for i, noise in enumerate(levels):
            left.bar(np.arange(len(names)) + 0.4 * i, [mean[noise, n] for n in names], 0.38, color=CYCLE[i], label=f"{noise:.0%} noise")
        left.set_xticks(np.arange(len(names)) + 0.2, names, rotation=20, ha="right")
        left.set(ylabel="test accuracy", ylim=(0.6, 1.0))
        left.legend(frameon=False)
        wrong, good = weights[levels[0], "penalty"]
        right.hist([wrong, good], bins=20, color=[CYCLE[1], CYCLE[0]], label=["label wrong", "label right"])
        right.set(xlabel=f"learned weight, penalty method, {levels[0]:.0%} noise", ylabel="samples")
        right.legend(frameon=False)

    return Study(("noise", "method", "test accuracy", "deviation", "weight, wrong", "weight, right"), rows, claims, draw)


if __name__ == "__main__":
    run(__doc__, study)

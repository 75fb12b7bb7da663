"""Many hyperparameters at once: 500 penalties, one a feature, and over 1000 weights, one a training sample.

    breast cancer, diabetes   500 polynomial features, logistic and ridge regression with a log-penalty a feature
    digits                    softmax regression, a weight a training sample, 30 % of the training labels wrong

Solved to a projected hypergradient norm of 1e-6 and set against a random search of 100 points and against HOAG at equal wall time, in
one run on one machine: times are for comparison within the table.

    python -m refbilevel.validation.experiments.hyperparameters [--out figure.png] [--quick]

Pedregosa, Hyperparameter optimization with approximate gradient, ICML 2016 (HOAG); Bergstra & Bengio, Random search for
hyper-parameter optimization, JMLR 13, 2012.
"""

from __future__ import annotations

import time

import numpy as np

import refbilevel as rb
from refbilevel.plot import CYCLE
from refbilevel.validation.experiments.papers import Claim, Study, run

TOL = 1e-6


def split(count, rng, fraction=0.6):
    order = rng.permutation(count)
    cut = int(fraction * count)
    return order[:cut], order[cut:]


def polynomial(X, features, rng):
    """The first `features` monomials of degree up to 3 in shuffled order, standardised."""
    from sklearn.preprocessing import PolynomialFeatures, StandardScaler

    P = PolynomialFeatures(degree=3 if X.shape[1] < 20 else 2, include_bias=False).fit_transform(StandardScaler().fit_transform(X))
    keep = np.concatenate([np.arange(X.shape[1]), X.shape[1] + rng.permutation(P.shape[1] - X.shape[1])])[:features]
    return StandardScaler().fit_transform(P[:, keep])


def penalties(name, features):
    """A problem with one log-penalty a feature in [-12, 4], and a prior that keeps the ones that do not matter at rest."""
    from sklearn import datasets

    rng = np.random.default_rng(0)
    X, t = getattr(datasets, f"load_{name}")(return_X_y=True)
    X, (train, val) = polynomial(X, features, rng), split(len(t), rng)
    classes = name == "breast_cancer"
    t = 2.0 * t - 1.0 if classes else (t - t.mean()) / t.std()
    family = rb.problems.logistic if classes else rb.problems.ridge
    return family(X[train], t[train], X[val], t[val], penalties="per-feature", prior=(1e-4, -3.0), bounds=(-12.0, 4.0))


def weights(samples):
    """Digits with 30 % of the training labels wrong: the problem, and which labels are wrong."""
    from sklearn.datasets import load_digits

    rng = np.random.default_rng(0)
    X, t = load_digits(return_X_y=True)
    order = rng.permutation(len(t))
    train, val = order[:samples], order[samples : samples + 400]
    labels = t[train].copy()
    wrong = rng.random(samples) < 0.3
    labels[wrong] = (labels[wrong] + rng.integers(1, 10, wrong.sum())) % 10
    X = X / 16.0
    return rb.problems.softmax(X[train], labels, X[val], t[val], penalty=1e-3, prior=(1e-5, 0.0), bounds=(-8.0, 8.0)), wrong


def random_search(problem, points, rng, center):
    """(seconds, best F so far) after each of the uniform points about the centre; warm starts, as the others have."""
    curve, best, y, started = [], np.inf, None, time.perf_counter()
    lo, hi = problem.bounds
    for k in range(points):
        x = np.full(problem.n, center) if k == 0 else rng.uniform(lo, hi)
        lower = rb.solve_lower(problem, x, y0=y)
        y = lower.y
        best = min(best, problem.f(x, y))
        curve.append((time.perf_counter() - started, best))
    return np.array(curve)


def solve(problem, center, method, limit=np.inf, **options):
    """(result, curve) of `minimize`, stopped at `limit` seconds."""
    curve, started = [], time.perf_counter()

    def told(iterate):
        curve.append((time.perf_counter() - started, iterate.fun))
        return curve[-1][0] > limit

    result = rb.minimize(problem, np.full(problem.n, center), method, tol=TOL, callback=told, **options)
    return result, np.array(curve)


def study(quick=False):
    features, samples, points = (60, 120, 10) if quick else (500, 1200, 100)
    cases = {
        f"breast cancer, {features} penalties": (penalties("breast_cancer", features), -3.0),
        f"diabetes, {features} penalties": (penalties("diabetes", features), -3.0),
        f"digits, {samples} weights": (weights(samples)[0], 0.0),
    }
    rows, curves, claims = [], {}, []
    for name, (problem, center) in cases.items():
        rb.hypergradient(problem, np.full(problem.n, center))  # compiled before the clock starts
        result, ours = solve(problem, center, "lbfgs", maxiter=3000)
        searched = random_search(problem, points, np.random.default_rng(1), center)
        hoag, theirs = solve(problem, center, "hoag", limit=max(2 * ours[-1, 0], searched[-1, 0]), maxiter=100_000)
        curves[name] = {"lbfgs": ours, "hoag": theirs, "random search": searched}
        for method, curve, r in (("lbfgs", ours, result), ("hoag", theirs, hoag), (f"random search, {points}", searched, None)):
            extra = ("", "") if r is None else (float(r.projected_norm), str(r.status))
            rows.append((name, method, float(curve[-1, 1]), *extra, round(float(curve[-1, 0]), 2)))
        beaten = ours[np.argmax(ours[:, 1] <= searched[-1, 1]), 0]
        says = f"{name}: projected hypergradient norm {TOL:.0e}; the best of {points} random points is passed sooner than they are drawn"
        measured = f"{result.projected_norm:.1e} after {ours[-1, 0]:.1f} s; passed after {beaten:.2f} s, drawn in {searched[-1, 0]:.1f} s"
        claims.append(Claim(says, measured, result.projected_norm <= TOL and ours[-1, 1] < searched[-1, 1] and beaten < searched[-1, 0]))

    def draw(figure):
        for ax, (name, parts) in zip(figure.subplots(1, len(curves)), curves.items()):
            best = min(curve[:, 1].min() for curve in parts.values())
            for color, (method, curve) in zip(CYCLE, parts.items()):
                ax.loglog(curve[:, 0] + 1e-3, curve[:, 1] - best + 1e-9, label=method, color=color)
            ax.set(title=name, xlabel="seconds", ylabel="F - best F")
            ax.spines[["top", "right"]].set_visible(False)
        ax.legend(frameon=False)

    return Study(("problem", "method", "F", "projected norm", "status", "seconds"), rows, claims, draw)


if __name__ == "__main__":
    run(__doc__, study, size=(12, 4))

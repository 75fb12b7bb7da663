"""MinimaxOPT on hyperparameter optimisation and data hyper-cleaning, at equal gradient count.

    hyperparameters   logistic regression on breast cancer data, a log-penalty a feature
    hyper-cleaning    softmax regression on digits, 40 % of the labels wrong, a weight a sample

Cost in passes over the data: a gradient of f or g with respect to x or y is one, a product with g_yy or g_xy two, a minibatch its share.
MinimaxOPT, BOME and F2SA use first derivatives only; HOAG inverts by conjugate gradients, its lower level by accelerated gradients;
stocBiO sums a Neumann series on minibatches. F(x) = f(x, y*(x)) is measured exactly at each checkpoint and costs nothing here.

    python -m refbilevel.validation.experiments.minimaxopt [--out figure.png] [--quick]

Wang, Pan, Pi & Zhang, Effective bilevel optimization via minimax reformulation, arXiv 2305.13153, sec. 5. The limit of its penalty,
distance to the optimum against alpha, is measured on the first problem.
"""

from __future__ import annotations

import numpy as np
from scipy.sparse.linalg import LinearOperator, aslinearoperator

import refbilevel as rb
from refbilevel.plot import CYCLE, beta_sweep
from refbilevel.problem import replace
from refbilevel.validation.experiments.papers import Claim, Study, run

PASSES = {"g_x": 1, "g_y": 1, "f_y": 1, "g_xy": 2, "g_yy": 2}
CHECKPOINTS = 20
BATCH, T, S = 16, 10, 10


class Meter:
    """A copy of a problem whose oracles add their passes to `passes`; products with g_yy count when they are made."""

    def __init__(self, problem):
        self.passes = 0
        counted = {name: self._counting(getattr(problem, name), PASSES[name]) for name in ("g_x", "g_y", "f_y", "g_xy")}
        self.problem = replace(problem, **counted, g_yy=self._products(problem.g_yy), lower_solver=None)

    def _counting(self, oracle, passes):
        def call(x, y):
            self.passes += passes
            return oracle(x, y)

        return call

    def _products(self, g_yy):
        def call(x, y):
            H = aslinearoperator(g_yy(x, y))

            def product(v):
                self.passes += PASSES["g_yy"]
                return H.matvec(v)

            return LinearOperator(H.shape, matvec=product, rmatvec=product, dtype=float)

        return call


def hyperparameters():
    from sklearn.datasets import load_breast_cancer
    from sklearn.preprocessing import StandardScaler

    X, t = load_breast_cancer(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(t))
    X, t = StandardScaler().fit_transform(X)[order], (2.0 * t - 1.0)[order]
    return rb.problems.finite_sum_logistic(X[:300], t[:300], X[300:], t[300:], bounds=(-6.0, 2.0)), np.full(30, -3.0)


def cleaning(samples=300):
    from sklearn.datasets import load_digits

    rng = np.random.default_rng(0)
    X, t = load_digits(return_X_y=True)
    order = rng.permutation(len(t))
    X, t = X[order] / 16.0, t[order]
    labels, wrong = t[:samples].copy(), rng.random(samples) < 0.4
    labels[wrong] = rng.integers(0, 10, wrong.sum())
    val = slice(samples, samples + 300)
    return rb.problems.softmax(X[:samples], labels, X[val], t[val], penalty=1e-2, bounds=(-6.0, 6.0), hessian="operator"), np.zeros(samples)


def single_loop(problem, start, method, budget):
    """(passes, F) at the checkpoints of a single-loop method that spends about `budget` passes."""
    probe = rb.minimize(problem, start, method, maxiter=1, inner=10, tol=1e-300)
    passes = sum(probe.counts.get(f"single_{name}", 0) * weight for name, weight in PASSES.items()) / 10
    inner = max(1, int(budget / CHECKPOINTS / passes))
    result = rb.minimize(problem, start, method, maxiter=CHECKPOINTS, inner=inner, tol=1e-300)
    values = np.array([i.fun for i in result.history])
    return passes * inner * np.arange(len(values)), values


def hoag(problem, start, budget):
    meter, curve = Meter(problem), []

    def told(iterate):
        curve.append((meter.passes, iterate.fun))
        return meter.passes >= budget

    options = {"linear": "cg", "lower_method": "accelerated_gradient"}
    rb.minimize(meter.problem, start, "hoag", callback=told, maxiter=10_000, estimator_options=options, tol=1e-12)
    return tuple(np.array(curve).T)


def stocbio(problem, start, budget):
    N = problem.sizes[0]
    passes = BATCH * (T + 2 * S + 2 + 1) / N
    inner = max(1, int(budget / CHECKPOINTS / passes))
    result = rb.minimize(problem, start, "stocbio", maxiter=CHECKPOINTS, inner=inner, T=T, S=S, batch=BATCH, rng=0, tol=1e-300)
    values = np.array([i.fun for i in result.history])
    return passes * inner * np.arange(len(values)), values


def race(problem, start, budget):
    """{method: (passes, F)}."""
    curves = {name: single_loop(problem, start, name, budget) for name in ("minimax", "bome", "f2sa")}
    curves["hoag"] = hoag(problem, start, budget)
    if hasattr(problem, "terms"):
        curves["stocbio"] = stocbio(problem, start, budget)
    return curves


def limit(alphas, iterations):
    """Distance of MinimaxOPT's point to the optimum against alpha, on a quadratic whose optimum has a closed form."""
    rng = np.random.default_rng(0)
    G, B, d = rng.standard_normal((5, 5)), rng.standard_normal((5, 3)), rng.standard_normal(5)
    H = G @ G.T + np.eye(5)
    M = np.linalg.solve(H, B)
    problem = rb.BilevelProblem(
        n=3, m=5, f=lambda x, y: 0.5 * (y - d) @ (y - d) + 0.05 * x @ x, f_x=lambda x, y: 0.1 * x, f_y=lambda x, y: y - d,
        g=lambda x, y: 0.5 * y @ H @ y - y @ B @ x, g_x=lambda x, y: -B.T @ y, g_y=lambda x, y: H @ y - B @ x, g_yy=lambda x, y: H,
        g_xy=lambda x, y: -B.T,
    )  # fmt: skip
    optimum = np.linalg.solve(M.T @ M + 0.1 * np.eye(3), M.T @ d)
    runs = [rb.minimize(problem, optimum, "minimax", tol=1e-300, maxiter=iterations, inner=400, alpha_final=a) for a in alphas]
    return np.array([np.linalg.norm(r.x - optimum) for r in runs])


def study(quick=False):
    budget = 1000 if quick else 20_000
    cases = {"hyperparameters": hyperparameters(), "hyper-cleaning": cleaning(60 if quick else 300)}
    rows, races, claims = [], {}, []
    for name, (problem, start) in cases.items():
        races[name] = curves = race(problem, start, budget)
        exact = rb.minimize(problem, start, tol=1e-7, maxiter=2000)
        rows += [(name, method, int(cost[-1]), float(values[-1]), float(values[-1] - exact.fun)) for method, (cost, values) in curves.items()]
        rows.append((name, "lbfgs, exact hypergradients", "", float(exact.fun), 0.0))
        last = {method: values[-1] for method, (_, values) in curves.items()}
        others = {m: v for m, v in last.items() if m != "minimax"}
        best = min(others, key=others.get)
        start_value = curves["minimax"][1][0]
        says = f"{name}: MinimaxOPT does as well or better than the baselines at equal gradient count (within 2 % of the descent)"
        measured = f"F {last['minimax']:.4f}; best baseline {best} {others[best]:.4f}; start {start_value:.4f}"
        claims.append(Claim(says, measured, last["minimax"] <= others[best] + 0.02 * (start_value - others[best])))
    alphas = np.array([16.0, 64.0, 256.0])
    distances = limit(alphas, 40 if quick else 150)
    slope = float(np.polyfit(np.log(alphas), np.log(distances), 1)[0])
    claims.append(Claim("the minimax problem's solution lies O(1/alpha) from the bilevel solution", f"slope {slope:.2f}", abs(slope + 1) < 0.1))

    def draw(figure):
        axes = figure.subplots(1, 3)
        for ax, (name, curves) in zip(axes, races.items()):
            for color, (method, (cost, values)) in zip(CYCLE, curves.items()):
                ax.plot(cost, values, label=method, color=color)
            ax.set(title=name, xlabel="passes over the data", ylabel="F", xlim=(0, budget))
            ax.spines[["top", "right"]].set_visible(False)
            ax.locator_params(axis="x", nbins=4)
            ax.legend(frameon=False)
        beta_sweep({"minimax": (alphas, distances)}, axes[2], parameter="alpha").set_ylabel("distance to the optimum")

    return Study(("problem", "method", "passes", "F", "F - F(lbfgs)"), rows, claims, draw)


if __name__ == "__main__":
    run(__doc__, study, size=(14, 4))

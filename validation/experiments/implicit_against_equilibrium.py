"""Implicit differentiation against equilibrium propagation: error against cost, against beta, against solver precision.

Left: per-feature logistic regression on breast cancer data; cost in gradient evaluations of g or f, a Hessian-vector product counting two,
beyond the lower solve that all of them need. Middle and right: a quartic lower problem whose equilibria are known to rounding, then
moved by delta in a random direction, as a solver of that precision would leave them:

    t(beta) = g_x(x, y_beta) + beta f_x(x, y_beta),   y_beta = argmin_y g + beta f
    one-sided (t(beta) - t(0)) / beta: error C delta / beta + O(beta);       symmetric (t(beta) - t(-beta)) / 2 beta: C delta / beta + O(beta^2)
    best beta ~ delta^(1/(r+1)),  error there ~ delta^(r/(r+1)),  r the order

    python -m refbilevel.validation.experiments.implicit_against_equilibrium [--out figure.png] [--quick]

Zucchet & Sacramento, Beyond backpropagation: bilevel optimization through implicit differentiation and equilibrium propagation,
Neural Computation 34(12), 2022, arXiv 2205.03076.
"""

from __future__ import annotations

import numpy as np
from scipy.sparse.linalg import LinearOperator

import refbilevel as rb
from refbilevel.plot import beta_sweep, error_vs_cost
from refbilevel.problem import replace
from refbilevel.validation.experiments.papers import Claim, Study, run

GRADIENTS = ("f_x", "f_y", "g_x", "g_y")
ORDERS = {"one-sided": 1, "symmetric": 2}


def logistic():
    from sklearn.datasets import load_breast_cancer
    from sklearn.preprocessing import StandardScaler

    X, t = load_breast_cancer(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(t))
    X, t = StandardScaler().fit_transform(X)[order], (2.0 * t - 1.0)[order]
    return rb.problems.logistic(X[:300], t[:300], X[300:], t[300:], penalties="per-feature", prior=(1e-2, -2.0)), np.full(30, -2.0)


class Products:
    """g_yy as an operator that counts its products."""

    def __init__(self, problem):
        self.g_yy, self.count = problem.g_yy, 0

    def __call__(self, x, y):
        H = self.g_yy(x, y)

        def product(v):
            self.count += 1
            return H @ v

        return LinearOperator(H.shape, matvec=product, rmatvec=product, dtype=float)


def measured(problem, x, method, exact, **options):
    """(gradient evaluations, relative error) of one estimate; a product with g_yy or g_xy counts two."""
    products = Products(problem)
    result = rb.hypergradient(replace(problem, g_yy=products), x, method, diagnostics=False, **options)
    cost = sum(result.cost.get(name, 0) for name in GRADIENTS) + 2 * (products.count + result.cost.get("g_xy", 0))
    return cost, float(np.linalg.norm(result.gradient - exact) / np.linalg.norm(exact))


def against_cost(quick):
    """{method: (costs, relative errors)}, from the lower solution, which all of them need."""
    problem, x = logistic()
    exact = rb.hypergradient(problem, x, refine=True)
    lower = {"lower": exact.lower}
    counts = (2, 8, 32) if quick else (1, 2, 4, 8, 12, 16, 24, 32, 64, 128, 256)
    nudges = ((1e-1, 1e-3), (3e-2, 1e-5), (1e-2, 1e-7), (1e-3, 1e-9))
    runs = {
        "conjugate gradient": [("implicit", lower | {"linear": "cg", "maxiter": K, "rtol": 1e-14, "probe": False}) for K in counts if K <= 32],
        "fixed point": [("fixed_point", lower | {"K": K}) for K in counts],
        "unrolling": [("reverse", {"y0": exact.lower.y, "K": K}) for K in counts],
        "equilibrium propagation": [
            ("equilibrium", lower | {"lower_method": "accelerated_gradient", "beta": beta, "lower_tol": tol}) for beta, tol in nudges[: 2 if quick else None]
        ],
    }
    return {name: tuple(zip(*(measured(problem, x, method, exact.gradient, **o) for method, o in calls))) for name, calls in runs.items()}


def nudged(problem, x, beta):
    """y_beta to rounding."""
    moved = replace(
        problem, g=lambda x, y: problem.g(x, y) + beta * problem.f(x, y), g_y=lambda x, y: problem.g_y(x, y) + beta * problem.f_y(x, y),
        g_yy=lambda x, y: problem.g_yy(x, y) + beta * problem.f_yy(x, y), lower_solver=None,
    )  # fmt: skip
    return rb.solve_lower(moved, x).y


def estimates(problem, x, beta, delta, rng):
    """(one-sided, symmetric) estimates with every equilibrium moved by delta."""

    def t(beta):
        u = rng.standard_normal(problem.m)
        y = nudged(problem, x, beta) + delta * u / np.linalg.norm(u)
        return problem.g_x(x, y) + beta * problem.f_x(x, y)

    free, up, down = t(0.0), t(beta), t(-beta)
    return {"one-sided": (up - free) / beta, "symmetric": (up - down) / (2 * beta)}


def against_beta(deltas, betas, repeats):
    """{(variant, delta): errors at the betas}: root mean squares over repeats."""
    problem = rb.problems.random_quartic(n=3, m=6, rng=1)
    x = np.linspace(-0.5, 0.5, 3)
    exact = rb.hypergradient(problem, x, refine=True).gradient
    errors = {}
    for delta in deltas:
        rng = np.random.default_rng(0)
        squares = [[{k: np.sum((v - exact) ** 2) for k, v in estimates(problem, x, b, delta, rng).items()} for _ in range(repeats)] for b in betas]
        for variant in ORDERS:
            errors[variant, delta] = np.sqrt([np.mean([s[variant] for s in row]) for row in squares])
    return errors


def first_below(curve, error):
    """The least cost whose error is below, inf if none is."""
    return min((cost for cost, value in zip(*curve) if value <= error), default=np.inf)


def slope(a, b):
    return float(np.polyfit(np.log(a), np.log(b), 1)[0])


def study(quick=False):
    curves = against_cost(quick)
    betas = np.logspace(-6.5, -1, 12 if quick else 34)
    deltas = np.logspace(-10, -5, 3 if quick else 6)
    errors = against_beta([0.0, *deltas], betas, 2 if quick else 8)
    rows = [(name, cost, float(error)) for name, (costs, values) in curves.items() for cost, error in zip(costs, values)]
    claims, best = [], {}
    law_holds = (betas >= 3e-4) & (betas <= 4e-2)  # above the rounding of t, below where the next power of beta shows
    for variant, r in ORDERS.items():
        measured = slope(betas[law_holds], errors[variant, 0.0][law_holds])
        claims.append(Claim(f"{variant} error without solver error is O(beta^{r})", f"slope {measured:.2f}", abs(measured - r) < 0.15))
        best[variant] = np.array([errors[variant, d].min() for d in deltas])
        measured, law = slope(deltas, best[variant]), r / (r + 1)
        claims.append(Claim(f"{variant} error at the best beta falls as delta^({r}/{r + 1})", f"exponent {measured:.2f}, law {law:.2f}", abs(measured - law) < 0.12))
    cg, ep = (np.array(curves[name][1]) for name in ("conjugate gradient", "equilibrium propagation"))
    claims.append(Claim(
        "implicit methods have no finite-difference bias, equilibrium propagation needs first derivatives only and keeps one",
        f"best relative error: conjugate gradient {cg.min():.0e}, equilibrium propagation {ep.min():.0e}", bool(cg.min() < ep.min()),
    ))  # fmt: skip
    costs = {name: first_below(curves[name], 1e-2 if quick else 1e-6) for name in ("conjugate gradient", "fixed point", "unrolling")}
    claims.append(Claim(
        "of the implicit methods conjugate gradient is the cheapest, unrolling the dearest",
        f"evaluations to a relative error of {1e-2 if quick else 1e-6:.0e}: " + ", ".join(f"{name} {cost}" for name, cost in costs.items()),
        costs["conjugate gradient"] < costs["fixed point"] < costs["unrolling"],
    ))  # fmt: skip

    def draw(figure):
        left, middle, right = figure.subplots(1, 3)
        error_vs_cost(curves, left, cost="gradient evaluations")
        shown = {f"{v}, delta = {d:.0e}": (betas, errors[v, d]) for v in ORDERS for d in (0.0, deltas[-1])}
        beta_sweep(shown, middle, slopes={f"{v}, delta = {0.0:.0e}": r for v, r in ORDERS.items()})
        beta_sweep({v: (deltas, best[v]) for v in ORDERS}, right, slopes={v: r / (r + 1) for v, r in ORDERS.items()}, parameter="solver precision delta")
        right.set_ylabel("error at the best beta")

    return Study(("method", "gradient evaluations", "relative error"), rows, claims, draw)


if __name__ == "__main__":
    run(__doc__, study, size=(14, 4))

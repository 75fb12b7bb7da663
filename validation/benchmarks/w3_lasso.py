"""W3: Lasso and weighted Lasso 1000 x 5000 at a tenth of the largest useful penalty; the peer is celer, then the support's solve.

All get the data in Fortran order, which they ask for; the truth comes from the support's equations in extended precision.
"""

from __future__ import annotations

import numpy as np
from timing import OURS, Case

import refbilevel as rb


def data(N=1000, m=5000, seed=0):
    rng = np.random.default_rng(seed)
    X, Z, w = rng.standard_normal((N, m)), rng.standard_normal((N // 2, m)), np.zeros(m)
    w[rng.choice(m, 50, replace=False)] = rng.standard_normal(50)
    return X, X @ w + 0.5 * rng.standard_normal(N), Z, Z @ w + 0.5 * rng.standard_normal(N // 2), np.abs(X.T @ (X @ w)).max() / N / 10


def gradient(X, Z, s, y, c, one):
    """-(c_j sign(y_j) v_j) on the support, v solving the support's normal equations, rounding refined."""
    S = np.flatnonzero(y)
    A, b = X[:, S], Z[:, S].T @ (Z[:, S] @ y[S] - s) / len(s)
    G = A.T @ A / len(X)
    v = np.linalg.solve(G, b)
    v += np.linalg.solve(G, b - G @ v)
    terms = np.zeros(len(y))
    terms[S] = -c[S] * np.sign(y[S]) * v
    return terms.sum(keepdims=True) if one else terms


def solved(G, b):
    """G^{-1} b, in the precision of G and b, by refinement of the double-precision solution."""
    x, double = np.zeros_like(b), G.astype(float)
    for _ in range(6):
        x = x + np.linalg.solve(double, (b - G @ x).astype(float))
    return x


def exact(X, t, Z, s, signs, c, one):
    """(y, gradient) of the support and signs given (m,), in NumPy's longdouble."""
    S, terms, y = np.flatnonzero(signs), np.zeros(len(signs), np.longdouble), np.zeros(len(signs), np.longdouble)
    A, B, c = X[:, S].astype(np.longdouble), Z[:, S].astype(np.longdouble), c.astype(np.longdouble)[S] * signs[S]
    G = A.T @ A / len(X)
    y[S] = solved(G, A.T @ t / len(X) - c)
    terms[S] = -c * solved(G, B.T @ (B @ y[S] - s) / len(s))
    return y.astype(float), (terms.sum(keepdims=True) if one else terms).astype(float)


def celer_solution(X, t, c, tol):
    from celer import Lasso

    solver = Lasso(alpha=float(c.min()), weights=c / c.min(), fit_intercept=False, tol=tol, max_iter=200, prune=True)
    return lambda: solver.fit(X, t).coef_


def coordinate_descent(X, t, c, tol):
    """scikit-learn on X / c (the weighted Lasso by rescaling)."""
    from sklearn.linear_model import Lasso

    w = c / c.min()
    solver = Lasso(alpha=float(c.min()), fit_intercept=False, tol=tol, max_iter=100_000)
    return lambda: solver.fit(np.asfortranarray(X / w), t).coef_ / w


def cases():
    X, t, Z, s, top = data()
    X, Z = np.asfortranarray(X), np.asfortranarray(Z)
    for one, penalties in ((True, "one"), (False, "per-feature")):
        x = np.log([top]) if one else np.log(top) + 0.3 * np.random.default_rng(1).standard_normal(X.shape[1])
        c = np.broadcast_to(np.exp(x), X.shape[1]).copy()
        problem = getattr(rb.problems, "lasso")(X, t, Z, s, penalties=penalties)
        y, truth = exact(X, t, Z, s, np.sign(coordinate_descent(X, t, c, 1e-13)()), c, one)
        slack = np.abs(X.T @ (t - X @ y)) / len(X) - c
        assert slack.max() < 1e-10 * top and (np.sign(y) * (X.T @ (t - X @ y)) >= 0).all(), "the truth's support is not optimal"

        def peer(make, tol, c=c, one=one):
            solve = make(X, t, c, tol)
            return lambda: gradient(X, Z, s, solve(), c, one)

        yield Case(
            "W3", f"{'Lasso' if one else 'weighted Lasso'} 1000 x 5000, end to end, support of {np.count_nonzero(y)}",
            {
                OURS: lambda problem=problem, x=x: lambda: rb.hypergradient(problem, x, diagnostics=False).gradient,
                "refbilevel, all diagnostics": lambda problem=problem, x=x: lambda: rb.hypergradient(problem, x).gradient,
                "celer + support solve": lambda peer=peer: peer(celer_solution, 1e-10),
                "scikit-learn + support solve": lambda peer=peer: peer(coordinate_descent, 1e-10),
            },
            truth, goal=f"Goal: best peer at {7 if one else 5} or more.",
            notes={"celer + support solve": "stands for sparse-ho, which is not on the package index: its forward solver and its adjoint"},
        )  # fmt: skip
        lower = rb.solve_lower(problem, x)
        yield Case(
            "W3", f"{'Lasso' if one else 'weighted Lasso'}, adjoint alone, y* given",
            {
                OURS: lambda p=problem, x=x, low=lower: lambda: rb.hypergradient(p, x, lower=low, diagnostics=False).gradient,
                "refbilevel, y an array": lambda p=problem, x=x, y=y: lambda: rb.hypergradient(p, x, lower=y, diagnostics=False).gradient,
                "floor": lambda y=y, c=c, one=one: lambda: gradient(X, Z, s, y, c, one),
            },
            truth, notes={"floor": "the support's normal equations in NumPy, which is also every peer's adjoint", OURS: "the LowerSolution, whose factor serves"},
        )  # fmt: skip

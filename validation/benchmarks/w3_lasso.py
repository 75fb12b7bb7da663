"""W3: Lasso and weighted Lasso 1000 x 5000 at a tenth of the largest useful penalty; the peer is celer, then the support's solve."""

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


def polished(X, t, y, c):
    """y with its support's equations solved to rounding."""
    S = np.flatnonzero(y)
    A, out = X[:, S], np.zeros_like(y)
    out[S] = np.linalg.solve(A.T @ A / len(X), A.T @ t / len(X) - c[S] * np.sign(y[S]))
    return out


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
    F = np.asfortranarray(X)
    for one, penalties in ((True, "one"), (False, "per-feature")):
        x = np.log([top]) if one else np.log(top) + 0.3 * np.random.default_rng(1).standard_normal(X.shape[1])
        c = np.broadcast_to(np.exp(x), X.shape[1]).copy()
        problem = getattr(rb.problems, "lasso")(X, t, Z, s, penalties=penalties)
        y = polished(X, t, coordinate_descent(X, t, c, 1e-13)(), c)
        slack = np.abs(X.T @ (t - X @ y)) / len(X) - c
        assert slack.max() < 1e-10 * top and (np.sign(y) * (X.T @ (t - X @ y)) >= 0).all(), "the truth's support is not optimal"

        def peer(make, tol, design, c=c, one=one):
            solve = make(design, t, c, tol)
            return lambda: gradient(X, Z, s, solve(), c, one)

        yield Case(
            "W3", f"{'Lasso' if one else 'weighted Lasso'} 1000 x 5000, end to end, support of {np.count_nonzero(y)}",
            {
                OURS: lambda problem=problem, x=x: lambda: rb.hypergradient(problem, x, diagnostics=False).gradient,
                "refbilevel, all diagnostics": lambda problem=problem, x=x: lambda: rb.hypergradient(problem, x).gradient,
                "celer + support solve": lambda peer=peer: peer(celer_solution, 1e-10, F),
                "scikit-learn + support solve": lambda peer=peer: peer(coordinate_descent, 1e-10, F),
            },
            gradient(X, Z, s, y, c, one), goal=f"Goal: best peer at {7 if one else 5} or more.",
            notes={"celer + support solve": "stands for sparse-ho, which is not on the package index: its forward solver and its adjoint"},
        )  # fmt: skip

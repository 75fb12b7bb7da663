"""W2: sparse logistic regression 20000 x 20000, density 1e-3, one penalty.

Features are as frequent as words are, by Zipf's law with exponent 0.8; and once more with columns all alike, for which a diagonal
preconditioner does nothing, so that every solver by conjugate gradients takes the same products.
"""

from __future__ import annotations

from dataclasses import replace

import bare
import logistic_peers as peers
import numpy as np
from scipy import sparse
from timing import OURS, Case
from w1_logistic import count

import refbilevel as rb


def data(exponent, N=20_000, m=20_000, density=1e-3, seed=0):
    rng = np.random.default_rng(seed)
    frequency = np.arange(1.0, m + 1) ** -exponent
    X, Z = (_words(rows, m, int(density * rows * m), frequency / frequency.sum(), rng) for rows in (N, N // 4))
    w = rng.standard_normal(m)
    t, s = np.sign(X @ w + rng.standard_normal(N)), np.sign(Z @ w + rng.standard_normal(N // 4))
    d = peers.Data(X, t, Z, s, np.array([np.log(1e-5)]))
    y, gradient = peers.exact(d)
    return replace(d, y=y), gradient


def _words(rows, m, count, frequency, rng):
    """CSR (rows, m) with some `count` entries, those met twice added up."""
    places = rng.integers(rows, size=count), rng.choice(m, size=count, p=frequency)
    return sparse.csr_array(sparse.coo_array((rng.standard_normal(count), places), shape=(rows, m)))


def cases():
    yield from pair(0.8, "")
    yield from pair(0.0, ", columns alike")


def pair(exponent, word):
    d, truth = data(exponent)
    problem = rb.problems.logistic(d.X, d.t, d.Z, d.s)
    tol = 1e-10 / min(1.0, d.c.min())  # the solver's bound is on |g_y| / mu: this one stops at |g_y| <= 1e-10, as the peers do
    yield Case(
        "W2", f"sparse logistic 20000 x 20000, density 1e-3, one penalty{word}, end to end",
        {
            OURS: lambda: lambda: count(rb.hypergradient(problem, d.x, tol=tol, rtol=1e-10, diagnostics=False)),
            "refbilevel, y* to 1e-10": lambda: lambda: count(rb.hypergradient(problem, d.x, tol=1e-10, rtol=1e-10, diagnostics=False)),
            "refbilevel, all diagnostics": lambda: lambda: count(rb.hypergradient(problem, d.x, tol=tol)),
            "jaxopt LBFGS + cg": lambda: peers.jaxopt_lbfgs(d),
            "HOAG (SciPy)": lambda: lambda: peers.scipy_hoag(d),
        },
        truth, goal="Goal: best peer at 5 or more.",
    )  # fmt: skip
    yield Case(
        "W2", f"adjoint alone, y* given{word}",
        {
            OURS: lambda: lambda: count(rb.hypergradient(problem, d.x, lower=d.y, rtol=1e-10, diagnostics=False)),
            "refbilevel, all diagnostics": lambda: lambda: count(rb.hypergradient(problem, d.x, lower=d.y)),
            "jaxopt cg": lambda: peers.jaxopt_adjoint(d),
            "SciPy cg": lambda: lambda: peers.scipy_adjoint(d),
            "floor": lambda: bare.adjoint(problem, d.x, d.y),
        },
        truth, goal="Goal: best peer at 5 or more.", notes={"floor": bare.__doc__},
    )  # fmt: skip

"""C1: re-solve of a parametrised CVXPY elastic net (60 x 30) and its gradient in three parameters.

The truth is closed: on the support S, (X_S'X_S + l2 I) w_S = X_S't - l1 sign(w_S).
"""

from __future__ import annotations

import cvxpy as cp
import numpy as np
from timing import OURS, Case

import refbilevel as rb


def program(rows=60, columns=30, seed=0):
    """(problem, variable, parameters, cotangent, truth (62,) over l1, l2, t)."""
    r = np.random.default_rng(seed)
    X, w = r.standard_normal((rows, columns)), cp.Variable(columns)
    l1, l2 = cp.Parameter(nonneg=True, value=4.0), cp.Parameter(nonneg=True, value=1.5)
    t = cp.Parameter(rows, value=r.standard_normal(rows))
    problem = cp.Problem(cp.Minimize(0.5 * cp.sum_squares(X @ w - t) + l1 * cp.norm1(w) + 0.5 * l2 * cp.sum_squares(w)))
    problem.solve(solver="CLARABEL")
    S, c = np.abs(w.value) > 1e-5, r.standard_normal(columns)
    H, signs = X[:, S].T @ X[:, S] + l2.value * np.eye(S.sum()), np.sign(w.value[S])
    y = np.linalg.solve(H, X[:, S].T @ t.value - l1.value * signs)
    v = np.linalg.solve(H, c[S])
    return problem, w, (l1, l2, t), c, np.concatenate([[-signs @ v], [-y @ v], X[:, S] @ v])


def flat(gradients, parameters):
    return np.concatenate([np.ravel(gradients[p]) for p in parameters])


def backward(problem, w, parameters, c, **options):
    import diffcp  # noqa: F401  what CVXPY's backward needs

    def call():
        problem.solve(requires_grad=True, **options)
        w.gradient = c
        problem.backward()
        return flat({p: p.gradient for p in parameters}, parameters)

    return call


def layer(problem, w, parameters, c):
    import torch
    from cvxpylayers.torch import CvxpyLayer

    made = CvxpyLayer(problem, parameters=list(parameters), variables=[w])

    def call():
        inputs = [torch.tensor(np.array(p.value, float), dtype=torch.float64, requires_grad=True) for p in parameters]
        (made(*inputs)[0] * torch.tensor(c)).sum().backward()
        return flat({p: i.grad.numpy() for p, i in zip(parameters, inputs)}, parameters)

    return call


def cases():
    problem, w, parameters, c, truth = program()

    def ours():
        compiled = rb.ConvexProgram(problem)
        return lambda: flat(compiled.solve().vjp({w: c}), parameters)

    yield Case(
        "C1", "CVXPY elastic net 60 x 30, re-solve and gradient",
        {
            OURS: ours,
            "problem.backward()": lambda: backward(problem, w, parameters, c),
            "problem.backward(), eps 1e-10": lambda: backward(problem, w, parameters, c, eps=1e-10, max_iters=200_000),
            "cvxpylayers": lambda: layer(problem, w, parameters, c),
        },
        truth, goal="Goal: `backward` at 1 or more, with six digits fewer.",
    )  # fmt: skip

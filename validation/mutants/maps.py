"""Faults of layers (a bilevel program solved inside) and of finite choices."""

from __future__ import annotations

import numpy as np

from .record import mutant
from .system import solve


def _blocks(problem, z, w):
    """Second derivatives of the layer's upper F and lower g at z and w = (x, y), and the sizes of x and z."""
    inner = problem.solution_map
    k, n = problem.n, inner.n
    s, y = np.concatenate([z, w[:n]]), w[n:]
    F_w = np.hstack([inner.upper.d_xx(s, y)[k:, k:], inner.upper.d_xy(s, y)[k:]])
    g_w = np.hstack([inner.lower.d_xy(s, y)[k:].T, inner.lower.d_yy(s, y)])
    N = np.vstack([inner.upper.d_xx(s, y)[k:, :k], inner.lower.d_xy(s, y)[:k].T])
    return np.vstack([F_w, g_w]), N, n


@mutant(
    "Nash instead of Stackelberg: each level is differentiated as if the other were given (F_x = 0 for the hypergradient)",
    where="layer",
    source="the two independent optimality conditions of a BiGrad layer",
)
def nash(problem, x, y, mu, nu):
    K, N, _ = _blocks(problem, x, y)
    return problem.f_x(x, y) - N.T @ solve(K.T, problem.f_y(x, y))


@mutant("the layer's inner y is detached: only x moves with the input", where="layer")
def inner_response_dropped(problem, x, y, mu, nu):
    K, N, n = _blocks(problem, x, y)
    f_y = np.asarray(problem.f_y(x, y), float)
    return problem.f_x(x, y) - N[:n].T @ solve(K[:n, :n].T, f_y[:n])


@mutant(
    "a finite choice is smoothed by a softmin of temperature tau, whose derivative does not vanish", where="choice", tau=(1.0, 0.1, 10.0)
)
def softened_choice(problem, x, y, mu, nu, tau):
    inner = problem.solution_map
    costs = inner.costs(x)
    weights = np.exp(-(costs - costs.min()) / tau)
    weights /= weights.sum()
    slopes = np.array([problem.g_x(x, point) for point in inner.points])
    values = inner.points @ problem.f_y(x, y)
    return problem.f_x(x, y) - (weights * (values - weights @ values)) @ (slopes - weights @ slopes) / tau


@mutant(
    "a finite choice is differentiated straight through, as if y were minus its costs", where="choice", source="straight-through identity"
)
def straight_through(problem, x, y, mu, nu):
    f_y, n, h = np.asarray(problem.f_y(x, y), float), problem.n, 1e-6
    zero = np.zeros(problem.m)
    cross = [[(problem.g_y(x + h * e, zero)[j] - problem.g_y(x - h * e, zero)[j]) / (2 * h) for j in range(problem.m)] for e in np.eye(n)]
    return problem.f_x(x, y) - np.array(cross) @ f_y

"""Random integer bilevel programs, and their optimum by brute force: every complementarity pattern is one program for CVXPY."""

import itertools

import cvxpy as cp
import numpy as np

import refbilevel as rb


def random_problem(rng, kind, n=None, m=None, k=None, ku=None):
    """kind: upper and lower letter, L linear or Q convex quadratic (upper also N nonconvex); x in [-5, 5]."""
    n, m, k, ku = (int(rng.integers(a, b)) if v is None else v for v, (a, b) in zip((n, m, k, ku), ((1, 4), (1, 4), (1, 6), (0, 3))))
    N = n + m
    upper_rows = (rng.integers(-3, 4, (ku, N)), rng.integers(0, 8, ku))
    lower_rows = (rng.integers(-4, 5, (k, N)), rng.integers(-1, 9, k))
    lower_Q = np.zeros((N, N))
    if kind[1] == "Q":
        L = rng.integers(-2, 3, (m, m))
        lower_Q[n:, n:] = L @ L.T
    if rng.random() < 0.6:
        lower_Q[:n, n:] = rng.integers(-2, 3, (n, m))
        lower_Q[n:, :n] = lower_Q[:n, n:].T
    M = rng.integers(-2, 3, (N, N))
    upper_Q = {"L": 0 * M, "Q": M @ M.T, "N": M + M.T}[kind[0]]
    return rb.QuadraticBilevel(
        n=n, m=m, upper=(upper_Q, rng.integers(-5, 6, N)), lower=(lower_Q, rng.integers(-5, 6, N)), upper_rows=upper_rows,
        lower_rows=lower_rows, bounds=(-5, 5),
    )  # fmt: skip


def brute_force(problem):
    """min over all 2^k patterns; -inf if some piece is unbounded, inf if all are empty."""
    n, N = problem.n, problem.n + problem.m
    G, U, f, g = problem.lower.inequalities, problem.upper.inequalities, problem.upper.objective, problem.lower.objective
    z, mu = cp.Variable(N), cp.Variable(len(G))
    rows = [z[:n] >= problem.bounds[0], z[:n] <= problem.bounds[1], G.A @ z <= G.b, mu >= 0]
    rows += [g.Q[n:] @ z + g.c[n:] + G.A[:, n:].T @ mu == 0] + ([U.A @ z <= U.b] if len(U) else [])
    objective = f.c @ z + f.const + (0.5 * cp.quad_form(z, cp.psd_wrap(f.Q)) if f.Q.any() else 0)
    best = np.inf
    for pattern in itertools.product((True, False), repeat=len(G)):
        tight = [i for i, t in enumerate(pattern) if t]
        loose = [i for i, t in enumerate(pattern) if not t]
        piece = rows + ([G.A[tight] @ z == G.b[tight]] if tight else []) + ([mu[loose] == 0] if loose else [])
        best = min(best, cp.Problem(cp.Minimize(objective), piece).solve(solver=cp.CLARABEL if f.Q.any() else cp.HIGHS))
    return best

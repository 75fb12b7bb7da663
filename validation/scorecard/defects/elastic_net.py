"""An elastic net with 60 rows and 30 columns: problem, data and its exact gradient, for the probes of CVXPY's backward pass.

min_y |X y - t|^2 + l1 |y|_1 + l2 |y|^2, and the derivative of w.y with respect to (l1, l2, t). On the support S with signs s,
(2 X_S'X_S + 2 l2 I) y_S = 2 X_S't - l1 s, so all derivatives are one linear solve.
"""

import cvxpy as cp
import numpy as np

ROWS, COLUMNS = 60, 30
rng = np.random.default_rng(0)
X = rng.standard_normal((ROWS, COLUMNS))
T = X[:, :8] @ rng.standard_normal(8) + 0.3 * rng.standard_normal(ROWS)
W = rng.standard_normal(COLUMNS)
L1, L2 = 8.0, 1.5


def parametrised():
    """(problem, variable, [l1, l2, t])."""
    y, l1, l2, t = cp.Variable(COLUMNS), cp.Parameter(nonneg=True), cp.Parameter(nonneg=True), cp.Parameter(ROWS)
    cost = cp.sum_squares(X @ y - t) + l1 * cp.norm1(y) + l2 * cp.sum_squares(y)
    l1.value, l2.value, t.value = L1, L2, T
    return cp.Problem(cp.Minimize(cost)), y, [l1, l2, t]


def exact():
    """(y, gradient with respect to (l1, l2, t) stacked), the support from a tight solve and checked."""
    problem, y, _ = parametrised()
    problem.solve(solver=cp.CLARABEL, tol_gap_abs=1e-12, tol_gap_rel=1e-12, tol_feas=1e-12)
    S = np.abs(y.value) > 1e-6
    s, H = np.sign(y.value[S]), 2 * X[:, S].T @ X[:, S] + 2 * L2 * np.eye(S.sum())
    solution = np.zeros(COLUMNS)
    solution[S] = np.linalg.solve(H, 2 * X[:, S].T @ T - L1 * s)
    slope = 2 * X.T @ (X @ solution - T)
    assert np.all(np.sign(solution[S]) == s) and np.all(np.abs(slope[~S]) < L1), "the support is not optimal"
    v = np.linalg.solve(H, W[S])
    return solution, np.concatenate([[-v @ s], [-2 * v @ solution[S]], 2 * X[:, S] @ v])

"""Gradients through the exponential cone: logistic regression in a default CvxpyLayer.

min_y sum log(1 + exp(-t_i x_i.y)) + r/2 |y|^2 with data X a parameter; the exact gradient with respect to X by the implicit
function theorem at a Newton solution. Published: errors of order one at default precision.
"""

import cvxpy as cp
import numpy as np
import torch
from cvxpylayers.torch import CvxpyLayer
from verdict import relative, report

rng = np.random.default_rng(1)
ROWS, COLUMNS, R = 20, 4, 0.1
X, W = rng.standard_normal((ROWS, COLUMNS)), rng.standard_normal(COLUMNS)
t = np.sign(X @ rng.standard_normal(COLUMNS) + 0.5 * rng.standard_normal(ROWS))


def exact():
    y = np.zeros(COLUMNS)
    for _ in range(50):
        p = 1 / (1 + np.exp(t * (X @ y)))
        H = X.T @ ((p * (1 - p))[:, None] * X) + R * np.eye(COLUMNS)
        y = y - np.linalg.solve(H, -X.T @ (t * p) + R * y)
    v = np.linalg.solve(H, W)
    return y, (t * p)[:, None] * v - (p * (1 - p) * (X @ v))[:, None] * y


y, data = cp.Variable(COLUMNS), cp.Parameter((ROWS, COLUMNS))
loss = cp.sum(cp.logistic(cp.multiply(-t, data @ y))) + R / 2 * cp.sum_squares(y)
layer = CvxpyLayer(cp.Problem(cp.Minimize(loss)), parameters=[data], variables=[y])
given = torch.tensor(X, requires_grad=True)
(answer,) = layer(given)
(torch.tensor(W) @ answer).backward()
solution, expected = exact()
error = relative(given.grad, expected)
report(
    package="cvxpylayers", also=("cvxpy", "diffcp", "torch", "numpy"), source="cvxpylayers issues 85, 135, 145; diffcp issue 58",
    expected="relative error near that of the solution", got=f"relative error {error:.1e}", present=error > 1e-2,
    note=f"the solution itself is right to {relative(answer.detach(), solution):.0e}",
)  # fmt: skip

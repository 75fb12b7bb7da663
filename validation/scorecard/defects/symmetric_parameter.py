"""The gradient with respect to a symmetric Parameter: conventions of `problem.backward()` and of CvxpyLayer.

min_y |y - S a|^2 has y = S a; the derivative of w.y along a symmetric dS is <G, dS> with G = (w a' + a w')/2 (Frobenius gradient).
"""

import cvxpy as cp
import numpy as np
import torch
from cvxpylayers.torch import CvxpyLayer
from verdict import report

A, W = np.array([1.0, 2.0, 3.0]), np.array([1.0, -1.0, 2.0])
S0 = np.array([[2.0, 0.5, 0.0], [0.5, 1.0, 0.3], [0.0, 0.3, 3.0]])
y, S = cp.Variable(3), cp.Parameter((3, 3), symmetric=True)
problem = cp.Problem(cp.Minimize(cp.sum_squares(y - S @ A)))

S.value = S0
problem.solve(solver=cp.SCS, requires_grad=True, eps=1e-10)
y.gradient = W
problem.backward()
backward = np.array(S.gradient)

given = torch.tensor(S0, requires_grad=True)
(answer,) = CvxpyLayer(problem, parameters=[S], variables=[y])(given)
(torch.tensor(W) @ answer).backward()
layer = given.grad.numpy()

exact = (np.outer(W, A) + np.outer(A, W)) / 2
doubled, upper = 2 * exact - np.diag(np.diag(exact)), np.triu(2 * exact - np.diag(np.diag(exact)))


def convention(G):
    known = {"Frobenius": exact, "off-diagonals doubled": doubled, "upper triangle only": upper}
    return next((name for name, form in known.items() if np.abs(G - form).max() < 1e-3), "another")


report(
    package="cvxpylayers", also=("cvxpy", "diffcp", "torch", "numpy"), source="conventions differ between cvxpy and cvxpylayers",
    expected="one convention (Frobenius: <G, dS> is the derivative)",
    got=f"problem.backward: {convention(backward)}; CvxpyLayer: {convention(layer)}",
    present=convention(backward) != "Frobenius" or convention(layer) != "Frobenius",
    note=f"entry (1, 2), (2, 1): exact {exact[0, 1]:g}, {exact[1, 0]:g}; backward {backward[0, 1]:.4g}, {backward[1, 0]:.4g}; "
    f"layer {layer[0, 1]:.4g}, {layer[1, 0]:.4g}",
)  # fmt: skip

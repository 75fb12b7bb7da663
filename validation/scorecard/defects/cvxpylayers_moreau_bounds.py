"""A nonnegativity constraint in a CvxpyLayer with solver="MOREAU".

min |y - a|^2 s.t. y >= 0 has the solution max(a, 0). `problem.solve(solver=cp.MOREAU)` is shown beside the layer.
"""

import cvxpy as cp
import numpy as np
import torch
from cvxpylayers.torch import CvxpyLayer
from verdict import relative, report

A = np.array([1.0, -2.0, 3.0, -0.5])


def parametrised():
    y, a = cp.Variable(4), cp.Parameter(4)
    a.value = A
    return cp.Problem(cp.Minimize(cp.sum_squares(y - a)), [y >= 0]), y, a


problem, y, a = parametrised()
layer = CvxpyLayer(problem, parameters=[a], variables=[y], solver="MOREAU")
(got,) = layer(torch.tensor(A, requires_grad=True))
problem, y, a = parametrised()
problem.solve(solver=cp.MOREAU)
report(
    package="cvxpylayers", also=("cvxpy", "moreau", "torch", "numpy"), source="found with cvxpylayers 1.2.0 and cvxpy 1.9.3",
    expected=np.maximum(A, 0), got=got.detach().numpy(), present=relative(got.detach(), np.maximum(A, 0)) > 1e-3,
    note=f"problem.solve with the same solver: {np.round(y.value, 6)}",
)  # fmt: skip

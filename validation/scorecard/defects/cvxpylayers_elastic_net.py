"""The default CvxpyLayer on the same elastic net: its gradient at default settings."""

import numpy as np
import torch
from cvxpylayers.torch import CvxpyLayer
from elastic_net import L1, L2, T, W, exact, parametrised
from verdict import relative, report

problem, y, parameters = parametrised()
layer = CvxpyLayer(problem, parameters=parameters, variables=[y])
given = [torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in (L1, L2, T)]
(answer,) = layer(*given)
(torch.tensor(W) @ answer).backward()
solution, expected = exact()
got = np.concatenate([np.atleast_1d(v.grad.numpy()) for v in given])
report(
    package="cvxpylayers", also=("cvxpy", "diffcp", "torch", "numpy"), source="cvxpylayers issues 67, 244",
    expected="relative error near 1e-6", got=f"relative error {relative(got, expected):.1e}", present=relative(got, expected) > 1e-3,
    note=f"the solution itself is right to {relative(answer.detach(), solution):.0e}",
)  # fmt: skip

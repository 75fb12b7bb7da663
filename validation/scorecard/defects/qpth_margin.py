"""qpth when a multiplier and a slack are small: min 1/2 |y - a|^2 s.t. y <= 0 with a = (1, margin, -margin, -1).

y = min(a, 0), so the derivative of sum(y) is (0, 0, 1, 1) for every margin > 0.
"""

import torch
from qpth.qp import QPFunction
from verdict import relative, report


def gradient(margin):
    a = torch.tensor([1.0, margin, -margin, -1.0], dtype=torch.float64, requires_grad=True)
    eye, none = torch.eye(4, dtype=torch.float64), torch.tensor([], dtype=torch.float64)
    y = QPFunction(verbose=-1)(eye, -a, eye, torch.zeros(4, dtype=torch.float64), none, none)
    y.sum().backward()
    return a.grad.numpy()


expected = [0.0, 0.0, 1.0, 1.0]
errors = {margin: relative(gradient(margin), expected) for margin in (1e-2, 1e-4, 1e-6)}
report(
    package="qpth", also=("torch", "numpy"), source="loss of accuracy with the complementarity margin",
    expected="(0, 0, 1, 1) for every margin", got="relative error " + ", ".join(f"{e:.0e} (margin {k:g})" for k, e in errors.items()),
    present=errors[1e-6] > 0.01,
)  # fmt: skip

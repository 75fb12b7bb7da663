"""BOAT's grad_unused_zero: a gradient that is NaN."""

import torch
from boat_torch.utils.op_utils import grad_unused_zero
from verdict import report

y = torch.tensor([1.0, -1.0], dtype=torch.float64, requires_grad=True)
loss = torch.sqrt(y).sum()  # NaN in the second entry
(got,) = grad_unused_zero(loss, [y])
report(
    package="boat-torch", also=("torch", "numpy"), source="read in boat_torch/utils/op_utils.py",
    expected="nan in the second entry (0.5, nan)", got=got.numpy(), present=bool((got == 0).all()),
    note="the whole gradient becomes zero, without a word",
)  # fmt: skip

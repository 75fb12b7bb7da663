"""BOAT's list_tensor_norm of the pair (3, 4), whose 2-norm is 5."""

import torch
from boat_torch.utils.op_utils import list_tensor_norm
from verdict import report

got = list_tensor_norm([torch.tensor([3.0]), torch.tensor([4.0])]).item()
report(
    package="boat-torch", also=("torch", "numpy"), source="read in boat_torch/utils/op_utils.py",
    expected="5", got=f"{got:g}", present=abs(got - 7) < 1e-6, note="a sum of norms is not the norm of the whole",
)  # fmt: skip

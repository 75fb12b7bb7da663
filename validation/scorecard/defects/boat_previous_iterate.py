"""BOAT's conjugate gradients on the identity: converged after one step, and the iterate before it is returned."""

import torch
from boat_torch.utils.op_utils import cg_step
from verdict import report

b = [torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)]
(got,) = cg_step(lambda v: v, b, max_iter=50, epsilon=1e-10)
report(
    package="boat-torch", also=("torch", "numpy"), source="hypertorch and its descendants: cg breaks before x_last is updated",
    expected=b[0].numpy(), got=got.numpy(), present=bool((got == 0).all()),
    note="with H = I the implicit term is dropped altogether; elsewhere the last iteration is lost",
)  # fmt: skip

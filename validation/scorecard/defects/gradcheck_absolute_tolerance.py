"""torch.autograd.gradcheck and a flipped sign, for a loss scaled by 1e-6 (its default tolerance is absolute as well as relative)."""

import torch
from verdict import report


class Flipped(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return 1e-6 * (x**2).sum()

    @staticmethod
    def backward(ctx, bar):
        return -2e-6 * ctx.saved_tensors[0] * bar


x = torch.tensor([0.3, -0.7], dtype=torch.float64, requires_grad=True)
says = torch.autograd.gradcheck(Flipped.apply, (x,), raise_exception=False)
report(
    package="torch", source="atol=1e-5 by default", expected="False", got=str(says), present=bool(says),
    note="the gradient returned is minus the gradient",
)  # fmt: skip

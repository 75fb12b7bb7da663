"""higher: a differentiable Adam step at a parameter whose gradient, and so second moment, is zero."""

import higher
import torch
from verdict import report

x = torch.tensor(1.0, dtype=torch.float64, requires_grad=True)
model = torch.nn.Linear(2, 1, bias=False, dtype=torch.float64)
data = torch.tensor([1.0, 0.0], dtype=torch.float64)  # the second weight does not matter
with higher.innerloop_ctx(model, torch.optim.Adam(model.parameters(), lr=0.1), track_higher_grads=True) as (inner, steps):
    steps.step(((inner(data) - x) ** 2).sum())
    (got,) = torch.autograd.grad(((inner(data) - 2) ** 2).sum(), x)
report(
    package="higher", also=("torch", "numpy"), source="higher's tests of Adam-type optimisers leave zero second moments out",
    expected="a finite number: the second weight does not enter", got=f"{got.item()}", present=not bool(torch.isfinite(got)),
)  # fmt: skip

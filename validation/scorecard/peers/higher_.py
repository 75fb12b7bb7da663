"""higher: `innerloop_ctx` with SGD, 5 and 1000 differentiable steps."""

import higher
import torch

from . import torch_tools


class Lower(torch.nn.Module):
    """The lower variable as a module, and its objective as the forward pass."""

    def __init__(self, problem):
        super().__init__()
        self.y, self.g = torch.nn.Parameter(problem.y0.clone()), problem.g

    def forward(self, x):
        return self.g(x, self.y)


def unrolled(problem, x, K=5):
    model = Lower(problem)
    optimizer = torch.optim.SGD(model.parameters(), lr=torch_tools.rate(problem.g, x, problem.y0))
    with higher.innerloop_ctx(model, optimizer, copy_initial_weights=False) as (inner, steps):
        for _ in range(K):
            steps.step(inner(x))
        return torch_tools.pulled_back(problem, x, inner.y)


def unrolled_1000(problem, x):
    return unrolled(problem, x, 1000)

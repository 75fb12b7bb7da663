"""A lower and an upper problem for calls of betty's hypergradient functions: what those functions read, and nothing else.

g(x, y) = 1/2 y'Hy - x'By, f = c.y, so the implicit term is B H^-1 c, for any setting of a convergent linear solve.
"""

from types import SimpleNamespace

import torch

H = torch.tensor([[2.0, 0.5, 0.0], [0.5, 1.0, 0.2], [0.0, 0.2, 1.5]], dtype=torch.float64)
B = torch.tensor([[1.0, 2.0, 0.0], [0.0, 1.0, -1.0]], dtype=torch.float64)
c = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
EXPECTED = (B @ torch.linalg.solve(H, c)).numpy()


def implicit_term(method, scale=1.0, **config):
    """The answer of betty.hypergradient's `method` for the Hessian scale * H (and expected term B (scale H)^-1 c)."""
    y = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    x = torch.ones(2, dtype=torch.float64, requires_grad=True)

    def parameters():
        return [y]

    lower = SimpleNamespace(paths=[], config=SimpleNamespace(**config), cur_batch=None, parameters=parameters,
                            trainable_parameters=parameters,
                            training_step_exec=lambda batch: scale * 0.5 * (y @ (H @ y)) - x @ (B @ y))  # fmt: skip
    upper = SimpleNamespace(trainable_parameters=lambda: [x])
    return method([c], lower, upper, False)[0].detach().numpy()

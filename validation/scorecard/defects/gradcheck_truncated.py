"""torch.autograd.gradcheck on a hypergradient through K = 5 unrolled steps of ridge regression.

gradcheck differences the same truncated map that it differentiates, so it says True. The exact hypergradient is by the implicit
function theorem at the solution of a linear system.
"""

import numpy as np
import torch
from verdict import relative, report

generator = torch.Generator().manual_seed(0)
X, V = (torch.randn(30, 4, generator=generator, dtype=torch.float64) @ torch.diag(torch.tensor([3.0, 1.0, 0.3, 0.1], dtype=torch.float64))
        for _ in range(2))  # fmt: skip
truth = torch.tensor([1.0, -2.0, 3.0, -4.0], dtype=torch.float64)
t, s = (Z @ truth + 0.5 * torch.randn(30, generator=generator, dtype=torch.float64) for Z in (X, V))


def lower(x, y):
    return ((X @ y - t) ** 2).sum() / 2 + (torch.exp(x) * y**2).sum() / 2


STEP = 1 / (torch.linalg.eigvalsh(X.T @ X)[-1].item() + 2)


def unrolled(x, K=5):
    y = torch.zeros(4, dtype=torch.float64, requires_grad=True)
    for _ in range(K):
        (slope,) = torch.autograd.grad(lower(x, y), y, create_graph=True)
        y = y - STEP * slope
    return ((V @ y - s) ** 2).sum() / 2


def exact(x):
    H = X.T @ X + torch.diag(torch.exp(x))
    y = torch.linalg.solve(H, X.T @ t)
    return -torch.exp(x) * y * torch.linalg.solve(H, V.T @ (V @ y - s))


x = torch.zeros(4, dtype=torch.float64, requires_grad=True)
says = torch.autograd.gradcheck(unrolled, (x,))
(got,) = torch.autograd.grad(unrolled(x), x)
expected = exact(x).detach()
report(
    package="torch", source="a checker of the code, not of the problem", expected=expected.numpy(), got=got.numpy(),
    present=says and relative(got, expected) > 0.5,
    note=f"gradcheck: {says}; relative error {relative(got, expected):.2f} (K=5), "
    + ", ".join(f"{relative(torch.autograd.grad(unrolled(x, K), x)[0], expected):.1e} (K={K})" for K in (50, 500, 5000)),
)  # fmt: skip
assert np.isfinite(got.numpy()).all()

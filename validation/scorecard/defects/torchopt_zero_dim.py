"""Implicit differentiation of a scalar (0-d) root in TorchOpt with conjugate gradients.

y(x) solves 2 y = x, so dy/dx = 1/2.
"""

import torch
import torchopt
from verdict import report


def optimality(y, x):
    return 2 * y - x


def gradient(solver):
    @torchopt.diff.implicit.custom_root(optimality, argnums=1, solve=solver)
    def root(y, x):
        return (x / 2).detach().requires_grad_()

    x = torch.tensor(3.0, dtype=torch.float64, requires_grad=True)
    root(torch.tensor(0.0, dtype=torch.float64), x).backward()
    return x.grad.item()


got = {name: gradient(solver()) for name, solver in (("solve_cg", torchopt.linear_solve.solve_cg),
                                                     ("solve_normal_cg", torchopt.linear_solve.solve_normal_cg))}  # fmt: skip
report(
    package="torchopt", also=("torch", "numpy"), source="github.com/metaopt/torchopt/issues/222",
    expected="0.5", got=", ".join(f"{v:g} ({k})" for k, v in got.items()), present=any(abs(v) < 1e-12 for v in got.values()),
    note="the default number of iterations is 10 times the sum of the sizes in b.shape, which is 0 for a 0-d right-hand side",
)  # fmt: skip

"""TorchOpt's solve_inv(ns=True) with its defaults (10 terms, alpha 1) on a Hessian with an eigenvalue above 2."""

import torch
import torchopt
from verdict import relative, report

A, b = torch.diag(torch.tensor([1.0, 3.0], dtype=torch.float64)), torch.ones(2, dtype=torch.float64)
got = torchopt.linear_solve.solve_inv(ns=True)(lambda v: A @ v, b)
expected = torch.linalg.solve(A, b)
report(
    package="torchopt", also=("torch", "numpy"), source="read in torchopt/linalg/ns.py: no test of convergence",
    expected=expected.numpy(), got=got.numpy(), present=relative(got, expected) > 1,
    note="finite, no warning; the series converges for 0 < alpha A < 2 only",
)  # fmt: skip

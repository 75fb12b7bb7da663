"""TorchOpt's Neumann series with maxiter=K as a matrix-vector routine (ns) and as a matrix routine (ns_inv).

A = 1/2 (1 x 1), b = 1: K + 1 terms give 2 - 2^-K, K terms 2 - 2^(1-K).
"""

import torch
from torchopt import linalg
from verdict import report

K = 3
A, b = torch.tensor([[0.5]], dtype=torch.float64), torch.tensor([1.0], dtype=torch.float64)
by_vector = linalg.ns(lambda v: A @ v, b, maxiter=K, alpha=1.0).item()
by_matrix = (linalg.ns_inv(A, maxiter=K, alpha=1.0) @ b).item()
report(
    package="torchopt", also=("torch", "numpy"), source="read in torchopt/linalg/ns.py",
    expected=f"one number of terms for maxiter={K}", got=f"ns {by_vector:g} ({K + 1} terms: {2 - 2.0**-K:g}), "
    f"ns_inv {by_matrix:g} ({K} terms: {2 - 2.0 ** (1 - K):g})", present=abs(by_vector - by_matrix) > 1e-12,
)  # fmt: skip

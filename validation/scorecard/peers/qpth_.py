"""qpth: QPFunction at its defaults."""

import torch
from qpth.qp import QPFunction

from . import torch_tools


def default(problem, x):
    P, q, G, h, A, b = torch_tools.matrices(problem, x)
    if not h.numel():
        raise NotImplementedError("qpth needs inequalities")
    none = torch.tensor([], dtype=x.dtype)
    y = QPFunction(verbose=-1)(P, q, G, h, *((A, b) if b.numel() else (none, none)))
    return torch_tools.pulled_back(problem, x, y.reshape(-1))

"""proxsuite: its torch layer QPFunction at the defaults."""

import torch
from proxsuite.torch.qplayer import QPFunction

from . import torch_tools


def default(problem, x, **options):
    P, q, G, h, A, b = torch_tools.matrices(problem, x)
    if not h.numel():
        raise NotImplementedError("the layer needs inequalities")
    none = torch.tensor([], dtype=x.dtype)
    y = QPFunction(**options)(P, q, *((A, b) if b.numel() else (none, none)), G, torch.full_like(h, -1e20), h)[0]
    return torch_tools.pulled_back(problem, x, y.reshape(-1))


def tight(problem, x):
    """eps=1e-12, eps_backward=1e-12, rho_backward=mu_backward=1e-9."""
    return default(problem, x, eps=1e-12, eps_backward=1e-12, rho_backward=1e-9, mu_backward=1e-9)

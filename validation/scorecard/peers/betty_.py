"""betty: its cg and neumann hypergradients at default configuration, at Newton's solution."""

import importlib
from types import SimpleNamespace

import torch
from betty.configs import Config

from . import torch_tools


def _gradient(problem, x, method, **options):
    """f_x plus the implicit term of betty.hypergradient's `method`, which reads what is given to `lower` and `upper` here."""
    y = torch_tools.newton(problem.g, x, problem.y0).requires_grad_()
    f_x, f_y = torch.autograd.grad(problem.f(x, y), (x, y), allow_unused=True, materialize_grads=True)
    lower = SimpleNamespace(paths=[], config=Config(**options), cur_batch=None, parameters=lambda: [y], trainable_parameters=lambda: [y],
                            training_step_exec=lambda batch: problem.g(x, y))  # fmt: skip
    upper = SimpleNamespace(trainable_parameters=lambda: [x])
    function = getattr(importlib.import_module(f"betty.hypergradient.{method}"), method)
    return f_x + function([f_y], lower, upper, False)[0]


def cg(problem, x):
    """cg_iterations = m, cg_alpha = 1."""
    return _gradient(problem, x, "cg", type="cg", cg_iterations=problem.m, cg_alpha=1.0)


def neumann(problem, x):
    """neumann_iterations and neumann_alpha at their defaults."""
    return _gradient(problem, x, "neumann", type="neumann")

"""CVXPY: solve(requires_grad=True) and problem.backward()."""

import cvxpy as cp
import torch

from . import convex_program


def _gradient(problem, x, **options):
    given = convex_program.values(problem, x)
    program, variable, parameters = convex_program.program(problem, x)
    for parameter, value in zip(parameters, given):
        parameter.value = value.detach().numpy()
    program.solve(solver=cp.SCS, requires_grad=True, **options)
    y = torch.tensor(variable.value, requires_grad=True)
    f_x, f_y = torch.autograd.grad(problem.f(x, y), (x, y), allow_unused=True, materialize_grads=True)
    variable.gradient = f_y.numpy()
    program.backward()
    used = [(v, torch.tensor(p.gradient).reshape(v.shape)) for v, p in zip(given, parameters) if v.requires_grad]
    if not used:
        return f_x
    outputs, bars = zip(*used)
    return f_x + torch.autograd.grad(outputs, x, bars, allow_unused=True, materialize_grads=True)[0]


def default(problem, x):
    return _gradient(problem, x)


def tight(problem, x):
    """eps=1e-10, mode="dense"."""
    return _gradient(problem, x, eps=1e-10, mode="dense", max_iters=200000)

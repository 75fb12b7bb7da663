"""Hypergradients in torch alone, as tutorials write them: K unrolled gradient steps, and implicit differentiation at a solution."""

import torch

from . import torch_tools


def unrolled(problem, x, K=5):
    """Reverse mode through K gradient steps from zero."""
    y, rate = problem.y0.clone().requires_grad_(), torch_tools.rate(problem.g, x, problem.y0)
    for _ in range(K):
        (slope,) = torch.autograd.grad(problem.g(x, y), y, create_graph=True)
        y = y - rate * slope
    return torch_tools.pulled_back(problem, x, y)


def unrolled_1000(problem, x):
    """The same through 1000 steps."""
    return unrolled(problem, x, 1000)


def implicit(problem, x):
    """Implicit function theorem at Newton's solution, dense Hessian and LU."""
    y = torch_tools.newton(problem.g, x, problem.y0).requires_grad_()
    (slope,) = torch.autograd.grad(problem.g(x, y), y, create_graph=True)
    hessian = torch.func.hessian(problem.g, 1)(x.detach(), y.detach())
    f_x, f_y = torch.autograd.grad(problem.f(x, y), (x, y), materialize_grads=True, allow_unused=True)
    (cross,) = torch.autograd.grad(slope, x, torch.linalg.solve(hessian, f_y), allow_unused=True, materialize_grads=True)
    return f_x - cross

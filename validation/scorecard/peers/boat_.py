"""BOAT: its conjugate_gradient and neumann, the functions behind the operators CG and NS, at Newton's solution."""

import torch
from boat_torch.utils.op_utils import conjugate_gradient, neumann as neumann_series

from . import torch_tools


def _gradient(problem, x, method, K):
    y = torch_tools.newton(problem.g, x, problem.y0).requires_grad_()
    rate = torch_tools.rate(problem.g, x, y)

    def step(params, loss):  # the map of BOAT's own operators: one gradient step with the lower learning rate
        return [p - rate * s for p, s in zip(params, torch.autograd.grad(loss, params, create_graph=True))]

    return method([y], [x], problem.f(x, y), problem.g(x, y), K, step)[0]


def cg(problem, x):
    """K = 10 m iterations at most, tol 1e-10."""
    return _gradient(problem, x, conjugate_gradient, 10 * problem.m)


def neumann(problem, x):
    """1000 terms, tol 1e-10."""
    return _gradient(problem, x, neumann_series, 1000)

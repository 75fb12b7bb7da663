"""TorchOpt: `diff.implicit.custom_root` around Newton's solution, with its linear solvers."""

import torch
import torchopt

from . import torch_tools


def _gradient(problem, x, solve=None):
    slope = torch.func.grad(problem.g, 1)

    @torchopt.diff.implicit.custom_root(lambda y, x: slope(x, y), argnums=1, solve=solve)
    def solution(y, x):
        return torch_tools.newton(problem.g, x, y).requires_grad_()

    return torch_tools.pulled_back(problem, x, solution(problem.y0, x))


def default(problem, x):
    """The default: normal-equation CG with rtol 1e-5."""
    return _gradient(problem, x)


def cg(problem, x):
    """`solve_cg()` at its defaults."""
    return _gradient(problem, x, torchopt.linear_solve.solve_cg())


def neumann(problem, x):
    """`solve_inv(ns=True)` at its defaults: 10 iterations, alpha 1."""
    return _gradient(problem, x, torchopt.linear_solve.solve_inv(ns=True))


def inverse(problem, x):
    """`solve_inv()`: the matrix formed and solved with."""
    return _gradient(problem, x, torchopt.linear_solve.solve_inv())

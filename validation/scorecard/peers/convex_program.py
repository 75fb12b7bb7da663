"""The lower level of a case as a parametrised CVXPY problem, for CvxpyLayer and for `problem.backward()`.

Parameters are the root R of P (P = R'R), q, G, h, A, b: what the documentation of both recommends for a quadratic objective.
"""

import cvxpy as cp
import torch

from . import torch_tools


def values(problem, x):
    """The parameters' values as tensors that depend on x, in the order of `program`; NotImplementedError if P is singular."""
    P, q, G, h, A, b = torch_tools.matrices(problem, x)
    root, failed = torch.linalg.cholesky_ex(P)
    if failed:
        raise NotImplementedError("the root of a singular P is not differentiable")
    return [v for v in (root.mT, q, G, h, A, b) if v.numel()]


def program(problem, x):
    """(cp.Problem, variable, parameters)."""
    _, _, G, h, A, b = torch_tools.matrices(problem, x)
    y, root, q = cp.Variable(problem.m), cp.Parameter((problem.m, problem.m)), cp.Parameter(problem.m)
    parameters, constraints = [root, q], []
    if h.numel():
        parameters += [cp.Parameter(tuple(G.shape)), cp.Parameter(h.numel())]
        constraints.append(parameters[-2] @ y <= parameters[-1])
    if b.numel():
        parameters += [cp.Parameter(tuple(A.shape)), cp.Parameter(b.numel())]
        constraints.append(parameters[-2] @ y == parameters[-1])
    return cp.Problem(cp.Minimize(0.5 * cp.sum_squares(root @ y) + q @ y), constraints), y, parameters

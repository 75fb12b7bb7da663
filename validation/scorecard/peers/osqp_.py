"""OSQP: adjoint_derivative_compute after a polished solve, eps 1e-10."""

import numpy as np
import osqp
import scipy.sparse as sparse
import torch

from . import torch_tools


def adjoint(problem, x):
    P, q, G, h, A, b = torch_tools.matrices(problem, x)
    rows, upper = torch.cat([A, G]), torch.cat([b, h])
    lower = np.r_[b.detach().numpy(), np.full(h.numel(), -np.inf)]
    full = sparse.csc_matrix(np.ones(rows.shape))  # every entry of the matrices is a parameter: store the zeros
    full.data[:] = _entries(rows.detach().numpy(), full)
    triangle = sparse.csc_matrix(np.triu(np.ones(P.shape)))
    triangle.data[:] = _entries(P.detach().numpy(), triangle)
    solver = osqp.OSQP()
    solver.setup(triangle, q.detach().numpy(), full, lower, upper.detach().numpy(), verbose=False, eps_abs=1e-10, eps_rel=1e-10,
                 polishing=True, max_iter=100000)  # fmt: skip
    result = solver.solve(raise_error=True)
    y = torch.tensor(result.x, requires_grad=True)
    f_x, f_y = torch.autograd.grad(problem.f(x, y), (x, y), allow_unused=True, materialize_grads=True)
    solver.adjoint_derivative_compute(dx=f_y.numpy())
    dP, dA = (torch.tensor(np.asarray(d)) for d in solver.adjoint_derivative_get_mat(as_dense=True, dP_as_triu=False))
    dq, dl, du = (torch.tensor(np.asarray(d)) for d in solver.adjoint_derivative_get_vec())
    du = du + torch.where(torch.arange(du.numel()) < b.numel(), dl, 0)
    used = [(v, d) for v, d in ((P, dP), (q, dq), (rows, dA), (upper, du)) if v.requires_grad]
    if not used:
        return f_x
    outputs, bars = zip(*used)
    return f_x + torch.autograd.grad(outputs, x, bars, allow_unused=True, materialize_grads=True)[0]


def _entries(matrix, pattern):
    """The entries of a dense matrix in the order in which the CSC `pattern` stores them."""
    columns = np.repeat(np.arange(pattern.shape[1]), np.diff(pattern.indptr))
    return matrix[pattern.indices, columns]

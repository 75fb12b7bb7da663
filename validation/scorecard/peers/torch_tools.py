"""What the torch peers need that is not theirs: a converged lower solution, a step size, and the matrices of a quadratic program.

The peers differ in how they differentiate; so that only this shows, those without a solver of their own get Newton's method with
step halving, run until the gradient no longer falls. `matrices` builds P, q, G, h, A, b of min 1/2 y'Py + q'y s.t. Gy <= h, Ay = b from
the problem's functions by torch.func, differentiably in x; a problem with curved constraints is declined.
"""

import torch
from torch.func import grad, hessian, jacrev


def newton(g, x, y, steps=100):
    """argmin_y g(x, y) from y, detached."""
    x, y = x.detach(), y.detach()
    slope_of, hessian_of = grad(g, 1), hessian(g, 1)
    slope = slope_of(x, y)
    for _ in range(steps):
        direction = torch.linalg.solve(hessian_of(x, y), slope)
        length = 1.0
        while length > 1e-8 and not slope_of(x, y - length * direction).norm() < slope.norm():
            length /= 2
        if length <= 1e-8:
            break
        y = y - length * direction
        slope = slope_of(x, y)
    return y


def rate(g, x, y):
    """1 / (largest eigenvalue of g_yy at y): the step of gradient descent on a quadratic."""
    return 1 / torch.linalg.eigvalsh(hessian(g, 1)(x.detach(), y.detach()))[-1].item()


def matrices(problem, x):
    """(P, q, G, h, A, b) as tensors that depend on x; absent blocks have no rows."""
    zero = torch.zeros(problem.m, dtype=x.dtype)
    P, q = hessian(problem.g, 1)(x, zero), grad(problem.g, 1)(x, zero)
    return P, q, *_rows(problem.p, x, zero), *_rows(problem.q, x, zero)


def _rows(rows, x, zero):
    if rows is None:
        return x.new_zeros((0, zero.numel())), x.new_zeros(0)
    slopes = jacrev(rows, 1)
    if not torch.allclose(slopes(x, zero), slopes(x, zero + 1)):
        raise NotImplementedError("curved constraints: not a quadratic program")
    return slopes(x, zero), -rows(x, zero)


def pulled_back(problem, x, y):
    """d/dx f(x, y(x)) for a y that carries its graph."""
    (gradient,) = torch.autograd.grad(problem.f(x, y), x)
    return gradient

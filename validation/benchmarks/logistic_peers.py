"""Logistic regression with penalties c = exp(x), in the ways others do it: y* by L-BFGS (or Newton), the adjoint by CG.

    g = mean log(1 + exp(-t X y)) + sum c_j y_j^2 / 2,     f = mean log(1 + exp(-s Z y)),     grad = -(c y) * v,  g_yy v = f_y

Each function takes a `Data` and returns a call; `adjoint` ones start at a given y. Tolerances: |g_y| <= 1e-10, |residual| <= 1e-10 |f_y|.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
from scipy import sparse
from scipy.optimize import minimize
from scipy.sparse.linalg import LinearOperator, cg
from scipy.special import expit

TOL = 1e-10


@dataclass(frozen=True)
class Data:
    """X (N, m), t (N,), Z (M, m), s (M,), ndarray or CSR; x (n,) with n = m or 1; y, the solution."""

    X: object
    t: np.ndarray
    Z: object
    s: np.ndarray
    x: np.ndarray
    y: np.ndarray | None = None

    @property
    def c(self):
        return np.broadcast_to(np.exp(self.x), self.X.shape[1])


def collect(data, v, y):
    """grad = -(c y) * v, summed for one penalty."""
    terms = -(data.c * y) * v
    return terms if data.x.size > 1 else terms.sum(keepdims=True)


def gradient(A, t, y):
    return A.T @ (-t * expit(-t * (A @ y))) / len(t)


def curvature(A, t, y):
    p = expit(t * (A @ y))
    return p * (1 - p) / len(t)


def exact(data, rounds=40):
    """(y, gradient): Newton until rounding, by Cholesky for a dense X and by CG to 1e-14 for a sparse one."""
    y, last = np.zeros(data.X.shape[1]), np.inf
    for _ in range(rounds):
        r = gradient(data.X, data.t, y) + data.c * y
        size = np.linalg.norm(r)
        if size == 0 or (size < 1e-13 and size > 0.3 * last):
            break
        last = size
        y = y - _solve(data, y, r)
    return y, collect(data, _solve(data, y, gradient(data.Z, data.s, y)), y)


def _solve(data, y, b):
    d, X = curvature(data.X, data.t, y), data.X
    if not sparse.issparse(X):
        H = X.T @ (d[:, None] * X) + np.diag(data.c)
        v = np.linalg.solve(H, b)
        return v + np.linalg.solve(H, b - H @ v)
    H = LinearOperator((len(b), len(b)), matvec=lambda v: X.T @ (d * (X @ v)) + data.c * v, dtype=float)
    v = cg(H, b, rtol=1e-13, maxiter=5000)[0]
    return v + cg(H, b - H @ v, rtol=1e-3, maxiter=5000)[0]


def scipy_adjoint(data, y=None):
    """SciPy's cg over two products."""
    y = data.y if y is None else y
    d, X, count = curvature(data.X, data.t, y), data.X, [0]

    def product(v):
        count[0] += 1
        return X.T @ (d * (X @ v)) + data.c * v

    b = gradient(data.Z, data.s, y)
    v = cg(LinearOperator((len(b), len(b)), matvec=product, dtype=float), b, rtol=TOL, maxiter=5000)[0]
    return collect(data, v, y), dict(products=count[0])


def scipy_hoag(data):
    """HOAG's way: SciPy's L-BFGS-B, then cg."""

    def value(y):
        z = data.t * (data.X @ y)
        return np.logaddexp(0, -z).mean() + 0.5 * data.c @ y**2, gradient(data.X, data.t, y) + data.c * y

    options = dict(gtol=TOL, ftol=0.0, maxiter=5000, maxfun=20000, maxcor=20)
    y = minimize(value, np.zeros(data.X.shape[1]), jac=True, method="L-BFGS-B", options=options).x
    return scipy_adjoint(data, y)


def _jax(data):
    """(jax, g(y, x), f(y)); sparse data as BCOO, whose products differentiate."""
    import jax
    from jax.experimental import sparse as jsparse

    jax.config.update("jax_enable_x64", True)
    numpy = jax.numpy

    def loss(A, t):
        A = jsparse.BCOO.from_scipy_sparse(A) if sparse.issparse(A) else numpy.asarray(A)
        return lambda y: numpy.logaddexp(0.0, -t * (A @ y)).mean()

    train, val = loss(data.X, data.t), loss(data.Z, data.s)
    return jax, lambda y, x: train(y) + 0.5 * (numpy.exp(x) * y**2).sum(), val


def jaxopt_lbfgs(data):
    import jaxopt

    jax, g, f = _jax(data)
    solve = partial(jaxopt.linear_solve.solve_cg, tol=TOL, maxiter=5000)
    solver = jaxopt.LBFGS(g, tol=TOL, maxiter=5000, history_size=20, implicit_diff=True, implicit_diff_solve=solve)
    start = jax.numpy.zeros(data.X.shape[1])
    call = jax.jit(jax.grad(lambda x: f(solver.run(start, x).params)))
    return lambda: np.asarray(call(data.x))


def jaxopt_adjoint(data, solver="cg"):
    import jaxopt

    jax, g, f = _jax(data)
    solve = partial(jaxopt.linear_solve.solve_cg, tol=TOL, maxiter=5000) if solver == "cg" else jaxopt.linear_solve.solve_cholesky
    root_vjp = jaxopt.implicit_diff.root_vjp
    call = jax.jit(lambda x, y: root_vjp(jax.grad(g), y, (x,), jax.grad(f)(y), solve=solve)[0])
    y = jax.numpy.asarray(data.y)
    return lambda: np.asarray(call(data.x, y))


def optimistix_lbfgs(data):
    import optimistix

    jax, g, f = _jax(data)
    solver = getattr(optimistix, "LBFGS", optimistix.BFGS)(rtol=1e-12, atol=1e-12)
    adjoint = optimistix.ImplicitAdjoint()  # its automatic linear solver; CG is refused, the operator not being known as definite
    start = jax.numpy.zeros(data.X.shape[1])

    def F(x):
        return f(optimistix.minimise(g, solver, start, args=x, adjoint=adjoint, max_steps=5000, throw=False).value)

    call = jax.jit(jax.grad(F))
    return lambda: np.asarray(call(jax.numpy.asarray(data.x)))


def torch_cg(data):
    """L-BFGS of torch, then CG on Hessian products by automatic differentiation (what hypertorch does)."""
    import torch

    X, t, Z, s = (torch.as_tensor(a) for a in (data.X, data.t, data.Z, data.s))
    x, softplus = torch.as_tensor(data.x), torch.nn.functional.softplus

    def call():
        y = torch.zeros(X.shape[1], dtype=torch.float64, requires_grad=True)

        def g(x):
            return softplus(-t * (X @ y)).mean() + 0.5 * (x.exp() * y**2).sum()

        options = dict(max_iter=2000, tolerance_grad=TOL, tolerance_change=0.0, history_size=20, line_search_fn="strong_wolfe")
        solver = torch.optim.LBFGS([y], **options)

        def closure():
            solver.zero_grad()
            value = g(x)
            value.backward()
            return value

        solver.step(closure)
        z = x.clone().requires_grad_()
        g_y = torch.autograd.grad(g(z), y, create_graph=True)[0]
        b = torch.autograd.grad(softplus(-s * (Z @ y)).mean(), y)[0]
        v, r, count = torch.zeros_like(b), b.clone(), 0
        p, rho, goal = r.clone(), r @ r, TOL**2 * (b @ b)
        while rho > goal and count < 5000:
            q = torch.autograd.grad(g_y, y, p, retain_graph=True)[0]
            alpha = rho / (p @ q)
            v, r, count = v + alpha * p, r - alpha * q, count + 1
            rho, rho_old = r @ r, rho
            p = r + (rho / rho_old) * p
        return (-torch.autograd.grad(g_y, z, v)[0]).numpy(), dict(products=count)

    return call

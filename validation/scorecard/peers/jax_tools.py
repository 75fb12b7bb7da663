"""What the JAX peers need that is not theirs: a converged lower solution, a step size, and the matrices of a quadratic program.

As torch_tools.py, for JAX.
"""

import jax
import jax.numpy as jnp


def newton(g, x, y, steps=100):
    """argmin_y g(x, y) from y, by Newton's method with step halving; a constant for differentiation."""
    x, y = jax.lax.stop_gradient(x), jax.lax.stop_gradient(y)
    slope_of, hessian_of = jax.jit(jax.grad(g, 1)), jax.jit(jax.hessian(g, 1))
    slope = slope_of(x, y)
    for _ in range(steps):
        direction = jnp.linalg.solve(hessian_of(x, y), slope)
        length = 1.0
        while length > 1e-8 and not jnp.linalg.norm(slope_of(x, y - length * direction)) < jnp.linalg.norm(slope):
            length /= 2
        if length <= 1e-8:
            break
        y = y - length * direction
        slope = slope_of(x, y)
    return y


def rate(g, x, y):
    """1 / (largest eigenvalue of g_yy at y)."""
    return 1 / jnp.linalg.eigvalsh(jax.hessian(g, 1)(x, y))[-1]


def matrices(problem, x):
    """(P, q, G, h, A, b) as functions' values at x; absent blocks have no rows."""
    zero = jnp.zeros(problem.m)
    P, q = jax.hessian(problem.g, 1)(x, zero), jax.grad(problem.g, 1)(x, zero)
    return P, q, *_rows(problem.p, x, zero), *_rows(problem.q, x, zero)


def _rows(rows, x, zero):
    if rows is None:
        return jnp.zeros((0, zero.size)), jnp.zeros(0)
    return jax.jacobian(rows, 1)(x, zero), -rows(x, zero)


def decline_curved(problem, x):
    """NotImplementedError unless the constraints are linear in y."""
    for rows in filter(None, (problem.p, problem.q)):
        slopes, zero = jax.jacobian(rows, 1), jnp.zeros(problem.m)
        if not jnp.allclose(slopes(x, zero), slopes(x, zero + 1)):
            raise NotImplementedError("curved constraints: not a quadratic program")

"""Hypergradients in JAX alone, as tutorials write them: jax.grad through K gradient steps, and a custom_vjp with a linear solve."""

import jax
import jax.numpy as jnp

from . import jax_tools


def unrolled(problem, x, K=5):
    """jax.grad through K gradient steps from zero."""
    rate, slope = jax_tools.rate(problem.g, x, problem.y0), jax.grad(problem.g, 1)

    def loss(x):
        y = jax.lax.fori_loop(0, K, lambda _, y: y - rate * slope(x, y), problem.y0)
        return problem.f(x, y)

    return jax.grad(loss)(x)


def unrolled_1000(problem, x):
    """The same through 1000 steps."""
    return unrolled(problem, x, 1000)


def implicit(problem, x):
    """custom_vjp: Newton's solution forward, one dense solve backward."""

    @jax.custom_vjp
    def solution(x):
        return jax_tools.newton(problem.g, x, problem.y0)

    def forward(x):
        y = solution(x)
        return y, (x, y)

    def backward(kept, bar):
        x, y = kept
        v = jnp.linalg.solve(jax.hessian(problem.g, 1)(x, y), bar)
        return (-jax.vjp(lambda x: jax.grad(problem.g, 1)(x, y), x)[1](v)[0],)

    solution.defvjp(forward, backward)
    return jax.grad(lambda x: problem.f(x, solution(x)))(x)

"""Optimistix: minimise and root_find with the default ImplicitAdjoint."""

import jax
import optimistix


def _gradient(solve, problem, x):
    return jax.grad(lambda x: problem.f(x, solve(x).value))(x)


def minimise(problem, x):
    """`minimise` with BFGS(rtol=1e-10, atol=1e-12)."""
    solver = optimistix.BFGS(rtol=1e-10, atol=1e-12)
    return _gradient(lambda x: optimistix.minimise(lambda y, x: problem.g(x, y), solver, problem.y0, x, max_steps=10000), problem, x)


def root(problem, x):
    """`root_find` of g_y = 0 with Newton(rtol=1e-10, atol=1e-12)."""
    solver, slope = optimistix.Newton(rtol=1e-10, atol=1e-12), jax.grad(problem.g, 1)
    return _gradient(lambda x: optimistix.root_find(lambda y, x: slope(x, y), solver, problem.y0, x, max_steps=1000), problem, x)


def fixed_point(problem, x):
    """`fixed_point` of the case's map with FixedPointIteration(rtol=1e-12, atol=1e-12)."""
    solver = optimistix.FixedPointIteration(rtol=1e-12, atol=1e-12)
    return _gradient(lambda x: optimistix.fixed_point(lambda y, x: problem.fixed_point(x, y), solver, problem.y0, x, max_steps=5000),
                     problem, x)  # fmt: skip

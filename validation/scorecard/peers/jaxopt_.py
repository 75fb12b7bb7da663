"""jaxopt: implicit differentiation of roots, of its own solver, and of its OSQP through the KKT conditions."""

import jax
import jax.numpy as jnp
import jaxopt

from . import jax_tools


def root(problem, x, **options):
    """`implicit_diff.custom_root` around Newton's solution, with the default linear solve (normal-equation CG)."""
    slope = jax.grad(problem.g, 1)

    @jaxopt.implicit_diff.custom_root(lambda y, x: slope(x, y), **options)
    def solution(start, x):
        return y

    y = jax_tools.newton(problem.g, x, problem.y0)
    return jax.grad(lambda x: problem.f(x, solution(None, x)))(x)


def root_cg(problem, x):
    """The same with `solve=linear_solve.solve_cg`."""
    return root(problem, x, solve=jaxopt.linear_solve.solve_cg)


def lbfgs(problem, x):
    """`LBFGS(fun, implicit_diff=True)` at default tolerances."""
    solver = jaxopt.LBFGS(fun=lambda y, x: problem.g(x, y))
    return jax.grad(lambda x: problem.f(x, solver.run(problem.y0, x).params))(x)


def osqp(problem, x):
    """`OSQP(tol=1e-9)`, differentiated through its KKT conditions."""
    solver = jaxopt.OSQP(tol=1e-9, maxiter=20000)

    def loss(x):
        P, q, G, h, A, b = jax_tools.matrices(problem, x)
        equal, below = ((A, b) if b.size else None), ((G, h) if h.size else None)
        return problem.f(x, solver.run(params_obj=(P, q), params_eq=equal, params_ineq=below).params.primal)

    return jax.grad(loss)(x)


def equality_qp(problem, x):
    """`EqualityConstrainedQP` at default settings."""
    jax_tools.decline_curved(problem, x)
    solver = jaxopt.EqualityConstrainedQP()

    def loss(x):
        P, q, _, _, A, b = jax_tools.matrices(problem, x)
        return problem.f(x, solver.run(params_obj=(P, q), params_eq=(A, b)).params.primal)

    return jax.grad(loss)(x)


def fixed_point(problem, x):
    """`FixedPointIteration` of the case's map, tol 1e-12, differentiated implicitly."""
    solver = jaxopt.FixedPointIteration(fixed_point_fun=lambda y, x: problem.fixed_point(x, y), tol=1e-12, maxiter=5000)
    return jax.grad(lambda x: problem.f(x, solver.run(jnp.asarray(problem.y0), x).params))(x)

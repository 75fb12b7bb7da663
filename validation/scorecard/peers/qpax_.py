"""qpax: solve_qp_primal at its defaults, and with tight tolerances."""

import jax
import qpax

from . import jax_tools


def _gradient(problem, x, **options):
    def loss(x):
        P, q, G, h, A, b = jax_tools.matrices(problem, x)
        return problem.f(x, qpax.solve_qp_primal(P, q, A, b, G, h, **options))

    return jax.grad(loss)(x)


def default(problem, x):
    return _gradient(problem, x)


def tight(problem, x):
    """solver_tol=1e-10, target_kappa=1e-8."""
    return _gradient(problem, x, solver_tol=1e-10, target_kappa=1e-8, max_iter=60)

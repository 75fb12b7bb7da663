"""A weakly active constraint in jaxopt: min 1/2 (y - x)^2 s.t. y <= 0 at x = 0, where y*(x) = min(x, 0).

The one-sided derivatives are 1 (from the left) and 0; the Clarke set is [0, 1].
"""

import jax
import jax.numpy as jnp
import jaxopt
from verdict import report

jax.config.update("jax_enable_x64", True)
solver = jaxopt.OSQP(tol=1e-9)


def solution(x):
    run = solver.run(params_obj=(jnp.eye(1), -jnp.array([x])), params_eq=None, params_ineq=(jnp.eye(1), jnp.zeros(1)))
    return run.params.primal[0]


got = {x: float(jax.grad(solution)(x)) for x in (-1.0, -1e-7, 0.0, 1e-7, 1.0)}
report(
    package="jaxopt", also=("jax", "numpy"), source="the KKT conditions given to implicit differentiation keep complementarity only",
    expected="1 for x < 0, 0 for x > 0, a flag at 0", got=", ".join(f"{v:.4f} (x={x:g})" for x, v in got.items()),
    present=abs(got[0.0] - 0.5) < 0.1 and abs(got[1e-7] - 0.5) < 0.4, note="no warning, and no status that tells these apart",
)  # fmt: skip

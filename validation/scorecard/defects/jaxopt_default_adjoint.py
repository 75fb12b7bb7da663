"""Digits of jaxopt's default implicit differentiation (normal-equation CG) on an exactly solved quadratic.

y(x) = H^-1 x with condition 1e4 and 1e6 given by its closed form; the derivative of w.y is H^-1 w. 64-bit.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxopt import implicit_diff, linear_solve
from verdict import relative, report

jax.config.update("jax_enable_x64", True)
rng = np.random.default_rng(0)
Q, W = np.linalg.qr(rng.standard_normal((20, 20)))[0], rng.standard_normal(20)


def error(condition, **options):
    H = jnp.array(Q @ np.diag(np.geomspace(1, condition, 20)) @ Q.T)

    @implicit_diff.custom_root(lambda y, x: H @ y - x, **options)
    def root(start, x):
        return jnp.linalg.solve(H, x)

    got = jax.grad(lambda x: W @ root(None, x))(jnp.ones(20))
    return relative(got, np.linalg.solve(H, W))


default = {c: error(c) for c in (1e2, 1e4, 1e6)}
direct = error(1e6, solve=linear_solve.solve_lu)
report(
    package="jaxopt", also=("jax", "numpy"), source="default solve_normal_cg with tolerance 1e-5 on squared conditioning; unflagged",
    expected=f"near 1e-10 at condition 1e6 (solve_lu: {direct:.0e})",
    got="relative error " + ", ".join(f"{e:.0e} (condition {c:.0e})" for c, e in default.items()),
    present=default[1e6] > 1e-3 or default[1e4] > 1e-4, note="the linear solver's residual is not returned",
)  # fmt: skip

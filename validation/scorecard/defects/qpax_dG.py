"""The gradient of a QP's solution with respect to its constraint matrix G, in qpax.

min 1/2 |y - a|^2 s.t. G y <= h with one active row: y = a - G' (G a - h) / |G|^2. With the loss sum(w y), central differences of
the closed form give dG. Published: dl_dG = diag(lam)(dlam z' + lam dz') scales lam dz' twice.
"""

import jax
import numpy as np
import qpax
from verdict import relative, report

jax.config.update("jax_enable_x64", True)
A, W, H = np.array([2.0, 1.0, -1.0]), np.array([1.0, 2.0, 3.0]), np.array([-1.0])


def exact(g):
    return W @ (A - g * (g @ A - H[0]) / (g @ g))


def layer(G):
    none = np.zeros((0, 3)), np.zeros(0)
    return W @ qpax.solve_qp_primal(np.eye(3), -A, *none, G, H, solver_tol=1e-10, target_kappa=1e-10)


g = np.array([1.0, 2.0, 2.0]) / 4
expected = np.array([(exact(g + e) - exact(g - e)) / 2e-6 for e in 1e-6 * np.eye(3)])
got = np.asarray(jax.grad(layer)(g[None]))[0]
report(
    package="qpax", also=("jax", "numpy"), source="github.com/kevin-tracy/qpax/pull/21; locuslab/optnet issue 8",
    expected=expected, got=got, present=relative(got, expected) > 1e-3,
    note=f"relative error of dG {relative(got, expected):.1e}; solution value right to {abs(layer(g[None]) - exact(g)):.0e}",
)  # fmt: skip

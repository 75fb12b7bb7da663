"""OSQP's adjoint derivative when a multiplier and a slack are small: min 1/2 |y - a|^2 s.t. y <= 0 with a = (1, margin, -margin, -1).

y = min(a, 0), so the derivative of sum(y) is (0, 0, 1, 1) for every margin > 0.
"""

import numpy as np
import osqp
import scipy.sparse as sparse
from verdict import relative, report


def gradient(margin):
    a = np.array([1.0, margin, -margin, -1.0])
    solver = osqp.OSQP()
    solver.setup(sparse.eye(4, format="csc"), -a, sparse.eye(4, format="csc"), np.full(4, -np.inf), np.zeros(4), verbose=False,
                 eps_abs=1e-12, eps_rel=1e-12, polishing=True)  # fmt: skip
    result = solver.solve()
    solver.adjoint_derivative_compute(dx=np.ones(4))
    return relative(result.x, np.minimum(a, 0)), -np.asarray(solver.adjoint_derivative_get_vec()[0])


expected = np.array([0.0, 0.0, 1.0, 1.0])
errors = {margin: relative(gradient(margin)[1], expected) for margin in (1e-2, 1e-4, 1e-6)}
report(
    package="osqp", also=("scipy", "numpy"), source="loss of accuracy with the complementarity margin",
    expected="(0, 0, 1, 1) for every margin", got="relative error " + ", ".join(f"{e:.0e} (margin {k:g})" for k, e in errors.items()),
    present=errors[1e-6] > 0.1, note=f"the solution itself is right to {gradient(1e-6)[0]:.0e}",
)  # fmt: skip

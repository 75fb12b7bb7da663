"""`problem.backward()` of CVXPY (diffcp, default mode) on an elastic net, with SCS at eps 1e-10.

Published: an error of some percent that a tighter solve does not reduce, as LSQR reaches its iteration limit; mode="dense" is
shown beside it.
"""

import cvxpy as cp
import numpy as np
from elastic_net import W, exact, parametrised
from verdict import relative, report


def gradient(**options):
    problem, y, parameters = parametrised()
    problem.solve(solver=cp.SCS, requires_grad=True, eps=1e-10, **options)
    y.gradient = W
    problem.backward()
    return relative(y.value, solution), np.concatenate([np.atleast_1d(p.gradient) for p in parameters])


solution, expected = exact()
error, got = gradient()
_, dense = gradient(mode="dense")
report(
    package="cvxpy", also=("diffcp", "scs", "numpy"), source="cvxpylayers issues 67, 69, 70; diffcp issue 71",
    expected="relative error near the solve's 1e-10", got=f"relative error {relative(got, expected):.1e}",
    present=relative(got, expected) > 1e-4,
    note=f"the solution itself is right to {error:.0e}; mode='dense': {relative(dense, expected):.1e}",
)  # fmt: skip

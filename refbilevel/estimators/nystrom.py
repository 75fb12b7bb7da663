"""The adjoint from a low-rank approximation of the lower Hessian.

    v = (H_k + rho I)^{-1} f_y,   H_k = H[:, J] H[J, J]^+ H[J, :],     gradient = f_x - g_xy v.

k = |J| Hessian columns and no iteration. At full rank the error is that of damping, rho / (lambda_min + rho): O(rho); below the
rank it is what the spectrum leaves, divided by rho. As a preconditioner (`preconditioner="nystrom"`) the same inverse is exact.

Hataya & Yamada, Nystrom method for accurate and scalable implicit differentiation, AISTATS 2023.
"""

from __future__ import annotations

from ..linear.nystrom import nystrom as approximate
from ..results import Estimate
from .protocol import Estimator


def _compute(problem, x, lower, *, rank=None, rho=1e-2, columns=None, rng=None):
    y = lower.y
    rank = min(problem.m, 20) if rank is None else rank
    inverse = approximate(problem.g_yy(x, y), rank, rho, columns, rng)
    direct, v = problem.f_x(x, y), inverse.solve(problem.f_y(x, y))
    return Estimate(
        gradient=direct - problem.g_xy(x, y) @ v, direct=direct, adjoint=v, extra={"rho": inverse.rho, "columns": inverse.columns}
    )


nystrom = Estimator(
    name="nystrom",
    family="implicit",
    compute=_compute,
    requires=("f_x", "f_y", "g_yy", "g_xy"),
    error="O(rho) at full rank",
    linear_solve="Nystrom + Woodbury",
    reference="Hataya & Yamada 2023",
)

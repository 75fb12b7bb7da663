"""The referee: central differences of x -> f(x, y*(x)), every y* re-solved from a perturbed cold start.

    D(h) = [F(x + h e) - F(x - h e)] / 2h,      D4(h) = [4 D(h/2) - D(h)] / 3          (Richardson, error O(h^4))

for steps h = scale 2^-j; the answer is the D4 of the smallest change |D4(h) - D4(h/2)|, its plateau, and that change (plus the
solver noise over h) is the error it declares. No derivative of the problem is used but g_y and g_yy inside the lower solver.
`lower_method` names another solver than the one under test, where one exists. Error law: O(h^4) + O(noise / h).

Nocedal & Wright, Numerical Optimization, 2006, sec. 8.1; More & Wild, Estimating derivatives of noisy simulations, 2012.
"""

from __future__ import annotations

import numpy as np

from ..errors import ArgumentError
from ..lower.solve import solve_view
from ..results import Estimate, Status
from .protocol import Estimator

EPS = np.finfo(float).eps


def _objective(problem, lower, lower_method, lower_tol, cold):
    """F(x) = f(x, y*(x)), solved from a start that is neither zero nor the y at hand."""
    y0 = np.cos(1.0 + np.arange(problem.m)) * 0.1 * (1.0 + np.linalg.norm(lower.y) / np.sqrt(problem.m)) if cold else lower.y

    def F(x):
        solution = solve_view(problem, x, lower_method, y0, lower_tol, None, {})
        failures.extend([] if solution.success else [solution])
        return problem.f(x, solution.y)

    failures: list = []
    return F, failures


def _plateau(F, x, e, h, levels):
    """(derivative, error) along e from the flattest pair of Richardson values."""
    D = [(F(x + t * e) - F(x - t * e)) / (2 * t) for t in h * 0.5 ** np.arange(levels)]
    D4 = (4 * np.array(D[1:]) - np.array(D[:-1])) / 3
    change = np.abs(np.diff(D4))
    best = int(np.nanargmin(change)) if np.isfinite(change).any() else 0
    return D4[best + 1], float(change[best])


def _compute(problem, x, lower, *, h=None, levels=8, lower_method="auto", lower_tol=None, cold=True):
    if levels < 3:
        raise ArgumentError(f"levels must be at least 3, got {levels}")
    if h is not None and not h > 0:
        raise ArgumentError(f"h must be positive, got {h!r}")
    F, failures = _objective(problem, lower, lower_method, lower_tol, cold)
    scale = np.maximum(1.0, np.abs(x)) * (2.0**-4 if h is None else h)
    pairs = [_plateau(F, x, e, t, levels) for e, t in zip(np.eye(problem.n), scale)]
    gradient, errors = (np.array(c, float) for c in zip(*pairs))
    error = float(np.linalg.norm(errors))
    status = failures[0].status if failures else Status.CONVERGED
    if not failures and error > 1e-3 * max(np.linalg.norm(gradient), EPS) and error > 1e-8:
        status = Status.CANCELLATION
    return Estimate(
        gradient=gradient,
        direct=problem.f_x(x, lower.y) if problem.f_x is not None else None,
        error_estimate=error,
        status=status,
        detail=f"The differences agree to {error:.1e} on their plateau.",
        extra={"errors": errors},
    )


finite_difference = Estimator(
    name="finite_difference",
    family="referee",
    compute=_compute,
    requires=("f",),
    error="O(h^4) + O(noise/h)",
    reference="Nocedal & Wright 2006, sec. 8.1",
    classes=("smooth", "constrained", "map"),
)

"""Evolution strategies on F(x) = f(x, y*(x)): a baseline that knows no derivative. Not for accuracy.

    gradient = 1/(2 sigma S) sum_s [F(x + sigma e_s) - F(x - sigma e_s)] e_s,     e_s ~ N(0, I),

an unbiased estimate of the gradient of F smoothed by N(0, sigma^2), which is O(sigma^2) from grad F; its standard error is
O(|grad F| sqrt(n / S)). `error_estimate` is four standard errors, from the spread of the samples: a random error exceeds it about
once in ten thousand runs.

Nesterov & Spokoiny, Random gradient-free minimization of convex functions, 2017; Salimans et al. 2017.
"""

from __future__ import annotations

import numpy as np

from ..errors import ArgumentError
from ..lower.solve import solve_view
from ..results import Estimate, Status
from .protocol import Estimator


def _compute(problem, x, lower, *, sigma=1e-3, samples=100, rng=None, lower_method="auto", lower_tol=None):
    if not sigma > 0:
        raise ArgumentError(f"sigma must be positive, got {sigma!r}")
    if isinstance(samples, bool) or not isinstance(samples, (int, np.integer)) or samples < 2:
        raise ArgumentError(f"samples must be an integer of at least 2, got {samples!r}")
    directions = np.random.default_rng(rng).standard_normal((samples, problem.n))
    slopes, status = np.zeros(samples), Status.CONVERGED
    for i, e in enumerate(directions):
        ends = [solve_view(problem, x + s * sigma * e, lower_method, lower.y, lower_tol, None, {}) for s in (1, -1)]
        failed = next((end for end in ends if not end.success), None)
        if failed is not None:
            status = failed.status
            break
        slopes[i] = (problem.f(x + sigma * e, ends[0].y) - problem.f(x - sigma * e, ends[1].y)) / (2 * sigma)
    terms = slopes[:, None] * directions
    spread = 4 * float(np.linalg.norm(terms.std(axis=0, ddof=1)) / np.sqrt(samples))
    return Estimate(gradient=terms.mean(axis=0), error_estimate=spread, status=status, extra={"sigma": float(sigma)})


zeroth_order = Estimator(
    name="zeroth_order",
    family="baseline",
    compute=_compute,
    requires=("f",),
    error="O(sigma^2) + O(1/sqrt(samples)), random",
    reference="Nesterov & Spokoiny 2017",
    classes=("smooth", "constrained", "map"),
)

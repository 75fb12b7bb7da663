"""`hypergradient(..., accuracy=a)`: tighten the lower and the adjoint solve until the error is at most a, or say why it cannot be.

    error = max(error_estimate, floor)     or, with certify=True, error_bound;      floor = |gradient| 10^-attainable_digits

Round k asks the lower residual and the relative adjoint residual for a 10^-(2k) of what the first asked, warm-started; the last two
rounds go until rounding stops the progress, then one Newton step on (refine=True). The errors are absolute, as the estimate is.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from .errors import ArgumentError
from .results import Status

ROUNDS = 5


def check_accuracy(accuracy, certify):
    """Raise for an accuracy that is not a positive number, or certify without one."""
    if accuracy is None:
        if certify:
            raise ArgumentError("certify=True needs accuracy=..., the bound that is to be certified")
    elif isinstance(accuracy, bool) or not (isinstance(accuracy, (int, float, np.number)) and np.isfinite(accuracy) and accuracy > 0):
        raise ArgumentError(f"accuracy must be a positive number or None, got {accuracy!r}")


def to_accuracy(run, accuracy, certify, estimator, options):
    """The first result of run(tol, options, y0, refine) whose error is at most `accuracy`, else the best with status INACCURATE."""
    best, y0 = None, None
    for tol, refine in _schedule(accuracy):
        tightened = options
        if "rtol" in estimator.options and "rtol" not in options and tol is not None:
            tightened = {**options, "rtol": min(tol, 1e-2)}
        result = run(tol, tightened, y0, refine)
        if result.status in (Status.LOWER_INFEASIBLE, Status.LOWER_UNBOUNDED, Status.NONFINITE):
            return result
        error = error_of(result, certify)
        if best is None or error < error_of(best, certify) or not np.isfinite(error_of(best, certify)):
            best = result
        if error <= accuracy and (result.success or result.status in (Status.LINEAR_MAXITER, Status.LOWER_MAXITER)):
            return _met(result, error, certify)
        y0 = result.lower if np.isfinite(result.lower.y).all() else None
    return _missed(best, accuracy, certify, estimator)


def _schedule(accuracy):
    for k in range(ROUNDS):
        if accuracy * 10.0 ** (-2 * k) > 1e-15:
            yield accuracy * 10.0 ** (-2 * k), False
    yield None, False
    yield None, True


def error_of(result, certify):
    """What is compared with the accuracy; inf where it is not known."""
    if certify:
        return result.error_bound if np.isfinite(result.error_bound) else np.inf
    if not np.isfinite(result.error_estimate):
        return np.inf
    return max(result.error_estimate, floor_of(result))


def floor_of(result):
    """What rounding leaves uncertain, |gradient| 10^-attainable_digits."""
    if not np.isfinite(result.attainable_digits):
        return 0.0
    return float(np.linalg.norm(result.gradient) * 10.0**-result.attainable_digits)


def _met(result, error, certify):
    if certify:
        return replace(result, status=Status.CERTIFIED, detail=f"The bound is {error:.1e}. {result.detail}".strip())
    return replace(result, status=Status.CONVERGED) if not result.success else result


def _missed(result, accuracy, certify, estimator):
    if not result.success and result.status not in (Status.LOWER_STALLED, Status.LINEAR_MAXITER, Status.LOWER_MAXITER):
        return result  # a worse trouble than accuracy, already named
    return replace(result, status=Status.INACCURATE, detail=f"{_reason(result, accuracy, certify, estimator)} {result.detail}".strip())


def _reason(result, accuracy, certify, estimator):
    """The sentence that says which solve limits the accuracy."""
    what, error = ("bound", result.error_bound) if certify else ("estimate", result.error_estimate)
    if not np.isfinite(error):
        if certify:
            return "No bound is known: give constants L_f, L_fx, L_H, L_B to the problem, or check that the active set is not weak."
        return "No error estimate is available for this method on this problem; use method='implicit'."
    if floor_of(result) > accuracy:
        return f"Rounding leaves {result.attainable_digits:.1f} digits, an error of about {floor_of(result):.1e}; rescale or regularise g."
    if not estimator.exact:
        return f"The error {what} {error:.1e} is that of method {estimator.name!r} itself, {estimator.error}; use method='implicit'."
    return (
        f"The error {what} stays at {error:.1e} with the lower residual at {result.residual:.1e}"
        f"{f' and the linear residual at {result.linear.residual:.1e}' if result.linear is not None else ''}."
    )

"""What the library answers: frozen records, each with an honest `Status`.

`Status` is a string enum: its value is a short code, its `.message` a sentence that says what happened,
why it usually does, and what to do. A result's `.message` is that sentence plus the particulars (`detail`).
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .errors import Degenerate, NotConverged, StatusError


class Status(str, enum.Enum):
    """Outcome of a computation. `.code` is short, `.message` a sentence, `.success` True for the good ones."""

    def __new__(cls, code, message):
        status = str.__new__(cls, code)
        status._value_ = code
        status.message = message
        status.success = code in ("converged", "certified")
        return status

    CONVERGED = "converged", "Every solve met its tolerance."
    CERTIFIED = "certified", "Every solve met its tolerance, and a rigorous bound (or the active-set certificate) holds."
    LOWER_MAXITER = (
        "lower_maxiter",
        "The lower solve stopped at its iteration limit; raise maxiter, or pass a better y0.",
    )
    LOWER_STALLED = (
        "lower_stalled",
        "The lower solve stopped making progress above its tolerance, usually at rounding level; loosen tol or rescale g.",
    )
    LOWER_INFEASIBLE = (
        "lower_infeasible",
        "No y satisfies the lower constraints at this x; the certificate is in the result. Change x or the constraints.",
    )
    LOWER_UNBOUNDED = (
        "lower_unbounded",
        "The lower objective is unbounded below at this x; the ray is in the result. Add bounds or curvature.",
    )
    NOT_A_MINIMUM = (
        "not_a_minimum",
        "The lower Hessian has negative curvature at y, so y is not a minimum of g; start elsewhere or convexify g.",
    )
    NONUNIQUE = (
        "nonunique",
        "The lower solution is not unique, so the hypergradient depends on the choice of y; regularise g.",
    )
    DEGENERATE = (
        "degenerate",
        "A constraint is weakly active, so the hypergradient is not unique; the result holds one Clarke element and the one-sided values.",
    )
    LICQ_FAILS = (
        "licq_fails",
        "The active constraint gradients are dependent, so multipliers are not unique; drop the redundant rows.",
    )
    UNDEFINED = (
        "undefined",
        "The hypergradient is not defined: the lower Hessian is singular and f_y or g_xy leaves its range; regularise g.",
    )
    MINIMUM_NORM = (
        "minimum_norm",
        "The lower Hessian is singular; the minimum-norm adjoint was used and the hypergradient is defined, but y* is not unique.",
    )
    ILL_CONDITIONED = (
        "ill_conditioned",
        "The linear system's condition number exceeds 1/eps, so no digit is certain; rescale or regularise the lower problem.",
    )
    LINEAR_MAXITER = (
        "linear_maxiter",
        "The linear solve stopped at its iteration limit above its tolerance; raise maxiter, precondition, or use a direct method.",
    )
    LINEAR_BREAKDOWN = (
        "linear_breakdown",
        "The Krylov method broke down or stagnated above its tolerance; use a direct method or MINRES/GMRES.",
    )
    NONSYMMETRIC = (
        "nonsymmetric",
        "The matrix is not symmetric, which this linear method needs; use lu or gmres, or check g_yy.",
    )
    DIVERGED = (
        "diverged",
        "The iteration diverged because the step is too long for the curvature; use step < 2/L.",
    )
    NONFINITE = (
        "nonfinite",
        "An oracle returned NaN or infinity; check the domain of g and f near this point.",
    )
    NUDGE_TOO_LARGE = (
        "nudge_too_large",
        "The nudged lower problem is not convex at this beta; use a smaller beta.",
    )
    CANCELLATION = (
        "cancellation",
        "The difference quotient is dominated by solver error at this step; use the suggested beta or a tighter lower solve.",
    )
    NOT_STRICT = (
        "not_strict",
        "The upper point is not a strict minimum, so the solution's derivative is not defined; regularise f.",
    )
    MAXITER = ("maxiter", "The outer iteration limit was reached before the tolerance; raise maxiter or loosen tol.")
    STALLED = ("stalled", "The outer line search made no further progress; the tolerance is below the attainable digits or there is a kink.")
    TIME_LIMIT = (
        "time_limit",
        "The time limit came before the proof; the result holds the best point and a valid bound. Allow more time.",
    )
    INFEASIBLE = ("infeasible", "No point satisfies the upper and the lower constraints together.")
    UNBOUNDED = ("unbounded", "The upper objective is unbounded below.")
    STOPPED = ("stopped", "The callback or an interrupt ended the run; the result holds the best point so far.")
    INACCURATE = (
        "inaccurate",
        "The requested accuracy was not reached; the message says which solve limits it.",
    )

    @property
    def code(self):
        return self._value_

    def __str__(self):
        return self._value_


def status_table():
    """Every status with its sentence, as a Markdown table: what `refbilevel list statuses` prints and the README shows."""
    lines = ["| status | success | what happened, why it usually does, what to do |", "| --- | --- | --- |"]
    return "\n".join(lines + [f"| `{s.code}` | {'yes' if s.success else ''} | {s.message} |" for s in Status])


class _Outcome:
    """`.success` and `.message` from `.status` and `.detail`; `.raise_for_status()` for strict=True."""

    @property
    def success(self):
        return self.status.success

    @property
    def message(self):
        return f"{self.status.message} {self.detail}".strip()

    def raise_for_status(self):
        if self.success:
            return self
        if self.status in (Status.DEGENERATE, Status.NONUNIQUE, Status.LICQ_FAILS):
            raise Degenerate(self)
        if self.status in (Status.LOWER_MAXITER, Status.LINEAR_MAXITER, Status.LOWER_STALLED, Status.MAXITER):
            raise NotConverged(self)
        raise StatusError(self)


_EMPTY = np.zeros(0)



@dataclass(frozen=True, eq=False)
class LowerSolution(_Outcome):
    """y*(x) as found. y (m,), mu (k,) >= 0, nu (l,); `residual` is the KKT residual (|g_y| if unconstrained).

    `active` (k,) bool marks mu_i > slack_i; `margin` = min_i max(mu_i, slack_i), inf without inequalities.
    `factor` is a factorisation of g_yy (or K) at y that the adjoint may reuse, or None.
    `trajectory` (K+1, m) holds the iterates when a first-order solver was asked to keep them.
    `certificate` is a Farkas ray (lower_infeasible) or a direction of recession (lower_unbounded).
    """

    y: np.ndarray
    mu: np.ndarray = field(default_factory=lambda: _EMPTY)
    nu: np.ndarray = field(default_factory=lambda: _EMPTY)
    residual: float = np.nan
    active: np.ndarray = field(default_factory=lambda: np.zeros(0, bool))
    margin: float = np.inf
    iterations: int = 0
    status: Status = Status.CONVERGED
    detail: str = ""
    method: str = ""
    residual_before: float = np.nan
    trajectory: np.ndarray | None = None
    factor: Any = None
    certificate: Any = None
    solvers: tuple = ()


@dataclass(frozen=True, eq=False)
class LinearSolution(_Outcome):
    """x with A x = b. `residual` is the true |b - A x| / |b|, recomputed; `condition` an estimate (nan: unknown).

    `negative` counts the negative eigenvalues of A where the method shows them (Krylov: 1 means at least one), else None.
    """

    x: np.ndarray
    residual: float
    iterations: int = 0
    matvecs: int = 0
    condition: float = np.nan
    status: Status = Status.CONVERGED
    detail: str = ""
    method: str = ""
    factor: Any = None
    negative: int | None = None


@dataclass(frozen=True, eq=False)
class Estimate:
    """What one estimator returns; the driver adds residuals, error figures and cost to make a `Hypergradient`.

    `y` replaces the lower solution's y where the estimator owns its own (unrolling, penalties).
    `error_estimate` is the estimator's own, where it has one (e.g. Richardson differences).
    """

    gradient: np.ndarray
    direct: np.ndarray | None = None
    adjoint: np.ndarray | None = None
    linear: LinearSolution | None = None
    y: np.ndarray | None = None
    error_estimate: float | None = None
    status: Status = Status.CONVERGED
    detail: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Hypergradient(_Outcome):
    """The gradient of F(x) = f(x, y*(x)), shape (n,), with what is known about its error.

    gradient = direct + indirect, direct = f_x(x, y). `residual` is |g_y| (the KKT residual under constraints) at the y
    used; `error_estimate` is asymptotically exact, `error_bound` rigorous where constants are known (else nan),
    `attainable_digits` the digits that rounding leaves. `extra` holds what one method alone knows
    (Clarke generators, one-sided values, the beta used, ...).
    """

    gradient: np.ndarray
    direct: np.ndarray
    indirect: np.ndarray
    objective: float
    x: np.ndarray
    lower: LowerSolution
    method: str
    adjoint: np.ndarray | None = None
    linear: LinearSolution | None = None
    residual: float = np.nan
    error_estimate: float = np.nan
    error_bound: float = np.nan
    attainable_digits: float = np.nan
    refined: np.ndarray | None = None
    cost: Mapping[str, int] = field(default_factory=dict)
    status: Status = Status.CONVERGED
    detail: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict)

    def explain(self):
        """A few sentences: what limits the accuracy, and what to do about it."""
        from .explain import explain

        return explain(self)

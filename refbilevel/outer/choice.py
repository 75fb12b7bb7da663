"""`method="auto"`: which method fits the structure of a problem, why, and what to try where it stops short.

    upper constraints           slsqp
    a finite sum of many terms  saba
    anything else               lbfgs
    then, under lower constraints:  gam where lbfgs stalls (a kink) and y* is continuous because g is strongly convex in y;
                                    mpcc where F has no gradient to follow: y* jumps or is not unique
"""

from __future__ import annotations

import numpy as np

from ..driver import kind
from ..results import Status
from .lower_set import dense

#: terms from which a pass over all of them costs more than the variance of a few
MANY_TERMS = 100_000
#: n + m + constraint rows up to which the joint program is solved with dense matrices
JOINT_LIMIT = 300


def choose(problem):
    """(name, why)."""
    if problem.upper_constraints is not None:
        return "slsqp", "chosen because there are upper constraints" + _provable(problem)
    if hasattr(problem, "terms") and min(problem.sizes) >= MANY_TERMS:
        return "saba", f"chosen for a finite sum of {min(problem.sizes)} terms and more"
    if kind(problem) == "constrained":
        return "lbfgs", "chosen for bounds alone above; gam and mpcc follow where F has kinks or jumps" + _provable(problem)
    return "lbfgs", "chosen for a smooth F under bounds"


def _provable(problem):
    """A remark for problems that `minimize_global` can read."""
    from .solve_all import takes_global

    return " (minimize_global can prove this problem's optimum)" if takes_global(problem) else ""


def follow_up(problem, tried, status, h, left):
    """(name of the method to go on with, why), or (None, "") if the point is as good as it gets; `h` is the Hypergradient there."""
    if kind(problem) != "constrained" or left < 1 or status is Status.STOPPED:
        return None, ""
    kinked = problem.upper_constraints is None and not status.success and h.lower.status in (Status.CONVERGED, Status.DEGENERATE)
    if kinked and not {"gam", "mpcc"} & set(tried) and strongly_convex(problem, h):
        return "gam", f"{tried[-1]} stopped short, at a kink perhaps"
    flat = h.status in (Status.NONUNIQUE, Status.LICQ_FAILS, Status.UNDEFINED, Status.MINIMUM_NORM)
    if "mpcc" not in tried and (flat or not status.success) and fits_jointly(problem, h):
        return "mpcc", f"F has no gradient to follow where {tried[-1]} stopped ({h.status.code if flat else status.code})"
    return None, ""


def strongly_convex(problem, h):
    """Whether g_yy is positive definite at the point; taken to be where it is too large to tell."""
    if problem.m > JOINT_LIMIT:
        return True
    H = dense(problem.g_yy(h.x, h.lower.y))
    return bool(np.linalg.eigvalsh(0.5 * (H + H.T))[0] > 1e-10 * max(np.abs(H).max(), 1e-300))


def fits_jointly(problem, h):
    size = problem.n + problem.m + h.lower.mu.size + h.lower.nu.size
    return size <= JOINT_LIMIT and problem.has("g_yy", "g_xy", "f_x", "f_y")

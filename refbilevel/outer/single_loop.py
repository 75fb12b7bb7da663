"""The driver of single-loop methods: they move x and y (and their auxiliaries) together and never solve the lower level exactly.

A method supplies `move(problem, s, k)`, one step on the state s (s.x, s.y, ...), in place. One iteration is `inner` moves; after
each the driver evaluates F at s.x with an exact lower solve (counted apart, for the history and the stop only): it stops when the
projected hypergradient is at most tol, or says that the method stands still above it, as a method with a bias does.

A block of moves after which y is not finite, or far from the lower solution, is undone and repeated with halved steps.

Default steps: step_y = 1/L_g, L_g the largest curvature of g met so far; step_x = 1/(2 L_F), L_F a difference quotient of the hypergradient.
"""

from __future__ import annotations

import copy
from types import SimpleNamespace

import numpy as np

from ..errors import ArgumentError
from ..lower.gradient import curvature
from ..problem import counted
from ..results import Status
from .protocol import Outcome


#: halvings of the steps before the run is called divergent; how far from the last lower solution y may go
MAX_SHORTENED, FAR = 12, 1e3
STEPS = ("step_x", "step_y", "step_penalty", "rate_x", "rate_y")


def run(objective, x0, move, *, tol, maxiter, inner, prepare=None, **state):
    """Iterate `move` from x0 and the y to start from; `prepare(problem, s)` may add to the state. Returns the Outcome."""
    if inner < 1:
        raise ArgumentError(f"inner must be at least 1, got {inner}")
    problem, counts = counted(objective.problem)
    problem.needs("f_x", "f_y", "g_y", purpose="a single-loop method")
    first = objective.record(x0)
    s = SimpleNamespace(x=x0.copy(), y=objective.start.copy(), project=objective.project, **state)
    if prepare is not None:
        prepare(problem, s)
    k, still, now, shortened = 0, 0, first, 0
    for iteration in range(1, maxiter + 1):
        before = _snapshot(s)
        with np.errstate(all="ignore"):  # a step that is too long overflows; it is undone below
            for _ in range(inner):
                move(problem, s, k)
                k += 1
        if _diverged(s, now):
            shortened += 1
            if shortened > MAX_SHORTENED:
                return Outcome(now.x, Status.DIVERGED, "The steps are too long: pass smaller step_x or step_y.", iteration)
            vars(s).update(_shorter(before))
            continue
        now = objective.record(s.x)
        objective.counts.update({f"single_{name}": count for name, count in counts.items()})
        counts.clear()
        if now.projected_norm <= tol:
            return Outcome(s.x, Status.CONVERGED, nit=iteration, y=s.y)
        if getattr(s, "follow", False):  # the curvature of g may have grown with x
            s.step_y = min(s.step_y, 1.0 / max(curvature(problem, s.x, now.y), 1e-300))
            counts.clear()
        still = still + 1 if all(np.abs(getattr(s, name) - before[name]).max() <= 1e-13 * (1 + np.abs(before[name]).max()) for name in "xy") else 0
        if still >= 3:
            return Outcome(s.x, Status.STALLED, f"The method stands still at {now.projected_norm:.1e}: its own bias.", iteration, s.y)
    note = f"; steps were halved {shortened} times" if shortened else ""
    return Outcome(s.x, Status.MAXITER, f"Projected hypergradient {now.projected_norm:.1e}, at first {first.projected_norm:.1e}{note}.", maxiter, s.y)


def _snapshot(s):
    return {name: copy.deepcopy(value) for name, value in vars(s).items() if not callable(value)}


def _diverged(s, last):
    """Not finite, or y far beyond any lower solution seen: the steps are longer than the curvature allows."""
    if not (np.isfinite(s.x).all() and np.isfinite(s.y).all()):
        return True
    return bool(np.abs(s.y).max() > FAR * (1.0 + np.abs(last.y).max()))


def _shorter(state):
    """The state with every step halved."""
    return {name: 0.5 * value if name in STEPS and value is not None else value for name, value in state.items()}


def steps(objective, problem, s):
    """Fill s.step_x and s.step_y where they are None; also s.L_g."""
    s.L_g = curvature(problem, s.x, s.y) if problem.g_yy is not None else None
    if s.step_y is None:
        if s.L_g is None:
            raise ArgumentError("pass step_y (the problem has no g_yy to take it from)")
        s.step_y, s.follow = 1.0 / max(s.L_g, 1e-300), True
    if s.step_x is None:
        s.step_x = 0.5 / max(outer_curvature(objective, s.x), 1e-8)


def least_curvature(problem, s):
    """mu: constants["mu"], the least eigenvalue of an explicit g_yy, or L_g / 100 where neither is at hand."""
    if problem.constants and "mu" in problem.constants:
        return problem.constants["mu"]
    H = problem.g_yy(s.x, s.y) if problem.g_yy is not None else None
    if isinstance(H, np.ndarray):
        return max(float(np.linalg.eigvalsh(0.5 * (H + H.T))[0]), 1e-12 * s.L_g)
    return s.L_g / 100 if s.L_g else 0.01 / s.step_y


def outer_curvature(objective, x):
    """|grad F(x + e) - grad F(x)| / |e| along the gradient, e of length 1e-3 (1 + |x|)."""
    p = objective.evaluate(x).gradient
    size = np.linalg.norm(p)
    if not size > 0 or not np.isfinite(size):
        return 1.0
    e = -1e-3 * (1 + np.linalg.norm(x)) * p / size
    q = objective.evaluate(x + e).gradient
    objective.evaluate(x)
    quotient = np.linalg.norm(q - p) / np.linalg.norm(e)
    return quotient if np.isfinite(quotient) and quotient > 0 else 1.0


def adam(gradient, memory, rate, beta1=0.9, beta2=0.999, eps=1e-8):
    """The step of Adam (Kingma & Ba 2015, alg. 1); `memory` is a dict updated in place."""
    memory["t"] = t = memory.get("t", 0) + 1
    memory["m"] = beta1 * memory.get("m", 0.0) + (1 - beta1) * gradient
    memory["v"] = beta2 * memory.get("v", 0.0) + (1 - beta2) * gradient**2
    return rate * (memory["m"] / (1 - beta1**t)) / (np.sqrt(memory["v"] / (1 - beta2**t)) + eps)

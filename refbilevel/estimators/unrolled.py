"""Unrolled differentiation: the exact gradient of x -> f(x, y_K(x)), z_{k+1} = T(x, z_k), y_K the first part of z_K.

    reverse        a = f_y(x, y_K),  p = f_x(x, y_K);   k = K-1, ..., 0:   p += T_x(z_k)^T a,   a <- T_z(z_k)^T a
    truncated      the same over the last `window` steps only: T_x of the earlier ones is dropped, an error O(q^window)
    checkpointed   reverse, with at most `slots` states kept and the rest computed again (binomial schedule)
    forward        Z_0 = 0,  Z_{k+1} = T_z Z_k + T_x (copies m, n);   p = f_x + Z_K^T f_y

For gradient descent T = y - s g_y: p -= s g_xy a, a -= s g_yy a. Error law against grad F: O(K q^K), q = |T_y|; against the
K-step map itself all but `truncated` are exact, for every K (K = 0 gives f_x). Start z_0 and step s do not depend on x.
Reverse sweeps of quadratics and generalised linear models run as one kernel (kernels/unroll.py).
Memory: reverse K m, checkpointed slots m, forward n m; `memory` (bytes) bounds what may be kept.

Franceschi et al., Forward and reverse gradient-based hyperparameter optimization, ICML 2017, alg. 1 and 2; Shaban et al.,
Truncated back-propagation for bilevel optimization, AISTATS 2019; Griewank & Walther, Algorithm 799: revolve, 2000.
"""

from __future__ import annotations

from math import comb

import numpy as np

from ..errors import ArgumentError
from ..lower.step_maps import step_map as choose_map
from ..lower.sweeps import sweep_of
from ..results import Estimate, Status
from .protocol import Estimator

GIB = 2**30


def _check(K, **counts):
    for name, value in {"K": K, **counts}.items():
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 0:
            raise ArgumentError(f"{name} must be a non-negative integer, got {value!r}")


def _fits(states, size, memory, advice):
    if states * size * 8 > memory:
        raise ArgumentError(f"keeping {states} states of {size} floats exceeds memory = {memory} bytes; {advice}")


def _path(T, x, z, K):
    """[z_0, ..., z_K]."""
    path = [z]
    for _ in range(K):
        path.append(T.T(x, path[-1]))
    return path


def _ends(problem, x, z):
    """y, f_x and f_y lifted to the state, at the last state."""
    y = z[: problem.m]
    lifted = np.zeros_like(z)
    lifted[: problem.m] = problem.f_y(x, y)
    return y, problem.f_x(x, y), lifted


def _answer(p, direct, y, T, x, z0, z, extra):
    """The Estimate, at DIVERGED if the step to come is longer than the first (1000 times longer, where momentum may swing)."""
    diverged = not np.isfinite(z).all()
    if not diverged:
        first, last = np.linalg.norm(T.T(x, z0) - z0), np.linalg.norm(T.T(x, z) - z)
        rounding = 1e-12 * (1 + np.linalg.norm(z))
        diverged = not last <= first * (1 + 1e-6 if T.symmetric else 1e3) + rounding
    return Estimate(
        gradient=p, direct=direct, y=y, status=Status.DIVERGED if diverged else Status.CONVERGED, extra={"step": T.scale, **extra}
    )


def _pull_back(T, x, states, a, p):
    """p + sum of T_x^T a over the states, last first; and the a that is left."""
    for z in reversed(states):
        p = p + T.vjp_x(x, z, a)
        a = T.vjp_y(x, z, a)
    return a, p


def _reverse(problem, x, lower, *, K=100, step=None, momentum=None, step_map="gradient_descent", memory=GIB):
    _check(K)
    T = choose_map(problem, x, lower.y, step_map, step, momentum)
    z0 = T.start(lower.y)
    _fits(K + 1, z0.size, memory, "use method='checkpointed', or a smaller K")
    sweep = sweep_of(problem, x) if T.name == "gradient_descent" else None
    path = _path(T, x, z0, K) if sweep is None else sweep.path(z0, T.scale, K)
    z = path[-1]
    y, direct, a = _ends(problem, x, z)
    if sweep is None:
        _, p = _pull_back(T, x, path[:-1], a, direct)
    else:
        p = direct + sweep.pull_back(path, a, T.scale)
        _count(problem, K)
    return _answer(p, direct, y, T, x, z0, z, {"K": K})


def _count(problem, K):
    """K calls of g_y, g_yy and g_xy made inside a kernel enter the cost like any other."""
    for name in ("g_y", "g_yy", "g_xy"):
        if K and hasattr(getattr(problem, name), "counts"):
            getattr(problem, name).counts[name] += K


def _truncated(problem, x, lower, *, K=100, window=10, step=None, momentum=None, step_map="gradient_descent", memory=GIB):
    _check(K, window=window)
    window = min(window, K)
    T = choose_map(problem, x, lower.y, step_map, step, momentum)
    z0 = z = T.start(lower.y)
    _fits(window + 1, z.size, memory, "use a smaller window")
    for _ in range(K - window):
        z = T.T(x, z)
    path = _path(T, x, z, window)
    z = path[-1]
    y, direct, a = _ends(problem, x, z)
    _, p = _pull_back(T, x, path[:-1], a, direct)
    return _answer(p, direct, y, T, x, z0, z, {"K": K, "window": window})


def _forward(problem, x, lower, *, K=100, step=None, momentum=None, step_map="gradient_descent", memory=GIB):
    _check(K)
    T = choose_map(problem, x, lower.y, step_map, step, momentum)
    if T.jvp is None:
        raise ArgumentError("method 'forward' needs step_map.jvp; give it, or use method='reverse'")
    z0 = z = T.start(lower.y)
    _fits(problem.n, z.size, memory, "use method='reverse' or 'checkpointed'")
    Z, dX = np.zeros((z.size, problem.n)), np.eye(problem.n)
    for _ in range(K):
        Z, z = T.jvp(x, z, dX, Z), T.T(x, z)
    y, direct, a = _ends(problem, x, z)
    return _answer(direct + Z.T @ a, direct, y, T, x, z0, z, {"K": K})


def _checkpointed(problem, x, lower, *, K=100, slots=None, step=None, momentum=None, step_map="gradient_descent", memory=GIB):
    _check(K)
    T = choose_map(problem, x, lower.y, step_map, step, momentum)
    z0 = z = T.start(lower.y)
    slots = max(1, min(K, memory // (8 * z.size))) if slots is None else slots
    _check(K, slots=slots)
    if slots < 1:
        raise ArgumentError(f"slots must be at least 1 (the start is kept), got {slots}")
    _fits(slots, z.size, memory, "use fewer slots")
    for _ in range(K):
        z = T.T(x, z)
    y, direct, a = _ends(problem, x, z)
    tally = {"steps": K, "kept": 0, "most": 0}
    _, p = _sweep(T, x, z0, K, slots, a, direct, tally)
    return _answer(p, direct, y, T, x, z0, z, {"K": K, "slots": slots, "map_calls": tally["steps"], "states_kept": tally["most"]})


def _sweep(T, x, z, steps, slots, a, p, tally):
    """Pull (a, p) back over `steps` steps from state z, which holds one slot; slots - 1 more may be filled."""
    tally["kept"] += 1
    tally["most"] = max(tally["most"], tally["kept"])
    while steps > 0:
        ahead = _split(steps, slots)
        middle = z
        for _ in range(ahead):
            middle = T.T(x, middle)
        tally["steps"] += ahead
        if slots == 1 or ahead == 0:  # `middle` is the last state before the end: use it and let it go
            a, p = _pull_back(T, x, [middle], a, p)
            steps -= 1
        else:
            a, p = _sweep(T, x, middle, steps - ahead, slots - 1, a, p, tally)
            steps = ahead
    tally["kept"] -= 1
    return a, p


def _split(steps, slots):
    """Steps to advance before the next checkpoint: binomial, so that all is recomputed at most r times, C(slots + r, r) >= steps."""
    if slots == 1 or steps == 1:
        return steps - 1
    r = 1
    while comb(slots + r, r) < steps:
        r += 1
    return int(np.clip(steps - comb(slots + r - 1, r), 1, min(steps - 1, comb(slots + r - 1, r - 1))))


_DERIVATIVES = ("f_x", "f_y", "g_y", "g_yy", "g_xy")
_LAW = "O(K q^K)"
reverse = Estimator("reverse", "unrolled", _reverse, _DERIVATIVES, _LAW, "Franceschi et al. 2017, alg. 1", lower="start")
forward = Estimator("forward", "unrolled", _forward, _DERIVATIVES, _LAW, "Franceschi et al. 2017, alg. 2", lower="start")
truncated = Estimator(
    "truncated", "unrolled", _truncated, _DERIVATIVES, "O(K q^K) + O(q^window)", "Shaban et al. 2019", lower="start"
)
checkpointed = Estimator("checkpointed", "unrolled", _checkpointed, _DERIVATIVES, _LAW, "Griewank & Walther 2000", lower="start")

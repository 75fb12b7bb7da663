"""The adjoint by a series: fixed point, Neumann, one step, T1-T2, and its random truncation (HIA).

At y = y*(x) = T(x, y), T a contraction with |T_y| <= q < 1:

    gradient = f_x + T_x^T u,     u = T_y^T u + f_y,     u = sum_k (T_y^T)^k f_y.

    fixed_point(K)   u_{k+1} = T_y^T u_k + f_y from u_0 = 0, K times        (recurrent backpropagation)
    neumann(K)       u = sum over k = 0..K, so neumann(K) = fixed_point(K + 1)
    one_step         u = f_y, so one_step = neumann(0); exact where T_y = 0 (Newton's map)
    t1_t2            v = f_y: g_yy replaced by the identity in g_yy v = f_y
    hia(N)           u = N (T_y^T)^P f_y with P uniform on 0..N-1: its mean is neumann(N - 1)

The gradient step T = y - s g_y has T_y = I - s g_yy, T_x^T = -s g_xy, hence v = s u. Any other `step_map=` (a name or a
refbilevel.StepMap with T, vjp_y, vjp_x) serves, symmetric or not. Error laws: |gradient - grad F| <= |T_x| q^K |u|: O(q^K) for K
terms; the rest of the series after a term t is at most q / (1 - q) |t|, which is the stop for K=None.

Grazzi et al., On the iteration complexity of hypergradient computation, ICML 2020; Lorraine, Vicol & Duvenaud, Optimizing
millions of hyperparameters by implicit differentiation, AISTATS 2020; Bolte, Pauwels & Vaiter, One-step differentiation of
iterative algorithms, NeurIPS 2023; Luketina et al., Scalable gradient-based tuning of continuous regularization
hyperparameters, ICML 2016; Ghadimi & Wang, Approximation methods for bilevel programming, 2018 (arXiv 1802.02246).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import ArgumentError
from ..lower.step_maps import step_map as choose_map
from ..results import Estimate, Status
from .protocol import Estimator

EPS = np.finfo(float).eps


@dataclass(frozen=True)
class _Sum:
    u: np.ndarray
    terms: int
    ratio: float
    rest: float
    status: Status = Status.CONVERGED
    detail: str = ""


def _series(apply, b, terms, tol, maxiter, symmetric):
    """sum_k apply^k(b), `terms` of them, or (None) until the geometric bound on the rest is below tol |u|."""
    u, term, size, ratios, growths, count = np.zeros_like(b), b, np.linalg.norm(b), [], 0, 0
    if size == 0:
        return _Sum(u, 0, 0.0, 0.0)
    limit = maxiter if terms is None else terms
    while count < limit:
        u, count = u + term, count + 1
        if count == terms:
            break
        term = apply(term)
        before, size = size, np.linalg.norm(term)
        ratios.append(size / before if before > 0 else 0.0)
        growths = growths + 1 if size > before * (1 + 1e-12) else 0
        if not np.isfinite(size) or growths >= (3 if symmetric else 50):
            return _Sum(u, count, np.inf, np.inf, Status.DIVERGED, f"Terms grow by {ratios[-1]:.3g} each, after {count} terms.")
        if terms is None and size * _tail(ratios) <= tol * np.linalg.norm(u):
            return _Sum(u + term, count + 1, _rate(ratios), size * _tail(ratios))
    rest = size * _tail(ratios)
    if terms is None:
        return _Sum(u, count, _rate(ratios), rest, Status.LINEAR_MAXITER, f"The rest is about {rest / np.linalg.norm(u):.1e} of the sum.")
    return _Sum(u, count, _rate(ratios), rest)


def _rate(ratios):
    """Contraction rate as seen in the last terms (for a symmetric T the ratios rise to it)."""
    return float(max(ratios[-5:])) if ratios else np.nan


def _tail(ratios):
    """q / (1 - q), or infinity while the terms do not shrink."""
    q = _rate(ratios)
    return q / (1 - q) if q < 1 else np.inf


def _estimate(problem, x, y, T, total, extra):
    """f_x + T_x^T u with what the series knows of itself."""
    direct = problem.f_x(x, y)
    z = T.start(y)
    adjoint = T.scale * total.u if T.scale is not None else None
    return Estimate(
        gradient=direct + T.vjp_x(x, z, total.u), direct=direct, adjoint=adjoint, status=total.status, detail=total.detail,
        extra={"terms": total.terms, "rate": total.ratio, "rest": total.rest, **extra},
    )  # fmt: skip


def _right_hand_side(problem, x, y, T):
    """f_y, with zeros for the parts of the state that f does not read."""
    return np.concatenate([problem.f_y(x, y), np.zeros((T.copies - 1) * problem.m)])


def _count(K, name, least):
    if K is not None and (isinstance(K, bool) or not isinstance(K, (int, np.integer)) or K < least):
        raise ArgumentError(f"{name} must be an integer of at least {least}, got {K!r}")


def _summed(problem, x, lower, terms, rtol, maxiter, step, momentum, step_map):
    if rtol is not None and not rtol > 0:
        raise ArgumentError(f"rtol must be positive, got {rtol!r}")
    y = lower.y
    T = choose_map(problem, x, y, step_map, step, momentum)
    z = T.start(y)
    total = _series(lambda u: T.vjp_y(x, z, u), _right_hand_side(problem, x, y, T), terms, rtol or EPS, maxiter, T.symmetric)
    return _estimate(problem, x, y, T, total, {"step": T.scale})


def _fixed_point(
    problem, x, lower, *, K=None, rtol=None, maxiter=10_000, step=None, momentum=None, step_map="gradient_descent"
):
    _count(K, "K", 0)
    return _summed(problem, x, lower, K, rtol, maxiter, step, momentum, step_map)


def _neumann(problem, x, lower, *, K=None, rtol=None, maxiter=10_000, step=None, momentum=None, step_map="gradient_descent"):
    _count(K, "K", 0)
    return _summed(problem, x, lower, None if K is None else K + 1, rtol, maxiter, step, momentum, step_map)


def _one_step(problem, x, lower, *, step=None, momentum=None, step_map="gradient_descent"):
    return _summed(problem, x, lower, 1, None, 1, step, momentum, step_map)


def _t1_t2(problem, x, lower):
    y = lower.y
    direct, v = problem.f_x(x, y), problem.f_y(x, y)
    return Estimate(gradient=direct - problem.g_xy(x, y) @ v, direct=direct, adjoint=v)


def _hia(problem, x, lower, *, N=100, P=None, samples=1, rng=None, step=None, step_map="gradient_descent"):
    _count(N, "N", 1)
    _count(samples, "samples", 1)
    y = lower.y
    T = choose_map(problem, x, y, step_map, step, None)
    z, b = T.start(y), _right_hand_side(problem, x, y, T)
    draws = np.random.default_rng(rng).integers(N, size=samples) if P is None else np.atleast_1d(P)
    if (draws < 0).any() or (draws >= N).any():
        raise ArgumentError(f"P must lie in 0..{N - 1}, got {P!r}")
    found, term, wanted = {}, b, set(draws.tolist())
    for k in range(max(wanted) + 1):
        if k in wanted:
            found[k] = N * T.vjp_x(x, z, term)
        term = T.vjp_y(x, z, term)
    indirect = np.array([found[int(k)] for k in draws])
    spread = np.linalg.norm(indirect.std(axis=0, ddof=1)) / np.sqrt(len(draws)) if len(draws) > 1 else None
    direct = problem.f_x(x, y)
    return Estimate(direct + indirect.mean(axis=0), direct, error_estimate=spread, extra={"P": draws, "step": T.scale})


_DERIVATIVES = ("f_x", "f_y", "g_y", "g_yy", "g_xy")
fixed_point = Estimator("fixed_point", "series", _fixed_point, _DERIVATIVES, "O(q^K)", "Grazzi et al. 2020 (AID-FP)", "fixed point")
neumann = Estimator("neumann", "series", _neumann, _DERIVATIVES, "O(q^(K+1))", "Lorraine et al. 2020, alg. 3", "Neumann series")
one_step = Estimator("one_step", "series", _one_step, _DERIVATIVES, "O(q)", "Bolte, Pauwels & Vaiter 2023, alg. 3")
t1_t2 = Estimator("t1_t2", "series", _t1_t2, ("f_x", "f_y", "g_xy"), "O(|I - g_yy|)", "Luketina et al. 2016")
hia = Estimator("hia", "series", _hia, _DERIVATIVES, "mean O(q^N), random", "Ghadimi & Wang 2018 (HIA)", "random Neumann term")

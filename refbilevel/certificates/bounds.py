"""`error_bound`: a rigorous bound on |p - grad F| from Lipschitz constants, unconstrained lower level.

At any y and v, with H = g_yy, B = g_xy, c = f_y there, r = c - H v and p0 = f_x - B v, and with |y - y*| <= eps, |H(y*)^{-1}| <= 1/mu:

    |p0 - grad F| <= (|B| + L_B eps) (L_f eps + |r| + L_H |v| eps) / mu + L_B |v| eps + L_fx eps                      (1)

since v* - v = H*^{-1} [(c* - c) + r + (H - H*) v] and grad F - p0 = (f_x* - f_x) - B* (v* - v) - (B* - B) v. L_f, L_fx, L_H, L_B are
Lipschitz constants in y of f_y, f_x, g_yy, g_xy. eps and mu come from whichever is known, the better where both are:

    strong convexity       eps = |g_y| / mu                                                                            (2)
    Newton-Kantorovich     s = sigma_min(H), R = |g_y|, h = L_H R / s^2 <= 1/2:
                           eps = 2 R / (s (1 + sqrt(1 - 2 h))),  mu = s - L_H eps;  no constant of convexity needed    (3)

Any gradient p, by whatever method: |p - grad F| <= |p - p0| + (1). Taken at y with the method's own v, and one Newton step on, where
(1) is quadratically small and |p - p0| is the error estimate; the smaller is returned, so that the overestimate tends to 1.

Rounding: each norm above is enlarged by ROUNDING sqrt(m) u times the sizes of the terms that were added to form it, u = 2^-53; oracles
are taken to be computed to that backward error. Where f_y or g_y is a sum over data whose terms may cancel, size_f_y, size_g_y among the
constants are the sizes of those terms, summed. Without this the bound is violated from accuracies of about 1e-12 down.

(1): Ehrhardt & Roberts, Analyzing inexact hypergradients for bilevel learning, arXiv 2301.04764, th. 10, with the direct term added;
(3): Ortega, The Newton-Kantorovich theorem, Amer. Math. Monthly 75 (1968) 658-660.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from scipy import sparse
from scipy.linalg.lapack import dpotrf
from scipy.sparse.linalg import LinearOperator

from ..linear.operators import all_finite, frobenius, length, norm_1

U = 2.0**-53
ROUNDING = 8.0
#: sizes up to which singular values are computed
SPECTRUM_LIMIT = 600
#: sizes up to which all eigenvalues cost less than a proof for the least one
DIRECT = 24
#: part of a bound below which |p - p0| does not matter
NEGLIGIBLE = 0.01
LIPSCHITZ = ("L_f", "L_fx", "L_H", "L_B")


def constants_at(problem, x):
    """The problem's constants, those that depend on x (given as constants["at"](x) -> dict) at this x."""
    known = dict(problem.constants or {})
    at = known.pop("at", None)
    return {**known, **(at(x) if at is not None else {})}


class Sizes(NamedTuple):
    """What (1) needs at one point: |B|, |v|, |r|, distance eps, mu, and the rounding of p0."""

    B: float
    v: float
    r: float
    eps: float
    mu: float
    rounding: float


def inexact_bound(sizes, known):
    """(1), plus the rounding of p0; inf where mu is not positive."""
    s = sizes
    if not s.mu > 0 or not math.isfinite(s.eps):
        return math.inf
    adjoint = known["L_f"] * s.eps + s.r + known["L_H"] * s.v * s.eps
    return float((s.B + known["L_B"] * s.eps) * adjoint / s.mu + known["L_B"] * s.v * s.eps + known["L_fx"] * s.eps + s.rounding)


def kantorovich(s, R, L):
    """(eps, mu) of (3): (inf, 0) where h > 1/2."""
    if not s > 0:
        return math.inf, 0.0
    h = L * R / s / s
    if not h <= 0.5:
        return math.inf, 0.0
    eps = 2 * R / (s * (1 + math.sqrt(1 - 2 * h)))
    return eps, s - L * eps


class Matrices(NamedTuple):
    """|B|, |H| and s <= sigma_min(H) (nan: not known) at y, and the size of what in g_y does not depend on y."""

    y: np.ndarray
    B: float
    H: float
    s: float
    constant: float

    def at(self, y, known):
        """(|B|, |H|, s) at another y, by the Lipschitz constants; for s, Weyl's inequality."""
        distance = length(y - self.y)
        return self.B + known["L_B"] * distance, self.H + known["L_H"] * distance, self.s - known["L_H"] * distance


def error_bound(problem, x, gradient, candidates, factor=None):
    """The smallest bound on |gradient - grad F| over `candidates`, pairs (y (m,), v (m,)); nan where constants are missing.

    The matrices are measured at the first y; `factor`, of g_yy there or nearby, and v make its least eigenvalue cheap. A bound that is all
    remainder, there and as far as the matrices go, is not improved on at the next.
    """
    known = constants_at(problem, x)
    if not all(math.isfinite(known.get(name, math.nan)) for name in LIPSCHITZ) or not all_finite(gradient):
        return np.nan
    matrices, best = None, math.inf
    with np.errstate(all="ignore"):
        for y, v in candidates:
            if v is not None and all_finite(v):
                matrices = matrices or _measured(problem, x, y, v, known, factor)
                bound, gap = _at(problem, x, gradient, y, v, known, matrices)
                best = bound if bound < best else best
                if gap <= NEGLIGIBLE * bound:
                    break
    return best if best < math.inf else np.nan


def _measured(problem, x, y, v, known, factor):
    H, B = problem.g_yy(x, y), problem.g_xy(x, y)
    s = smallest_eigenvalue(H, factor, v)
    norm_B = min(norm_2(B), known.get("norm_B", math.inf))
    constant = problem.g_y(x, np.zeros_like(y)) if known["L_H"] else problem.g_y(x, y) - H @ y
    return Matrices(y, norm_B, upper_norm(H, known), math.nan if s is None else s, length(constant))


def _at(problem, x, gradient, y, v, known, matrices):
    """(bound, |gradient - p0|) at one point."""
    norm_B, size_H, s = matrices.at(y, known)
    if not math.isfinite(norm_B):
        return math.nan, math.nan
    f_x, f_y = problem.f_x(x, y), problem.f_y(x, y)
    size_y, size_v, unit = length(y), length(v), ROUNDING * math.sqrt(len(y)) * U
    R = length(problem.g_y(x, y)) + unit * (size_H * size_y + norm_B * length(x) + matrices.constant + known.get("size_g_y", 0.0))
    r = length(f_y - problem.g_yy(x, y) @ v) + unit * (size_H * size_v + length(f_y) + known["L_f"] * size_y + known.get("size_f_y", 0.0))
    rounding = unit * (length(f_x) + known["L_fx"] * size_y + norm_B * size_v)
    gap = length(gradient - (f_x - problem.g_xy(x, y) @ v))
    return gap + min(inexact_bound(Sizes(norm_B, size_v, r, eps, mu, rounding), known) for eps, mu in _distances(s, R, known)), gap


def _distances(s, R, known):
    """(eps, mu) by strong convexity and by Newton-Kantorovich."""
    if known.get("mu", 0.0) > 0:
        yield R / known["mu"], known["mu"]
    yield kantorovich(s, R, known["L_H"])


def smallest_eigenvalue(H, factor=None, v=None):
    """A lower bound of the least eigenvalue of a small explicit symmetric H, its rounding subtracted; None if H is not that.

    With a Cholesky `factor`, one within some 40 percent: inverse iteration from v guesses s, and that H - s I has a Cholesky factor too
    proves it (Rump, Verification of positive definiteness, BIT 46 (2006) 433-452).
    """
    H = _dense(H)
    if H is None or not all_finite(H):
        return None
    rounding = 4 * len(H) * U * frobenius(H)
    if len(H) > DIRECT and getattr(factor, "method", None) == "cholesky":
        s = 0.5 / _inverse_norm(factor, v)
        shifted = H + H.T
        shifted.flat[:: len(H) + 1] -= 2 * s
        if dpotrf(shifted.T, lower=1, clean=0, overwrite_a=1)[1] == 0:
            return s - math.sqrt(len(H)) * rounding  # at least (m + 2) u tr(H)
    return float(np.linalg.eigvalsh(0.5 * (H + H.T))[0] - rounding)


def _inverse_norm(factor, v):
    """|H^{-1}| from below, by inverse iteration from v = H^{-1} f_y, or from a generic vector."""
    if v is None or not v.any():
        v = factor.solve(np.cos(np.arange(1.0, factor.shape[0] + 1)))
    for _ in range(2):
        v = factor.solve(v / length(v))
    return length(v)


def _dense(A):
    if isinstance(A, LinearOperator) or max(A.shape) > SPECTRUM_LIMIT:
        return None
    return A if isinstance(A, np.ndarray) else A.toarray()


def norm_2(A):
    """|A| from above: sqrt(|A|_1 |A|_inf) or Frobenius, the 2-norm itself of small explicit arrays; inf where too large to tell."""
    if isinstance(A, LinearOperator):
        if min(A.shape) > SPECTRUM_LIMIT // 2:
            return np.inf
        A = A @ np.eye(A.shape[1]) if A.shape[1] <= A.shape[0] else (A.T @ np.eye(A.shape[0])).T
    if sparse.issparse(A):
        above = min(product_norm(A), math.sqrt(A.power(2).sum()))
    elif 1 in A.shape:
        above = frobenius(A)
    else:
        above = min(product_norm(A), frobenius(A))
        if max(A.shape) <= SPECTRUM_LIMIT and above > (1 + 1e-9) * abs(A).max():  # not so for a diagonal
            above = np.linalg.norm(A, 2)
    return float(above) * (1 + 1e-12)


def product_norm(A):
    """sqrt(|A|_1 |A|_inf) >= |A|; equal for a diagonal."""
    return math.sqrt(norm_1(A) * norm_1(A.T))


def upper_norm(H, known):
    """|H| for the rounding terms, where an estimate serves: |H|_1 >= |H|, or known["L"] and a product with a generic vector."""
    if not isinstance(H, LinearOperator):
        return norm_1(H)
    u = np.cos(np.arange(1.0, H.shape[0] + 1))
    return max(known.get("L", 0.0), 10 * float(np.linalg.norm(H @ u) / np.linalg.norm(u)))

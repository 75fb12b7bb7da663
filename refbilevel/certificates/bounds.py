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
are taken to be computed to that backward error. Without this the bound is violated from accuracies of about 1e-12 down.

(1): Ehrhardt & Roberts, Analyzing inexact hypergradients for bilevel learning, arXiv 2301.04764, th. 10, with the direct term added;
(3): Ortega, The Newton-Kantorovich theorem, Amer. Math. Monthly 75 (1968) 658-660.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import LinearOperator

U = 2.0**-53
ROUNDING = 8.0
#: sizes up to which singular values are computed
SPECTRUM_LIMIT = 600
LIPSCHITZ = ("L_f", "L_fx", "L_H", "L_B")


def constants_at(problem, x):
    """The problem's constants, those that depend on x (given as constants["at"](x) -> dict) at this x."""
    known = dict(problem.constants or {})
    at = known.pop("at", None)
    return {**known, **(at(x) if at is not None else {})}


@dataclass(frozen=True)
class Sizes:
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
    if not s.mu > 0 or not np.isfinite(s.eps):
        return np.inf
    adjoint = known["L_f"] * s.eps + s.r + known["L_H"] * s.v * s.eps
    return float((s.B + known["L_B"] * s.eps) * adjoint / s.mu + known["L_B"] * s.v * s.eps + known["L_fx"] * s.eps + s.rounding)


def kantorovich(s, R, L):
    """(eps, mu) of (3): (inf, 0) where h > 1/2."""
    if not s > 0:
        return np.inf, 0.0
    h = L * R / s**2
    if not h <= 0.5:
        return np.inf, 0.0
    eps = 2 * R / (s * (1 + np.sqrt(1 - 2 * h)))
    return eps, s - L * eps


def error_bound(problem, x, gradient, candidates):
    """The smallest bound on |gradient - grad F| over `candidates`, pairs (y (m,), v (m,)); nan where constants are missing."""
    known = constants_at(problem, x)
    if not all(np.isfinite(known.get(name, np.nan)) for name in LIPSCHITZ) or not np.isfinite(gradient).all():
        return np.nan
    spectra = []
    with np.errstate(all="ignore"):
        bounds = [_at(problem, x, gradient, y, v, known, spectra) for y, v in candidates if v is not None and np.isfinite(v).all()]
    best = np.nanmin(bounds) if bounds and not np.isnan(bounds).all() else np.nan
    return float(best) if np.isfinite(best) else np.nan


def _at(problem, x, gradient, y, v, known, spectra):
    H, B = problem.g_yy(x, y), problem.g_xy(x, y)
    f_x, f_y, g_y = problem.f_x(x, y), problem.f_y(x, y), problem.g_y(x, y)
    norm_B = min(norm_2(B), known.get("norm_B", np.inf))
    if not np.isfinite(norm_B):
        return np.nan
    size_H, size_y, size_v, unit = upper_norm(H, known), np.linalg.norm(y), np.linalg.norm(v), ROUNDING * np.sqrt(len(y)) * U
    R = np.linalg.norm(g_y) + unit * (size_H * size_y + norm_B * np.linalg.norm(x) + np.linalg.norm(problem.g_y(x, np.zeros_like(y))))
    r = np.linalg.norm(f_y - H @ v) + unit * (size_H * size_v + np.linalg.norm(f_y) + known["L_f"] * size_y)
    rounding = unit * (np.linalg.norm(f_x) + known["L_fx"] * size_y + norm_B * size_v)
    gap = np.linalg.norm(gradient - (f_x - B @ v))
    found = [inexact_bound(Sizes(norm_B, size_v, r, eps, mu, rounding), known) for eps, mu in _distances(H, R, known, spectra)]
    return gap + min(found, default=np.nan)


def _distances(H, R, known, spectra):
    """(eps, mu) by strong convexity and by Newton-Kantorovich; `spectra` keeps (H, its least eigenvalue), for a constant H."""
    if known.get("mu", 0.0) > 0:
        yield R / known["mu"], known["mu"]
    if not (spectra and isinstance(H, np.ndarray) and np.array_equal(spectra[-1][0], H)):
        spectra.append((np.array(H) if isinstance(H, np.ndarray) else None, smallest_eigenvalue(H)))
    s = spectra[-1][1]
    if s is not None:
        yield kantorovich(s, R, known["L_H"])


def smallest_eigenvalue(H):
    """A lower bound of the least eigenvalue of a small explicit symmetric H, its rounding subtracted; None if H is not that."""
    H = _dense(H)
    if H is None or not np.isfinite(H).all():
        return None
    return float(np.linalg.eigvalsh(0.5 * (H + H.T))[0] - 4 * len(H) * U * np.linalg.norm(H))


def _dense(A):
    if isinstance(A, LinearOperator) or max(A.shape) > SPECTRUM_LIMIT:
        return None
    return A.toarray() if sparse.issparse(A) else A


def norm_2(A):
    """|A| from above: sqrt(|A|_1 |A|_inf) or Frobenius, the 2-norm itself of small explicit arrays; inf where too large to tell."""
    if isinstance(A, LinearOperator):
        if min(A.shape) > SPECTRUM_LIMIT // 2:
            return np.inf
        A = A @ np.eye(A.shape[1]) if A.shape[1] <= A.shape[0] else (A.T @ np.eye(A.shape[0])).T
    squares = (A.power(2) if sparse.issparse(A) else A**2).sum(axis=0)
    above = min(product_norm(A), np.sqrt(squares.sum()))
    if not sparse.issparse(A) and max(A.shape) <= SPECTRUM_LIMIT and above > (1 + 1e-9) * np.sqrt(squares.max()):
        above = np.linalg.norm(A, 2)
    return float(above) * (1 + 1e-12)


def product_norm(A):
    """sqrt(|A|_1 |A|_inf) >= |A|; equal for a diagonal."""
    sizes = abs(A)
    return float(np.sqrt(sizes.sum(axis=0).max() * sizes.sum(axis=1).max()))


def upper_norm(H, known):
    """|H| for the rounding terms, where an estimate serves: known["L"], or sqrt(|H|_1 |H|_inf), or a product with a generic vector."""
    if not isinstance(H, LinearOperator):
        return product_norm(H)
    u = np.cos(np.arange(1.0, H.shape[0] + 1))
    return max(known.get("L", 0.0), 10 * float(np.linalg.norm(H @ u) / np.linalg.norm(u)))

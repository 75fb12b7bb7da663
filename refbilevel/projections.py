"""Differentiable Euclidean projections y = argmin_{y in C} |y - x|^2 / 2.

Each call returns a `Projection`: y, and D = dy/dx (symmetric, since the projection is a gradient: of |x|^2/2 - dist^2/2) as
`.jvp(dx) = .vjp(dx) = D dx`; `.parameters_vjp(y_bar)` for the set's own parameters. y is differentiable where x is off the
kinks; `margin` is the distance of x from the nearest one (for the PSD cone the smallest |eigenvalue|), and at a margin of
rounding size the status is `degenerate`: D is then the derivative on one side, `.one_sided(dx)` the directional derivative
y'(x; dx), which always exists and is the projection of dx on the critical cone C' = {d in T_C(y) : d'(x - y) = 0} for
polyhedral C (Haraux 1977), with a curvature term for the cones (Zarantonello 1971; Shapiro 1988).

simplex: Michelot, JOTA 50 (1986). l1 ball: Duchi et al., ICML 2008. second-order and PSD cone: Malick, Sendov, Set-Valued
Anal. 14 (2006); Busseti, Moursi, Boyd, Comput. Optim. Appl. 74 (2019), section 3.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from .errors import ArgumentError, DtypeError, ShapeError
from .kernels import projections as kernel
from .results import Status, _Outcome

__all__ = ["Projection", "box", "l1_ball", "l2_ball", "linf_ball", "psd_cone", "second_order_cone", "simplex"]

EPS = np.finfo(float).eps


@dataclass(frozen=True, eq=False)
class Projection(_Outcome):
    """y = P_C(x), same shape as x, with D = dy/dx and the distance `margin` of x from the kinks of P_C."""

    y: np.ndarray
    margin: float
    status: Status
    detail: str = ""
    _product: Callable = field(default=None, repr=False)
    _one_sided: Callable = field(default=None, repr=False)
    _parameters: Callable = field(default=None, repr=False)

    def jvp(self, dx):
        """D dx."""
        return self._product(_like(dx, self.y, "dx"))

    def vjp(self, y_bar):
        """D' y_bar = D y_bar: the gradient with respect to x of a loss with gradient y_bar at y."""
        return self._product(_like(y_bar, self.y, "y_bar"))

    def one_sided(self, dx):
        """lim (P(x + t dx) - y) / t, t -> 0+: equal to jvp off the kinks, right at them too."""
        return self._one_sided(_like(dx, self.y, "dx"))

    def parameters_vjp(self, y_bar):
        """{name: gradient} for the parameters of the set (total, radius, lo, hi); {} for the cones."""
        return {} if self._parameters is None else self._parameters(_like(y_bar, self.y, "y_bar"))


def _result(y, margin, size, product, one_sided, parameters=None):
    degenerate = margin <= 8 * EPS * size
    detail = "x lies on a kink of the projection; see one_sided." if degenerate else ""
    status = Status.DEGENERATE if degenerate else Status.CONVERGED
    return Projection(y, float(margin), status, detail, product, one_sided if degenerate else product, parameters)


def box(x, lo=-np.inf, hi=np.inf):
    """P onto {lo <= y <= hi}; lo, hi scalars or (n,), infinite where there is no bound.

    D = diag(lo < x < hi). parameters_vjp: lo, hi in their own shapes.
    """
    x = _vector(x)
    low, high = (_bound(b, x, name) for b, name in ((lo, "lo"), (hi, "hi")))
    if not (low <= high).all():
        raise ArgumentError(f"lo must not exceed hi; it does at index {int(np.argmax(~(low <= high)))}")
    y = np.clip(x, low, high)
    below, above = x < low, x > high
    inside = (x > low) & (x < high)
    bounds = np.concatenate([np.abs(x - low), np.abs(high - x)])
    size = _size(x, low[np.isfinite(low)], high[np.isfinite(high)])
    tolerance = 8 * EPS * size

    def one_sided(dx):
        at_low, at_high, fixed = abs(x - low) <= tolerance, abs(x - high) <= tolerance, high - low <= tolerance
        d = np.where(inside | at_low | at_high, dx, 0.0)
        d = np.where(at_low, np.maximum(d, 0.0), d)
        return np.where(fixed, 0.0, np.where(at_high, np.minimum(d, 0.0), d))

    def parameters(y_bar):
        return {"lo": _fold(np.where(below, y_bar, 0.0), lo), "hi": _fold(np.where(above, y_bar, 0.0), hi)}

    return _result(y, bounds.min(), size, lambda v: np.where(inside, v, 0.0), one_sided, parameters)


def linf_ball(x, radius=1.0):
    """P onto {|y|_inf <= radius}: the box [-radius, radius]."""
    radius = _positive(radius, "radius")
    inner = box(x, -radius, radius)

    def parameters(y_bar):
        g = inner.parameters_vjp(y_bar)
        return {"radius": float(g["hi"] - g["lo"])}

    return Projection(inner.y, inner.margin, inner.status, inner.detail, inner._product, inner._one_sided, parameters)


def simplex(x, total=1.0):
    """P onto {y >= 0, sum y = total}: y = max(x - tau, 0), D = I_S - 1_S 1_S'/|S| on the support S. parameters_vjp: total."""
    x, total = _vector(x), _positive(total, "total")
    tau, _ = kernel.simplex_threshold(x, total)
    size = _size(x) + total
    y, support, count, margin = kernel.face(x, tau, 8 * EPS * size)

    def parameters(y_bar):
        return {"total": float(support @ y_bar / count)}

    def one_sided(dx):
        return _face(dx, support, (abs(x - tau) <= 8 * EPS * size) & (count < x.size))

    margin = margin if x.size > 1 else np.inf
    return _result(y, margin, size, lambda v: kernel.support_product(support, count, v), one_sided, parameters)


def _face(dx, signs, weak):
    """Projection of dx on {d : d free where signs != 0, d >= 0 where weak, 0 elsewhere, signs'd + sum of weak d = 0}."""
    S = signs != 0
    order = np.sort(dx[weak])[::-1]
    total, count = float(signs @ dx), int(S.sum())
    for value in order:  # a weak coordinate joins while it lies above the mean of those already in
        if value * count <= total:
            break
        total, count = total + value, count + 1
    mean = total / count
    return np.where(S, dx - signs * mean, np.where(weak, np.maximum(dx - mean, 0.0), 0.0))


def l1_ball(x, radius=1.0):
    """P onto {|y|_1 <= radius}: y = sign(x) max(|x| - tau, 0), D = I_S - s_S s_S'/|S| outside the ball, I inside.

    parameters_vjp: radius.
    """
    x, radius = _vector(x), _positive(radius, "radius")
    norm, size = abs(x).sum(), _size(x) + radius
    outside = norm > radius
    if not outside:
        at_boundary = radius - norm <= 8 * EPS * size
        return _result(
            x.copy(), radius - norm, size, lambda v: v.copy(),
            (lambda dx: _l1_boundary(dx, np.sign(x))) if at_boundary else None, lambda y_bar: {"radius": 0.0},
        )  # fmt: skip
    tau, _ = kernel.simplex_threshold(abs(x), radius)
    y, support, count, nearest = kernel.face(abs(x), tau, 8 * EPS * size)
    signs = support * np.sign(x)
    if norm - radius <= 8 * EPS * size:
        return _result(x.copy(), 0.0, size, lambda v: kernel.support_product(signs, count, v), lambda dx: _l1_boundary(dx, signs),
                       lambda y_bar: {"radius": float(signs @ y_bar / count)})  # fmt: skip

    def one_sided(dx):
        turned = np.where(x < 0, -1.0, 1.0)
        return turned * _face(turned * dx, support, abs(abs(x) - tau) <= 8 * EPS * size)

    margin = min(norm - radius, nearest if x.size > 1 else np.inf)
    return _result(
        np.sign(x) * y, margin, size, lambda v: kernel.support_product(signs, count, v), one_sided,
        lambda y_bar: {"radius": float(signs @ y_bar / count)},
    )  # fmt: skip


def _l1_boundary(dx, signs):
    """Projection of dx on {d : signs'd + sum_{signs = 0} |d_i| <= 0}, the tangent cone of the l1 ball at a boundary point."""
    S = signs != 0
    along, rest = float(signs @ dx), abs(dx[~S])
    if along + rest.sum() <= 0:
        return dx.copy()
    total, count = along, int(S.sum())
    for value in np.sort(rest)[::-1]:
        if value * count <= total:
            break
        total, count = total + value, count + 1
    c = total / count
    return np.where(S, dx - signs * c, np.sign(dx) * np.maximum(abs(dx) - c, 0.0))


def l2_ball(x, radius=1.0):
    """P onto {|y|_2 <= radius}: y = radius u, u = x/|x|, D = (radius/|x|)(I - u u') outside, I inside. parameters_vjp: radius."""
    x, radius = _vector(x), _positive(radius, "radius")
    norm = float(np.linalg.norm(x))
    outside, size = norm > radius, norm + radius
    u = x / norm if norm > 0 else x

    def product(v):
        return (radius / norm) * (v - u * (u @ v)) if outside else v.copy()

    return _result(
        radius * u if outside else x.copy(), abs(norm - radius), size, product, lambda dx: dx - max(u @ dx, 0.0) * u,
        lambda y_bar: {"radius": float(u @ y_bar) if outside else 0.0},
    )  # fmt: skip


def second_order_cone(x):
    """P onto {(t, z) : |z| <= t}, x = (t, z); y = (t + |z|)/2 (1, z/|z|) where neither x nor -x is in the cone."""
    x = _vector(x)
    y, u, case, length = kernel.second_order_cone(x)
    to_cone, to_polar = abs(length - x[0]), abs(length + x[0])
    size = abs(x[0]) + length

    def product(v):
        if case == 2:
            return kernel.second_order_cone_product(u, x[0] / length, v)
        return v.copy() if case == 0 else np.zeros_like(v)

    def one_sided(dx):
        if size == 0.0:
            return kernel.second_order_cone(dx)[0]
        normal = np.concatenate([[1.0], -np.sign(x[0]) * x[1:] / length]) / np.sqrt(2.0)  # inward, of the cone or of its polar's complement
        if to_cone <= to_polar:
            return dx - min(normal @ dx, 0.0) * normal
        ray = normal
        return max(ray @ dx, 0.0) * ray

    margin = min(to_cone, to_polar) / np.sqrt(2.0) if x.size > 1 else abs(x[0])
    return _result(y, margin, size, product, one_sided)


def psd_cone(X):
    """P onto the positive semidefinite matrices; X (n, n) symmetric: y = V max(lambda, 0) V', D[H] = V (B o V'HV) V'.

    B_ij = (max(lambda_i, 0) - max(lambda_j, 0)) / (lambda_i - lambda_j). Directions are symmetrised.
    """
    X = _real(X, "X")
    if X.ndim != 2 or X.shape[0] != X.shape[1]:
        raise ShapeError(f"X must be a square matrix, got shape {X.shape}")
    if abs(X - X.T).max() > 1e-8 * abs(X).max():
        raise ArgumentError("X must be symmetric; pass (X + X.T) / 2")
    values, V = np.linalg.eigh((X + X.T) / 2)
    size = abs(values).max()
    zero = abs(values) <= 8 * EPS * size * X.shape[0]
    B = kernel.positive_part_differences(np.where(zero, 0.0, values))

    def product(H):
        return V @ (B * (V.T @ ((H + H.T) / 2) @ V)) @ V.T

    def one_sided(H):
        inner = V.T @ ((H + H.T) / 2) @ V
        out, block = B * inner, np.ix_(zero, zero)
        w, U = np.linalg.eigh(inner[block])
        out[block] = (U * np.maximum(w, 0.0)) @ U.T
        return V @ out @ V.T

    return _result((V * np.maximum(values, 0.0)) @ V.T, abs(values).min(), size * X.shape[0], product, one_sided)


def _size(*arrays):
    return max((float(abs(a).max()) for a in arrays if a.size), default=0.0)


def _real(value, name):
    array = np.asarray(value)
    if array.dtype.kind not in "fiub":
        raise DtypeError(f"{name} must hold real numbers, got dtype {array.dtype}")
    array = np.require(array, np.float64, ["C", "W"])
    if not np.isfinite(array).all():
        raise ArgumentError(f"{name} must be finite; it has NaN or infinite elements")
    return array


def _vector(x):
    array = _real(x, "x")
    if array.ndim != 1 or not array.size:
        raise ShapeError(f"x must be a 1-D array with at least one element, got shape {array.shape}")
    return array


def _like(v, y, name):
    array = _real(v, name)
    if array.shape != y.shape:
        raise ShapeError(f"{name} must have shape {y.shape}, got {array.shape}")
    return array


def _positive(value, name):
    if np.ndim(value) or not np.isfinite(value) or not value > 0:
        raise ArgumentError(f"{name} must be a positive finite number, got {value!r}")
    return float(value)


def _bound(bound, x, name):
    array = np.asarray(bound, np.float64)
    if array.shape not in ((), x.shape) or np.isnan(array).any():
        raise ShapeError(f"{name} must be a number or an array of shape {x.shape} without NaN, got shape {array.shape}")
    return np.broadcast_to(array, x.shape)


def _fold(gradient, bound):
    return gradient if np.ndim(bound) else float(gradient.sum())

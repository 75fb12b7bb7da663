"""Bilevel problems in matrix form: quadratic objectives, linear (and quadratic) rows, z = (x, y) of length N = n + m.

    upper   min_x  1/2 z'Qz + c'z + const    s.t.  A z <= b,  C z = d,  lo <= x <= hi
    lower   min_y  1/2 z'Qz + c'z + const    s.t.  A z <= b,  C z = d            (Q, c, A, ... of its own)

Row i may carry a quadratic term, 1/2 z'Q_i z + A_i z <= b_i. `QuadraticBilevel` is a `BilevelProblem` (all oracles exact)
that also keeps the matrices, which `minimize_global` reads. Where no lower row is quadratic and the lower Q_yy is positive
semidefinite, the lower level is a convex QP for every x and its KKT system is exact.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ..errors import ArgumentError, ShapeError
from ..problem import BilevelProblem, Constraints, UpperConstraints


@dataclass(frozen=True, eq=False)
class Quadratic:
    """1/2 z'Qz + c'z + const, z = (x, y), Q (N, N) symmetric; the methods are oracles of (x, y)."""

    Q: np.ndarray
    c: np.ndarray
    const: float
    n: int

    def at(self, z):
        return 0.5 * z @ self.Q @ z + self.c @ z + self.const

    def gradient(self, z):
        return self.Q @ z + self.c

    def value(self, x, y):
        return self.at(np.concatenate([x, y]))

    def x(self, x, y):
        return self.gradient(np.concatenate([x, y]))[: self.n]

    def y(self, x, y):
        return self.gradient(np.concatenate([x, y]))[self.n :]

    def xx(self, x, y):
        return self.Q[: self.n, : self.n].copy()

    def xy(self, x, y):
        return self.Q[: self.n, self.n :].copy()

    def yy(self, x, y):
        return self.Q[self.n :, self.n :].copy()


@dataclass(frozen=True, eq=False)
class QuadraticPlus(Quadratic):
    """A lower objective 1/2 z'Qz + c'z + const + phi(x): what depends on x alone does not move the lower solution.

    `extra` has value, x and xx of phi(x) as oracles of (x, y).
    """

    extra: object = None

    def value(self, x, y):
        return super().value(x, y) + float(self.extra.value(x, y))

    def x(self, x, y):
        return super().x(x, y) + self.extra.x(x, y)

    def xx(self, x, y):
        return super().xx(x, y) + self.extra.xx(x, y)


@dataclass(frozen=True, eq=False)
class Rows:
    """A z - b, A (k, N), plus 1/2 z'Q_i z in the rows i that `quadratic` = ((i, Q_i), ...) names."""

    A: np.ndarray
    b: np.ndarray
    n: int
    quadratic: tuple = ()

    def __len__(self):
        return len(self.b)

    @property
    def linear(self):
        return not self.quadratic

    def at(self, z):
        value = self.A @ z - self.b
        for i, Q in self.quadratic:
            value[i] += 0.5 * z @ Q @ z
        return value

    def jacobian(self, z):
        jacobian = self.A.copy()
        for i, Q in self.quadratic:
            jacobian[i] += Q @ z
        return jacobian

    def hessian(self, weights):
        """sum_i w_i Q_i."""
        total = np.zeros((self.A.shape[1],) * 2)
        for i, Q in self.quadratic:
            total += weights[i] * Q
        return total

    def row(self, i):
        """Row i as a `Quadratic` q(z) <= 0."""
        return Quadratic(dict(self.quadratic).get(i, np.zeros((self.A.shape[1],) * 2)), self.A[i], -float(self.b[i]), self.n)

    def value(self, x, y):
        return self.at(np.concatenate([x, y]))

    def x(self, x, y):
        return np.ascontiguousarray(self.jacobian(np.concatenate([x, y]))[:, : self.n])

    def y(self, x, y):
        return np.ascontiguousarray(self.jacobian(np.concatenate([x, y]))[:, self.n :])


@dataclass(frozen=True, eq=False)
class LagrangianBlocks:
    """Multiplier-weighted second derivatives of rows p and q, as the oracles of `Constraints`."""

    p: Rows
    q: Rows

    def _total(self, mu, nu):
        return self.p.hessian(mu) + self.q.hessian(nu)

    def yy(self, x, y, mu, nu):
        return self._total(mu, nu)[self.p.n :, self.p.n :]

    def xy(self, x, y, mu, nu):
        return self._total(mu, nu)[: self.p.n, self.p.n :]

    def xx(self, x, y, mu, nu):
        return self._total(mu, nu)[: self.p.n, : self.p.n]


@dataclass(frozen=True, eq=False)
class Level:
    """One level's data: the objective, rows <= 0 and rows == 0."""

    objective: Quadratic
    inequalities: Rows
    equalities: Rows


def lower_constraints(p, q, blocks, linear):
    """`Constraints` from two families of rows (either may be empty), None if both are."""
    if not len(p) and not len(q):
        return None
    oracles = dict(p=p.value, p_x=p.x, p_y=p.y) if len(p) else {}
    oracles |= dict(q=q.value, q_x=q.x, q_y=q.y) if len(q) else {}
    return Constraints(**oracles, lagrangian_yy=blocks.yy, lagrangian_xy=blocks.xy, lagrangian_xx=blocks.xx, linear=linear)


def upper_constraints(G, H):
    """`UpperConstraints` from two families of rows, None if both are empty."""
    if not len(G) and not len(H):
        return None
    oracles = dict(G=G.value, G_x=G.x, G_y=G.y) if len(G) else {}
    return UpperConstraints(**oracles, **(dict(H=H.value, H_x=H.x, H_y=H.y) if len(H) else {}))


@dataclass(frozen=True, kw_only=True, init=False, eq=False)
class QuadraticBilevel(BilevelProblem):
    """A bilevel problem in matrix form; z = (x, y), N = n + m.

    Parameters
    ----------
    n, m : int
        Sizes of x and y.
    upper, lower : (Q, c) or (Q, c, const)
        Objectives 1/2 z'Qz + c'z + const; Q (N, N) (its symmetric part counts; None is zero), c (N,) (None is zero).
    upper_rows, lower_rows : (A, b), optional
        Rows A z <= b, A (k, N), b (k,).
    upper_equalities, lower_equalities : (C, d), optional
        Rows C z = d.
    upper_quadratic, lower_quadratic, upper_quadratic_equalities, lower_quadratic_equalities : dict {i: Q_i}, optional
        Quadratic terms 1/2 z'Q_i z added to row i of the rows above.
    bounds : (lo, hi), optional
        Bounds on x.
    name : str, optional

    Raises
    ------
    ShapeError, ArgumentError
        A matrix of the wrong shape, or with entries that are not finite.
    """

    upper: Level = field(default=None)
    lower: Level = field(default=None)

    def __init__(
        self, *, n, m, upper, lower, upper_rows=None, lower_rows=None, upper_equalities=None, lower_equalities=None,
        upper_quadratic=None, lower_quadratic=None, upper_quadratic_equalities=None, lower_quadratic_equalities=None,
        bounds=None, name="",
    ):  # fmt: skip
        BilevelProblem(n=n, m=m)  # the sizes' own errors first
        top = Level(
            _quadratic(upper, n, m, "upper"),
            _rows(upper_rows, upper_quadratic, n, m, "upper_rows"),
            _rows(upper_equalities, upper_quadratic_equalities, n, m, "upper_equalities"),
        )
        low = Level(
            _quadratic(lower, n, m, "lower"),
            _rows(lower_rows, lower_quadratic, n, m, "lower_rows"),
            _rows(lower_equalities, lower_quadratic_equalities, n, m, "lower_equalities"),
        )
        self._assemble(n, m, top, low, bounds, name)

    @classmethod
    def from_levels(cls, n, m, upper, lower, bounds=None, name=""):
        """The problem of two `Level` records (already validated)."""
        problem = cls.__new__(cls)
        problem._assemble(n, m, upper, lower, bounds, name)
        return problem

    def _assemble(self, n, m, upper, lower, bounds, name):
        f, g, p, q = upper.objective, lower.objective, lower.inequalities, lower.equalities
        super().__init__(
            n=n, m=m, name=name, bounds=bounds,
            f=f.value, f_x=f.x, f_y=f.y, f_xx=f.xx, f_xy=f.xy, f_yy=f.yy,
            g=g.value, g_x=g.x, g_y=g.y, g_xx=g.xx, g_xy=g.xy, g_yy=g.yy,
            constraints=lower_constraints(p, q, LagrangianBlocks(p, q), p.linear and q.linear),
            upper_constraints=upper_constraints(upper.inequalities, upper.equalities), constants=_constants(f, p, q, n),
        )  # fmt: skip
        object.__setattr__(self, "upper", upper)
        object.__setattr__(self, "lower", lower)


def _constants(f, p, q, n):
    """Lipschitz constants in y of f_y, f_x and, where every lower row is linear, of the KKT system."""
    known = {"L_f": float(np.linalg.norm(f.Q[n:, n:], 2)), "L_fx": float(np.linalg.norm(f.Q[:n, n:], 2))}
    return known | ({"L_H": 0.0, "L_B": 0.0} if p.linear and q.linear else {})


def _array(value, shape, name):
    try:
        array = np.array(value, float)
    except (TypeError, ValueError):
        raise ShapeError(f"QuadraticBilevel: {name} must be a real array of shape {shape}") from None
    if array.size == 0 and 0 in shape:
        array = array.reshape(shape)
    if array.shape != shape:
        raise ShapeError(f"QuadraticBilevel: {name} must have shape {shape}, got {array.shape}")
    if not np.isfinite(array).all():
        raise ArgumentError(f"QuadraticBilevel: {name} must be finite; drop rows without a bound instead of writing inf")
    return array


def _symmetric(Q, N, name):
    Q = np.zeros((N, N)) if Q is None else _array(Q, (N, N), name)
    return 0.5 * (Q + Q.T)


def _quadratic(data, n, m, name):
    """`Quadratic` of (Q, c) or (Q, c, const)."""
    N = n + m
    if not isinstance(data, (tuple, list)) or len(data) not in (2, 3):
        raise ArgumentError(f"QuadraticBilevel: {name} must be (Q, c) or (Q, c, const)")
    c = np.zeros(N) if data[1] is None else _array(data[1], (N,), f"{name} c")
    const = float(_array(data[2], (), f"{name} const")) if len(data) == 3 else 0.0
    return Quadratic(_symmetric(data[0], N, f"{name} Q"), c, const, n)


def _rows(data, quadratic, n, m, name):
    """`Rows` of (A, b) and {i: Q_i}."""
    N = n + m
    if data is None:
        data = (np.zeros((0, N)), np.zeros(0))
    if not isinstance(data, (tuple, list)) or len(data) != 2:
        raise ArgumentError(f"QuadraticBilevel: {name} must be a pair (matrix, right-hand side)")
    k = np.size(data[1])
    A, b = _array(data[0], (k, N), f"{name} matrix"), _array(data[1], (k,), f"{name} right-hand side")
    terms = dict(quadratic or {})
    for i in terms:
        if i not in range(k):
            raise ArgumentError(f"QuadraticBilevel: {name} has no row {i!r} to take a quadratic term; it has {k} rows")
    return Rows(A, b, n, tuple((i, _symmetric(Q, N, f"{name} quadratic term {i}")) for i, Q in sorted(terms.items())))

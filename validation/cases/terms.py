r"""The terms that f, g and the rows of p and q are sums of: each a value for any array library and NumPy derivatives.

`value(x, y)` uses only operations that NumPy, torch and JAX share (arrays.py). The derivatives are written by hand:
d_x (n,), d_y (m,), d_xx (n, n), d_xy (n, m), d_yy (m, m). With r = A y + B x + c and Z = X Y', Y = y as (classes, features):

    quadratic     1/2 y'(yy)y + x'(xy)y + 1/2 x'(xx)x + (y)'y + (x)'x + constant
    loss          sum_i phi(r_i),  phi = r^2/2 (square), log(1 + e^r) (logistic), r^4/4 (quartic), e^r (exponential)
    ridge         1/2 sum_j exp(Ex + e)_j y_j^2
    weighted      sum_j exp(Ex + e)_j (Sy)_j
    softmax       sum_i logsumexp_c(Z_ic) - Z_i,label(i)
    norm          |r|_2
    fixed_point   1/2 |y - tanh(Wy + Ux + b)|^2

each times `scale`. In a case file a term is a record of its `kind` and its fields; absent fields are zero.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce

import numpy as np

from ..arrays import constant, namespace


@dataclass(frozen=True, eq=False)
class Quadratic:
    yy: np.ndarray
    xy: np.ndarray
    xx: np.ndarray
    y: np.ndarray
    x: np.ndarray
    constant: np.ndarray
    scale: float
    shapes = {"yy": "mm", "xy": "nm", "xx": "nn", "y": "m", "x": "n", "constant": ""}

    def value(self, x, y):
        H, C, D, b, a, c = (constant(k, y) for k in (self.yy, self.xy, self.xx, self.y, self.x, self.constant))
        return self.scale * (0.5 * (y @ (H @ y)) + x @ (C @ y) + 0.5 * (x @ (D @ x)) + b @ y + a @ x + c)

    def d_x(self, x, y):
        return self.scale * (self.xy @ y + self.xx @ x + self.x)

    def d_y(self, x, y):
        return self.scale * (self.yy @ y + x @ self.xy + self.y)

    def d_xx(self, x, y):
        return self.scale * self.xx

    def d_xy(self, x, y):
        return self.scale * self.xy

    def d_yy(self, x, y):
        return self.scale * self.yy


def _exp(r, xp=np):
    """e^r, infinite without a warning where a solver tries too long a step."""
    with np.errstate(over="ignore"):
        return xp.exp(r)


#: phi' and phi'' by name; logistic'' as s(r) s(-r) keeps its relative accuracy for large |r|, s (1 - s) does not
LOSSES = {
    "square": (lambda r: r, np.ones_like),
    "logistic": (lambda r: np.exp(-np.logaddexp(0.0, -r)), lambda r: np.exp(-np.logaddexp(0.0, -r) - np.logaddexp(0.0, r))),
    "quartic": (lambda r: r**3, lambda r: 3.0 * r**2),
    "exponential": (_exp, _exp),
}


def _phi(xp, loss, r):
    if loss == "logistic":
        return xp.logaddexp(r, xp.zeros_like(r))
    if loss == "exponential":
        return _exp(r, xp)
    return 0.5 * r * r if loss == "square" else 0.25 * (r * r) * (r * r)


@dataclass(frozen=True, eq=False)
class Loss:
    """scale * sum_i phi(A y + B x + c)_i; `rows` is the number of residuals."""

    A: np.ndarray
    B: np.ndarray
    c: np.ndarray
    loss: str
    scale: float
    shapes = {"A": "rm", "B": "rn", "c": "r"}

    def _r(self, x, y):
        return self.A @ y + self.B @ x + self.c

    def value(self, x, y):
        xp = namespace(x, y)
        r = constant(self.A, y) @ y + constant(self.B, y) @ x + constant(self.c, y)
        return self.scale * xp.sum(_phi(xp, self.loss, r))

    def _slope(self, x, y):
        return self.scale * LOSSES[self.loss][0](self._r(x, y))

    def _curved(self, left, x, y, right):
        return left.T @ ((self.scale * LOSSES[self.loss][1](self._r(x, y)))[:, None] * right)

    def d_x(self, x, y):
        return self.B.T @ self._slope(x, y)

    def d_y(self, x, y):
        return self.A.T @ self._slope(x, y)

    def d_xx(self, x, y):
        return self._curved(self.B, x, y, self.B)

    def d_xy(self, x, y):
        return self._curved(self.B, x, y, self.A)

    def d_yy(self, x, y):
        return self._curved(self.A, x, y, self.A)


@dataclass(frozen=True, eq=False)
class Ridge:
    """scale/2 * sum_j exp(Ex + e)_j y_j^2: one penalty for each group of coordinates, in the log."""

    E: np.ndarray
    e: np.ndarray
    scale: float
    shapes = {"E": "mn", "e": "m"}

    def value(self, x, y):
        xp = namespace(x, y)
        return 0.5 * self.scale * xp.sum(xp.exp(constant(self.E, y) @ x + constant(self.e, y)) * y * y)

    def _w(self, x):
        return self.scale * np.exp(self.E @ x + self.e)

    def d_x(self, x, y):
        return self.E.T @ (0.5 * self._w(x) * y**2)

    def d_y(self, x, y):
        return self._w(x) * y

    def d_xx(self, x, y):
        return self.E.T @ ((0.5 * self._w(x) * y**2)[:, None] * self.E)

    def d_xy(self, x, y):
        return self.E.T * (self._w(x) * y)

    def d_yy(self, x, y):
        return np.diag(self._w(x))


@dataclass(frozen=True, eq=False)
class Weighted:
    """scale * sum_j exp(Ex + e)_j (Sy)_j: an l1 penalty where S y = |beta| componentwise."""

    E: np.ndarray
    e: np.ndarray
    S: np.ndarray
    scale: float
    shapes = {"E": "rn", "e": "r", "S": "rm"}

    def value(self, x, y):
        xp = namespace(x, y)
        return self.scale * xp.sum(xp.exp(constant(self.E, y) @ x + constant(self.e, y)) * (constant(self.S, y) @ y))

    def _w(self, x):
        return self.scale * np.exp(self.E @ x + self.e)

    def d_x(self, x, y):
        return self.E.T @ (self._w(x) * (self.S @ y))

    def d_y(self, x, y):
        return self.S.T @ self._w(x)

    def d_xx(self, x, y):
        return self.E.T @ ((self._w(x) * (self.S @ y))[:, None] * self.E)

    def d_xy(self, x, y):
        return self.E.T @ (self._w(x)[:, None] * self.S)

    def d_yy(self, x, y):
        return np.zeros((y.size, y.size))


@dataclass(frozen=True, eq=False)
class Softmax:
    """scale * sum_i [logsumexp_c Z_ic - Z_i,label(i)], Z = X Y' with Y = y reshaped (classes, features), row by row."""

    X: np.ndarray
    onehot: np.ndarray
    scale: float
    shapes = {"X": "rd", "onehot": "rc"}

    def value(self, x, y):
        xp = namespace(x, y)
        X, onehot = constant(self.X, y), constant(self.onehot, y)
        classes, features = self.onehot.shape[1], self.X.shape[1]
        scores = [X @ y[c * features : (c + 1) * features] for c in range(classes)]
        right = sum(onehot[:, c] * scores[c] for c in range(classes))
        return self.scale * xp.sum(reduce(xp.logaddexp, scores) - right)

    def _probabilities(self, y):
        Z = self.X @ y.reshape(self.onehot.shape[1], self.X.shape[1]).T
        Z = np.exp(Z - Z.max(axis=1, keepdims=True))
        return Z / Z.sum(axis=1, keepdims=True)

    def d_x(self, x, y):
        return np.zeros(x.size)

    def d_y(self, x, y):
        return self.scale * ((self._probabilities(y) - self.onehot).T @ self.X).ravel()

    def d_xx(self, x, y):
        return np.zeros((x.size, x.size))

    def d_xy(self, x, y):
        return np.zeros((x.size, y.size))

    def d_yy(self, x, y):
        P = self._probabilities(y)
        blocks = np.einsum("ic,cd->icd", P, np.eye(P.shape[1])) - P[:, :, None] * P[:, None, :]
        return self.scale * np.einsum("icd,ij,ik->cjdk", blocks, self.X, self.X).reshape(y.size, y.size)


@dataclass(frozen=True, eq=False)
class Norm:
    """scale * |A y + B x + c|_2, smooth where the vector does not vanish."""

    A: np.ndarray
    B: np.ndarray
    c: np.ndarray
    scale: float
    shapes = {"A": "rm", "B": "rn", "c": "r"}

    def value(self, x, y):
        r = constant(self.A, y) @ y + constant(self.B, y) @ x + constant(self.c, y)
        return self.scale * namespace(x, y).sqrt(r @ r)

    def _r(self, x, y):
        r = self.A @ y + self.B @ x + self.c
        return r / np.linalg.norm(r), np.linalg.norm(r)

    def _curved(self, left, x, y, right):
        u, size = self._r(x, y)
        return self.scale / size * (left.T @ right - np.outer(left.T @ u, right.T @ u))

    def d_x(self, x, y):
        return self.scale * (self.B.T @ self._r(x, y)[0])

    def d_y(self, x, y):
        return self.scale * (self.A.T @ self._r(x, y)[0])

    def d_xx(self, x, y):
        return self._curved(self.B, x, y, self.B)

    def d_xy(self, x, y):
        return self._curved(self.B, x, y, self.A)

    def d_yy(self, x, y):
        return self._curved(self.A, x, y, self.A)


@dataclass(frozen=True, eq=False)
class FixedPoint:
    """scale/2 |y - T(x, y)|^2, T = tanh(Wy + Ux + b): its minimiser is the fixed point, its Hessian there (I-T_y)'(I-T_y)."""

    W: np.ndarray
    U: np.ndarray
    b: np.ndarray
    scale: float
    shapes = {"W": "mm", "U": "mn", "b": "m"}

    def map(self, x, y):
        return namespace(x, y).tanh(constant(self.W, y) @ y + constant(self.U, y) @ x + constant(self.b, y))

    def solve(self, x, y0, tol):
        """The fixed point, by Newton's method on y - T(x, y) = 0 with step halving; stops when the residual no longer falls."""
        y, size = y0, np.linalg.norm(y0 - self.map(x, y0))
        for _ in range(100):
            r, _, J_y, _ = self._parts(x, y)
            step, length = np.linalg.solve(J_y, r), 1.0
            while length > 1e-9 and not np.linalg.norm(y - length * step - self.map(x, y - length * step)) < size:
                length /= 2
            if length <= 1e-9:
                break
            y = y - length * step
            size = np.linalg.norm(y - self.map(x, y))
        return y

    def value(self, x, y):
        r = y - self.map(x, y)
        return 0.5 * self.scale * (r @ r)

    def _parts(self, x, y):
        """r = y - t, the Jacobians of r in x and y, and the weights r * t'' of the second-derivative terms."""
        t = np.tanh(self.W @ y + self.U @ x + self.b)
        slope = (1.0 - t) * (1.0 + t)
        return y - t, -slope[:, None] * self.U, np.eye(y.size) - slope[:, None] * self.W, -2.0 * t * slope * (y - t)

    def d_x(self, x, y):
        r, J_x, _, _ = self._parts(x, y)
        return self.scale * (J_x.T @ r)

    def d_y(self, x, y):
        r, _, J_y, _ = self._parts(x, y)
        return self.scale * (J_y.T @ r)

    def d_xx(self, x, y):
        _, J_x, _, w = self._parts(x, y)
        return self.scale * (J_x.T @ J_x - self.U.T @ (w[:, None] * self.U))

    def d_xy(self, x, y):
        _, J_x, J_y, w = self._parts(x, y)
        return self.scale * (J_x.T @ J_y - self.U.T @ (w[:, None] * self.W))

    def d_yy(self, x, y):
        _, _, J_y, w = self._parts(x, y)
        return self.scale * (J_y.T @ J_y - self.W.T @ (w[:, None] * self.W))


KINDS = {
    "quadratic": Quadratic, "loss": Loss, "ridge": Ridge, "weighted": Weighted,
    "softmax": Softmax, "norm": Norm, "fixed_point": FixedPoint,
}  # fmt: skip


def term(record, n, m):
    """The term of a case file's `record`; absent arrays are zero, `scale` is 1 if absent."""
    kind = KINDS[record["kind"]]
    sizes = {"n": n, "m": m, "r": 0}
    given = {name: np.array(record[name], float) for name in kind.shapes if name in record}
    for name, array in given.items():
        sizes.update(zip(kind.shapes[name], array.shape))
    arrays = {name: given.get(name, np.zeros([sizes[s] for s in shape])) for name, shape in kind.shapes.items()}
    for name, shape in kind.shapes.items():
        if arrays[name].shape != tuple(sizes[s] for s in shape):
            raise ValueError(f"{record['kind']}.{name} has shape {arrays[name].shape}")
    extra = {"loss": record["loss"]} if "loss" in record else {}
    return kind(**arrays, **extra, scale=float(record.get("scale", 1.0)))


@dataclass(frozen=True, eq=False)
class Sum:
    """A sum of terms, with the same methods."""

    terms: tuple
    n: int
    m: int

    def value(self, x, y):
        return reduce(lambda a, b: a + b, [t.value(x, y) for t in self.terms])

    def _added(self, name, x, y):
        return reduce(np.add, [getattr(t, name)(x, y) for t in self.terms])

    def d_x(self, x, y):
        return self._added("d_x", x, y)

    def d_y(self, x, y):
        return self._added("d_y", x, y)

    def d_xx(self, x, y):
        return self._added("d_xx", x, y)

    def d_xy(self, x, y):
        return self._added("d_xy", x, y)

    def d_yy(self, x, y):
        return self._added("d_yy", x, y)

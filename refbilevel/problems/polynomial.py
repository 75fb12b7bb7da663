"""Polynomial families: a quadratic with a closed form, and a quartic whose second derivatives move with x and y.

    quadratic   g = 1/2 y'A y + x'C y + c'y                                     g_yy = A, g_xy = C, y* = -A^{-1} (C'x + c)
    quartic     g = 1/2 y'A y + x'C y + c'y + 1/4 sum_k a_k s_k^4, s = U x + W y   g_yy = A + W' diag(3 a s^2) W
    both        f = 1/2 y'P y + p'y + 1/2 x'Q x + q'x + x'R y

A (m, m) symmetric positive definite: ndarray, sparse array or LinearOperator; C, R (n, m); U (K, n), W (K, m), a (K,) >= 0.
The quadratic's hypergradient is Qx + q + Ry - C A^{-1} (Py + p + R'x) at y*, affine in x.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import LinearOperator, aslinearoperator

from .. import linear
from ..errors import ArgumentError, DtypeError, ShapeError
from ..lower.sweeps import QuadraticSweep
from ..problem import BilevelProblem
from ..results import LowerSolution, Status


@dataclass(frozen=True, eq=False)
class QuadraticModel:
    """The arrays of one quadratic problem and its oracles as methods."""

    A: object
    C: object
    c: np.ndarray
    P: np.ndarray
    p: np.ndarray
    Q: np.ndarray
    q: np.ndarray
    R: object

    def f(self, x, y):
        return 0.5 * y @ (self.P @ y) + self.p @ y + 0.5 * x @ (self.Q @ x) + self.q @ x + x @ (self.R @ y)

    def f_x(self, x, y):
        return self.Q @ x + self.q + self.R @ y

    def f_y(self, x, y):
        return self.P @ y + self.p + self.R.T @ x

    def f_xx(self, x, y):
        return self.Q

    def f_xy(self, x, y):
        return self.R

    def f_yy(self, x, y):
        return self.P

    def g(self, x, y):
        return 0.5 * y @ (self.A @ y) + x @ (self.C @ y) + self.c @ y

    def g_x(self, x, y):
        return self.C @ y

    def g_y(self, x, y):
        return self.A @ y + self.C.T @ x + self.c

    def g_xx(self, x, y):
        return sparse.csr_array((len(x), len(x)))

    def g_xy(self, x, y):
        return self.C

    def g_yy(self, x, y):
        return self.A

    def sweep(self, x):
        """Its gradient descent as one kernel, where A is an ndarray."""
        return QuadraticSweep(self.A, -(self.C.T @ x + self.c), self.C) if isinstance(self.A, np.ndarray) else None

    def solve(self, x, y0=None, tol=None):
        """y*(x) = -A^{-1} (C'x + c); the factor of A (where A is explicit) is kept for the adjoint."""
        b = -(self.C.T @ x + self.c)
        if isinstance(self.A, LinearOperator):
            solved = linear.solve(self.A, b)
            y, status, factor = solved.x, solved.status, None
        else:
            factor = linear.factorize(self.A)
            y = factor.solve(b)
            status = Status.NONUNIQUE if factor.singular else Status.NOT_A_MINIMUM if factor.negative else Status.CONVERGED
        residual = float(np.linalg.norm(self.g_y(x, y)))
        return LowerSolution(y=y, residual=residual, iterations=1, status=status, method="closed_form", factor=factor)


@dataclass(frozen=True, eq=False)
class QuarticModel(QuadraticModel):
    """The quadratic plus 1/4 sum_k a_k (U x + W y)_k^4."""

    a: np.ndarray
    U: np.ndarray
    W: np.ndarray

    def sweep(self, x):
        return None

    def _s(self, x, y):
        return self.U @ x + self.W @ y

    def g(self, x, y):
        return super().g(x, y) + 0.25 * self.a @ self._s(x, y) ** 4

    def g_x(self, x, y):
        return super().g_x(x, y) + self.U.T @ (self.a * self._s(x, y) ** 3)

    def g_y(self, x, y):
        return super().g_y(x, y) + self.W.T @ (self.a * self._s(x, y) ** 3)

    def _second(self, left, right, x, y):
        return left.T @ ((3 * self.a * self._s(x, y) ** 2)[:, None] * right)

    def g_xx(self, x, y):
        return self._second(self.U, self.U, x, y)

    def g_xy(self, x, y):
        return self.C + self._second(self.U, self.W, x, y)

    def g_yy(self, x, y):
        if isinstance(self.A, np.ndarray):
            return self.A + self._second(self.W, self.W, x, y)
        scaled = aslinearoperator(np.sqrt(3 * self.a)[:, None] * self._s(x, y)[:, None] * self.W)
        return aslinearoperator(self.A) + scaled.T @ scaled


def _matrix(value, shape, name, default=None):
    """`value` as a float64 ndarray, sparse array or LinearOperator of that shape; `default` for None."""
    if value is None:
        return default if default is not None else np.zeros(shape)
    if not (sparse.issparse(value) or isinstance(value, LinearOperator)):
        value = np.asarray(value)
        if value.dtype.kind not in "fiub":
            raise DtypeError(f"{name} must be a real matrix, got dtype {value.dtype}")
        value = np.ascontiguousarray(value, np.float64)
        if not np.isfinite(value).all():
            raise ArgumentError(f"{name} must be finite")
    if value.shape != shape:
        raise ShapeError(f"{name} must have shape {shape}, got {value.shape}")
    return value


def _symmetric(value, size, name, default=None):
    value = _matrix(value, (size, size), name, default)
    if not isinstance(value, LinearOperator) and abs(value - value.T).max() > 1e-12 * abs(value).max():
        raise ArgumentError(f"{name} must be symmetric; pass ({name} + {name}') / 2")
    return value


def _arrays(A, C, c, P, p, Q, q, R):
    if getattr(C, "ndim", 2) != 2 or not hasattr(C, "shape"):
        C = np.atleast_2d(np.asarray(C, float))
    n, m = C.shape
    return n, m, (
        _symmetric(A, m, "A"), _matrix(C, (n, m), "C"), _matrix(c, (m,), "c"),
        _symmetric(P, m, "P", np.eye(m)), _matrix(p, (m,), "p"),
        _symmetric(Q, n, "Q"), _matrix(q, (n,), "q"), _matrix(R, (n, m), "R"),
    )  # fmt: skip


_ORACLES = ("f", "f_x", "f_y", "f_xx", "f_xy", "f_yy", "g", "g_x", "g_y", "g_yy", "g_xy", "g_xx")


def quadratic(A, C, c=None, *, P=None, p=None, Q=None, q=None, R=None, bounds=None):
    """The quadratic problem of the module's first line; P defaults to the identity, the other optional arrays to zero.

    Raises ShapeError, DtypeError or ArgumentError for arrays that do not fit, or A, P, Q that are not symmetric.
    """
    n, m, arrays = _arrays(A, C, c, P, p, Q, q, R)
    model = QuadraticModel(*arrays)
    constants = {"L_H": 0.0, "L_B": 0.0}
    if all(isinstance(M, np.ndarray) for M in (model.A, model.C, model.P, model.R)):
        constants |= {"L_f": np.linalg.norm(model.P, 2), "L_fx": np.linalg.norm(model.R, 2), "norm_B": np.linalg.norm(model.C, 2)}
        lowest = np.linalg.eigvalsh(model.A)[0]
        constants |= {"mu": lowest} if lowest > 0 else {}
    return BilevelProblem(
        n=n, m=m, **{name: getattr(model, name) for name in _ORACLES}, bounds=bounds, name="quadratic",
        lower_solver=model.solve, constants={name: float(value) for name, value in constants.items()},
    )  # fmt: skip


def quartic(A, C, c=None, *, a, U, W, P=None, p=None, Q=None, q=None, R=None, bounds=None):
    """The quartic problem of the module's second line; strongly convex in y since A is positive definite and a >= 0."""
    n, m, arrays = _arrays(A, C, c, P, p, Q, q, R)
    K = np.size(a)
    model = QuarticModel(*arrays, _matrix(np.atleast_1d(a), (K,), "a"), _matrix(U, (K, n), "U"), _matrix(W, (K, m), "W"))
    if (model.a < 0).any():
        raise ArgumentError("a must be at least 0, or g is not convex in y")
    return BilevelProblem(n=n, m=m, **{name: getattr(model, name) for name in _ORACLES}, bounds=bounds, name="quartic")


def random_spd(m, condition, rng):
    """A full symmetric positive definite (m, m) with eigenvalues spread from 1/condition to 1 on a log scale."""
    basis = np.linalg.qr(rng.standard_normal((m, m)))[0]
    A = (basis * np.logspace(0, -np.log10(condition), m)) @ basis.T
    return 0.5 * (A + A.T)


def random_quadratic(n, m, *, condition=100.0, rng=None):
    """A quadratic problem with full matrices drawn from `rng` (a Generator or a seed)."""
    rng = np.random.default_rng(rng)
    return quadratic(
        random_spd(m, condition, rng), rng.standard_normal((n, m)), rng.standard_normal(m), P=random_spd(m, 10.0, rng),
        p=rng.standard_normal(m), Q=random_spd(n, 10.0, rng), q=rng.standard_normal(n), R=rng.standard_normal((n, m)),
    )  # fmt: skip


def random_quartic(n, m, *, condition=100.0, rng=None):
    """A quartic problem with K = m + 2 fourth powers, drawn from `rng` (a Generator or a seed)."""
    rng = np.random.default_rng(rng)
    K = m + 2
    return quartic(
        random_spd(m, condition, rng), 0.3 * rng.standard_normal((n, m)), rng.standard_normal(m), a=rng.uniform(0.1, 1.0, K),
        U=rng.standard_normal((K, n)) / np.sqrt(n), W=rng.standard_normal((K, m)) / np.sqrt(m), P=random_spd(m, 10.0, rng),
        p=rng.standard_normal(m), Q=random_spd(n, 10.0, rng), q=rng.standard_normal(n), R=0.3 * rng.standard_normal((n, m)),
    )  # fmt: skip

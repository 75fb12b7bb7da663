"""A bilevel problem with an input z: every oracle takes (x, y, z); x (n,), y (m,), z (k,).

Two readings of it serve the layer: `at(z)`, the bilevel problem that the forward pass solves, and `joint()`, the bilevel problem
whose upper variable is X = (x, z), (n + k,). The hypergradient of the joint problem holds grad_x F and grad_z F, and its
Hessian is all that the implicit function theorem needs (continuous.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import LinearOperator, aslinearoperator

from ..errors import ArgumentError, MissingDerivative
from ..problem import BilevelProblem, Constraints, UpperConstraints, _bounds


@dataclass(frozen=True, kw_only=True)
class LayerConstraints:
    """Lower constraints p(x, y, z) <= 0, q(x, y, z) = 0, as `Constraints` with z: p_z (rows, k), lagrangian_zy (k, m)."""

    p: object = None
    p_x: object = None
    p_y: object = None
    p_z: object = None
    q: object = None
    q_x: object = None
    q_y: object = None
    q_z: object = None
    lagrangian_yy: object = None
    lagrangian_xy: object = None
    lagrangian_zy: object = None
    linear: bool = False


@dataclass(frozen=True, kw_only=True)
class LayerUpperConstraints:
    """Upper constraints G(x, y, z) <= 0, H(x, y, z) = 0, as `UpperConstraints` with z: G_z (rows, k)."""

    G: object = None
    G_x: object = None
    G_y: object = None
    G_z: object = None
    H: object = None
    H_x: object = None
    H_y: object = None
    H_z: object = None


@dataclass(frozen=True, kw_only=True)
class LayerProblem:
    """minimise_x f(x, y*(x, z), z), y*(x, z) = argmin_y g(x, y, z) under constraints.

    Parameters
    ----------
    n, m, k : int
        Sizes of x, y, z.
    f, f_x, f_y, f_z, g, g_x, g_y, g_yy, g_xy, g_zy : callables of (x, y, z)
        As in `BilevelProblem`, with f_z (k,) and g_zy (k, m); those two may be left out and are then completed by
        sixth-order differences (about 10 digits).
    constraints : LayerConstraints, or Constraints of (x, y, z), optional
    upper_constraints : LayerUpperConstraints, or UpperConstraints of (x, y, z), optional
        The plain records have no derivatives in z; those are completed too.
    bounds : (lo, hi), optional
        Bounds on x.
    adjoint_hvp : callable (x, y, z, v, dx, dy, dz) -> ((n,), (m,), (k,)), optional
        Hessian of f - v.g_y in (x, y, z), v (m,) fixed, times (dx, dy, dz): the third derivatives of g that the layer's derivative
        needs. Without it they are differences of the second ones (about 12 digits, with an error estimate).

    Raises
    ------
    ArgumentError, MissingDerivative

    Examples
    --------
    At one z it is an ordinary bilevel problem; with X = (x, z) as upper variable, another.

    >>> import numpy as np
    >>> import refbilevel as rb
    >>> problem = rb.LayerProblem(
    ...     n=2, m=1, k=1, f=lambda x, y, z: 0.5 * x @ x + 0.5 * y @ y, f_x=lambda x, y, z: x.copy(), f_y=lambda x, y, z: y.copy(),
    ...     g=lambda x, y, z: 0.5 * (y - x.sum() - z) @ (y - x.sum() - z), g_y=lambda x, y, z: y - x.sum() - z,
    ...     g_yy=lambda x, y, z: np.eye(1), g_xy=lambda x, y, z: -np.ones((2, 1)))
    >>> rb.hypergradient(problem.at(np.ones(1)), [1.0, 0.0]).gradient
    array([3., 2.])
    >>> problem.joint().n
    3
    """

    n: int
    m: int
    k: int
    f: object = None
    f_x: object = None
    f_y: object = None
    f_z: object = None
    g: object = None
    g_x: object = None
    g_y: object = None
    g_yy: object = None
    g_xy: object = None
    g_zy: object = None
    constraints: LayerConstraints | None = None
    upper_constraints: LayerUpperConstraints | None = None
    bounds: tuple | None = None
    adjoint_hvp: object = None

    def __post_init__(self):
        if isinstance(self.k, bool) or not isinstance(self.k, (int, np.integer)) or self.k < 1:
            raise ArgumentError(f"LayerProblem: k must be an integer of at least 1, got {self.k!r}")
        missing = [name for name in ("f", "f_x", "f_y", "g_y", "g_yy", "g_xy") if getattr(self, name) is None]
        if missing:
            raise MissingDerivative(f"LayerProblem needs {', '.join(missing)} as callables of (x, y, z)")
        if self.bounds is not None:
            object.__setattr__(self, "bounds", _bounds(self.bounds, self.n))

    @classmethod
    def from_jax(cls, f, g, p=None, q=None, G=None, H=None, *, n, m, k, **options):
        """From JAX functions of (x, y, z), third derivatives included; see `refbilevel.frontends.jax.layer_problem`."""
        return _frontend("jax").layer_problem(f, g, p, q, G, H, n=n, m=m, k=k, **options)

    @classmethod
    def from_torch(cls, f, g, p=None, q=None, G=None, H=None, *, n, m, k, **options):
        """From torch functions of (x, y, z), third derivatives included; see `refbilevel.frontends.torch.layer_problem`."""
        return _frontend("torch").layer_problem(f, g, p, q, G, H, n=n, m=m, k=k, **options)

    def at(self, z):
        """The `BilevelProblem` in x at this z."""

        def fixed(oracle):
            return None if oracle is None else lambda x, y, *multipliers: oracle(x, y, z, *multipliers)

        names = ("f", "f_x", "f_y", "g", "g_x", "g_y", "g_yy", "g_xy")
        return BilevelProblem(
            n=self.n, m=self.m, **{name: fixed(getattr(self, name)) for name in names},
            constraints=_fixed(self.constraints, Constraints, fixed), upper_constraints=_fixed(self.upper_constraints, UpperConstraints, fixed),
            bounds=self.bounds,
        )  # fmt: skip

    def joint(self):
        """The `BilevelProblem` in X = (x, z)."""
        n = self.n

        def parts(oracle):
            return None if oracle is None else lambda X, y, *multipliers: oracle(X[:n], y, X[n:], *multipliers)

        f_z = self.f_z or _in_z(self.f)
        g_zy = self.g_zy or _in_z(self.g_y)
        g_x = None if self.g is None or self.g_x is None else _stack(self.g_x, _in_z(self.g), n)
        return BilevelProblem(
            n=n + self.k, m=self.m, f=parts(self.f), f_x=_stack(self.f_x, f_z, n), f_y=parts(self.f_y),
            g=parts(self.g), g_x=g_x, g_y=parts(self.g_y), g_yy=parts(self.g_yy), g_xy=_stack(self.g_xy, g_zy, n),
            constraints=self._joint_constraints(parts),
        )  # fmt: skip

    def _joint_constraints(self, parts):
        c = self.constraints
        if c is None:
            return None
        rows = {}
        for row in ("p", "q"):
            value = getattr(c, row)
            if value is not None:
                d_z = getattr(c, row + "_z", None) or _transposed(_in_z(value))
                rows |= {row: parts(value), row + "_x": _beside(getattr(c, row + "_x"), d_z, self.n), row + "_y": parts(getattr(c, row + "_y"))}
        if c.linear:
            return Constraints(**rows, linear=True)
        zy = getattr(c, "lagrangian_zy", None) or _in_z_weighted(c)
        return Constraints(**rows, lagrangian_yy=parts(c.lagrangian_yy), lagrangian_xy=_stack(c.lagrangian_xy, zy, self.n))


def _frontend(name):
    """The framework's module, reached by name since it stands outside: nothing here depends on it until it is asked for."""
    return import_module(f"refbilevel.frontends.{name}")


def _fixed(record, kind, fixed):
    if record is None:
        return None
    names = [name for name in kind.__dataclass_fields__ if name != "linear" and hasattr(record, name)]
    extra = {"linear": record.linear} if kind is Constraints else {}
    return kind(**{name: fixed(getattr(record, name)) for name in names}, **extra)


def _in_z(oracle):
    """d oracle / d z by sixth-order central differences: (k,) of a scalar, (k, rows) of a vector."""

    def slope(x, y, z):
        def along(e):
            h = 2e-3 * max(1.0, abs(float(z @ e)))
            phi = {j: np.asarray(oracle(x, y, z + j * h * e), float) for j in (-3, -2, -1, 1, 2, 3)}
            return (45 * (phi[1] - phi[-1]) - 9 * (phi[2] - phi[-2]) + (phi[3] - phi[-3])) / (60 * h)

        return np.array([along(e) for e in np.eye(len(z))])

    return slope


def _in_z_weighted(c):
    def slope(x, y, z, mu, nu):
        def weighted(x, y, z):
            total = np.zeros(len(y))
            total = total if c.p is None else total + c.p_y(x, y, z).T @ mu
            return total if c.q is None else total + c.q_y(x, y, z).T @ nu

        return _in_z(weighted)(x, y, z)

    return slope


def _transposed(oracle):
    return lambda *a: oracle(*a).T


def _stack(upper, lower, n):
    """X -> (upper; lower) one above the other: vectors joined, matrices stacked by rows, operators kept as operators."""

    def oracle(X, y, *multipliers):
        x, z = X[:n], X[n:]
        return _vstack(upper(x, y, z, *multipliers), lower(x, y, z, *multipliers))

    return oracle


def _vstack(A, B):
    if isinstance(A, LinearOperator) or isinstance(B, LinearOperator):
        A, B = aslinearoperator(A), aslinearoperator(B)
        rows = A.shape[0]
        return LinearOperator(
            (rows + B.shape[0], A.shape[1]), dtype=float,
            matvec=lambda v: np.concatenate([A @ v.ravel(), B @ v.ravel()]),
            rmatvec=lambda u: A.T @ u.ravel()[:rows] + B.T @ u.ravel()[rows:],
        )  # fmt: skip
    if sparse.issparse(A) or sparse.issparse(B):
        return sparse.vstack([sparse.csr_array(A), sparse.csr_array(B)], format="csr")
    return np.concatenate([np.asarray(A, float), np.asarray(B, float)])


def _beside(left, right, n):
    """X -> [left, right] side by side, for Jacobian rows."""
    return lambda X, y: np.hstack([_dense(left(X[:n], y, X[n:])), _dense(right(X[:n], y, X[n:]))])


def _dense(A):
    return A.toarray() if sparse.issparse(A) else np.asarray(A, float)

"""From autodiff primitives to a `BilevelProblem`: what from_jax and from_torch share.

A frontend supplies, for a scalar function phi(x, y) of its framework, NumPy-in NumPy-out callables

    value(x, y),  grad_x, grad_y,  hvp_yy(x, y, v) = phi_yy v,  cross(x, y, v) = phi_xy v,  cross_t(x, y, u) = phi_xy' u,

and for a vector function its value and Jacobians. Second derivatives become LinearOperators, or arrays when m is small.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse.linalg import LinearOperator

from ..errors import ArgumentError
from ..problem import BilevelProblem, Constraints

SMALL = 200  # below, an explicit Hessian by m Hessian-vector products is the cheaper and the better conditioned road


@dataclass(frozen=True)
class Scalar:
    """A scalar function's derivatives, NumPy in and out."""

    value: object
    grad_x: object
    grad_y: object
    hvp_yy: object
    cross: object
    cross_t: object

    def yy(self, x, y, explicit):
        m = len(y)
        if explicit:
            H = np.array([self.hvp_yy(x, y, e) for e in np.eye(m)])
            return 0.5 * (H + H.T)
        return LinearOperator((m, m), matvec=lambda v: self.hvp_yy(x, y, v.ravel()), rmatvec=lambda v: self.hvp_yy(x, y, v.ravel()), dtype=float)

    def xy(self, x, y, explicit):
        n, m = len(x), len(y)
        if explicit:
            if n <= m:
                return np.array([self.cross_t(x, y, e) for e in np.eye(n)]).reshape(n, m)
            return np.array([self.cross(x, y, e) for e in np.eye(m)]).reshape(m, n).T
        return LinearOperator(
            (n, m), matvec=lambda v: self.cross(x, y, v.ravel()), rmatvec=lambda u: self.cross_t(x, y, u.ravel()), dtype=float
        )


@dataclass(frozen=True)
class Vector:
    """A vector function's value and Jacobians, and the Scalar of its weighted sum, NumPy in and out."""

    value: object
    jac_x: object
    jac_y: object
    weighted: object  # weights -> Scalar


def build(f, g, p, q, *, n, m, hessian, bounds, name):
    """The BilevelProblem of Scalars f, g and Vectors p, q (None where absent)."""
    if hessian not in ("auto", "dense", "operator"):
        raise ArgumentError(f"hessian must be 'auto', 'dense' or 'operator', got {hessian!r}")
    explicit = hessian == "dense" or (hessian == "auto" and m <= SMALL)
    return BilevelProblem(
        n=n, m=m, f=f.value, f_x=f.grad_x, f_y=f.grad_y, g=g.value, g_x=g.grad_x, g_y=g.grad_y,
        g_yy=lambda x, y: g.yy(x, y, explicit), g_xy=lambda x, y: g.xy(x, y, explicit),
        f_yy=lambda x, y: f.yy(x, y, explicit), f_xy=lambda x, y: f.xy(x, y, explicit),
        constraints=_constraints(p, q, explicit), bounds=bounds, name=name,
    )  # fmt: skip


def _constraints(p, q, explicit):
    if p is None and q is None:
        return None

    def parts(mu, nu):
        return [row.weighted(w) for row, w in ((p, mu), (q, nu)) if row is not None and len(w)]

    def lagrangian_yy(x, y, mu, nu):
        return sum((s.yy(x, y, True) for s in parts(mu, nu)), np.zeros((len(y), len(y))))

    def lagrangian_xy(x, y, mu, nu):
        return sum((s.xy(x, y, True) for s in parts(mu, nu)), np.zeros((len(x), len(y))))

    rows = {}
    for letter, row in (("p", p), ("q", q)):
        if row is not None:
            rows |= {letter: row.value, f"{letter}_x": row.jac_x, f"{letter}_y": row.jac_y}
    return Constraints(**rows, lagrangian_yy=lagrangian_yy, lagrangian_xy=lagrangian_xy)

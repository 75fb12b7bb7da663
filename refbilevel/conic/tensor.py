"""A cone program whose data are affine in parameters theta, and the chain rule through that map.

    q = T_q (theta, 1),   [-A | b] = T_A (theta, 1),   P = T_P (theta, 1)      (matrices by columns)

Only rows of the tensors that hold something are kept, in column-major order, so that evaluating them yields the csc data.
The adjoint (w_x, w_u) of system.py gives dq = -w_x, db = w_u, dA = -(z w_x' + w_u x'), dP = -(w_x x' + x w_x')/2, hence theta_bar.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse

from .program import ConeProgram, Cones


@dataclass(frozen=True, eq=False)
class _Entries:
    """The entries (i, j) of a matrix that are not always zero, as `tensor` @ (theta, 1); `moving` those that depend on theta."""

    tensor: Any
    i: np.ndarray
    j: np.ndarray
    indptr: np.ndarray
    moving: np.ndarray
    moving_transpose: Any

    def pull_back(self, values):
        """theta_bar (p,) from the cotangents of the moving entries."""
        return self.moving_transpose @ values


def _entries(tensor, rows, columns):
    tensor = sparse.csr_array(tensor)
    keep = np.flatnonzero(np.diff(tensor.indptr))
    tensor = sparse.csr_array(tensor[keep])
    j, i = np.divmod(keep, rows)
    indptr = np.searchsorted(keep, rows * np.arange(columns + 1)).astype(np.int32)
    parametric = sparse.csr_array(tensor[:, :-1])
    moving = np.flatnonzero(np.diff(parametric.indptr))
    return _Entries(tensor, i.astype(np.int32), j.astype(np.int32), indptr, moving, sparse.csr_array(parametric[moving].T))


def _counted(keep, indptr):
    """The indptr of the columns' entries that are kept."""
    return np.concatenate([[0], np.cumsum(keep)])[indptr].astype(np.int32)


@dataclass(frozen=True, eq=False)
class ParametricProgram:
    """theta (p,) -> ConeProgram; made by `ParametricProgram.build`."""

    n: int
    k: int
    p: int
    cones: Cones
    q: Any
    data: _Entries
    P: _Entries | None

    @classmethod
    def build(cls, T_q, T_A, T_P, n, k, cones):
        """From T_q (n + 1, p + 1) whose last row is the objective's offset, T_A (k (n + 1), p + 1), T_P (n n, p + 1) or None."""
        q = sparse.csr_array(T_q)
        P = None
        if T_P is not None:
            T_P = sparse.csr_array(T_P)
            transposed = np.arange(n * n).reshape(n, n).T.ravel()
            P = _entries(0.5 * (T_P + T_P[transposed]), n, n)
        return cls(n, k, q.shape[1] - 1, cones, q, _entries(T_A, k, n + 1), P)

    def __call__(self, theta):
        """The ConeProgram at theta (p,)."""
        one = np.append(theta, 1.0)
        q = self.q @ one
        P, A, b, upper = self._matrices(one)
        return ConeProgram(P, q[:-1], A, b, self.cones, float(q[-1]), upper)

    def _matrices(self, theta):
        """(P, A, b, upper triangle of P) at theta (p + 1,)."""
        n, k, data = self.n, self.k, self.data
        if self.P is None:
            P = upper = sparse.csc_array((n, n))
        else:
            values, keep = self.P.tensor @ theta, self.P.i <= self.P.j
            P = sparse.csc_array((values, self.P.i, self.P.indptr), shape=(n, n))
            upper = sparse.csc_array((values[keep], self.P.i[keep], _counted(keep, self.P.indptr)), shape=(n, n))
        values, split = data.tensor @ theta, data.indptr[n]
        A = sparse.csc_array((-values[:split], data.i[:split], data.indptr[: n + 1]), shape=(k, n))
        b = np.zeros(k)
        b[data.i[split:]] = values[split:]
        return P, A, b, upper

    def pull_back(self, point, w_x, w_u):
        """theta_bar (p,) from the adjoint (w_x, w_u) at `point`."""
        x, z, data = np.append(point.x, 1.0), point.z, self.data
        bar = -(self.q[:-1].T @ w_x)[:-1]
        i, j = data.i[data.moving], data.j[data.moving]
        bar += data.pull_back(z[i] * np.append(w_x, 0.0)[j] + w_u[i] * x[j])
        if self.P is not None and self.P.moving.size:
            i, j = self.P.i[self.P.moving], self.P.j[self.P.moving]
            bar -= self.P.pull_back(0.5 * (w_x[i] * x[j] + x[i] * w_x[j]))
        return bar

    def push_forward(self, point, dtheta):
        """The right-hand side -(F_x, F_u) of the tangent system for a direction dtheta (p,)."""
        direction = np.append(dtheta, 0.0)
        dq = (self.q @ direction)[:-1]
        dP, dA, db, _ = self._matrices(direction)
        return -(dP @ point.x + dA.T @ point.z + dq), -(dA @ point.x - db)

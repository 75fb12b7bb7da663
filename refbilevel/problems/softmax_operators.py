"""Weighted softmax regression as operators: losses, the Hessian in the weights Y, and the derivative by the sample weights.

y = Y.ravel(), Y (k, d) class-major; p_i = softmax(Y a_i); everything dense goes through kernels/softmax.py, CSR through SciPy.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import LinearOperator

from ..kernels.softmax import softmax_loss, softmax_product
from .design import threads_for
from .hessian_factor import rounded_copy


@dataclass(frozen=True, eq=False)
class Samples:
    """Data A (N, d), labels (N,) in 0..k-1: losses, gradients and curvature of weighted softmax regression."""

    A: object
    labels: np.ndarray
    k: int

    @property
    def shape(self):
        return self.A.shape

    @cached_property
    def rounded(self):
        """A in float32 for the iterations of a solve, kept once one was made; None for CSR, where it gains nothing."""
        return rounded_copy(self.A) if isinstance(self.A, np.ndarray) else None

    def loss(self, w, Y):
        """(l (N,), gradient (k, d) of sum w l, P (N, k))."""
        if isinstance(self.A, np.ndarray):
            return softmax_loss(self.A, self.labels, w, Y, threads_for(self.A.size))
        Z = self.A @ Y.T
        Z -= Z.max(axis=1, keepdims=True)
        P = np.exp(Z)
        total = P.sum(axis=1, keepdims=True)
        P /= total
        losses = np.log(total.ravel()) - Z[np.arange(len(Z)), self.labels]
        return losses, self.backward(w[:, None] * self.residual(P)), P

    def residual(self, P):
        """P - E (N, k)."""
        R = P.copy()
        R[np.arange(len(P)), self.labels] -= 1.0
        return R

    def backward(self, R):
        """R' A (k, d)."""
        return np.ascontiguousarray((self.A.T @ R).T)

    def product(self, P, w, V):
        """sum_i w_i (diag(p_i) - p_i p_i') V a_i a_i', (k, d)."""
        if isinstance(self.A, np.ndarray):
            return softmax_product(self.A, P, w, V, threads_for(self.A.size))
        U = P * (self.A @ V.T)
        return self.backward(w[:, None] * (U - P * U.sum(axis=1, keepdims=True)))


class SoftmaxHessian(LinearOperator):
    """sum_i w_i (diag(p_i) - p_i p_i') (x) a_i a_i' + penalty I, symmetric (k d, k d)."""

    def __init__(self, samples, P, w, penalty, model=None):
        size = samples.k * samples.shape[1]
        super().__init__(np.float64, (size, size))
        self.samples, self.P, self.w, self.penalty, self.model = samples, P, w, penalty, model

    def preconditioned(self):
        """The Newton solver's preconditioned iteration at this y, for dense data; None without a model."""
        from .hessian_factor import hessian_factor

        if self.model is None or not isinstance(self.samples.A, np.ndarray):
            return None
        return hessian_factor(self.model, (self.samples.A, self.P, self.w), np.full(self.shape[0], self.penalty))

    def _matvec(self, v):
        V = np.ascontiguousarray(v, np.float64).reshape(self.samples.k, -1)
        return (self.samples.product(self.P, self.w, V) + self.penalty * V).ravel()

    _rmatvec = _matvec

    def _adjoint(self):
        return self

    _transpose = _adjoint

    def todense(self):
        A, k, d = self.samples.A, self.samples.k, self.samples.shape[1]
        H = np.empty((k, d, k, d))
        for c in range(k):
            for e in range(c + 1):
                weights = self.w * self.P[:, c] * ((c == e) - self.P[:, e])
                block = A.T @ (sparse.diags_array(weights) @ A if sparse.issparse(A) else weights[:, None] * A)
                block = block.toarray() if sparse.issparse(block) else block
                H[c, :, e, :], H[e, :, c, :] = block, block.T
        H = H.reshape(k * d, k * d)
        H[np.diag_indices_from(H)] += self.penalty
        return H

    toarray = todense

    def diagonal(self):
        squares = self.samples.A**2
        return (squares.T @ (self.w[:, None] * self.P * (1.0 - self.P))).T.ravel() + self.penalty


class WeightJacobian(LinearOperator):
    """g_xy (N, k d): row i is s_i (p_i - e_{c_i}) (x) a_i, never formed."""

    def __init__(self, samples, P, s):
        super().__init__(np.float64, (len(s), samples.k * samples.shape[1]))
        self.samples, self.R = samples, s[:, None] * samples.residual(P)

    def _matvec(self, v):
        return (self.R * (self.samples.A @ np.asarray(v).reshape(self.samples.k, -1).T)).sum(axis=1)

    def _rmatvec(self, u):
        return self.samples.backward(np.asarray(u).reshape(-1, 1) * self.R).ravel()

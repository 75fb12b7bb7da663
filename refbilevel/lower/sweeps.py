"""Whole sweeps of gradient descent for models whose arrays are known: what kernels/unroll.py needs, and what it gives back.

A model offers `sweep(x)`, one of these records or None; unrolling then runs both directions without Python between the steps.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..kernels import unroll


@dataclass(frozen=True, eq=False)
class QuadraticSweep:
    """g_y = A y - b, g_xy = C (n, m) constant."""

    A: np.ndarray
    b: np.ndarray
    C: object

    def path(self, y0, s, K):
        """y_0 ... y_K, (K + 1, m)."""
        return unroll.quadratic_path(self.A, self.b, y0, s, K)

    def pull_back(self, path, a, s):
        """-s sum_k g_xy(y_k) a_{k+1}, (n,)."""
        return -s * np.asarray(self.C @ unroll.quadratic_adjoint(self.A, a, s, len(path) - 1))


@dataclass(frozen=True, eq=False)
class LinearModelSweep:
    """g_y = X' r + c y, g_xy = diag(c y), or its one row c y if the n = 1 penalty is shared. `X`: (array,) or the CSR triple."""

    X: tuple
    t: np.ndarray
    w: np.ndarray
    c: np.ndarray
    loss: int
    per_feature: bool

    def path(self, y0, s, K):
        """y_0 ... y_K, (K + 1, m)."""
        kernel = unroll.dense_path if len(self.X) == 1 else unroll.sparse_path
        return kernel(*self.X, self.t, self.w, self.c, self.loss, y0, s, K)

    def pull_back(self, path, a, s):
        """-s sum_k g_xy(y_k) a_{k+1}, (n,)."""
        kernel = unroll.dense_adjoint if len(self.X) == 1 else unroll.sparse_adjoint
        total = -s * self.c * kernel(*self.X, self.t, self.w, self.c, self.loss, path, a, s)
        return total if self.per_feature else total.sum(keepdims=True)


def sweep_of(problem, x):
    """The sweep of the model that g_y, g_yy and g_xy are methods of, or None if they are not one model's own."""
    owners = set()
    for name in ("g_y", "g_yy", "g_xy"):
        call = getattr(getattr(problem, name), "call", getattr(problem, name))
        if getattr(call, "__name__", "") != name:
            return None
        owners.add(getattr(call, "__self__", None))
    model = owners.pop()
    return model.sweep(x) if not owners and hasattr(model, "sweep") else None

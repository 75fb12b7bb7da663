"""Nonsmooth lower levels: Lasso, elastic net, group Lasso, and the dual of the box-constrained SVM. x holds logarithms.

    lasso        g = 1/(2N) |t - A y|^2 + sum_j exp(x_j) |y_j|                 ("one": a single x)
    elastic_net  g = 1/(2N) |t - A y|^2 + exp(x_1) |y|_1 + exp(x_2)/2 |y|^2   ("per-feature": each y_j its own two)
    group_lasso  g = 1/(2N) |t - A y|^2 + sum_g exp(x_g) sqrt(|g|) |y_g|
    svm_dual     g = 1/2 y'Q y - sum y,  0 <= y_i <= exp(x_i),  Q_ij = t_i t_j k(a_i, a_j)
    f = 1/(2N') |s - B y|^2 (regression) or the mean logistic loss of the decision values sum_i y_i t_i k(a_i, b) (SVM),
        + rho/2 |x - center|^2.
Each is a BilevelProblem with a `solution_map` (proximal.py), so `hypergradient`, `solve_lower` and `minimize` work as usual.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import ArgumentError, ShapeError, unknown
from ..problem import BilevelProblem, as_vector
from .design import as_design
from .group_map import GroupMap
from .linear_models import LOGISTIC, SQUARED, labels_of
from .separable import SeparableMap
from .smooth_parts import Explicit, LeastSquares


@dataclass(frozen=True, eq=False)
class ValidationLoss:
    """f and its gradients; `map` gives g. B (N', m) a design, so that the prediction is B y."""

    map: object
    B: object
    t: np.ndarray
    loss: int
    rho: float
    center: np.ndarray

    def _loss(self, y):
        return self.B.loss(self.t, np.full(len(self.t), 1.0 / len(self.t)), y, self.loss)

    def f(self, x, y):
        return self._loss(y)[0] + 0.5 * self.rho * np.sum((x - self.center) ** 2)

    def f_x(self, x, y):
        return self.rho * (x - self.center)

    def f_y(self, x, y):
        return self._loss(y)[1]

    def g(self, x, y):
        return self.map.value(x, y)


def _problem(solution_map, B, t, loss, prior, bounds, name):
    rho, center = (0.0, 0.0) if prior is None else prior
    if not rho >= 0:
        raise ArgumentError(f"prior = (rho, center): rho must be at least 0, got {rho}")
    n, m = solution_map.n, solution_map.m
    center = as_vector(np.full(n, center, float) if np.ndim(center) == 0 else center, n, "prior's center")
    upper = ValidationLoss(solution_map, B, t, loss, float(rho), center)
    return BilevelProblem(
        n=n, m=m, f=upper.f, f_x=upper.f_x, f_y=upper.f_y, g=upper.g, solution_map=solution_map, bounds=bounds, name=name
    )


def _data(X_train, t_train, X_val, t_val):
    train, val = as_design(X_train, "X_train"), as_design(X_val, "X_val")
    if train.shape[1] != val.shape[1]:
        raise ShapeError(f"X_train and X_val must have the same features, got {train.shape[1]} and {val.shape[1]}")
    return train, as_vector(t_train, train.shape[0], "t_train"), val, as_vector(t_val, val.shape[0], "t_val")


def _indices(penalties, m, known=("one", "per-feature")):
    if penalties not in known:
        raise unknown("penalties", penalties, known)
    return np.arange(m) if penalties == known[1] else np.zeros(m, int)


def lasso(X_train, t_train, X_val, t_val, *, penalties="one", prior=None, bounds=None):
    """Lasso with log-penalties x: "one" (n = 1) or "per-feature" (the weighted Lasso, n = m).

    Parameters
    ----------
    X_train, X_val : (N, m), (N', m) ndarray or sparse
    t_train, t_val : (N,), (N',)
    penalties : "one" or "per-feature"
    prior : (rho, center), optional
    bounds : (lo, hi), optional

    Raises
    ------
    ShapeError, ArgumentError, DtypeError, UnknownOption
    """
    train, t, val, t_val = _data(X_train, t_train, X_val, t_val)
    m = train.shape[1]
    l1_of = _indices(penalties, m)
    solution_map = SeparableMap(LeastSquares.of(train.A, t), int(l1_of[-1]) + 1, m, l1_of, np.full(m, -1), np.full(m, -1))
    return _problem(solution_map, val, t_val, SQUARED, prior, bounds, "lasso" if penalties == "one" else "weighted_lasso")


def elastic_net(X_train, t_train, X_val, t_val, *, penalties="one", prior=None, bounds=None):
    """Elastic net, x = (log l1 penalty, log l2 penalty), or with "per-feature" the m of l1 before the m of l2. Parameters as `lasso`."""
    train, t, val, t_val = _data(X_train, t_train, X_val, t_val)
    m = train.shape[1]
    l1_of = _indices(penalties, m)
    count = int(l1_of[-1]) + 1
    solution_map = SeparableMap(LeastSquares.of(train.A, t), 2 * count, m, l1_of, count + l1_of, np.full(m, -1))
    return _problem(solution_map, val, t_val, SQUARED, prior, bounds, "elastic_net")


def group_lasso(X_train, t_train, X_val, t_val, groups, *, penalties="one", prior=None, bounds=None):
    """Group Lasso; `groups` (m,) holds each feature's group number 0 ... G - 1; penalties "one" or "per-group" (n = G)."""
    train, t, val, t_val = _data(X_train, t_train, X_val, t_val)
    labels = as_vector(groups, train.shape[1], "groups").astype(int)
    count = labels.max() + 1
    if labels.min() < 0 or np.bincount(labels, minlength=count).min() == 0:
        raise ArgumentError("groups must number the groups 0 ... G - 1, each with at least one feature")
    x_of = _indices(penalties, count, ("one", "per-group"))
    solution_map = GroupMap.of(LeastSquares.of(train.A, t), labels, x_of)
    return _problem(solution_map, val, t_val, SQUARED, prior, bounds, "group_lasso")


def svm_dual(X_train, t_train, X_val, t_val, *, costs="one", kernel="linear", gamma=None, ridge=0.0, prior=None, bounds=None):
    """The dual of a support vector machine without intercept, log-costs x: "one" or "per-sample" (n = N).

    kernel : "linear" or "rbf" (exp(-gamma |a - b|^2), gamma 1/features by default); ridge is added to Q's diagonal
    (the l2-loss part of a mixed hinge), which makes Q definite where the kernel alone is not.
    """
    train, t, val, t_val = _data(X_train, t_train, X_val, t_val)
    t, t_val = labels_of(t, "t_train"), labels_of(t_val, "t_val")
    if kernel not in ("linear", "rbf"):
        raise unknown("kernel", kernel, ("linear", "rbf"))
    if not ridge >= 0:
        raise ArgumentError(f"ridge must be at least 0, got {ridge}")
    A, B = (d.A if isinstance(d.A, np.ndarray) else d.A.toarray() for d in (train, val))
    K, K_val = _kernel(A, A, kernel, gamma), _kernel(B, A, kernel, gamma)
    N = len(t)
    Q = t[:, None] * K * t + ridge * np.eye(N)
    hi_of = _indices(costs, N, ("one", "per-sample"))
    solution_map = SeparableMap(Explicit(Q, np.ones(N)), int(hi_of[-1]) + 1, N, np.full(N, -1), np.full(N, -1), hi_of, lo=0.0)
    return _problem(solution_map, as_design(K_val * t, "kernel"), t_val, LOGISTIC, prior, bounds, "svm_dual")


def _kernel(A, B, kernel, gamma):
    products = A @ B.T
    if kernel == "linear":
        return products
    squares = (A**2).sum(axis=1)[:, None] + (B**2).sum(axis=1) - 2 * products
    return np.exp(-(1.0 / A.shape[1] if gamma is None else gamma) * np.maximum(squares, 0.0))

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
from scipy import sparse
from scipy.special import expit

from ..errors import ArgumentError, ShapeError, unknown
from ..problem import BilevelProblem, as_vector
from .design import Design, as_design, as_matrix
from .group_map import GroupMap
from .linear_models import LOGISTIC, SQUARED, labels_of
from .separable import SeparableMap
from .smooth_parts import Explicit, LeastSquares
from .working_set import WHOLE


@dataclass(frozen=True, eq=False)
class ValidationLoss:
    """f and its gradients; `map` gives g. B (N', m), so that the prediction is B y: of an ndarray, the columns of nonzeros are read."""

    map: object
    B: object
    t: np.ndarray
    loss: int
    rho: float
    center: np.ndarray

    def predict(self, y):
        """B y, (N',)."""
        held = np.flatnonzero(y)
        return self.B[:, held] @ y[held] if isinstance(self.B, np.ndarray) and held.size < len(y) // 4 else self.B @ y

    def slopes(self, y):
        """The derivative of f in the predictions, (N',)."""
        z = self.predict(y)
        slopes = z - self.t if self.loss == SQUARED else -self.t * expit(-self.t * z)
        return slopes / len(z)

    def f(self, x, y):
        z = self.predict(y)
        losses = 0.5 * (z - self.t) ** 2 if self.loss == SQUARED else np.logaddexp(0.0, -self.t * z)
        return losses.mean() + 0.5 * self.rho * np.sum((x - self.center) ** 2)

    def f_x(self, x, y):
        return self.rho * (x - self.center)

    def g(self, x, y):
        return self.map.value(x, y)


@dataclass(frozen=True, eq=False)
class UpperGradient:
    """The oracle f_y of a ValidationLoss; `on(x, y, indices)` computes those entries alone."""

    upper: ValidationLoss

    def __call__(self, x, y):
        return self.upper.B.T @ self.upper.slopes(y)

    def on(self, x, y, indices):
        slopes = self.upper.slopes(y)
        return self.upper.B[:, indices].T @ slopes if isinstance(self.upper.B, np.ndarray) else (self.upper.B.T @ slopes)[indices]


def _problem(solution_map, B, t, loss, prior, bounds, name):
    rho, center = (0.0, 0.0) if prior is None else prior
    if not rho >= 0:
        raise ArgumentError(f"prior = (rho, center): rho must be at least 0, got {rho}")
    n, m = solution_map.n, solution_map.m
    center = as_vector(np.full(n, center, float) if np.ndim(center) == 0 else center, n, "prior's center")
    upper = ValidationLoss(solution_map, B, t, loss, float(rho), center)
    small = getattr(solution_map.smooth, "screen", None) is not None  # working sets: BLAS calls too small to share among threads
    return BilevelProblem(
        n=n, m=m, f=upper.f, f_x=upper.f_x, f_y=UpperGradient(upper), g=upper.g, solution_map=solution_map, bounds=bounds, name=name,
        threads="numba" if small else "blas",
    )  # fmt: skip


def _data(X_train, t_train, X_val, t_val):
    """(A, t, B, s), the matrices in whichever order they came."""
    A, B = _matrix(X_train, "X_train"), _matrix(X_val, "X_val")
    if A.shape[1] != B.shape[1]:
        raise ShapeError(f"X_train and X_val must have the same features, got {A.shape[1]} and {B.shape[1]}")
    return A, as_vector(t_train, A.shape[0], "t_train"), B, as_vector(t_val, B.shape[0], "t_val")


def _matrix(X, name):
    return as_design(X, name).A if isinstance(X, Design) else as_matrix(X, name)


def _separable(A, t, *data):
    """The map of a Lasso or elastic net, with a screen where a working set is used."""
    return SeparableMap(LeastSquares.of(A, t, screened=A.shape[1] > WHOLE), *data)


def _indices(penalties, m, known=("one", "per-feature")):
    if penalties not in known:
        raise unknown("penalties", penalties, known)
    return np.arange(m) if penalties == known[1] else np.zeros(m, int)


def lasso(X_train, t_train, X_val, t_val, *, penalties="one", prior=None, bounds=None):
    """Lasso with log-penalties x: "one" (n = 1) or "per-feature" (the weighted Lasso, n = m).

    Parameters
    ----------
    X_train, X_val : (N, m), (N', m) ndarray or sparse
        Kept as they are, not copied, in float64 of either order; columns are what is read, so Fortran order is a little faster. With
        more than 300 features a dense X_train is kept in 16 bits as well (screening.py).
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
    solution_map = _separable(train, t, int(l1_of[-1]) + 1, m, l1_of, np.full(m, -1), np.full(m, -1))
    return _problem(solution_map, val, t_val, SQUARED, prior, bounds, "lasso" if penalties == "one" else "weighted_lasso")


def elastic_net(X_train, t_train, X_val, t_val, *, penalties="one", prior=None, bounds=None):
    """Elastic net, x = (log l1 penalty, log l2 penalty), or with "per-feature" the m of l1 before the m of l2. Parameters as `lasso`."""
    train, t, val, t_val = _data(X_train, t_train, X_val, t_val)
    m = train.shape[1]
    l1_of = _indices(penalties, m)
    count = int(l1_of[-1]) + 1
    solution_map = _separable(train, t, 2 * count, m, l1_of, count + l1_of, np.full(m, -1))
    return _problem(solution_map, val, t_val, SQUARED, prior, bounds, "elastic_net")


def group_lasso(X_train, t_train, X_val, t_val, groups, *, penalties="one", prior=None, bounds=None):
    """Group Lasso; `groups` (m,) holds each feature's group number 0 ... G - 1; penalties "one" or "per-group" (n = G)."""
    train, t, val, t_val = _data(X_train, t_train, X_val, t_val)
    labels = as_vector(groups, train.shape[1], "groups").astype(int)
    count = labels.max() + 1
    if labels.min() < 0 or np.bincount(labels, minlength=count).min() == 0:
        raise ArgumentError("groups must number the groups 0 ... G - 1, each with at least one feature")
    x_of = _indices(penalties, count, ("one", "per-group"))
    solution_map = GroupMap.of(LeastSquares.of(train, t), labels, x_of)
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
    A, B = (X.toarray() if sparse.issparse(X) else X for X in (train, val))
    K, K_val = _kernel(A, A, kernel, gamma), _kernel(B, A, kernel, gamma)
    N = len(t)
    Q = t[:, None] * K * t + ridge * np.eye(N)
    hi_of = _indices(costs, N, ("one", "per-sample"))
    solution_map = SeparableMap(Explicit(Q, np.ones(N)), int(hi_of[-1]) + 1, N, np.full(N, -1), np.full(N, -1), hi_of, lo=0.0)
    return _problem(solution_map, K_val * t, t_val, LOGISTIC, prior, bounds, "svm_dual")


def _kernel(A, B, kernel, gamma):
    products = A @ B.T
    if kernel == "linear":
        return products
    squares = (A**2).sum(axis=1)[:, None] + (B**2).sum(axis=1) - 2 * products
    return np.exp(-(1.0 / A.shape[1] if gamma is None else gamma) * np.maximum(squares, 0.0))

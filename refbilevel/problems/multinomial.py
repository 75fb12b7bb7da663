"""Data hyper-cleaning: multinomial regression whose training samples carry learned weights.

    g(x, y) = (1/N)  sum_i sigma(x_i) l(Y a_i, c_i) + penalty/2 |y|^2       (N training samples, n = N)
    f(x, y) = (1/N') sum_i l(Y b_i, s_i) + rho/2 |x - center|^2             (N' trusted validation samples)

sigma(x) = 1 / (1 + exp(-x)); y = Y.ravel(), Y (k, d) class-major, m = k d; l the softmax cross-entropy. With p_i = softmax(Y a_i):
    g_x,i = sigma'(x_i) l_i / N,   row i of g_xy = sigma'(x_i)/N  (p_i - e_{c_i}) (x) a_i,
    g_yy = sum_i sigma(x_i)/N (diag(p_i) - p_i p_i') (x) a_i a_i' + penalty I.
Setting: Franceschi et al., "Forward and reverse gradient-based hyperparameter optimization" (arXiv 1703.01785), Section 5.1.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from scipy import sparse

from ..errors import ArgumentError, ShapeError, unknown
from ..kernels.glm_newton import gram_float32
from ..problem import BilevelProblem, as_vector
from .design import DENSE_UP_TO, as_design, threads_for
from .newton_pcg import ModelSolver, newton_pcg
from .softmax_operators import Samples, SoftmaxHessian, WeightJacobian


def sigmoid(x):
    """(sigma, sigma') of x without overflow."""
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1.0, e) / (1.0 + e), e / (1.0 + e) ** 2


@dataclass(frozen=True, eq=False)
class CleaningModel:
    """The data of one problem and its oracles as methods."""

    train: Samples
    val: Samples
    penalty: float
    rho: float
    center: np.ndarray
    hessian: str
    uniform: np.ndarray = field(repr=False)

    def weights(self, Y):
        return np.ascontiguousarray(Y, np.float64).reshape(self.train.k, -1)

    def _train(self, x, y):
        sigma, slope = sigmoid(x)
        return (*self.train.loss(sigma / len(x), self.weights(y)), sigma / len(x), slope / len(x))

    def f(self, x, y):
        return self.uniform @ self.val.loss(self.uniform, self.weights(y))[0] + 0.5 * self.rho * np.sum((x - self.center) ** 2)

    def f_x(self, x, y):
        return self.rho * (x - self.center)

    def f_y(self, x, y):
        return self.val.loss(self.uniform, self.weights(y))[1].ravel()

    def f_xx(self, x, y):
        return sparse.diags_array(np.full(len(x), self.rho))

    def f_xy(self, x, y):
        return sparse.csr_array((len(x), len(y)))

    def f_yy(self, x, y):
        P = self.val.loss(self.uniform, self.weights(y))[2]
        return self._hessian(SoftmaxHessian(self.val, P, self.uniform, 0.0))

    def g(self, x, y):
        losses, _, _, w, _ = self._train(x, y)
        return w @ losses + 0.5 * self.penalty * y @ y

    def g_x(self, x, y):
        losses, *_, slope = self._train(x, y)
        return slope * losses

    def g_y(self, x, y):
        return self._train(x, y)[1].ravel() + self.penalty * y

    def g_xx(self, x, y):
        losses, _, _, w, slope = self._train(x, y)
        return sparse.diags_array(slope * (1.0 - 2.0 * w * len(x)) * losses)

    def g_xy(self, x, y):
        _, _, P, _, slope = self._train(x, y)
        return WeightJacobian(self.train, P, slope)

    def g_yy(self, x, y):
        _, _, P, w, _ = self._train(x, y)
        return self._hessian(SoftmaxHessian(self.train, P, w, self.penalty, self))

    # what problems/newton_pcg.py asks of a model
    factor_first = True

    def evaluate(self, x, y):
        """(g, g_y, weights of the Hessian product) in one pass over the data."""
        losses, gradient, P, w, _ = self._train(x, y)
        return w @ losses + 0.5 * self.penalty * y @ y, gradient.ravel() + self.penalty * y, (self.train.A, P, w)

    def curvature(self, x):
        return np.full(self.train.k * self.train.shape[1], self.penalty)

    def diagonal(self, weights):
        _, P, w = weights
        return SoftmaxHessian(self.train, P, w, 0.0).diagonal()

    def matrix(self, weights, c):
        _, P, w = weights
        return SoftmaxHessian(self.train, P, w, self.penalty).todense()

    def gram_float32(self, weights):
        """A' diag(s) A (d, d), s_i = w_i (1 - |p_i|^2) / (k - 1): the mean curvature of sample i over the classes."""
        A, P, w = weights
        return gram_float32(A, w * (1.0 - (P**2).sum(axis=1)) / (self.train.k - 1), self.threads)

    @property
    def factor_cost(self):
        d = self.train.shape[1]
        return d / (6 * self.train.k) if isinstance(self.train.A, np.ndarray) and d <= 4000 else np.inf

    @property
    def rounded(self):
        return self.train.rounded

    @property
    def threads(self):
        return threads_for(self.train.A.size)

    @property
    def dense(self):
        return self.train.k * self.train.shape[1] <= DENSE_UP_TO

    def solve(self, x, y0=None, tol=None, factor=None):
        return newton_pcg(self, x, np.zeros(self.train.k * self.train.shape[1]) if y0 is None else y0, tol, factor=factor)

    def _hessian(self, operator):
        dense = self.hessian == "dense" or (self.hessian == "auto" and operator.shape[0] <= DENSE_UP_TO)
        return operator.todense() if dense else operator


def _samples(X, labels, k, which):
    design = as_design(X, f"X_{which}")
    labels = as_vector(labels, design.shape[0], f"labels_{which}")
    if (labels != np.round(labels)).any() or labels.min() < 0:
        raise ArgumentError(f"labels_{which} must be class numbers 0, 1, ..., k - 1")
    k = int(labels.max()) + 1 if k is None else k
    if labels.max() >= k or k < 2:
        raise ArgumentError(f"labels_{which} has class {int(labels.max())}, but k = {k}; classes are 0 ... k - 1, at least two")
    return Samples(design.A, labels.astype(np.int64), k)


def softmax(X_train, labels_train, X_val, labels_val, *, penalty=1e-2, k=None, prior=None, hessian="auto", bounds=None):
    """Multinomial regression with one learned weight sigma(x_i) for each training sample.

    Parameters
    ----------
    X_train, X_val : (N, d), (N', d) ndarray or sparse
    labels_train, labels_val : (N,), (N',) integers 0 ... k - 1
    penalty : float > 0
        l2 penalty; without one the lower Hessian is singular.
    k : int, optional
        Number of classes; the largest training label plus one by default.
    prior : (rho, center), optional
        Adds rho/2 |x - center|^2 to f.
    hessian : "auto" (ndarray when small), "dense", "operator"
    bounds : (lo, hi), optional

    Returns
    -------
    BilevelProblem with n = N, m = k d

    Raises
    ------
    ShapeError, ArgumentError, DtypeError, UnknownOption
    """
    if hessian not in ("auto", "dense", "operator"):
        raise unknown("hessian", hessian, ("auto", "dense", "operator"))
    if not (np.isfinite(penalty) and penalty > 0):
        raise ArgumentError(f"penalty must be positive, got {penalty}; the softmax Hessian alone is singular")
    train = _samples(X_train, labels_train, k, "train")
    val = _samples(X_val, labels_val, train.k, "val")
    if train.shape[1] != val.shape[1]:
        raise ShapeError(f"X_train and X_val must have the same features, got {train.shape[1]} and {val.shape[1]}")
    n, N_val = train.shape[0], val.shape[0]
    rho, center = (0.0, 0.0) if prior is None else prior
    if not rho >= 0:
        raise ArgumentError(f"prior = (rho, center): rho must be at least 0, got {rho}")
    center = as_vector(np.full(n, center, float) if np.ndim(center) == 0 else center, n, "prior's center")
    model = CleaningModel(train, val, float(penalty), float(rho), center, hessian, np.full(N_val, 1.0 / N_val))
    oracles = ("f", "f_x", "f_y", "f_xx", "f_xy", "f_yy", "g", "g_x", "g_y", "g_yy", "g_xy", "g_xx")
    return BilevelProblem(
        n=n, m=train.k * train.shape[1], **{oracle: getattr(model, oracle) for oracle in oracles}, bounds=bounds, name="softmax",
        lower_solver=ModelSolver(model), constants={"mu": float(penalty), "L_fx": 0.0},
        threads="numba" if model.threads > 1 and not model.dense else "blas",
    )  # fmt: skip

"""Ridge and logistic regression with learned penalties: x = log-penalties, y = coefficients.

    g(x, y) = (1/N)  sum_i l(a_i'y, t_i) + 1/2 sum_j exp(x_j) y_j^2        (N training samples)
    f(x, y) = (1/N') sum_i l(b_i'y, s_i) + rho/2 |x - center|^2            (N' validation samples)

with l(z, t) = (z - t)^2 / 2 (ridge) or log(1 + exp(-t z)), t = -1 or 1 (logistic). Penalties: "per-feature", n = m, or
"one", n = 1 shared by all features. Without a prior, rho = 0; a validation loss alone may fall as some x_j go to infinity.
`reduction="sum"` drops 1/N and 1/N'.

Derivatives, with r, d of kernels/glm.py and E = diag(exp(x)) ("one": E = exp(x) I):
    g_y = A'r + E y,  g_yy = A' diag(d) A + E,  g_xy = diag(exp(x) y)  ("one": the row exp(x) y'),
    g_x = exp(x) y^2 / 2 (summed for "one"),  f_y = B'r,  f_x = rho (x - center).
The ridge solution is one Cholesky solve. Setting: Pedregosa, "Hyperparameter optimization with approximate gradient"
(arXiv 1602.02355), Section 5.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from scipy import sparse

from ..errors import ArgumentError, ShapeError, unknown
from ..linear import factorize
from ..problem import BilevelProblem, as_vector
from ..lower.sweeps import LinearModelSweep
from ..results import LowerSolution, Status
from ..threads import SMALL
from .design import SERIAL, DENSE_UP_TO, DenseDesign, GramOperator, as_design, hessian, threads_for
from .newton_pcg import ModelSolver, newton_pcg

SQUARED, LOGISTIC = 0, 1
#: features up to which ridge on dense data is solved by a direct factor of A'WA + E; A'WA is kept where it is no larger than the data
DIRECT_UP_TO = 1000


@dataclass(frozen=True, eq=False)
class PenalisedLinearModel:
    """The data of one problem and its oracles as methods (so that problems pickle)."""

    train: object
    t_train: np.ndarray
    val: object
    t_val: np.ndarray
    loss: int
    per_feature: bool
    rho: float
    center: np.ndarray
    hessian: str
    w_train: np.ndarray = field(repr=False)
    w_val: np.ndarray = field(repr=False)
    gram: np.ndarray | None = field(default=None, repr=False)  # A'WA, where g is quadratic and so small that g_yy is an ndarray

    @property
    def m(self):
        return self.train.shape[1]

    @property
    def n(self):
        return self.m if self.per_feature else 1

    def penalty(self, x):
        """exp(x) as (m,); an overflow is infinity, which the solvers report."""
        with np.errstate(over="ignore"):
            x = np.exp(x)
        return x if self.per_feature else np.full(self.m, x[0])

    def f(self, x, y):
        away = x - self.center
        return self.val.loss(self.t_val, self.w_val, y, self.loss)[0] + 0.5 * self.rho * away.dot(away)

    def f_x(self, x, y):
        return self.rho * (x - self.center)

    def f_y(self, x, y):
        return self.val.loss(self.t_val, self.w_val, y, self.loss)[1]

    def f_xx(self, x, y):
        return sparse.diags_array(np.full(self.n, self.rho))

    def f_xy(self, x, y):
        return sparse.csr_array((self.n, self.m))

    def f_yy(self, x, y):
        curvature = self.val.loss(self.t_val, self.w_val, y, self.loss)[2]
        return hessian(GramOperator(self.val, curvature, np.zeros(self.m)), self.hessian)

    def g(self, x, y):
        return self.train.loss(self.t_train, self.w_train, y, self.loss)[0] + 0.5 * self.penalty(x) @ y**2

    def g_x(self, x, y):
        halves = 0.5 * self.penalty(x) * y**2
        return halves if self.per_feature else halves.sum(keepdims=True)

    def g_y(self, x, y):
        return self.train.loss(self.t_train, self.w_train, y, self.loss)[1] + self.penalty(x) * y

    def g_yy(self, x, y):
        if self.gram is not None:
            return self._plus_penalty(x)
        curvature = self.train.loss(self.t_train, self.w_train, y, self.loss)[2]
        return hessian(GramOperator(self.train, curvature, self.penalty(x), self), self.hessian)

    def _plus_penalty(self, x):
        """A'WA + E."""
        H = self.gram.copy()
        H.reshape(-1)[:: len(H) + 1] += self.penalty(x)
        return H

    def g_xy(self, x, y):
        row = self.penalty(x) * y
        if not self.per_feature:
            return row[None, :]
        if self.gram is None or row.size > DENSE_UP_TO:
            return sparse.diags_array(row)
        B = np.zeros((row.size, row.size))
        B.reshape(-1)[:: row.size + 1] = row
        return B

    def g_xx(self, x, y):
        halves = self.g_x(x, y)
        return sparse.diags_array(halves) if self.per_feature else halves[None, :]

    # what problems/newton_pcg.py asks of a model
    def evaluate(self, x, y):
        """(g, g_y, weights of the Hessian product) in one pass over the data."""
        c = self.penalty(x)
        value, gradient, curvature = self.train.loss(self.t_train, self.w_train, y, self.loss)
        return value + 0.5 * c @ y**2, gradient + c * y, self.train.weights(curvature)

    curvature = penalty
    factor_first = False

    def diagonal(self, weights):
        return self.train.gram_diagonal(weights[-1])

    def matrix(self, weights, c):
        return GramOperator(self.train, weights[-1], c).todense()

    def gram_float32(self, weights):
        return self.train.gram_float32(weights[-1])

    @property
    def factor_cost(self):
        """Hessian products that take as long as one gram_float32 and its factor (measured: about m / 12 on dense data)."""
        return self.m / 12 + self.m**2 / (6 * self.train.shape[0]) if isinstance(self.train, DenseDesign) and self.m <= 4000 else np.inf

    def sweep(self, x):
        """Its gradient descent as one kernel, for data that one thread reads fastest."""
        X = self.train.weights(None)[:-1]
        small = self.train.compiled and self.train.size < SERIAL
        return LinearModelSweep(X, self.t_train, self.w_train, self.penalty(x), self.loss, self.per_feature) if small else None

    @property
    def rounded(self):
        return self.train.rounded

    @property
    def threads(self):
        return threads_for(self.train.size)

    @property
    def dense(self):
        return self.m <= self.train.explicit_up_to

    @property
    def direct(self):
        """One linear solve by LAPACK gives y*."""
        return self.loss == SQUARED and isinstance(self.train, DenseDesign) and self.m <= DIRECT_UP_TO

    def solve(self, x, y0=None, tol=None, factor=None):
        """y*(x): ridge is one linear solve, by a direct factor up to some size; else Newton-PCG."""
        y0 = np.zeros(self.m) if y0 is None else y0
        if self.direct:
            return self._ridge_solution(x)
        return newton_pcg(self, x, y0, tol, factor=factor)

    def _ridge_solution(self, x):
        """(A'WA + E) y = A'W t by a direct factor."""
        c = self.penalty(x)
        if not np.isfinite(c).all():
            return LowerSolution(y=np.zeros(self.m), status=Status.NONFINITE, detail=f"exp(x[{int(np.argmax(x))}]) overflows.", method="closed_form")
        factor = factorize(self.matrix(self.train.weights(self.w_train), c) if self.gram is None else self._plus_penalty(x))
        y = factor.solve(self.train.transpose_times(self.w_train * self.t_train))
        status = Status.CONVERGED if factor.negative == 0 and not factor.singular else Status.NONUNIQUE
        residual = float(np.linalg.norm(self.g_y(x, y)))
        return LowerSolution(y=y, residual=residual, iterations=1, status=status, method="closed_form", factor=factor)

    def constants(self, bounds):
        """Lipschitz constants in y that hold everywhere, sizes of what f_y and g_y add, those at one x under "at"; over the bounds, where they give a range of x."""
        third = 0.0 if self.loss == SQUARED else 3**-0.5 / 6  # max |l'''| of the logistic loss
        curvature = 1.0 if self.loss == SQUARED else 0.25
        known = {
            "L_f": curvature * self.val.spectral_bound(self.w_val),
            "L_fx": 0.0,
            "L_H": third * self.train.spectral_bound(self.w_train * self.train.row_norms()) if third else 0.0,
            "size_f_y": _summed(self.val, self.w_val, self.t_val, self.loss),
            "size_g_y": _summed(self.train, self.w_train, self.t_train, self.loss),
            "at": self.constants_at,
        }
        if bounds is not None:
            lo, hi = (np.broadcast_to(np.asarray(b, float), (self.n,)) for b in bounds)
            if np.isfinite(lo).all():
                known["mu"] = float(np.exp(lo.min()))
            if np.isfinite(hi).all():
                known["L_B"] = float(np.exp(hi.max()))
        return known

    def constants_at(self, x):
        """mu and L_B at x: the least and the greatest penalty."""
        c = self.penalty(x)
        return {"mu": float(c.min()), "L_B": float(c.max())}


def _summed(design, weights, t, loss):
    """sum_i w_i |a_i| |l'_i|, l' at y = 0 or at most 1: the sizes of the terms that the gradient of the loss adds, which may cancel."""
    return float(weights * design.row_norms() @ (np.abs(t) if loss == SQUARED else np.ones(len(t))))


def _targets(t, N, name):
    t = as_vector(np.asarray(t).ravel() if np.ndim(t) == 2 else t, N, name)
    return np.ascontiguousarray(t)


def labels_of(t, name):
    """t as -1 and 1, from two classes -1, 1 or 0, 1."""
    values = np.unique(t)
    if set(values) <= {-1.0, 1.0}:
        return t
    if set(values) <= {0.0, 1.0}:
        return 2 * t - 1
    raise ArgumentError(f"{name} must hold the labels -1 and 1 (or 0 and 1), got {values[:4]}")


def _build(loss, X_train, t_train, X_val, t_val, penalties, prior, reduction, hessian, bounds, name):
    train, val = as_design(X_train, "X_train", blocks=True), as_design(X_val, "X_val", blocks=True)
    if train.shape[1] != val.shape[1]:
        raise ShapeError(f"X_train and X_val must have the same features, got {train.shape[1]} and {val.shape[1]}")
    for option, value, known in (
        ("penalties", penalties, ("one", "per-feature")),
        ("reduction", reduction, ("mean", "sum")),
        ("hessian", hessian, ("auto", "dense", "operator")),
    ):
        if value not in known:
            raise unknown(option, value, known)
    t_train, t_val = _targets(t_train, train.shape[0], "t_train"), _targets(t_val, val.shape[0], "t_val")
    if loss == LOGISTIC:
        t_train, t_val = labels_of(t_train, "t_train"), labels_of(t_val, "t_val")
    per_feature = penalties == "per-feature"
    n = train.shape[1] if per_feature else 1
    rho, center = (0.0, 0.0) if prior is None else prior
    if not rho >= 0:
        raise ArgumentError(f"prior = (rho, center): rho must be at least 0, got {rho}")
    center = as_vector(np.full(n, center, float) if np.ndim(center) == 0 else center, n, "prior's center")
    w_train, w_val = (np.full(d.shape[0], 1 / d.shape[0] if reduction == "mean" else 1.0) for d in (train, val))
    limit = DIRECT_UP_TO if train.shape[0] >= train.shape[1] else DENSE_UP_TO
    small = loss == SQUARED and isinstance(train, DenseDesign) and train.shape[1] <= limit and hessian != "operator"
    model = PenalisedLinearModel(
        train, t_train, val, t_val, loss, per_feature, float(rho), center, hessian, w_train, w_val, train.gram(w_train) if small else None
    )
    oracles = ("f", "f_x", "f_y", "f_xx", "f_xy", "f_yy", "g", "g_x", "g_y", "g_yy", "g_xy", "g_xx")
    return BilevelProblem(
        n=n, m=model.m, **{oracle: getattr(model, oracle) for oracle in oracles}, bounds=bounds, name=name,
        lower_solver=ModelSolver(model), constants=model.constants(bounds),
        threads="numba" if model.threads > 1 or model.m in SMALL else "blas",
    )  # fmt: skip


def ridge(X_train, t_train, X_val, t_val, *, penalties="one", prior=None, reduction="mean", hessian="auto", bounds=None):
    """Ridge regression with log-penalties x; the lower solution is a closed form.

    Parameters
    ----------
    X_train, X_val : (N, m), (N', m) ndarray, sparse, or a design in blocks of rows: `problems.chunked`, `refbilevel.from_dask`
    t_train, t_val : (N,), (N',) targets
    penalties : "one" (n = 1) or "per-feature" (n = m)
    prior : (rho, center), optional
        Adds rho/2 |x - center|^2 to f; center is a scalar or (n,).
    reduction : "mean" or "sum" of the losses
    hessian : "auto" (ndarray when small), "dense", "operator"
    bounds : (lo, hi), optional
        Bounds on x; they also give the constants mu and L_B.

    Returns
    -------
    BilevelProblem

    Raises
    ------
    ShapeError, ArgumentError, DtypeError, UnknownOption
        Data that do not fit together, labels other than two classes, an unknown option.
    """
    return _build(SQUARED, X_train, t_train, X_val, t_val, penalties, prior, reduction, hessian, bounds, "ridge")


def logistic(X_train, t_train, X_val, t_val, *, penalties="one", prior=None, reduction="mean", hessian="auto", bounds=None):
    """Logistic regression with l2 log-penalties x; labels -1 and 1 (or 0 and 1). Parameters as `ridge`."""
    return _build(LOGISTIC, X_train, t_train, X_val, t_val, penalties, prior, reduction, hessian, bounds, "logistic")

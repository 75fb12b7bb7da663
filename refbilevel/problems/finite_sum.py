"""Finite sums g = mean_i g_i, f = mean_j f_j for the stochastic methods: quadratic terms, or logistic losses with penalties.

A `FiniteSum` is an ordinary `BilevelProblem` (its oracles are those of the means) that also keeps the terms for kernels/finite_sum.py.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..errors import ArgumentError, ShapeError
from ..problem import BilevelProblem

QUADRATIC, LOGISTIC = 0, 1


@dataclass(frozen=True, kw_only=True, eq=False)
class FiniteSum(BilevelProblem):
    """`kind` and the arrays `terms` = (A, B, b, P, Q, R, p, r) of the kernels; `sizes` = (N, M) numbers of terms."""

    kind: int = QUADRATIC
    terms: tuple = ()
    sizes: tuple = (0, 0)


def batch_means(problem, size, rng=0):
    """The same g and f as finite sums of batches, for quadratic terms.

    The terms are split once, at random, into batches of `size`; the mean of quadratics is a quadratic, so that the matrices of each batch
    are averaged once, and a step that takes one batch reads `size` times less memory from then on. A batch that is smaller than
    the others counts by its number of terms.

    Parameters
    ----------
    problem : FiniteSum of quadratics
    size : int, at least 1
    rng : int or numpy Generator

    Returns
    -------
    FiniteSum

    Raises
    ------
    ArgumentError
        For logistic terms, or a size below 1.
    """
    if getattr(problem, "kind", None) != QUADRATIC:
        raise ArgumentError("batch_means: the terms must be quadratic (finite_sum_quadratic); means of other terms are not terms again")
    if isinstance(size, bool) or int(size) != size or size < 1:
        raise ArgumentError(f"batch_means: size must be an integer of at least 1, got {size!r}")
    rng = np.random.default_rng(rng)
    inner, outer = ([chunk for chunk in np.split(rng.permutation(N), range(size, N, size))] for N in problem.sizes)
    A, B, b, *rest = problem.terms
    terms = (*(_means(array, inner) for array in (A, B, b)), *(_means(array, outer) for array in rest))
    return replace(problem, terms=terms, sizes=(len(inner), len(outer)))


def _means(array, batches):
    """Means of `array` over each batch, weighted so that the mean of them is the mean of all."""
    return np.stack([array[batch].sum(axis=0) * (len(batches) / len(array)) for batch in batches])


@dataclass(frozen=True, eq=False)
class _Quadratic:
    """Oracles of the mean quadratic."""

    A: np.ndarray
    B: np.ndarray
    b: np.ndarray
    P: np.ndarray
    Q: np.ndarray
    R: np.ndarray
    p: np.ndarray
    r: np.ndarray

    def f(self, x, y):
        return 0.5 * y @ self.P @ y + y @ self.Q @ x + 0.5 * x @ self.R @ x + self.p @ y + self.r @ x

    def f_x(self, x, y):
        return self.Q.T @ y + self.R @ x + self.r

    def f_y(self, x, y):
        return self.P @ y + self.Q @ x + self.p

    def g(self, x, y):
        return 0.5 * y @ self.A @ y - y @ (self.B @ x + self.b)

    def g_x(self, x, y):
        return -self.B.T @ y

    def g_y(self, x, y):
        return self.A @ y - self.B @ x - self.b

    def g_yy(self, x, y):
        return self.A

    def g_xy(self, x, y):
        return -self.B.T

    def solve(self, x, y0=None, tol=None):
        return np.linalg.solve(self.A, self.B @ x + self.b)


def finite_sum_quadratic(A, B, b, P, Q=None, R=None, p=None, r=None, *, bounds=None):
    """g_i = y'A_i y/2 - y'(B_i x + b_i), f_j = y'P_j y/2 + y'Q_j x + x'R_j x/2 + p_j'y + r_j'x.

    Parameters
    ----------
    A, B, b : (N, m, m), (N, m, n), (N, m)
    P, Q, R, p, r : (M, m, m), (M, m, n), (M, n, n), (M, m), (M, n)
        Absent ones are zero.

    Returns
    -------
    FiniteSum

    Raises
    ------
    ShapeError, ArgumentError
        Shapes that do not fit; a mean Hessian that is not positive definite.
    """
    A, B, b, P = (np.ascontiguousarray(array, float) for array in (A, B, b, P))
    (N, m, n), M = B.shape, len(P)
    shapes = {"A": (N, m, m), "b": (N, m), "P": (M, m, m), "Q": (M, m, n), "R": (M, n, n), "p": (M, m), "r": (M, n)}
    given = {"A": A, "b": b, "P": P, "Q": Q, "R": R, "p": p, "r": r}
    arrays = {k: np.zeros(shapes[k]) if v is None else np.ascontiguousarray(v, float) for k, v in given.items()}
    for name, shape in shapes.items():
        if arrays[name].shape != shape:
            raise ShapeError(f"{name} must be {shape}, got {arrays[name].shape}")
    terms = (arrays["A"], B, *(arrays[k] for k in ("b", "P", "Q", "R", "p", "r")))
    means = _Quadratic(*(t.mean(axis=0) for t in terms))
    for name in ("A", "P", "R"):
        if np.abs(arrays[name] - arrays[name].transpose(0, 2, 1)).max(initial=0.0) > 1e-12 * np.abs(arrays[name]).max(initial=0.0):
            raise ArgumentError(f"{name}: every {name}_i must be symmetric; pass ({name} + {name}.transpose(0, 2, 1)) / 2")
    if np.linalg.eigvalsh(0.5 * (means.A + means.A.T))[0] <= 0:
        raise ArgumentError("A: the mean of the A_i must be positive definite, or the lower level has no unique solution")
    oracles = {name: getattr(means, name) for name in ("f", "f_x", "f_y", "g", "g_x", "g_y", "g_yy", "g_xy")}
    return FiniteSum(n=n, m=m, **oracles, lower_solver=means.solve, bounds=bounds, kind=QUADRATIC, terms=terms, sizes=(N, M), name="finite_sum_quadratic")


def finite_sum_logistic(X_train, t_train, X_val, t_val, *, bounds=None):
    """Logistic losses of the samples with per-feature penalties exp(x_j) y_j^2 / 2 in every g_i; labels -1 and 1.

    Parameters
    ----------
    X_train, X_val : (N, m), (M, m)
    t_train, t_val : (N,), (M,)

    Returns
    -------
    FiniteSum
    """
    from .linear_models import logistic

    mean = logistic(X_train, t_train, X_val, t_val, penalties="per-feature", bounds=bounds)
    X_train, X_val = (np.ascontiguousarray(X, float) for X in (X_train, X_val))
    labels = [np.where(np.asarray(t, float) > 0, 1.0, -1.0) for t in (t_train, t_val)]
    nothing = np.zeros((0, 0, 0))
    terms = (X_train[None], nothing, labels[0][None], X_val[None], nothing, nothing, labels[1][None], np.zeros((0, 0)))
    fields = {k: getattr(mean, k) for k in BilevelProblem.__dataclass_fields__}
    return FiniteSum(**fields, kind=LOGISTIC, terms=terms, sizes=(len(X_train), len(X_val)))

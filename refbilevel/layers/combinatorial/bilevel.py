"""Bilevel problems over finite sets with bilinear coupling, as layers of the costs of both levels.

    x* = argmin_{x in X}  a.x + y*(x)' B x,      y*(x) = argmin_{y in Y}  b.y + x' D y          inputs (a, b), outputs (x*, y*(x*))

X is enumerated, or the user's `solver` answers for both levels (an integer program, say); Y is any solver of linear costs (an
Enumeration, or a path, matching, integer program, ...). Ties at the lower level go to the lower solver's first minimiser, ties at
the upper level to the first member of X. Estimators:

    joint        (x', y') = the bilevel solution at (a + tau x_bar, b + tau y_bar);  gradients (x' - x*)/tau, (y' - y*)/tau
    decoupled    each level alone with the other frozen, at the perturbed and at the given cost; gradients the differences / tau
    identity     -P x_bar, -P y_bar                                                     (estimators.py)
    perturbed    -E[((x' - x*).x_bar + (y' - y*).y_bar) Z] / eps at (a, b) - eps Z, Z Gaussian: the exact gradient of the smoothed
                 bilevel solution, unbiased, error 1/sqrt(samples)

Joint and decoupled coincide, with each other and with two blackbox calls, when B = D = 0; only then is there an interpolant behind them.

Alesiani, Implicit bilevel optimization, AAAI 2023, sec. 4 (structure); Vlastelica et al. 2020, alg. 1 (the single level).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...errors import ArgumentError, ShapeError, unknown
from ...problem import as_vector
from .estimators import identity
from .solvers import Enumeration


@dataclass(frozen=True, eq=False)
class BilinearBilevel:
    """The layer (a (n,), b (m,)) -> (x, y).

    Parameters
    ----------
    X : (N, n) members of the upper set; None with `solver`
    lower : callable c (m,) -> y (m,)
        Solver over Y.
    B : (m, n)
        Upper coupling y' B x.
    D : (n, m)
        Lower coupling x' D y.
    solver : callable (a (n,), b (m,)) -> (x (n,), y (m,)), optional
        Solves both levels instead of the enumeration.
    upper : callable c (n,) -> x (n,), optional
        Solver over X alone, for "decoupled"; the enumeration of X by default.

    Examples
    --------
    x in {0, 1} with price 1 each; x = 1 moves the follower to item 1, which earns the leader 3.

    >>> import numpy as np
    >>> from refbilevel.layers.combinatorial import BilinearBilevel, TopK
    >>> layer = BilinearBilevel(X=[[0.0], [1.0]], lower=TopK(2, 1), B=[[0.0], [-3.0]], D=[[2.0, 0.0]])
    >>> layer.solve(a=[1.0], b=[0.0, 1.0])
    (array([1.]), array([0., 1.]))
    """

    X: np.ndarray
    lower: object
    B: np.ndarray
    D: np.ndarray
    solver: object = None
    upper: object = None

    def __post_init__(self):
        if self.X is None and self.solver is None:
            raise ArgumentError("pass X, the members of the upper set, or solver=, which answers for both levels")
        for name in ("X", "B", "D"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, np.asarray(getattr(self, name), float))
        m, n = self.B.shape
        if self.upper is None and self.X is not None:
            object.__setattr__(self, "upper", Enumeration(self.X))
        if self.X is not None and self.X.shape[1:] != (n,):
            raise ShapeError(f"X must be (N, n) with n = {n}, the columns of B, got {self.X.shape}")
        if self.B.shape != (m, n) or self.D.shape != (n, m):
            raise ShapeError(f"B must be (m, n) and D (n, m) with n = {n}, got {self.B.shape} and {self.D.shape}")

    @property
    def n(self):
        return self.B.shape[1]

    @property
    def m(self):
        return self.B.shape[0]

    def solve(self, a, b):
        """(x*, y*): by enumeration of X with one lower solve each, or the user's."""
        a, b = as_vector(a, self.n, "a"), as_vector(b, self.m, "b")
        if self.solver is not None:
            x, y = self.solver(a, b)
            return as_vector(x, self.n, "x of solver"), as_vector(y, self.m, "y of solver")
        Y = [self.lower(b + self.D.T @ x) for x in self.X]
        best = int(np.argmin([a @ x + y @ self.B @ x for x, y in zip(self.X, Y)]))
        return self.X[best].copy(), Y[best]

    def vjp(self, a, b, x_bar=None, y_bar=None, *, method="joint", tau=1.0, eps=1.0, samples=100, rng=0, projection="centre"):
        """(a_bar (n,), b_bar (m,)) by "joint" or "decoupled" interpolation (tau), "perturbed" (eps, samples, rng) or "identity" (projection)."""
        if not (tau > 0 and eps > 0 and samples > 0):
            raise ArgumentError(f"tau, eps and samples must be positive, got {tau!r}, {eps!r}, {samples!r}")
        methods = {
            "joint": lambda *given: self._joint(*given, tau), "decoupled": lambda *given: self._decoupled(*given, tau),
            "perturbed": lambda *given: self._perturbed(*given, eps, int(samples), rng),
            "identity": lambda a, b, x_bar, y_bar: (identity(None, a, x_bar, projection=projection), identity(None, b, y_bar, projection=projection)),
        }  # fmt: skip
        if method not in methods:
            raise unknown("method", method, methods)
        a, b = as_vector(a, self.n, "a"), as_vector(b, self.m, "b")
        x_bar = np.zeros(self.n) if x_bar is None else as_vector(x_bar, self.n, "x_bar")
        y_bar = np.zeros(self.m) if y_bar is None else as_vector(y_bar, self.m, "y_bar")
        return methods[method](a, b, x_bar, y_bar)

    def _joint(self, a, b, x_bar, y_bar, tau):
        (x, y), (x_moved, y_moved) = self.solve(a, b), self.solve(a + tau * x_bar, b + tau * y_bar)
        return (x_moved - x) / tau, (y_moved - y) / tau

    def _decoupled(self, a, b, x_bar, y_bar, tau):
        x, y = self.solve(a, b)
        upper, lower = a + self.B.T @ y, b + self.D.T @ x
        if self.upper is None:
            raise ArgumentError("method 'decoupled' needs upper=, a solver over X alone, when X is not enumerated")
        return (self.upper(upper + tau * x_bar) - self.upper(upper)) / tau, (self.lower(lower + tau * y_bar) - self.lower(lower)) / tau

    def _perturbed(self, a, b, x_bar, y_bar, eps, samples, rng):
        (x, y), Z = self.solve(a, b), np.random.default_rng(rng).standard_normal((samples, self.n + self.m))
        moved = [self.solve(a - eps * z[: self.n], b - eps * z[self.n :]) for z in Z]
        weights = np.array([(u - x) @ x_bar + (w - y) @ y_bar for u, w in moved])
        return tuple(np.split(-Z.T @ weights / (samples * eps), [self.n]))

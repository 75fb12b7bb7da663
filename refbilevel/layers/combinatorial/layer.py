"""`CombinatorialLayer`: c -> argmin c.y as a layer, its vjp by a named estimator."""

from __future__ import annotations

import inspect

import numpy as np

from ...errors import DtypeError, unknown
from ...problem import as_vector
from .estimators import METHODS, perturbed_solution


class CombinatorialLayer:
    """c (d,) -> y (d,), and y_bar -> c_bar.

    Parameters
    ----------
    solver : callable c -> argmin over Y of c.y, with a `size`
        Any of this package's, or the user's (then pass `size`).
    method : "blackbox", "identity", "perturbed", "imle"
    size : int, optional
    **options : the estimator's (tau, eps, samples, noise, rng, projection, ...); unknown ones raise.

    Raises
    ------
    UnknownOption, DtypeError

    Examples
    --------
    >>> from refbilevel.layers.combinatorial import CombinatorialLayer, TopK
    >>> layer = CombinatorialLayer(TopK(4, 1), "blackbox", tau=2.0)
    >>> layer.solve([3.0, 1.0, 2.0, 4.0])
    array([0., 1., 0., 0.])
    >>> layer.vjp([3.0, 1.0, 2.0, 4.0], [0.0, 5.0, 0.0, 0.0])    # item 1 made dearer, item 2 comes in
    array([ 0. , -0.5,  0.5,  0. ])
    """

    def __init__(self, solver, method="blackbox", *, size=None, **options):
        if not callable(solver):
            raise DtypeError(f"solver must be a callable c -> y, got {type(solver).__name__}")
        if method not in METHODS:
            raise unknown("combinatorial method", method, METHODS)
        known = [p.name for p in inspect.signature(METHODS[method]).parameters.values() if p.kind is p.KEYWORD_ONLY]
        for option in options:
            if option not in known:
                raise unknown(f"option of method {method!r}", option, known)
        self.solver, self.method, self.options = solver, method, options
        self.size = size if size is not None else getattr(solver, "size", None)
        if self.size is None:
            raise DtypeError("pass size=, the length of c: the solver has no `size`")

    def solve(self, c):
        """y (d,); for method="perturbed" its smoothed value y_eps(c), which is what the vjp differentiates."""
        c = as_vector(c, self.size, "c")
        return perturbed_solution(self.solver, c, **self.options) if self.method == "perturbed" else np.asarray(self.solver(c), float)

    def vjp(self, c, y_bar):
        """c_bar (d,)."""
        c, y_bar = as_vector(c, self.size, "c"), as_vector(y_bar, self.size, "y_bar")
        return METHODS[self.method](self.solver, c, y_bar, **self.options)

    def batch_solve(self, C):
        """(B, d) -> (B, d)."""
        return np.array([self.solve(c) for c in np.atleast_2d(C)])

    def batch_vjp(self, C, Y_bar):
        """(B, d), (B, d) -> (B, d)."""
        return np.array([self.vjp(c, y_bar) for c, y_bar in zip(np.atleast_2d(C), np.atleast_2d(Y_bar))])

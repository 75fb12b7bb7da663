"""Problems whose lower solution, hypergradient and optimum are known in closed form.

A family adds to its problem three functions of x: y*(x) (m,), dy*/dx (m, n), and the optimum (x*, F*). Away from kinks
the hypergradient is f_x + (dy*/dx)' f_y; at a kink dy_dx is one branch's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from ..problem import BilevelProblem, as_vector
from .quadratic_bilevel import QuadraticBilevel


@dataclass(frozen=True, eq=False)
class ClosedForm:
    """y*(x), dy*/dx and (x*, F*) as functions; `optimum` is None where only the lower level is known."""

    y: Callable
    dy_dx: Callable
    optimum: Callable | None = None


class _Known:
    """Methods of a problem with a `closed_form`."""

    def y_star(self, x):
        """y*(x), shape (m,)."""
        return self.closed_form.y(as_vector(x, self.n, "x"))

    def dy_dx(self, x):
        """dy*/dx, shape (m, n)."""
        return self.closed_form.dy_dx(as_vector(x, self.n, "x"))

    def gradient(self, x):
        """The hypergradient f_x + (dy*/dx)' f_y, shape (n,)."""
        x = as_vector(x, self.n, "x")
        y = self.closed_form.y(x)
        return self.f_x(x, y) + self.closed_form.dy_dx(x).T @ self.f_y(x, y)

    def optimum(self):
        """(x*, F*), or None where it is not known."""
        return None if self.closed_form.optimum is None else self.closed_form.optimum()


@dataclass(frozen=True, kw_only=True, init=False, eq=False)
class KnownQuadratic(_Known, QuadraticBilevel):
    """A `QuadraticBilevel` with a closed form."""

    closed_form: ClosedForm = field(default=None)

    def __init__(self, closed_form, **data):
        super().__init__(**data)
        object.__setattr__(self, "closed_form", closed_form)


@dataclass(frozen=True, kw_only=True, eq=False)
class KnownProblem(_Known, BilevelProblem):
    """A `BilevelProblem` with a closed form."""

    closed_form: ClosedForm = field(default=None)


def blocks(xx, xy, yy):
    """The symmetric (N, N) matrix [[xx, xy], [xy', yy]]."""
    return np.block([[np.atleast_2d(xx), np.atleast_2d(xy)], [np.atleast_2d(xy).T, np.atleast_2d(yy)]])

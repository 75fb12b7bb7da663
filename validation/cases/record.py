"""The records: a `Case` is a problem, a point, and the certified truth there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from ...problem import BilevelProblem

DIFFICULTIES = ("lower", "average", "higher")


@dataclass(frozen=True)
class Functions:
    """A problem as array-API functions: the same objects take NumPy, torch and JAX arrays.

    f(x, y), g(x, y) -> scalar; p(x, y) -> (k,) <= 0; q(x, y) -> (l,) = 0; None where absent. For the class fixed-point,
    `fixed_point(x, y) -> (m,)` is the map T with y* = T(x, y*). For the class layer, `upper(x, y, z)` and `lower(x, y, z)` are
    the objectives of the bilevel program inside the layer, whose input z is the case's x.
    """

    f: Callable
    g: Callable | None = None
    p: Callable | None = None
    q: Callable | None = None
    fixed_point: Callable | None = None
    upper: Callable | None = None
    lower: Callable | None = None


@dataclass(frozen=True, eq=False)
class Case:
    """One certified case; `id` is stable: "class/difficulty/instance".

    Attributes
    ----------
    problem : BilevelProblem
        NumPy oracles with all second derivatives (a solution map for the classes layer and combinatorial).
    functions : Functions or None
        The same problem as array-API functions.
    x : (n,) array
    reference : (n,) array or None
        The hypergradient, correctly rounded from 50 digits; None where the truth is a status.
    y, mu, nu : (m,), (k,), (l,) arrays
        The lower solution and its multipliers (a least-norm or zero choice where they are not unique).
    expected_status : str
        Code of the `Status` that an honest answer carries.
    condition : float
        2-norm condition number of g_yy, or of the KKT matrix of the active constraints.
    attainable_digits : float
        15.95 - log10(condition) - log10(cancellation).
    direct : (n,) array
        f_x at the solution.
    indirect_scale : float
        |g_xy| |v| (2-norms; L_xy and the active rows under constraints): the size of what is subtracted.
    objective : float
        f at the solution.
    generators : (s, n) array or None
        At a degenerate point, the gradients of the smooth pieces that meet there (vertices of the Clarke set).
    certificate : dict
        For an infeasible lower level, {"farkas": {"p": ..., "q": ...}}; for an unbounded one, {"ray": ..., "from": ...}.
    spec : mapping
        The content of the case's file.
    """

    id: str
    klass: str
    difficulty: str
    problem: BilevelProblem
    functions: Functions | None
    x: np.ndarray
    reference: np.ndarray | None
    y: np.ndarray
    mu: np.ndarray
    nu: np.ndarray
    expected_status: str
    condition: float
    attainable_digits: float
    direct: np.ndarray
    indirect_scale: float
    tags: frozenset
    description: str
    objective: float = np.nan
    generators: np.ndarray | None = None
    certificate: Mapping = field(default_factory=dict)
    spec: Mapping = field(default_factory=dict, repr=False)

    @property
    def margin(self):
        """Complementarity margin min_i max(mu_i, -p_i) (for a finite choice, the gap to the next point); inf without inequalities."""
        margin = self.spec.get("certified", {}).get("margin")
        return np.inf if margin is None else margin

    def __repr__(self):
        return f"<Case {self.id}: n={self.problem.n} m={self.problem.m} {self.expected_status}, {self.attainable_digits:.1f} digits>"

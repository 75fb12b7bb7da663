"""One convex program with exact derivatives in all its Parameters, no bilevel problem around it.

    solution = ConvexProgram(problem).solve()          # at the Parameters' values, or at solve({p: value})
    solution.vjp({y: y_bar}) -> {p: p_bar}             solution.jvp({p: dp}) -> {y: dy}

Matrix parameters declared symmetric, PSD or NSD get Frobenius gradients; conventions.py converts to those of
`problem.backward()` and of cvxpylayers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ...errors import ArgumentError, ShapeError
from ...results import LinearSolution, LowerSolution, _Outcome
from . import internals
from .assemble import solution_map


@dataclass(frozen=True, eq=False)
class ProgramSolution(_Outcome):
    """`values` {Variable: array}; `lower` the LowerSolution with residuals, multipliers, margin and status."""

    program: Any
    x: np.ndarray
    lower: LowerSolution

    @property
    def status(self):
        return self.lower.status

    @property
    def detail(self):
        return self.lower.detail

    @property
    def values(self):
        return self.program.by_leaf(self.program.map.lower, self.lower.y)

    def vjp(self, bars):
        """{Parameter: cotangent} for cotangents {Variable: array}; variables left out count as zero."""
        return self.adjoint(bars)[0]

    def adjoint(self, bars) -> tuple[dict, LinearSolution]:
        """(vjp, LinearSolution): with the residual of the adjoint system and the status it and the margin give."""
        y_bar = self.program.flat(self.program.map.lower, bars)
        x_bar, record = self.program.map.adjoint(self.x, self.lower, y_bar)
        return self.program.by_leaf(self.program.map.upper, x_bar), record

    def jvp(self, directions):
        """{Variable: direction} for directions {Parameter: array}; parameters left out stand still."""
        dx = self.program.flat(self.program.map.upper, directions)
        return self.program.by_leaf(self.program.map.lower, self.program.map.jvp(self.x, self.lower, dx))


class ConvexProgram:
    """A DPP (or mendable) cvxpy.Problem, canonicalised once.

    Parameters
    ----------
    problem : cvxpy.Problem
    parameters : list of cvxpy.Parameter, optional
        Those to differentiate in; all by default. The others keep the value they have now.
    solver : str
        Any installed CVXPY solver.
    """

    def __init__(self, problem, parameters=None, solver="CLARABEL"):
        parameters = problem.parameters() if parameters is None else list(parameters)
        if not parameters:
            raise ArgumentError("the problem has no cvxpy.Parameters to differentiate in")
        self.map, self._parameters = solution_map(problem, problem.variables(), parameters, solver=solver), parameters

    def solve(self, values=None):
        """The `ProgramSolution` at {Parameter: array}, by default (and where left out) at the Parameters' own values."""
        values = dict(values or {})
        known = {p.id for p in self._parameters}
        for parameter in values:
            if getattr(parameter, "id", None) not in known:
                raise ArgumentError(f"{parameter} is not a parameter of this program")
        arrays = {p: values[p] if p in values else internals.constant_value(p) for p in self._parameters}
        x = self.flat(self.map.upper, arrays)
        return ProgramSolution(self, x, self.map.solve(x))

    @staticmethod
    def by_leaf(layout, flat):
        """{leaf: array} from a flat vector."""
        arrays = layout.unpack(flat)
        return {leaf: arrays[leaf.id] for leaf in layout.leaves}

    @staticmethod
    def flat(layout, arrays):
        """A flat vector from {leaf: array}; leaves left out count as zero."""
        shaped = {}
        for leaf, array in arrays.items():
            array = np.asarray(array.toarray() if hasattr(array, "toarray") else array, float)
            if leaf.id not in {known.id for known in layout.leaves}:
                raise ArgumentError(f"{leaf} does not belong to this program")
            if array.shape != leaf.shape:
                raise ShapeError(f"{leaf.name()} must have shape {leaf.shape}, got {array.shape}")
            shaped[leaf.id] = array
        return layout.pack(shaped)

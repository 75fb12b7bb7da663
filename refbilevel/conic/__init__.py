"""Cone programs with their exact derivatives: min 1/2 x'Px + q'x  s.t.  A x + s = b, s in K; no modelling language in sight.

    theta -> ParametricProgram -> ConeProgram -> solver's (x, z) -> polish -> Point -> system -> adjoint or tangent
"""

from .point import Point, newton_step, polish
from .program import ConeProgram, Cones
from .projection import project_dual
from .solvers import Answer, clarabel, infeasibility, recession
from .system import METHODS, System, system
from .tensor import ParametricProgram

__all__ = [
    "METHODS", "Answer", "ConeProgram", "Cones", "ParametricProgram", "Point", "System",
    "clarabel", "infeasibility", "newton_step", "polish", "project_dual", "recession", "system",
]  # fmt: skip

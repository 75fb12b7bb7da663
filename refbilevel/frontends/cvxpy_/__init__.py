"""CVXPY: bilevel problems written in it (`from_cvxpy`), and programs with exact derivatives in all parameters (`ConvexProgram`)."""

from .assemble import ForgottenVariable, from_cvxpy
from .conventions import doubled_off_diagonals, frobenius, upper_triangle_only
from .program import ConvexProgram, ProgramSolution

__all__ = [
    "ConvexProgram", "ForgottenVariable", "ProgramSolution", "doubled_off_diagonals", "frobenius", "from_cvxpy", "upper_triangle_only",
]  # fmt: skip

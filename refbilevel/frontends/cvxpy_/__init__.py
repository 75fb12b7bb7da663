"""CVXPY: bilevel problems written in it (`from_cvxpy`), and programs with exact derivatives in all parameters (`ParametricSolution`)."""

from .assemble import ForgottenVariable, from_cvxpy
from .conventions import doubled_off_diagonals, frobenius, upper_triangle_only

__all__ = ["ForgottenVariable", "doubled_off_diagonals", "frobenius", "from_cvxpy", "upper_triangle_only"]

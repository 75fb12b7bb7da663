"""The lower level's KKT system: conditions, active sets, the matrix K and its solves, polish, and what holds at degenerate points."""

from .clarke import Clarke, ambiguous_rows, clarke_set, least_norm_weights, least_norm_with_cone
from .conditions import ActiveSet, active, classify, natural_residual, rows, rows_x, stationarity
from .directional import Direction, directional
from .local import Local, analyse, flat_direction
from .polish import Polished, newton_step, polish
from .solvers import least_squares, solve
from .system import System, build, inertia, rank, reduced_hessian
from .units import in_units, solution_in_units, unit

__all__ = [
    "ActiveSet", "Clarke", "Direction", "Local", "Polished", "System", "active", "ambiguous_rows", "analyse", "build", "clarke_set", "classify",
    "directional", "flat_direction", "in_units", "inertia", "least_norm_weights", "least_norm_with_cone", "least_squares", "natural_residual", "newton_step", "polish", "rank", "reduced_hessian",
    "rows", "rows_x", "solution_in_units", "solve", "stationarity", "unit",
]  # fmt: skip

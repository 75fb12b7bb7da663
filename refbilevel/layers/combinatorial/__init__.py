"""Discrete problems as layers: c -> argmin_{y in Y} c.y, and bilevel ones; gradients by interpolation, perturbation or identity.

The convention is argmin throughout: costs c, not scores. A solver is any callable c (d,) -> y (d,), deterministic in c.
"""

from .bilevel import BilinearBilevel
from .estimators import METHODS
from .interdiction import ShortestPathInterdiction
from .layer import CombinatorialLayer
from .solvers import Assignment, Enumeration, GridPath, IntegerProgram, Knapsack, ShortestPath, SpanningTree, TopK, TravellingSalesman

__all__ = [
    "Assignment", "BilinearBilevel", "CombinatorialLayer", "Enumeration", "GridPath", "IntegerProgram", "Knapsack", "METHODS", "ShortestPath",
    "ShortestPathInterdiction", "SpanningTree", "TopK", "TravellingSalesman",
]  # fmt: skip

"""What a lower solver is: `solve(problem, x, y0, *, tol, maxiter, **options) -> LowerSolution`, on a counted view.

`tol` bounds the residual (|g_y|, or the KKT residual); None means: until rounding stops the progress.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class LowerSolver:
    """One entry of the registry. `classes`: "smooth" (no constraints) and/or "constrained"."""

    name: str
    solve: Callable
    classes: tuple[str, ...] = ("smooth",)
    requires: tuple[str, ...] = ("g_y",)
    reference: str = ""

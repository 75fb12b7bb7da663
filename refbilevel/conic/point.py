"""A point of a cone program and its Newton polish on F(x, u) = 0 (see system.py).

From an interior-point solver's answer the (semismooth) Newton iteration converges quadratically, in one to three steps, to
rounding level, also where the solver itself called its answer inaccurate; for a quadratic program one step is the solve with
the active rows. The best iterate is kept, and its residual is measured, never assumed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .projection import project_dual
from .system import system

EPS = np.finfo(float).eps
STEPS = 12


@dataclass(frozen=True, eq=False)
class Point:
    """x (n,), u = z - s (k,), its projection `at`, |F|_inf before and after the polish, Newton steps taken."""

    program: Any
    x: np.ndarray
    u: np.ndarray
    at: Any
    residual: float
    residual_before: float
    steps: int

    @property
    def z(self):
        return self.at.z

    @property
    def s(self):
        return self.at.z - self.u


def optimality(program, x, u, at):
    """F = (Px + A'z + q, Ax + z - u - b)."""
    return program.P @ x + program.A.T @ at.z + program.q, program.A @ x + at.z - u - program.b


def polish(program, x, z, method="auto", steps=STEPS):
    """(best `Point` met by Newton from a solver's x (n,) and z (k,), the last `System` used if it is still that point's, or None)."""
    u = z - (program.b - program.A @ x)
    F, best = _at(program, x, u, 0)
    first, used, at = best.residual, None, best.at
    for step in range(1, steps + 1):
        if best.residual <= 2 * EPS * (1.0 + np.abs(x).max(initial=0.0) + np.abs(u).max(initial=0.0)) or not np.isfinite(best.residual):
            break
        last = best.residual
        if used is None or not _same(used.at, at):
            used = system(program, at, method)
        dx, du = used.tangent(-F[0], -F[1])
        x, u = x + dx, u + du
        if not (np.isfinite(x).all() and np.isfinite(u).all()):
            break
        F, point = _at(program, x, u, step)
        at = point.at
        if point.residual < best.residual:
            best = point
        if point.residual > 0.5 * last and best.residual <= 1e-12 * program.scale:
            break
    return replace(best, residual_before=first), used if used is not None and _same(used.at, best.at) else None


def _at(program, x, u, step):
    """(F, Point) at (x, u)."""
    at = project_dual(u, program.cones)
    F = optimality(program, x, u, at)
    size = max(np.abs(part).max(initial=0.0) for part in F)
    size = float(size) if np.isfinite(size) else np.inf
    return F, Point(program, x, u, at, size, size, step)


def _same(a, b):
    """True if two projections have the same derivative: a quadratic program's factor is good while its active rows stay."""
    return a.Q_transpose is None and b.Q_transpose is None and np.array_equal(a.d, b.d)

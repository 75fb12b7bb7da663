"""A point of a cone program and its Newton polish on F(x, u) = 0 (see system.py).

From an interior-point solver's answer the (semismooth) Newton iteration converges quadratically, in one to three steps, to
rounding level, also where the solver itself called its answer inaccurate; for a quadratic program one step is the solve with
the active rows. The best iterate is kept, and its residual is measured, never assumed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
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

    @cached_property
    def margins(self):
        """(k,): max(z_i |a_i|, s_i / |a_i|) for nonnegative rows a_i, so that scaling a row changes nothing; inf elsewhere."""
        cones, A = self.program.cones, self.program.A
        rows = slice(cones.zero, cones.zero + cones.nonneg)
        norms = np.sqrt(np.bincount(A.indices, A.data * A.data, A.shape[0]))[rows]
        norms = np.where(norms > 0.0, norms, 1.0)
        margins = np.full(self.u.size, np.inf)
        margins[rows] = np.maximum(self.z[rows] * norms, self.s[rows] / norms)
        return margins

    @property
    def margin(self):
        """Distance from a point where the solution is not differentiable; 0 where strict complementarity fails."""
        return min(float(self.margins.min(initial=np.inf)), self.at.cone_margin)


def optimality(program, x, u, at):
    """(F_x, F_u) = (Px + A'z + q, Ax + z - u - b), and whether each entry is at the rounding level of its own terms."""
    Px, Az, Ax, s = program.P @ x, program.A.T @ at.z, program.A @ x, at.z - u
    F_x, F_u = Px + Az + program.q, Ax + s - program.b
    level_x = np.abs(Px) + np.abs(Az) + np.abs(program.q)
    level_u = np.abs(Ax) + np.abs(s) + np.abs(program.b)
    settled = (np.abs(F_x) <= 4 * EPS * level_x).all() and (np.abs(F_u) <= 4 * EPS * level_u).all()
    return (F_x, F_u), bool(settled)


def polish(program, x, z, method="auto", steps=STEPS):
    """(best `Point` met by Newton from a solver's x (n,) and z (k,), the last `System` used if it is still that point's, or None)."""
    F, settled, point = _at(program, x, z - (program.b - program.A @ x), 0)
    best, first, used = point, point.residual, None
    for step in range(1, steps + 1):
        if settled or not np.isfinite(point.residual):
            break
        if used is None or not _same(used.at, point.at):
            used = system(program, point.at, method)
        dx, du = used.tangent(-F[0], -F[1])
        if not (np.isfinite(dx).all() and np.isfinite(du).all()):
            break
        last = point.residual
        F, settled, point = _at(program, point.x + dx, point.u + du, step)
        if point.residual < best.residual:
            best = point
        if point.residual > 0.5 * last and best.residual <= 1e-12 * program.scale:
            break
    return replace(best, residual_before=first), used if used is not None and _same(used.at, best.at) else None


def newton_step(point, system):
    """The `Point` one Newton step on from `point`, whose `System` this is."""
    F, _, _ = _at(point.program, point.x, point.u, point.steps)
    dx, du = system.tangent(-F[0], -F[1])
    return _at(point.program, point.x + dx, point.u + du, point.steps + 1)[2]


def _at(program, x, u, step):
    """(F, settled, Point) at (x, u)."""
    at = project_dual(u, program.cones)
    F, settled = optimality(program, x, u, at)
    size = max(np.abs(part).max(initial=0.0) for part in F)
    size = float(size) if np.isfinite(size) else np.inf
    return F, settled, Point(program, x, u, at, size, size, step)


def _same(a, b):
    """True if two projections have the same derivative: a quadratic program's factor is good while its active rows stay."""
    return a.Q_transpose is None and b.Q_transpose is None and np.array_equal(a.d, b.d)

"""Interior-point answers for a cone program: Clarabel directly; `Answer.ray` certifies infeasibility or unboundedness.

Farkas: z in K*, A'z = 0, b'z < 0 proves that no x is feasible; recession: Px = 0, -Ax in K, q'x < 0 that the objective has no
bound. Both are checked here with our own projection, whatever the solver calls them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from .projection import project_dual

#: relative violation up to which a ray is accepted as a certificate
RAY = 1e-6


@dataclass(frozen=True, eq=False)
class Answer:
    """What a solver said: x (n,), z (k,) (not finite: nothing), its own word, iterations."""

    x: np.ndarray
    z: np.ndarray
    word: str
    iterations: int
    solver: str


def clarabel(program, tol=1e-10, maxiter=200):
    """Clarabel at feasibility and gap tolerance `tol`."""
    import clarabel as engine

    settings = engine.DefaultSettings()
    settings.verbose = False
    settings.max_iter = maxiter
    settings.tol_gap_abs = settings.tol_gap_rel = settings.tol_feas = tol
    settings.presolve_enable = False
    P = sparse.triu(program.P, format="csc") if program.upper is None else program.upper
    solution = engine.DefaultSolver(P, program.q, program.A, program.b, _cones(engine, program.cones), settings).solve()
    return Answer(np.asarray(solution.x), np.asarray(solution.z), str(solution.status), int(solution.iterations), "CLARABEL")


def _cones(engine, cones):
    found = [engine.ZeroConeT(cones.zero)] if cones.zero else []
    found += [engine.NonnegativeConeT(cones.nonneg)] if cones.nonneg else []
    found += [engine.SecondOrderConeT(k) for k in cones.soc] + [engine.PSDTriangleConeT(k) for k in cones.psd]
    found += [engine.ExponentialConeT()] * cones.exp
    for a in cones.power:
        found.append(engine.PowerConeT(a[0]) if len(a) == 2 else engine.GenPowerConeT(list(a), 1))
    return found


def infeasibility(program, z):
    """A Farkas ray z with b'z = -1 if z is one to relative accuracy RAY, else None."""
    gain = -float(program.b @ z) if np.isfinite(z).all() else 0.0
    if not gain > 0.0:
        return None
    z = project_dual(z / gain, program.cones).z
    left = np.abs(program.A.T @ z).max(initial=0.0) + abs(program.b @ z + 1.0)
    size = 1.0 + np.abs(z).max() * (np.abs(program.A.data).max(initial=0.0) if program.A.nnz else 0.0)
    return z if left <= RAY * min(size, 1e3) else None


def recession(program, x):
    """A ray x with q'x = -1 along which the objective falls for ever, to relative accuracy RAY, else None."""
    gain = -float(program.q @ x) if np.isfinite(x).all() else 0.0
    if not gain > 0.0:
        return None
    x = x / gain
    step = -(program.A @ x)
    outside = project_dual(-step, program.cones).z  # Pi_{K*}(-s) = Pi_K(s) - s, zero exactly on K
    left = np.abs(program.P @ x).max(initial=0.0) + np.abs(outside).max(initial=0.0)
    return x if left <= RAY * min(1.0 + np.abs(x).max(), 1e3) else None

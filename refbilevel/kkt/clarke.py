"""The Clarke set of F(x) = f(x, y*(x)) where rows are weakly active: its generators and the element of least norm.

With k weakly active rows, each subset S of them held gives a branch y_S(x) of the solution and a gradient

    grad_S = f_x - N_S' K_S^{-1} (f_y; 0)          (K_S: the strong rows, S and q),

and the Clarke set is the convex hull of those branches that neighbours of x realise: of 2^k subsets, the ones for which some
direction d makes every held multiplier and every free slack grow. The least-norm element is zero exactly where x is
Clarke stationary, and minus it is a descent direction (Goldstein). Xu & Zhu, arXiv 2302.01970; Scheel & Scholtes, Math. Oper. Res. 25.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from scipy.optimize import nnls

from . import conditions
from .directional import directional
from .polish import solve_symmetric
from .system import build

MAX_WEAK = 10


@dataclass(frozen=True, eq=False)
class Clarke:
    """`generators` (j, n) with the rows each holds; `adjoints` (j, m); `weights` (j,) of the least-norm element; `capped` says so."""

    generators: np.ndarray
    adjoints: np.ndarray
    held: tuple
    weights: np.ndarray
    capped: bool

    @property
    def least_norm(self):
        """(n,) the element of least norm in the hull of the generators."""
        return self.weights @ self.generators

    @property
    def spread(self):
        """Largest distance between two generators."""
        return float(np.linalg.norm(self.generators - self.generators[0], axis=1).max())


def least_norm_weights(points):
    """Weights on the simplex of the least-norm point of conv{points}, points (j, n).

    min |P'u|^2 + (1 - sum u)^2 over u >= 0 has the minimiser t w with w the weights sought: one non-negative least squares.
    """
    points = np.atleast_2d(points)
    scale = max(np.abs(points).max(initial=0.0), np.finfo(float).tiny)
    E = np.vstack([points.T / scale, np.ones(len(points))])
    u, _ = nnls(E, np.append(np.zeros(points.shape[1]), 1.0))
    return u / u.sum()


def least_norm_with_cone(points, rays):
    """(weights (j,), element (n,)): the least-norm point of conv{points} + cone{rays}, by the same least squares problem."""
    points = np.atleast_2d(points)
    scale = max(np.abs(points).max(initial=0.0), np.finfo(float).tiny)
    E = np.vstack([np.vstack([points / scale, rays]).T, np.append(np.ones(len(points)), np.zeros(len(rays)))])
    u, _ = nnls(E, np.append(np.zeros(points.shape[1]), 1.0))
    u /= u[: len(points)].sum()
    return u[: len(points)], scale * (E[:-1] @ u)


def clarke_set(problem, local, f_x, f_y, ambiguous=None, max_weak=MAX_WEAK, realised_only=True):
    """Generators over the subsets of `ambiguous` rows (default: the weakly active ones) and their least-norm element.

    More than `max_weak` ambiguous rows, or dependent ones: the branches realised along coordinate and random directions instead.
    """
    rows = local.sets.weak if ambiguous is None else np.asarray(ambiguous, int)
    base = np.setdiff1d(local.sets.strong, rows)
    capped = rows.size > max_weak
    if not local.independent:  # which multipliers live depends on the direction, and so does the set of rows held
        rows, base = local.near, np.zeros(0, int)
    if capped or not local.independent:
        subsets = _sampled(problem, local, base, directions=4 * rows.size + 32)
    else:
        subsets = [np.array(S, int) for size in range(rows.size + 1) for S in combinations(rows, size)]
    branches = [_branch(problem, local, f_x, f_y, base, rows, S) for S in subsets]
    branches = [b for b in branches if b is not None]
    realised = [b for b in branches if b[3]] if realised_only else branches
    branches = realised or branches
    if not branches:
        return None
    gradients, adjoints = np.array([b[0] for b in branches]), np.array([b[1] for b in branches])
    return Clarke(gradients, adjoints, tuple(b[2] for b in branches), least_norm_weights(gradients), capped)


def ambiguous_rows(problem, local, epsilon):
    """(rows, nearness): rows whose status may change within `epsilon` of x, nearest first, to first order in x.

    Row j is ambiguous if epsilon |d mu_j/dx| > mu_j (active) or epsilon |d p_j/dx| > -p_j (inactive, along y*); nearness is the ratio
    mu_j / |d mu_j/dx|, an estimate of the distance in x to the kink, zero for weakly active rows.
    """
    S = local.system
    K = conditions.dense(S.matrix() if S.explicit else S.operator())
    dy, dmu, _ = S.split(-solve_symmetric(K, S.N(np.eye(local.x.size))))
    at = conditions.rows(problem, local.x, local.y)
    p_x, _ = conditions.rows_x(problem, local.x, local.y)
    dp = conditions.dense(p_x) + conditions.dense(at.p_y) @ dy
    distance = np.full(at.p.size, np.inf)
    strong, inactive = local.sets.strong, local.sets.inactive
    with np.errstate(divide="ignore", invalid="ignore"):
        distance[strong] = local.mu[strong] / np.linalg.norm(dmu[strong], axis=1)
        distance[inactive] = -at.p[inactive] / np.linalg.norm(dp[inactive], axis=1)
    distance[local.sets.weak] = 0.0
    rows = np.flatnonzero((distance < epsilon) | (distance == 0))
    rows = rows[np.argsort(distance[rows], kind="stable")]
    return rows, distance[rows]


def _branch(problem, local, f_x, f_y, base, rows, held):
    """(gradient, adjoint, held rows, realised) of one branch, None where its system is singular."""
    J = np.union1d(base, held).astype(int)
    S = build(problem, local.x, local.y, local.mu, local.nu, J)
    K = conditions.dense(S.matrix() if S.explicit else S.operator())
    right = S.rhs(f_y)
    solved = solve_symmetric(K, np.column_stack([right, S.N(np.eye(f_x.size))]))
    if np.linalg.norm(K @ solved - np.column_stack([right, S.N(np.eye(f_x.size))])) > 1e-8 * (1 + np.abs(right).max()):
        return None
    w, z = solved[:, 0], -solved[:, 1:]
    return f_x - S.N_transpose(w), w[: S.m], J, _realised(problem, local, S, z, rows, held)


def _realised(problem, local, S, z, rows, held):
    """Is there a direction along which each held row's multiplier and each free row's slack grow?  (0 not in their hull.)

    A row that no direction moves, on this branch, stays weakly active all along it and asks for nothing.
    """
    if not rows.size:
        return True
    dy, dmu, _ = S.split(z)
    at = conditions.rows(problem, local.x, local.y)
    p_x, _ = conditions.rows_x(problem, local.x, local.y)
    free = np.setdiff1d(rows, held)
    growth = np.vstack([dmu[held], -(conditions.dense(p_x)[free] + conditions.dense(at.p_y)[free] @ dy)])
    lengths = np.linalg.norm(growth, axis=1)
    moved = lengths > 1e-12 * (1 + lengths.max())
    growth = growth[moved] / lengths[moved, None]
    return not moved.any() or bool(np.linalg.norm(least_norm_weights(growth) @ growth) > 1e-9)


def _sampled(problem, local, base, directions):
    """Distinct sets of rows beyond `base` held along +-e_i and random directions (fixed seed, so the answer is the same each time)."""
    n = local.x.size
    random = np.random.default_rng(0).standard_normal((directions, n))
    axes = np.vstack([np.eye(n), -np.eye(n)]) if n <= 32 else np.zeros((0, n))
    found = {}
    for d in np.vstack([axes, random]):
        step = directional(problem, local, d)
        if step.exists:
            J = np.setdiff1d(step.J, base)
            found[tuple(J)] = J
    return list(found.values())

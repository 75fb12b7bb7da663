"""Several followers that do not interact are one lower level: y = (y_1, ..., y_r), g(x, y) = sum_i g_i(x, y_i).

Each follower i minimises its own g_i(x, y_i) under its own rows p_i, q_i, so the joint minimiser is the tuple of the single
ones, g_yy is block diagonal, and the multipliers are stacked. The upper objective of the joint problem is sum_i f_i(x, y_i)
unless another is given; upper rows are stacked and bounds on x intersected.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import LinearOperator

from ..errors import ArgumentError
from ..problem import BilevelProblem, Constraints, UpperConstraints
from .quadratic_bilevel import Level, Quadratic, QuadraticBilevel, QuadraticPlus, Rows

_UPPER = ("f", "f_x", "f_y", "f_xx", "f_xy", "f_yy")
_LOWER = ("g", "g_x", "g_y", "g_xx", "g_xy", "g_yy")


def join_followers(followers, *, upper=None, upper_constraints=None, bounds=None, name=""):
    """One problem of several followers over the same x.

    Parameters
    ----------
    followers : list of BilevelProblem
        Each with its own y_i (m_i,), lower objective and lower constraints, all with the same n. If all are
        `QuadraticBilevel`, so is the result.
    upper : dict or (Q, c, const), optional
        The leader's objective over (x, y), y stacked: oracles {"f": ..., "f_x": ..., "f_y": ...} or, for quadratic
        problems, matrices. The default is the sum of the followers' f_i(x, y_i).
    upper_constraints : UpperConstraints, optional
        Replaces the followers' stacked upper rows (not for quadratic problems: give rows to the followers).
    bounds : (lo, hi), optional
        Further bounds on x.

    Raises
    ------
    ArgumentError
        No followers, different n, or one that owns its lower level whole (solution_map).
    """
    followers = list(followers)
    if not followers or not all(isinstance(p, BilevelProblem) for p in followers):
        raise ArgumentError("join_followers needs a list of at least one BilevelProblem")
    if len({p.n for p in followers}) > 1:
        raise ArgumentError(f"join_followers: every follower must have the same n, got {[p.n for p in followers]}")
    if any(p.solution_map is not None or p.g is None for p in followers):
        raise ArgumentError("join_followers: every follower must give its lower objective g, not a solution_map")
    bounds = _intersect([p.bounds for p in followers] + [bounds], followers[0].n)
    if all(isinstance(p, QuadraticBilevel) for p in followers) and not isinstance(upper, dict) and upper_constraints is None:
        return _join_quadratic(followers, upper, bounds, name)
    return _join_general(followers, upper, upper_constraints, bounds, name)


def _intersect(pairs, n):
    given = [(np.broadcast_to(lo, (n,)), np.broadcast_to(hi, (n,))) for lo, hi in (p for p in pairs if p is not None)]
    if not given:
        return None
    return np.max([lo for lo, _ in given], axis=0), np.min([hi for _, hi in given], axis=0)


def _offsets(followers):
    return np.cumsum([0] + [p.m for p in followers])


# quadratic -----------------------------------------------------------------------------------------------------------


def _places(n, start, m):
    """Where follower (x, y_i)'s coordinates stand in the joint z."""
    return np.concatenate([np.arange(n), np.arange(n + start, n + start + m)])


def _spread(matrix, place, N):
    full = np.zeros((N, N))
    full[np.ix_(place, place)] = matrix
    return full


def _sum(quadratics, places, n, N):
    Q, c = np.zeros((N, N)), np.zeros(N)
    for q, place in zip(quadratics, places):
        Q += _spread(q.Q, place, N)
        c[place] += q.c
    const = sum(q.const for q in quadratics)
    extras = tuple(q.extra for q in quadratics if isinstance(q, QuadraticPlus))
    return QuadraticPlus(Q, c, const, n, Extras(extras)) if extras else Quadratic(Q, c, const, n)


@dataclass(frozen=True, eq=False)
class Extras:
    """The sum of the followers' terms in x alone."""

    parts: tuple

    def value(self, x, y):
        return sum(part.value(x, y) for part in self.parts)

    def x(self, x, y):
        return sum(part.x(x, y) for part in self.parts)

    def xx(self, x, y):
        return sum(part.xx(x, y) for part in self.parts)


def _stack(rows, places, n, N):
    A, quadratic, first = np.zeros((sum(map(len, rows)), N)), [], 0
    for r, place in zip(rows, places):
        A[first : first + len(r), place] = r.A
        quadratic += [(first + i, _spread(Q, place, N)) for i, Q in r.quadratic]
        first += len(r)
    return Rows(A, np.concatenate([r.b for r in rows]), n, tuple(quadratic))


def _join_quadratic(followers, upper, bounds, name):
    n, at = followers[0].n, _offsets(followers)
    N = n + at[-1]
    places = [_places(n, start, p.m) for p, start in zip(followers, at)]
    levels = [
        Level(
            _sum([level.objective for level in side], places, n, N),
            _stack([level.inequalities for level in side], places, n, N),
            _stack([level.equalities for level in side], places, n, N),
        )
        for side in ([p.upper for p in followers], [p.lower for p in followers])
    ]
    if upper is not None:
        m = int(at[-1])
        objective = QuadraticBilevel(n=n, m=m, upper=upper, lower=(None, None)).upper.objective
        levels[0] = Level(objective, levels[0].inequalities, levels[0].equalities)
    return QuadraticBilevel.from_levels(n, int(at[-1]), *levels, bounds=bounds, name=name)


# general -------------------------------------------------------------------------------------------------------------


def _dense(matrix):
    if sparse.issparse(matrix):
        return matrix.toarray()
    return matrix @ np.eye(matrix.shape[1]) if isinstance(matrix, LinearOperator) else np.asarray(matrix, float)


@dataclass(frozen=True, eq=False)
class Joined:
    """Oracle `name` of the joint problem from each follower's; `kind` says how the parts combine."""

    parts: tuple
    offsets: tuple
    kind: str  # "sum", "stack", "side" (blocks side by side), "diagonal"

    def __call__(self, x, y):
        values = [_dense(part(x, y[a:b])) for part, a, b in zip(self.parts, self.offsets, self.offsets[1:])]
        if self.kind == "sum":
            return sum(values)
        if self.kind == "diagonal":
            return np.asarray(sparse.block_diag(values).toarray())
        return np.concatenate(values, axis=0 if self.kind == "stack" else 1)


@dataclass(frozen=True, eq=False)
class JoinedLagrangian:
    """Multiplier-weighted second derivatives: each follower's block with its own multipliers."""

    parts: tuple  # (oracle or None, k_i, l_i) per follower; None where the rows are linear
    offsets: tuple
    n: int
    kind: str

    def __call__(self, x, y, mu, nu):
        values, k, l = [], 0, 0
        for (part, p, q), a, b in zip(self.parts, self.offsets, self.offsets[1:]):
            p, q = p(x, y[a:b]), q(x, y[a:b])
            shape = {"sum": (self.n, self.n), "side": (self.n, b - a), "diagonal": (b - a, b - a)}[self.kind]
            values.append(np.zeros(shape) if part is None else _dense(part(x, y[a:b], mu[k : k + p], nu[l : l + q])))
            k, l = k + p, l + q
        if self.kind == "sum":
            return sum(values)
        return np.concatenate(values, axis=1) if self.kind == "side" else np.asarray(sparse.block_diag(values).toarray())


_KINDS = {"": "sum", "_x": "sum", "_y": "stack", "_xx": "sum", "_xy": "side", "_yy": "diagonal"}


def _combined(records, names, offsets, kinds):
    """{name: Joined} for every oracle that all records have."""
    return {
        name: Joined(tuple(getattr(r, name) for r in records), offsets, kinds[name[1:]])
        for name in names
        if all(getattr(r, name) is not None for r in records)
    }


@dataclass(frozen=True, eq=False)
class Count:
    """Number of rows of an oracle, 0 if absent."""

    oracle: object

    def __call__(self, x, y):
        return 0 if self.oracle is None else len(self.oracle(x, y))


@dataclass(frozen=True, eq=False)
class Absent:
    """Rows, or a derivative of rows, that one follower does not have: zeros of the shape the others need."""

    rows: Count
    columns: int | None

    def __call__(self, x, y):
        k = self.rows(x, y)
        return np.zeros(k) if self.columns is None else np.zeros((k, self.columns))


def _row_oracles(records, letter, offsets, n):
    """{p, p_x, p_y} stacked over followers, with empty rows for those that have none; {} if none has any."""
    if not any(r is not None and getattr(r, letter) is not None for r in records):
        return {}
    sizes = np.diff(offsets)
    oracles = {}
    for suffix, columns, kind in (("", lambda m: None, "stack"), ("_x", lambda m: n, "stack"), ("_y", lambda m: m, "diagonal")):
        parts = [
            getattr(r, letter + suffix, None) or Absent(Count(getattr(r, letter, None)), columns(m)) for r, m in zip(records, sizes)
        ]
        oracles[letter + suffix] = Joined(tuple(parts), offsets, kind)
    return oracles


def _join_constraints(followers, offsets):
    records = [p.constraints for p in followers]
    n = followers[0].n
    rows = _row_oracles(records, "p", offsets, n) | _row_oracles(records, "q", offsets, n)
    if not rows:
        return None
    lagrangians = {}
    for suffix, kind in (("yy", "diagonal"), ("xy", "side"), ("xx", "sum")):
        given = [getattr(r, f"lagrangian_{suffix}", None) for r in records]
        if all(part is not None or r is None or r.linear for part, r in zip(given, records)):
            parts = tuple((o, Count(getattr(r, "p", None)), Count(getattr(r, "q", None))) for o, r in zip(given, records))
            lagrangians[f"lagrangian_{suffix}"] = JoinedLagrangian(parts, offsets, n, kind)
    return Constraints(**rows, **lagrangians, linear=all(r is None or r.linear for r in records))


def _join_general(followers, upper, upper_constraints, bounds, name):
    offsets = tuple(int(a) for a in _offsets(followers))
    if upper is not None and not isinstance(upper, dict):
        raise ArgumentError("join_followers: upper must be a dict of oracles unless every follower is a QuadraticBilevel")
    unknown = set(upper or {}) - set(_UPPER)
    if unknown:
        raise ArgumentError(f"join_followers: upper may name {', '.join(_UPPER)}, got {', '.join(sorted(unknown))}")
    objective = _combined(followers, _UPPER, offsets, _KINDS) if upper is None else dict(upper)
    if upper_constraints is None:
        records, n = [p.upper_constraints for p in followers], followers[0].n
        rows = _row_oracles(records, "G", offsets, n) | _row_oracles(records, "H", offsets, n)
        upper_constraints = UpperConstraints(**rows) if rows else None
    return BilevelProblem(
        n=followers[0].n, m=offsets[-1], name=name, bounds=bounds, **objective, **_combined(followers, _LOWER, offsets, _KINDS),
        constraints=_join_constraints(followers, offsets), upper_constraints=upper_constraints,
    )  # fmt: skip

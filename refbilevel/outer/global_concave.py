"""Nonconvex objectives: a lower bound by secants on the directions of negative curvature, and the split that improves it.

On the affine hull of a node, w = w0 + N u with N an orthonormal basis of the equations' null space, the objective's curvature is
H = N'QN = H_+ - sum_j lambda_j u_j u_j' with lambda_j > 0. (Often none is left: the lower level's stationarity is among the
equations, and x -> F(x, y*(x)) may be convex where F(x, y) is not.) With t_j = u_j'u in [l_j, h_j], found by linear programs,

    -t^2 >= -(l + h) t + l h,      error (t - l)(h - t) <= (h - l)^2 / 4,

so replacing every concave square by its secant gives a convex program whose value is a lower bound. Splitting at t = t* makes
the secant exact there on both sides, and the bound converges quadratically with the width.
Reference: Pardalos & Rosen (1986), Methods for global concave minimization, SIAM Review 28(3), sec. 3.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from . import global_convex
from .global_convex import Answer, Program


@dataclass(frozen=True, eq=False)
class Reduced:
    """A program on its affine hull: w = origin + basis u; `concave` holds (lambda_j, u_j) in the columns of `directions`."""

    program: Program
    origin: np.ndarray
    basis: np.ndarray
    convex: np.ndarray
    curvature: np.ndarray
    directions: np.ndarray

    def lift(self, u):
        return self.origin + self.basis @ u


def reduce(program):
    """`program` without its equations, or None if they contradict each other."""
    fixed = program.lo == program.hi
    eye = np.eye(len(program.c))
    E, d = np.vstack([program.E, eye[fixed]]), np.append(program.d, program.lo[fixed])
    _, values, vt = np.linalg.svd(E)
    rank = int((values > 1e-11 * max(1.0, values.max(initial=0.0))).sum())
    origin = np.linalg.lstsq(E, d, rcond=1e-11)[0] if len(E) else np.zeros(len(program.c))
    if np.abs(E @ origin - d).max(initial=0.0) > 1e-8 * (1.0 + np.abs(d).max(initial=0.0)):
        return None
    basis = vt[rank:].T
    low, high = np.isfinite(program.lo) & ~fixed, np.isfinite(program.hi) & ~fixed
    A = np.vstack([program.A, -eye[low], eye[high]])
    b = np.concatenate([program.b, -program.lo[low], program.hi[high]])
    size = basis.shape[1]
    small = Program(
        basis.T @ program.Q @ basis, basis.T @ (program.Q @ origin + program.c), program.objective(origin), A @ basis, b - A @ origin,
        np.zeros((0, size)), np.zeros(0), np.full(size, -np.inf), np.full(size, np.inf),
    )  # fmt: skip
    values, vectors = np.linalg.eigh(small.Q) if size else (np.zeros(0), np.zeros((0, 0)))
    negative = values < -1e-10 * max(1.0, np.abs(values).max(initial=0.0))
    convex = (vectors * np.where(negative, 0.0, np.maximum(values, 0.0))) @ vectors.T
    return Reduced(small, origin, basis, convex, -values[negative], vectors[:, negative])


@dataclass(frozen=True, eq=False)
class Relaxed:
    """A node's bound and point, and the splits on offer: (error, v, t) for the cuts v'w <= t and v'w >= t.

    `ray` is a direction along which the objective falls for ever, where one was found.
    """

    answer: Answer
    splits: tuple = ()
    ray: np.ndarray | None = None


def relax(program):
    """The secant relaxation of a program with a nonconvex objective."""
    if global_convex.is_feasible(program) is False:
        return Relaxed(Answer("infeasible", bound=np.inf))
    reduced = reduce(program)
    if reduced is None:
        return Relaxed(Answer("failed"))
    if not len(reduced.curvature):
        return _convex(reduced)
    ranges = [_range(reduced.program, v) for v in reduced.directions.T]
    if any(r is None for r in ranges):
        return Relaxed(Answer("failed"))
    if not all(np.isfinite(r).all() for r in ranges):
        return Relaxed(Answer("unbounded"), ray=_falling(reduced))
    return _secants(reduced, np.array(ranges))


def _convex(reduced):
    convex = replace(reduced.program, Q=reduced.convex)
    answer = global_convex.solve(convex)
    if answer.w is not None:
        answer = replace(answer, w=reduced.lift(answer.w))
    ray = None
    if answer.outcome == "unbounded" and (v := global_convex.recession(convex)) is not None:
        ray = reduced.basis @ v
    return Relaxed(answer, ray=ray)


def _range(program, v):
    """(min, max) of v'u over the rows; None if the linear programs fail."""
    ends = []
    for sign in (1.0, -1.0):
        result = global_convex.linear_program(program, sign * v)
        if result is None or result.status not in (0, 3):
            return None
        ends.append(sign * result.fun if result.status == 0 else -sign * np.inf)
    return ends


def _falling(reduced):
    """A recession direction d with d'Hd < 0, among the most concave ones in each direction; None if none is seen."""
    program = reduced.program
    cone = replace(program, b=np.zeros(len(program.b)), lo=np.full(len(program.c), -1.0), hi=np.ones(len(program.c)))
    for v in reduced.directions.T:
        for sign in (1.0, -1.0):
            result = global_convex.linear_program(cone, sign * v)
            if result is not None and result.status == 0:
                d = result.x
                slope = d @ program.Q @ d
                if slope < -1e-8 * max(1.0, np.abs(program.Q).max()) * (d @ d) and d @ d > 1e-12:
                    return reduced.basis @ d
    return None


def _secants(reduced, ranges):
    l, h, lam, V = ranges[:, 0], ranges[:, 1], reduced.curvature, reduced.directions
    h = np.maximum(h, l)
    c = reduced.program.c - V @ (0.5 * lam * (l + h))
    under = replace(reduced.program, Q=reduced.convex, c=c, const=reduced.program.const + 0.5 * float(lam @ (l * h)))
    answer = global_convex.solve(under)
    if answer.w is None:
        return Relaxed(answer)
    t = V.T @ answer.w
    errors = 0.5 * lam * np.maximum((t - l) * (h - t), 0.0)
    at = np.where((t - l < 0.05 * (h - l)) | (h - t < 0.05 * (h - l)), 0.5 * (l + h), t)
    splits = tuple((float(e), reduced.basis @ v, float(s + (reduced.basis @ v) @ reduced.origin)) for e, v, s in zip(errors, V.T, at))
    return Relaxed(replace(answer, w=reduced.lift(answer.w)), splits)


def descend(program, w, rounds=60):
    """A local minimum from w by the concave-convex procedure: the concave part is replaced by its tangent, again and again.

    Every tangent lies above, so F never rises. Returns an `Answer` whose bound says nothing.
    """
    reduced = reduce(program)
    if reduced is None:
        return Answer("failed")
    V, lam = reduced.directions, reduced.curvature
    u, best = reduced.basis.T @ (w - reduced.origin), Answer("failed")
    for _ in range(rounds):
        tangent = replace(reduced.program, Q=reduced.convex, c=reduced.program.c - V @ (lam * (V.T @ u)))
        answer = global_convex.solve(tangent)
        if answer.w is None:
            return best
        u, value = answer.w, reduced.program.objective(answer.w)
        if value >= best.value - 1e-13 * (1.0 + abs(value)):
            return best
        best = Answer("optimal", reduced.lift(u), value)
    return _sharpen(reduced, best, u)


def _sharpen(reduced, best, u):
    """Newton on the active rows where the procedure converges slowly: a stationary point to rounding level."""
    program = reduced.program
    slack = program.b - program.A @ u
    polished = global_convex.polish(program, program.A, program.b, u, np.where(slack < 1e-5, 2e-5, 0.0))
    if polished is None or program.objective(polished) > best.value:
        return best
    return Answer("optimal", reduced.lift(polished), program.objective(polished))

"""The single-loop stochastic family on finite sums; one line of mathematics each, the steps in kernels/finite_sum.py.

    soba      D_y = g_y,  D_v = g_yy v - f_y,  D_x = f_x - g_xy v  moved at once, steps ~ k^-1/2            Dagreou et al. 2022, alg. 1
    saba      the same with SAGA's variance reduction, constant steps                                      Dagreou et al. 2022, alg. 2
    fsla      one step on y and v, momentum on x, steps ~ k^-1/2                                            Li, Gu & Huang 2022, alg. 1
    stocbio   T steps on y, an S-term Neumann product with fresh batches, one step on x                    Ji, Yang & Liang 2021, alg. 2
    ttsa      two time scales, k^-2/5 for y and k^-3/5 for x, a random Neumann term for v                  Hong et al. 2023, alg. 1

Batches of `batch` terms are drawn anew for each step, or with batches="fixed" once for the run: quadratic terms are then averaged within
each batch before it, and a step reads one averaged term.

One iteration is `inner` steps of x in one kernel call; after each the hypergradient is evaluated exactly, for the history and the stop only.
`rng` makes a run reproducible. Fixed points of soba, saba and fsla are exact stationary points; the others keep a bias of their series.
"""

from __future__ import annotations

import numpy as np

from ..errors import ArgumentError, unknown
from ..kernels import finite_sum as kernels
from ..problems.design import threads_for
from ..problems.finite_sum import QUADRATIC, batch_means
from ..results import Status
from .protocol import OuterMethod, Outcome
from .single_loop import outer_curvature


class _State:
    """x, y, v and the data of one run."""

    def __init__(self, objective, x0, step_x, step_y, rng, batch, batches):
        problem = objective.problem
        if not hasattr(problem, "terms"):
            raise ArgumentError("the stochastic methods need a finite sum: build the problem with problems.finite_sum_quadratic or finite_sum_logistic")
        if batches not in ("drawn", "fixed"):
            raise unknown("batches", batches, ("drawn", "fixed"))
        self.rng, self.batch, self.k = np.random.default_rng(rng), batch, 0
        if batches == "fixed":
            problem, self.batch = batch_means(problem, batch, self.rng), 1
        self.problem, self.lo, self.hi = problem, objective.lo, objective.hi
        self.x, self.y, self.v = x0.copy(), objective.start.copy(), np.zeros(problem.m)
        self.step_y = 1.0 / _largest(problem) if step_y is None else step_y
        self.step_x = 0.1 / outer_curvature(objective, x0) if step_x is None else step_x

    @property
    def data(self):
        return (self.problem.kind, *self.problem.terms, self.x, self.y, self.v, self.lo, self.hi)

    @property
    def threads(self):
        """As many as one step's entries are worth."""
        A, B = self.problem.terms[:2]
        return threads_for(self.batch * (A[0].size + B[0].size if self.problem.kind == QUADRATIC else A.shape[2]))

    def draw(self, which, rows):
        return self.rng.integers(self.problem.sizes[which], size=(rows, self.batch))


def _largest(problem, sample=64):
    """L: the largest curvature of a single term (of up to `sample` of them), what a stochastic step must respect."""
    A = problem.terms[0]
    if problem.kind == 0:
        return float(max(np.linalg.norm(a, 2) for a in A[:sample]))
    return 0.25 * float((A[0] ** 2).sum(axis=1).max()) + 1.0


def _iterate(objective, x0, move, tol, maxiter, state):
    objective.record(x0)
    for iteration in range(1, maxiter + 1):
        move(state)
        if not (np.isfinite(state.x).all() and np.isfinite(state.y).all()):
            return Outcome(objective.history[-1].x, Status.DIVERGED, "Pass smaller step_x or step_y.", iteration)
        if objective.record(state.x.copy()).projected_norm <= tol:
            return Outcome(state.x.copy(), Status.CONVERGED, nit=iteration, y=state.y.copy())
    left = objective.history[-1].projected_norm
    return Outcome(state.x.copy(), Status.MAXITER, f"Projected hypergradient {left:.1e}.", maxiter, state.y.copy())


def _soba(objective, x0, *, tol=1e-8, maxiter=500, inner=1000, batch=16, step_x=None, step_y=None, batches="drawn", power=0.5, rng=0):
    def move(s):
        kernels.soba(*s.data, s.draw(0, inner), s.draw(1, inner), s.step_y, s.step_x, power, s.k, s.threads)
        s.k += inner

    return _iterate(objective, x0, move, tol, maxiter, _State(objective, x0, step_x, step_y, rng, batch, batches))


def _saba(objective, x0, *, tol=1e-8, maxiter=500, inner=1000, batch=16, step_x=None, step_y=None, batches="drawn", rng=0):
    s = _State(objective, x0, step_x, step_y, rng, batch, batches)
    (N, M), n, m = s.problem.sizes, s.problem.n, s.problem.m
    M_in, M_out = np.zeros((N, 2 * m + n)), np.zeros((M, m + n))
    means = kernels.saba_memory(s.problem.kind, *s.problem.terms, s.x, s.y, s.v, M_in, M_out)

    def move(s):
        kernels.saba(*s.data, s.draw(0, inner), s.draw(1, inner), s.step_y / 3, s.step_x / 3, M_in, M_out, *means, s.threads)

    return _iterate(objective, x0, move, tol, maxiter, s)


def _fsla(objective, x0, *, tol=1e-8, maxiter=500, inner=1000, batch=16, step_x=None, step_y=None, batches="drawn", power=0.5, eta=0.1, rng=0):
    s = _State(objective, x0, step_x, step_y, rng, batch, batches)
    momentum, before = np.zeros(s.problem.n), np.concatenate([s.x, s.y, s.v])

    def move(s):
        kernels.fsla(*s.data, s.draw(0, inner), s.draw(1, inner), s.step_y, s.step_x, power, s.k, eta, momentum, before, s.threads)
        s.k += inner

    return _iterate(objective, x0, move, tol, maxiter, s)


def _stocbio(objective, x0, *, tol=1e-8, maxiter=500, inner=100, batch=16, step_x=None, step_y=None, batches="drawn", T=10, S=20, rng=0):
    def move(s):
        kernels.stocbio(*s.data, s.draw(0, inner * (T + S + 1)), s.draw(1, inner), s.step_y, s.step_x, T, S, s.threads)

    return _iterate(objective, x0, move, tol, maxiter, _State(objective, x0, step_x, step_y, rng, batch, batches))


def _ttsa(objective, x0, *, tol=1e-8, maxiter=500, inner=200, batch=16, step_x=None, step_y=None, batches="drawn", N=20, rng=0):
    def move(s):
        counts = s.rng.integers(N, size=inner)
        kernels.ttsa(*s.data, s.draw(0, inner * (N + 1)), s.draw(1, inner), counts, N, s.step_y, s.step_x, s.k, s.threads)
        s.k += inner

    return _iterate(objective, x0, move, tol, maxiter, _State(objective, x0, step_x, step_y, rng, batch, batches))


soba = OuterMethod("soba", _soba, reference="Dagreou et al. 2201.13409, alg. 1", classes=("smooth",))
saba = OuterMethod("saba", _saba, reference="Dagreou et al. 2201.13409, alg. 2", classes=("smooth",))
fsla = OuterMethod("fsla", _fsla, reference="Li, Gu & Huang 2112.04660, alg. 1", classes=("smooth",))
stocbio = OuterMethod("stocbio", _stocbio, reference="Ji, Yang & Liang 2010.07962, alg. 2", classes=("smooth",))
ttsa = OuterMethod("ttsa", _ttsa, reference="Hong et al. 2007.05170, alg. 1", classes=("smooth",))

"""Best-first branch and bound over complementarity (and, for nonconvex objectives, over space).

    node popped: lowest bound first, deepest first among equals
      solve its convex relaxation; infeasible or bound >= best - tol (1 + |best|): done with it
      the relaxation's own pattern and the pattern of the lower solution at its x give points (upper bounds)
      branch on the largest mu_i * slack_i: mu_i = 0 | slack_i = 0;  if all vanish, split the worst secant

The tree is finite for convex objectives: with every pair decided the relaxation is the piece itself. A node whose relaxation
is unbounded keeps the bound -inf and is branched at a point found within a box; only a fully decided piece with a ray of descent
proves that the problem is unbounded. A node whose solver fails keeps its parent's bound, so no bound is ever invented; if it
cannot be divided any further its bound stays in the answer's.
"""

from __future__ import annotations

import heapq
import itertools
import time
from dataclasses import dataclass, field, replace

import numpy as np

from . import global_concave, global_convex
from .global_convex import Answer
from .global_kkt import KKT, Node, is_convex

#: half-width of the box in which a point is sought when a relaxation is unbounded
BOX = 1e4
COMPLEMENTARY = 1e-9


@dataclass(eq=False)
class Search:
    """The state of one search; `run` returns when the tree is empty, the gap closed or the time over."""

    kkt: KKT
    lower_solve: object  # x -> (y, mu, nu) in the problem's units or None: a source of patterns
    tol: float
    deadline: float
    report: object = None
    best: Answer = field(default_factory=lambda: Answer("failed"))
    nodes: int = 0
    leftover: float = np.inf  # lowest bound among pieces that could be neither solved nor divided
    ray: np.ndarray | None = None
    ray_start: np.ndarray | None = None
    tried: set = field(default_factory=set)
    convex: bool = True

    def run(self):
        """("done" | "time" | "unbounded", lower bound)."""
        self.convex = is_convex(self.kkt.root.Q)
        counter = itertools.count()
        heap = [(-np.inf, 0, next(counter), Node())]
        while heap:
            if heap[0][0] >= self.cutoff():
                break
            if time.monotonic() > self.deadline:
                return "time", min(heap[0][0], self.leftover)
            for child in self._visit(heapq.heappop(heap)[3]):
                heapq.heappush(heap, (child.bound, -child.depth, next(counter), child))
            if self.ray is not None:
                return "unbounded", -np.inf
            if self.report is not None:
                self.report(self, heap[0][0] if heap else self.best.value)
        lowest = heap[0][0] if heap else np.inf
        return "done", min(lowest, self.leftover, self.best.value)

    def cutoff(self):
        """Bounds from here on cannot improve the best value by more than the tolerance."""
        value = self.best.value
        return value - self.tol * (1.0 + abs(value)) if np.isfinite(value) else np.inf

    def _visit(self, node):
        """The children that remain of a node."""
        self.nodes += 1
        program = self.kkt.program(node)
        relaxed = self._relax(program)
        answer = relaxed.answer
        if answer.outcome == "infeasible":
            return []
        if answer.outcome == "unbounded":
            return self._visit_unbounded(node, program, relaxed)
        if answer.w is None:
            return self._divide(replace(node, depth=node.depth + 1), np.zeros(self.kkt.k), ())
        node = replace(node, bound=max(node.bound, answer.bound), depth=node.depth + 1)
        if node.bound >= self.cutoff():
            return []
        self._try_points(answer.w)
        if node.bound >= self.cutoff():
            return []
        return self._divide(node, self._products(answer.w), relaxed.splits)

    def _relax(self, program):
        if self.convex:
            answer = global_convex.solve(program)
            return global_concave.Relaxed(answer)
        return global_concave.relax(program)

    def _visit_unbounded(self, node, program, relaxed):
        if len(node.decided) == self.kkt.k:
            if not self._unbounded(program, relaxed.ray if relaxed.ray is not None else global_convex.recession(program)):
                self.leftover = min(self.leftover, node.bound)
            return []
        near = replace(program, lo=np.maximum(program.lo, -BOX), hi=np.minimum(program.hi, BOX))
        boxed = self._relax(near).answer
        weights = np.zeros(self.kkt.k)
        if boxed.w is not None:
            self._try_points(boxed.w)
            weights = self._products(boxed.w)
        return self._divide(replace(node, depth=node.depth + 1), weights, ())

    def _products(self, w):
        pairs = self.kkt.complementarity(w)
        products = np.maximum(self.kkt.scaled_multipliers(w), 0) * np.maximum(self.kkt.slack(w), 0)
        return np.where(pairs > COMPLEMENTARY, products, 0.0)

    def _divide(self, node, products, splits):
        """Two children: on the worst pair, else on the worst secant, else on any pair left; none if nothing is left to divide."""
        pairs = [i for i in range(self.kkt.k) if i not in node.decided]
        worst = max(pairs, key=lambda i: products[i], default=None)
        error, v, t = max(splits, key=lambda s: s[0], default=(0.0, None, None))
        if worst is not None and (products[worst] > 0 or error <= 0):
            return [replace(node, zero=node.zero | {worst}), replace(node, tight=node.tight | {worst})]
        if error > 0:
            return [replace(node, cuts=node.cuts + ((v, t),)), replace(node, cuts=node.cuts + ((-v, -t),))]
        self.leftover = min(self.leftover, node.bound)
        return []

    def _try_points(self, w):
        """Upper bounds from the pieces that w, and the lower solution at w's x, suggest."""
        self._try_piece(self.kkt.pattern(w), w)
        found = self.lower_solve(w[: self.kkt.n])
        if found is not None:
            self._try_piece(self.kkt.pattern(found), found)

    def _try_piece(self, piece, w):
        key = piece.tight
        if self.convex:
            if key in self.tried:
                return
            self.tried.add(key)
        program = self.kkt.program(piece)
        answer = global_convex.solve(program) if self.convex else self._local(program, w)
        if answer.outcome == "optimal" and answer.value < self.best.value and program.violation(answer.w) <= 1e-7 * (1.0 + np.abs(answer.w).max()):
            self.best = answer
        elif answer.outcome == "unbounded" and self.convex:
            self._unbounded(program, global_convex.recession(program))

    def _unbounded(self, program, ray):
        """Record that F falls along `ray` from a point of a decided piece; False if there is no such ray."""
        start = None if ray is None else global_convex.linear_program(program, np.zeros_like(program.c))
        if start is None or start.status != 0:
            return False
        self.ray, self.ray_start = ray, start.x
        return True

    def _local(self, program, w):
        """A local minimum over the piece, from w if it lies in it, else from any of its points."""
        if program.violation(w) > 1e-7 * (1.0 + np.abs(w).max()):
            start = global_convex.linear_program(program)
            if start is not None and start.status == 3:
                start = global_convex.linear_program(program, np.zeros_like(program.c))
            if start is None or start.status != 0:
                return Answer("failed")
            w = start.x
        return global_concave.descend(program, w)

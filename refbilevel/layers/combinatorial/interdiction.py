"""Shortest-path interdiction: lengthen at most `budget` edges so that the shortest path becomes as long as possible.

    max_{x in {0,1}^E, sum x <= budget}  min_{y path}  (c + d x).y

Some optimal x interdicts, one after another, edges of the path that is shortest so far (an x that misses that path gains nothing
on it), so for a small budget a search tree over at most (edges of a path)^budget path solves is exact and quick. Beyond its limit, by
linear-programming duality of the shortest path it is one integer program, solved by HiGHS (SciPy's `milp`):

    max  pi_t - pi_s    subject to    pi_j - pi_i <= c_ij + d_ij x_ij.

In the minimising convention of the library: upper cost -(c + d x).y, lower cost (c + d x).y, so B = -diag(d) and D = diag(d).

Israeli & Wood, Shortest-path network interdiction, Networks 40, 2002, problem (MXSP).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.optimize import Bounds, LinearConstraint, milp

from ...errors import ArgumentError, NotConverged, ShapeError
from ...problem import as_vector
from ...results import LowerSolution, Status
from .solvers import ShortestPath

SEARCH_LIMIT = 2000  # path solves, about a third of a second


@dataclass(frozen=True, eq=False)
class ShortestPathInterdiction:
    """The layer c (E,) -> (x, y): interdicted edges x and the path y that answers them.

    Parameters
    ----------
    path : ShortestPath
    delay : (E,) non-negative delays d
    budget : int

    Examples
    --------
    Two roads of length 2 and 3: lengthening the first by 5 sends the traveller over the second.

    >>> import numpy as np
    >>> from refbilevel.layers.combinatorial import ShortestPath, ShortestPathInterdiction
    >>> game = ShortestPathInterdiction(ShortestPath(2, [(0, 1), (0, 1)], 0, 1), delay=np.full(2, 5.0), budget=1)
    >>> game.solve(np.array([2.0, 3.0]))
    (array([1., 0.]), array([0., 1.]))
    >>> game.value(np.array([2.0, 3.0]))
    3.0
    """

    path: ShortestPath
    delay: np.ndarray
    budget: int

    def __post_init__(self):
        delay = np.asarray(self.delay, float)
        if delay.shape != (self.path.size,) or (delay < 0).any():
            raise ShapeError(f"delay must be ({self.path.size},) and non-negative")
        if not 0 <= self.budget <= self.path.size:
            raise ArgumentError(f"budget must lie between 0 and {self.path.size}, got {self.budget}")
        object.__setattr__(self, "delay", delay)

    @property
    def size(self):
        return self.path.size

    def solve(self, c):
        """(x (E,), y (E,)): the best interdiction found first, of the fewest edges, and the path that answers it."""
        c = as_vector(c, self.size, "c")
        if (c < 0).any():
            raise ArgumentError("interdiction needs costs >= 0")
        x = self._search(c, SEARCH_LIMIT)
        if x is None:
            x = self._integer_program(c)
        if x is None:
            x = self._search(c, 100 * SEARCH_LIMIT)
        if x is None:
            detail = "HiGHS failed and the search tree is too large."
            raise NotConverged(LowerSolution(y=np.full(self.size, np.nan), status=Status.LOWER_MAXITER, detail=detail))
        return x, self.path(c + self.delay * x)

    def _search(self, c, limit):
        """x by the search tree, breadth first; None if it takes more than `limit` path solves."""
        level, best, low = [()], (), -np.inf
        solves = 0
        for left in range(self.budget, -1, -1):
            below = {}
            for chosen in level:
                solves += 1
                if solves > limit:
                    return None
                delayed = c.copy()
                delayed[list(chosen)] += self.delay[list(chosen)]
                y = self.path(delayed)
                length = delayed @ y
                if length > low + 1e-12 * abs(length):
                    best, low = chosen, length
                if left:
                    below |= dict.fromkeys(tuple(sorted({*chosen, e})) for e in np.flatnonzero(y * self.delay).tolist() if e not in chosen)
            level = list(below)
        return np.isin(np.arange(self.size), best).astype(float)

    def _integer_program(self, c):
        """x by HiGHS; None where it fails."""
        E, N = self.size, self.path.nodes_count
        i, j = self.path.edges.T
        rows = np.arange(E)
        flow = sparse.csr_array((np.r_[np.ones(E), -np.ones(E)], (np.r_[rows, rows], np.r_[j, i])), shape=(E, N))
        A = sparse.hstack([-sparse.diags_array(self.delay), flow])
        budget = np.r_[np.ones(E), np.zeros(N)][None, :]
        objective = np.zeros(E + N)
        objective[E + self.path.target], objective[E + self.path.source] = -1.0, 1.0
        top = c.sum() + self.delay.sum() + 1.0
        lo, hi = np.r_[np.zeros(E), np.zeros(N)], np.r_[np.ones(E), np.full(N, top)]
        hi[E + self.path.source] = 0.0
        for presolve in (False, True):  # HiGHS's presolve fails (status 4) where edges of equal cost share their ends' rows
            result = milp(
                objective, integrality=np.r_[np.ones(E), np.zeros(N)], bounds=Bounds(lo, hi),
                options={"mip_rel_gap": 0.0, "presolve": presolve},
                constraints=[LinearConstraint(A, -np.inf, c), LinearConstraint(budget, 0, self.budget)],
            )  # fmt: skip
            if result.x is not None:
                return np.abs(np.round(result.x[:E]))
        return None

    def value(self, c):
        """Length of the shortest path after the best interdiction."""
        x, y = self.solve(c)
        return float((c + self.delay * x) @ y)

    def vjp(self, c, x_bar=None, y_bar=None, *, method="joint", tau=1.0):
        """c_bar (E,): "joint" re-solves the interdiction at c - tau x_bar + tau y_bar, "decoupled" the path alone under x*.

        The interdictor values edges by -c, so a cotangent on x enters its cost with the opposite sign. Perturbed costs are cut at
        zero, which shortest paths need.
        """
        c = as_vector(c, self.size, "c")
        x_bar = np.zeros(self.size) if x_bar is None else as_vector(x_bar, self.size, "x_bar")
        y_bar = np.zeros(self.size) if y_bar is None else as_vector(y_bar, self.size, "y_bar")
        x, y = self.solve(c)
        if method == "decoupled":
            delayed = c + self.delay * x
            return (self.path(np.maximum(delayed + tau * y_bar, 0.0)) - self.path(delayed)) / tau
        if method != "joint":
            raise ArgumentError(f"method must be 'joint' or 'decoupled', got {method!r}")
        moved = np.maximum(c + tau * (y_bar - x_bar), 0.0)
        x_moved, y_moved = self.solve(moved)
        return (y_moved - y) / tau - (x_moved - x) / tau

"""Solvers of min c.y over a finite set Y: small classes, each a callable c (d,) -> y (d,).

Ties go to the first minimiser in the solver's own fixed order, so every answer is deterministic. Costs may have any sign unless a
class says otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import combinations

import numpy as np
from scipy import sparse
from scipy.optimize import Bounds, LinearConstraint, linear_sum_assignment, milp
from scipy.sparse.csgraph import dijkstra

from ...errors import ArgumentError, NotConverged, ShapeError
from ...kernels.paths import grid_path, held_karp, knapsack
from ...problem import as_vector
from ...results import LowerSolution, Status


@dataclass(frozen=True, eq=False)
class Enumeration:
    """Y given by its members, one a row of `members` (N, d)."""

    members: np.ndarray

    def __post_init__(self):
        members = np.asarray(self.members, float)
        if members.ndim != 2 or not len(members):
            raise ShapeError(f"members must be (N, d) with N at least 1, got {members.shape}")
        object.__setattr__(self, "members", members)

    @property
    def size(self):
        return self.members.shape[1]

    def __call__(self, c):
        return self.members[int(np.argmin(self.members @ as_vector(c, self.size, "c")))].copy()


@dataclass(frozen=True)
class TopK:
    """The k cheapest of d: y in {0, 1}^d, sum y = k."""

    size: int
    k: int

    def __post_init__(self):
        if not 0 <= self.k <= self.size:
            raise ArgumentError(f"k must lie between 0 and size = {self.size}, got {self.k}")

    def __call__(self, c):
        c = as_vector(c, self.size, "c")
        y = np.zeros(self.size)
        y[np.argsort(c, kind="stable")[: self.k]] = 1.0
        return y


@dataclass(frozen=True)
class Assignment:
    """Perfect matchings of n with n: c and y are (n n,), row-major."""

    n: int

    @property
    def size(self):
        return self.n**2

    def __call__(self, c):
        rows, columns = linear_sum_assignment(as_vector(c, self.size, "c").reshape(self.n, self.n))
        y = np.zeros((self.n, self.n))
        y[rows, columns] = 1.0
        return y.ravel()


@dataclass(frozen=True, eq=False)
class Knapsack:
    """y in {0, 1}^d with weights.y <= capacity, integer weights; an item is worth taking if its cost is negative. Dynamic programming."""

    weights: np.ndarray
    capacity: int

    def __post_init__(self):
        weights = np.asarray(self.weights)
        if weights.dtype.kind not in "iu" or (weights < 0).any():
            raise ArgumentError("weights must be non-negative integers")
        object.__setattr__(self, "weights", weights.astype(np.int64))

    @property
    def size(self):
        return len(self.weights)

    def __call__(self, c):
        return knapsack(as_vector(c, self.size, "c"), self.weights, int(self.capacity))


@dataclass(frozen=True)
class GridPath:
    """Paths from the first to the last cell of a (rows, columns) grid; c are the costs of the cells entered, row-major.

    moves="monotone" goes right, down or diagonally: dynamic programming, any sign of cost. moves="all" takes all eight
    neighbours by Dijkstra and needs costs >= 0 (negative ones raise; `clamp=True` sets them to zero, as published code does,
    which breaks the interpolation identity of the blackbox gradient).
    """

    rows: int
    columns: int
    moves: str = "monotone"
    clamp: bool = False

    def __post_init__(self):
        if self.moves not in ("monotone", "all"):
            raise ArgumentError(f"moves must be 'monotone' or 'all', got {self.moves!r}")

    @property
    def size(self):
        return self.rows * self.columns

    def __call__(self, c):
        c = as_vector(c, self.size, "c")
        if self.moves == "monotone":
            return grid_path(c.reshape(self.rows, self.columns)).ravel()
        return ShortestPath(self.size, self._edges(), 0, self.size - 1, self.clamp).nodes(c)

    def _edges(self):
        cells = [(i, j) for i in range(self.rows) for j in range(self.columns)]
        steps = [(a, b) for a in (-1, 0, 1) for b in (-1, 0, 1) if (a, b) != (0, 0)]
        inside = [(i, j, i + a, j + b) for i, j in cells for a, b in steps if 0 <= i + a < self.rows and 0 <= j + b < self.columns]
        return np.array([(i * self.columns + j, k * self.columns + l) for i, j, k, l in inside])


@dataclass(frozen=True, eq=False)
class ShortestPath:
    """Paths from `source` to `target` in a directed graph: c and y are (edges,), costs >= 0 (SciPy's Dijkstra)."""

    nodes_count: int
    edges: np.ndarray
    source: int
    target: int
    clamp: bool = False

    def __post_init__(self):
        edges = np.asarray(self.edges, np.int64)
        if edges.ndim != 2 or edges.shape[1] != 2:
            raise ShapeError(f"edges must be (E, 2) pairs of nodes, got {edges.shape}")
        object.__setattr__(self, "edges", edges)

    @property
    def size(self):
        return len(self.edges)

    def __call__(self, c):
        c = self._costs(as_vector(c, self.size, "c"))
        edges, keys = self._cheapest(c)
        path = self._path(c, edges)
        y = np.zeros(self.size)
        y[edges[np.searchsorted(keys, path[:-1] * self.nodes_count + path[1:])]] = 1.0
        return y

    def nodes(self, c):
        """Node incidence of the path whose cost counts every node entered and the source."""
        c = self._costs(c)
        y = np.zeros(self.nodes_count)
        entered = c[self.edges[:, 1]]
        y[self._path(entered, self._cheapest(entered)[0])] = 1.0
        return y

    def _costs(self, c):
        if (c < 0).any():
            if not self.clamp:
                raise ArgumentError("shortest paths need costs >= 0; shift the costs, use GridPath(moves='monotone'), or pass clamp=True")
            c = np.maximum(c, 0.0)
        return c

    def _cheapest(self, c):
        """(the cheapest edge of each pair of nodes, first of equals; the pairs as numbers, ascending)."""
        keys = self.edges[:, 0] * self.nodes_count + self.edges[:, 1]
        order = np.lexsort((c, keys))
        keys = keys[order]
        first = np.concatenate([[True], keys[1:] > keys[:-1]])
        return order[first], keys[first]

    def _path(self, c, edges):
        """Nodes of the shortest path over `edges`, which are sorted by their pair of nodes."""
        i, j = self.edges[edges].T
        starts = np.searchsorted(i, np.arange(self.nodes_count + 1))
        costs = c[edges] + np.finfo(float).tiny  # zero costs would vanish from the sparse graph
        graph = sparse.csr_array((costs, j, starts), shape=(self.nodes_count,) * 2)
        _, before = dijkstra(graph, indices=self.source, return_predecessors=True)
        path = [self.target]
        while path[-1] != self.source:
            if before[path[-1]] < 0:
                raise ArgumentError(f"there is no path from node {self.source} to node {self.target}")
            path.append(int(before[path[-1]]))
        return np.array(path[::-1])


@dataclass(frozen=True)
class SpanningTree:
    """Spanning trees of the complete graph on n nodes: c and y over the n (n - 1) / 2 pairs in lexicographic order (Kruskal)."""

    n: int
    pairs: tuple = field(init=False)

    def __post_init__(self):
        object.__setattr__(self, "pairs", tuple(combinations(range(self.n), 2)))

    @property
    def size(self):
        return len(self.pairs)

    def __call__(self, c):
        c = as_vector(c, self.size, "c")
        root, y = list(range(self.n)), np.zeros(self.size)

        def find(i):
            while root[i] != i:
                i = root[i]
            return i

        for e in np.argsort(c, kind="stable"):
            a, b = (find(i) for i in self.pairs[e])
            if a != b:
                root[b], y[e] = a, 1.0
        return y


@dataclass(frozen=True)
class TravellingSalesman:
    """Round trips through n <= 14 nodes: c and y over the pairs in lexicographic order (Held & Karp's dynamic programming)."""

    n: int

    def __post_init__(self):
        if not 3 <= self.n <= 14:
            raise ArgumentError(f"n must lie between 3 and 14 for exact dynamic programming, got {self.n}")

    @property
    def size(self):
        return self.n * (self.n - 1) // 2

    def __call__(self, c):
        c = as_vector(c, self.size, "c")
        upper = np.triu_indices(self.n, 1)
        D = np.zeros((self.n, self.n))
        D[upper] = c
        D += D.T
        tour = held_karp(D)
        Y = np.zeros((self.n, self.n))
        for i, j in zip(tour, np.roll(tour, -1)):
            Y[min(i, j), max(i, j)] = 1.0
        return Y[upper]


@dataclass(frozen=True, eq=False)
class IntegerProgram:
    """Integer y with lo <= A y <= hi within bounds, by SciPy's HiGHS (`milp`)."""

    A: np.ndarray
    lo: np.ndarray
    hi: np.ndarray
    bounds: tuple = (0.0, 1.0)
    integer: np.ndarray | None = None

    @property
    def size(self):
        return self.A.shape[1]

    def __call__(self, c):
        c = as_vector(c, self.size, "c")
        integrality = np.ones(self.size) if self.integer is None else self.integer
        result = milp(c, integrality=integrality, bounds=Bounds(*self.bounds), constraints=LinearConstraint(self.A, self.lo, self.hi))
        if result.x is None:
            status = {2: Status.LOWER_INFEASIBLE, 3: Status.LOWER_UNBOUNDED}.get(result.status, Status.LOWER_MAXITER)
            raise NotConverged(LowerSolution(y=np.full(self.size, np.nan), status=status, detail=result.message))
        return np.where(integrality > 0, np.round(result.x), result.x)

"""Dynamic programmes on small discrete sets: paths on a grid, round trips, knapsacks."""

import numpy as np
from numba import njit


@njit(cache=True)
def grid_path(c):
    """argmin over monotone paths (right, down, diagonal) of the sum of the cells c (R, C) entered: incidence (R, C)."""
    R, C = c.shape
    best = np.empty((R, C))
    move = np.zeros((R, C), np.int64)  # 0 start, 1 from above, 2 from the left, 3 from the diagonal
    for i in range(R):
        for j in range(C):
            low = np.inf
            if i > 0 and best[i - 1, j] < low:
                low, move[i, j] = best[i - 1, j], 1
            if j > 0 and best[i, j - 1] < low:
                low, move[i, j] = best[i, j - 1], 2
            if i > 0 and j > 0 and best[i - 1, j - 1] < low:
                low, move[i, j] = best[i - 1, j - 1], 3
            best[i, j] = c[i, j] + (low if i + j > 0 else 0.0)
    y = np.zeros((R, C))
    i, j = R - 1, C - 1
    while True:
        y[i, j] = 1.0
        step = move[i, j]
        if step == 0:
            return y
        if step != 2:
            i -= 1
        if step != 1:
            j -= 1


@njit(cache=True)
def held_karp(D):
    """Cheapest round trip through all nodes of the symmetric costs D (n, n): the order of nodes (n,), from node 0."""
    n = D.shape[0]
    full = 1 << (n - 1)
    cost = np.full((full, n - 1), np.inf)
    before = np.full((full, n - 1), -1, np.int64)
    for j in range(n - 1):
        cost[1 << j, j] = D[0, j + 1]
    for S in range(1, full):
        for j in range(n - 1):
            if not (S >> j) & 1 or cost[S, j] == np.inf:
                continue
            for k in range(n - 1):
                if (S >> k) & 1:
                    continue
                longer = cost[S, j] + D[j + 1, k + 1]
                T = S | (1 << k)
                if longer < cost[T, k]:
                    cost[T, k] = longer
                    before[T, k] = j
    S, last, low = full - 1, 0, np.inf
    for j in range(n - 1):
        if cost[S, j] + D[j + 1, 0] < low:
            low, last = cost[S, j] + D[j + 1, 0], j
    tour = np.zeros(n, np.int64)
    for place in range(n - 1, 0, -1):
        tour[place] = last + 1
        S, last = S ^ (1 << last), before[S, last]
    return tour


@njit(cache=True)
def knapsack(c, weights, capacity):
    """argmin of c.y over y in {0, 1}^d, weights.y <= capacity: y (d,). Only items with c < 0 are worth taking."""
    d = c.shape[0]
    value = np.zeros((d + 1, capacity + 1))
    for i in range(d):
        for room in range(capacity + 1):
            value[i + 1, room] = value[i, room]
            if weights[i] <= room and c[i] < 0 and value[i, room - weights[i]] + c[i] < value[i + 1, room]:
                value[i + 1, room] = value[i, room - weights[i]] + c[i]
    y = np.zeros(d)
    room = capacity
    for i in range(d - 1, -1, -1):
        if value[i + 1, room] != value[i, room]:
            y[i] = 1.0
            room -= weights[i]
    return y

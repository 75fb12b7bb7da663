"""Removing negative curvature with the lower level's own optimality: strong duality as an identity in w = (x, y, mu, nu).

y' times stationarity, with complementarity and C z = d used, is

    I(w) = y'(Q_yx x + Q_yy y + c_y) + mu'(b - A_x x) + nu'(d - C_x x) = 0     at every KKT point.

So F + theta I has the same values as F where it matters, and theta may be chosen to make it convex. In a toll problem F = -x'y while the
lower level pays x'y: theta = 1 turns F into a linear function, which is the classical reformulation of Labbe, Marcotte & Savard (1998),
Management Science 44(12). The smallest eigenvalue of N'(Q_F + theta Q_I)N (N: null space of the equations) is concave in theta,
so the best theta is found by a bounded search.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.optimize import minimize_scalar

from .global_convex import Program


def identity(kkt):
    """(Q, c) of I(w) = 1/2 w'Qw + c'w, in the scaled variables."""
    n, m, k, W = kkt.n, kkt.m, kkt.k, len(kkt.root.c)
    y, mu, nu = slice(n, n + m), slice(n + m, n + m + k), slice(n + m + k, W)
    stationarity, rows = kkt.root.E[-m:], slice(kkt.first, kkt.first + k)
    A, b = kkt.root.A[rows], kkt.root.b[rows]
    lower = slice(len(kkt.root.d) - m - kkt.l, len(kkt.root.d) - m)
    C, d = kkt.root.E[lower], kkt.root.d[lower]
    half, c = np.zeros((W, W)), np.zeros(W)
    half[y, : n + m] = stationarity[:, : n + m]
    half[mu, :n], half[nu, :n] = -A[:, :n], -C[:, :n]
    c[y], c[mu], c[nu] = -kkt.root.d[-m:], b, d
    return half + half.T, c


def best_root(kkt, null):
    """The root program with F + theta I for the theta of least negative curvature on the columns of `null`."""
    root = kkt.root
    Q, c = identity(kkt)
    here, there = null.T @ root.Q @ null, null.T @ Q @ null
    size = np.abs(there).max(initial=0.0)
    if size <= 1e-12:
        return root
    unit = max(np.abs(here).max(initial=0.0), 1e-300) / size

    def lowest(theta):
        return float(np.linalg.eigvalsh(here + theta * there)[0])

    cross = (slice(0, kkt.n), slice(kkt.n, kkt.n + kkt.m))
    proposals = [-np.vdot(here, there) / np.vdot(there, there), 0.0]
    if Q[cross].any():
        proposals.append(-np.vdot(root.Q[cross], Q[cross]) / np.vdot(Q[cross], Q[cross]))
    proposals.append(float(minimize_scalar(lambda t: -lowest(t * unit), bounds=(-10, 10), method="bounded", options={"xatol": 1e-9}).x) * unit)
    theta = max(proposals, key=lambda t: (lowest(t) >= -1e-10 * np.abs(here).max(initial=1.0), t == 0.0, lowest(t)))
    total = root.Q + theta * Q
    total[np.abs(total) <= 1e-14 * (np.abs(root.Q) + np.abs(theta * Q))] = 0.0
    return replace(root, Q=total, c=root.c + theta * c)


def convexified(kkt):
    """`kkt` with the objective of least negative curvature on the root's affine hull."""
    from .global_concave import reduce

    reduced = reduce(kkt.root)
    if reduced is None or not len(reduced.curvature):
        return kkt
    root: Program = best_root(kkt, reduced.basis)
    return replace(kkt, root=root)

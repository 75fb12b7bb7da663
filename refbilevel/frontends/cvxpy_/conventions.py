"""The gradient with respect to a symmetric parameter S, in the three conventions in use.

    Frobenius (ours)        G = G', df = sum_ij G_ij dS_ij for every symmetric dS
    doubled off-diagonals   CVXPY's `problem.backward()`: df = sum_{i<=j} g_ij dS_ij, g symmetric, so g = 2 G - diag(G)
    upper triangle only     cvxpylayers: g as above for i <= j, zero below
"""

from __future__ import annotations

import numpy as np


def doubled_off_diagonals(G):
    """The Frobenius gradient G (k, k) in the convention of `problem.backward()`."""
    return 2.0 * G - np.diag(np.diag(G))


def upper_triangle_only(G):
    """The Frobenius gradient G (k, k) in the convention of cvxpylayers."""
    return np.triu(doubled_off_diagonals(G))


def frobenius(g):
    """The Frobenius gradient from either of the others."""
    g = np.triu(g)
    return 0.5 * (g + g.T)

"""Small integer data: random matrices, ill-conditioned full Hessians that are exact in float64, and the shell of a record."""

from __future__ import annotations

import random

import numpy as np

TINY = 2.0**-20  # about 1e-6: scales, margins and distances from stationarity


def stream(klass, difficulty, instance):
    """The case's own stream of numbers."""
    return random.Random(f"{klass}/{difficulty}/{instance}")


def ints(rng, *shape, bound=3, zero=True):
    """Integers in [-bound, bound]; without zeros if `zero` is False."""
    values = [v for v in range(-bound, bound + 1) if zero or v]
    return np.array([rng.choice(values) for _ in range(int(np.prod(shape)))], float).reshape(shape)


def unimodular(rng, m):
    """A full integer matrix of determinant 1 or -1."""
    lower, upper = np.eye(m), np.eye(m)
    lower[np.tril_indices(m, -1)] = ints(rng, m * (m - 1) // 2, bound=1)
    upper[np.triu_indices(m, 1)] = ints(rng, m * (m - 1) // 2, bound=1, zero=False)
    return lower @ upper


def spd(rng, m, condition=1e2, strong=None):
    """A full symmetric positive definite dyadic matrix of at most this condition number: M D M', D powers of two.

    D is graded evenly, or, given `strong`, has so many entries 1 and all others equally small.
    """
    M = unimodular(rng, m)
    for exponent in range(40, -1, -1):
        grades = np.linspace(0, 1, m) if strong is None else np.arange(m) >= strong
        D = 2.0 ** -np.round(exponent * grades)
        H = (M * D) @ M.T
        if np.linalg.cond(H) <= condition:
            return H
    shift = next(c for c in range(1, 1000) if np.linalg.cond(M @ M.T + c * np.eye(m)) <= condition)
    return M @ M.T + shift * np.eye(m)


def upper(rng, n, m, scale=1.0):
    """A quadratic upper objective with every block, f_x and f_y not zero."""
    record = {
        "kind": "quadratic",
        "yy": spd(rng, m, 30.0) if m > 1 else np.ones((1, 1)),
        "xy": ints(rng, n, m, bound=1),
        "xx": 2.0 * np.eye(n),
        "y": ints(rng, m, zero=False),
        "x": ints(rng, n, zero=False),
    }
    return record | ({"scale": scale} if scale != 1.0 else {})


def record(klass, difficulty, instance, n, m, description, tags=(), truth="regular", **parts):
    """The record of a case without its certified block."""
    return {
        "schema": "refbilevel-case/1", "id": f"{klass}/{difficulty}/{instance}", "class": klass, "difficulty": difficulty,
        "description": description, "tags": sorted({*tags, *(["m=1"] if m == 1 else []), *(["n=1"] if n == 1 else [])}),
        "truth": truth, "n": n, "m": m, **parts,
    }  # fmt: skip

"""Unconverged inner solves and unrolling gone wrong. Gradient descent starts from zero with step 1/L, L the curvature at y*.

An inner solve of free length and step is named better through the y an implementation used (diagnosis.py); these
formulas catch the textbook choices.
"""

from __future__ import annotations

import numpy as np

from .record import mutant
from .system import dense, largest, reference_gradient


def step_length(problem, x, y):
    """1 / L at (x, y)."""
    return 1 / largest(dense(problem.g_yy(x, y), (problem.m, problem.m)))


def descend(problem, x, start, K, step):
    """The iterates y_0 ... y_K of gradient descent."""
    path = [np.array(start, float)]
    for _ in range(K):
        path.append(path[-1] - step * problem.g_y(x, path[-1]))
    return path


def reverse(problem, x, path, step, skip=0):
    """Reverse mode through the path, the earliest `skip` steps left out: the gradient of f(x, y_K(x))."""
    y, n, m = path[-1], problem.n, problem.m
    gradient, a = np.array(problem.f_x(x, y), float), np.array(problem.f_y(x, y), float)
    for z in path[-2 : None if skip == 0 else skip - 1 : -1] if len(path) > 1 else ():
        gradient = gradient - step * dense(problem.g_xy(x, z), (n, m)) @ a
        a = a - step * dense(problem.g_yy(x, z), (m, m)) @ a
    return gradient


@mutant("unconverged inner solve: the implicit formula at the y of a few gradient steps", where="smooth", K=(5, 10, 1, 2, 20, 50))
def unconverged_lower(problem, x, y, mu, nu, K):
    path = descend(problem, x, np.zeros(problem.m), K, step_length(problem, x, y))
    return reference_gradient(problem, x, path[-1], mu, nu)


@mutant(
    "unconverged inner solve: reverse mode through a few gradient steps",
    where="smooth",
    source="gradcheck calls this correct",
    K=(5, 10, 1, 2, 20, 50),
)
def unconverged_unrolling(problem, x, y, mu, nu, K):
    step = step_length(problem, x, y)
    return reverse(problem, x, descend(problem, x, np.zeros(problem.m), K, step), step)


@mutant(
    "the reverse loop stops one step early, so K inner steps give K - 1 backward steps",
    where="smooth",
    source="Mehra & Hamm's RMD: range(T - 2, -1, -1)",
    K=(5, 10, 2, 20),
)
def reverse_off_by_one(problem, x, y, mu, nu, K):
    step = step_length(problem, x, y)
    return reverse(problem, x, descend(problem, x, np.zeros(problem.m), K, step), step, skip=1)  # <- the fault

"""Nudges and penalties: a finite beta or gamma taken for the limit, half an objective, a term detached.

With y_b = argmin_y g + b f, the estimate (g_x(x, y_b) - g_x(x, y_0)) / b + f_x(x, y_b) tends to the gradient as b -> 0;
b is equilibrium propagation's beta and the value-function penalty's 1 / gamma. Smooth lower levels only.
"""

from __future__ import annotations

import numpy as np

from .record import mutant
from .system import nudged


def slope(problem, x, high, low, width):
    return (problem.g_x(x, high) - problem.g_x(x, low)) / width


@mutant(
    "a finite nudge beta (penalty gamma = 1/beta) is taken for the limit, one-sided",
    where="smooth",
    source="value-function penalties at a fixed gamma; one-sided equilibrium propagation",
    beta=(0.1, 1e-2, 1e-3, 1.0, 0.5),
)
def finite_nudge(problem, x, y, mu, nu, beta):
    z = nudged(problem, x, y, beta)
    return problem.f_x(x, z) + slope(problem, x, z, y, beta)


@mutant("the nudged difference leaves out beta f_x, so the direct term is lost", where="smooth", beta=(1e-2, 0.1, 1e-3))
def nudge_without_direct(problem, x, y, mu, nu, beta):
    return slope(problem, x, nudged(problem, x, y, beta), y, beta)


@mutant("the symmetric nudge is divided by beta instead of 2 beta", where="smooth", beta=(1e-2, 0.1, 1e-3))
def symmetric_nudge_not_halved(problem, x, y, mu, nu, beta):
    up, down = nudged(problem, x, y, beta), nudged(problem, x, y, -beta)
    return problem.f_x(x, up) + problem.f_x(x, down) + slope(problem, x, up, down, beta)


@mutant(
    "the penalty's lower objective is halved in one of its two terms",
    where="smooth",
    source="BLOCC's code (lag_F against lag_g)",
    gamma=(10.0, 100.0, 5.0, 1000.0),
)
def half_penalty(problem, x, y, mu, nu, gamma):
    z = nudged(problem, x, y, 2 / gamma)
    return problem.f_x(x, z) + gamma * (problem.g_x(x, z) / 2 - problem.g_x(x, y))


@mutant(
    "the penalty is detached: f_x at the penalised y, and nothing from the penalty",
    where="smooth",
    source='BOAT pgdo.py, penalty="gradient"',
    gamma=(10.0, 100.0, 5.0, 1000.0),
)
def penalty_detached(problem, x, y, mu, nu, gamma):
    return np.asarray(problem.f_x(x, nudged(problem, x, y, 1 / gamma)), float)


@mutant(
    "the value function v(x) is left out of the penalty gamma (g - v), so gamma g_x remains",
    where="smooth",
    gamma=(10.0, 100.0, 1.0, 1000.0),
)
def value_function_missing(problem, x, y, mu, nu, gamma):
    z = nudged(problem, x, y, 1 / gamma)
    return problem.f_x(x, z) + gamma * problem.g_x(x, z)

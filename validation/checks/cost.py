"""Level 5: cost, in calls of the user's functions. Calls are counted, never seconds.

The cost of a hypergradient by an adjoint is that of a lower solve and one linear solve, whatever n is. Finite differences and
forward mode cost n times as much; reverse mode costs K steps for K inner steps.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ...problem import BilevelProblem
from ..arrays import constant
from ..cases import Functions
from ..failure import Measured
from .contract import fail
from .laws import accepts
from .record import check, oracular


def quadratic_case(like, n, m=5):
    """A well-conditioned quadratic case with n upper variables, its truth by the closed form."""
    rng = np.random.default_rng(n)
    A, C, t = rng.normal(size=(m, m)), rng.normal(size=(n, m)) / np.sqrt(n), rng.normal(size=m)
    H, x = A @ A.T / m + np.eye(m), rng.normal(size=n)
    y = -np.linalg.solve(H, x @ C)

    def f(x, y):
        return ((y - constant(t, y)) ** 2).sum() / 2 + (x * x).sum() / 2

    def g(x, y):
        return 0.5 * (y @ (constant(H, y) @ y)) + x @ (constant(C, y) @ y)

    problem = BilevelProblem(
        n=n,
        m=m,
        f=f,
        f_x=lambda x, y: 1.0 * x,
        f_y=lambda x, y: y - t,
        g=g,
        g_x=lambda x, y: C @ y,
        g_y=lambda x, y: H @ y + x @ C,
        g_yy=lambda x, y: H,
        g_xy=lambda x, y: C,
        name=f"cost/{n}",
    )
    v = np.linalg.solve(H, y - t)
    return replace(
        like,
        id=f"cost/{n}",
        problem=problem,
        functions=Functions(f, g),
        x=x,
        y=y,
        mu=np.zeros(0),
        nu=np.zeros(0),
        reference=x - C @ v,
        direct=x,
        indirect_scale=float(np.linalg.norm(C, 2) * np.linalg.norm(v)),
        condition=np.linalg.cond(H),
        generators=None,
    )


def calls(name, implementation, case, like, **options):
    answer = implementation.run("hypergradient", case, case.x, **options)
    if answer.error is not None:
        fail(name, implementation, like, f"raised {type(answer.error).__name__} at n = {case.problem.n}: {str(answer.error)[:200]}")
    return answer.calls


@check(5, applies=oracular, sample="first")
def independent_of_n(implementation, case):
    """The number of calls does not grow with the number of upper variables."""
    few, many = (sum(calls("independent_of_n", implementation, quadratic_case(case, n), case).values()) for n in (4, 64))
    if many > 2 * few + 10:
        text = f"{few} calls at n = 4, {many} at n = 64: use one adjoint solve (reverse mode) instead of n differences or columns"
        fail("independent_of_n", implementation, case, text)
    return Measured(series={"n": (4.0, 64.0), "calls": (float(few), float(many))})


@check(5, applies=oracular, sample="first", adapters=("numpy",))
def few_upper_calls(implementation, case):
    """The upper objective's derivatives and the cross term are asked for a handful of times."""
    counted = calls("few_upper_calls", implementation, quadratic_case(case, 8), case)
    most = {name: counted[name] for name in ("f_x", "f_y", "g_xy") if counted.get(name, 0) > 20}
    if most:
        fail("few_upper_calls", implementation, case, f"calls: {most}; each is needed once, twice with an error estimate")
    return Measured(series={name: (float(count),) for name, count in counted.items()})


@check(5, applies=oracular, sample="first")
def linear_in_K(implementation, case):
    """K inner steps cost O(K) calls."""
    if not accepts(implementation, "K"):
        return Measured()
    synthetic = quadratic_case(case, 4)
    one, two = (sum(calls("linear_in_K", implementation, synthetic, case, K=K).values()) for K in (32, 64))
    if two > 3 * one:
        fail("linear_in_K", implementation, case, f"{one} calls at K = 32, {two} at K = 64: more than linear growth")
    return Measured(series={"K": (32.0, 64.0), "calls": (float(one), float(two))})


CHECKS = [independent_of_n, few_upper_calls, linear_in_K]

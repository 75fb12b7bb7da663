"""The pessimistic problem against closed forms and a fine grid of x with the worst response found by linear programs."""

import numpy as np
import pytest
from scipy.optimize import linprog

import refbilevel as rb
from random_bilevel import random_problem


def solve(problem):
    return rb.minimize_global(problem, pessimistic=True, time_limit=60)


def worst_by_linprog(problem, x):
    """max F over S(x) of an LP lower level, from its value alone: rows plus g <= g* (1e-9)."""
    n, g, G, f = problem.n, problem.lower.objective, problem.lower.inequalities, problem.upper.objective
    cost, b = g.Q[n:, :n] @ x + g.c[n:], G.b - G.A[:, :n] @ x
    lower = linprog(cost, A_ub=G.A[:, n:], b_ub=b, bounds=(None, None))
    if lower.status != 0:
        return np.inf
    face = linprog(-(f.Q[n:, :n] @ x + f.c[n:]), A_ub=np.vstack([G.A[:, n:], cost]), b_ub=np.append(b, lower.fun + 1e-9), bounds=(None, None))
    constant = 0.5 * x @ f.Q[:n, :n] @ x + f.c[:n] @ x + f.const
    return {0: -face.fun if face.status == 0 else 0, 3: np.inf}.get(face.status, np.inf) + constant


@pytest.mark.parametrize(
    "name,value,attained",
    [
        ("Bard1991Ex2", -1.0, True),
        ("Bard1991Ex22v", -1.0, True),
        ("LucchettiEtal1987", 0.5, True),  # F = (1 + x) / 2 for x < 1
        ("Yezza1996Ex31", 1.5, False),  # x -> 1/4 from above; at 1/4 the follower may choose F = 3.5
        ("ChiEtal2014Ex31", 12.0, True),
        ("Savard1989", -14.6, True),  # coupling rows, but a unique lower solution
    ],
)
def test_known_values(name, value, attained):
    result = solve(rb.problems.load(name))
    assert result.success and result.fun == pytest.approx(value, abs=1e-8) and result.attained is attained
    assert result.fun >= result.optimistic_result.fun - 1e-9


def test_an_infimum_that_is_not_attained():
    """g = (1 - x) y on [0, 1]: y = 0 for x < 1, anything at x = 1; F = y - x falls to -1 and jumps to 0."""
    Q = [[0, -1], [-1, 0]]
    problem = rb.QuadraticBilevel(n=1, m=1, upper=(None, [-1, 1]), lower=(Q, [0, 1]), lower_rows=([[0, 1], [0, -1]], [1, 0]), bounds=(0, 1))
    result = solve(problem)
    assert result.success and result.fun == pytest.approx(-1.0) and result.x == pytest.approx([1.0]) and result.attained is False


@pytest.mark.parametrize("seed", range(6))
def test_random_problems_against_a_grid(seed):
    rng = np.random.default_rng(seed)
    problem = random_problem(rng, "LL", 1, 2, 4, 0)
    cost = problem.lower.objective.c.copy()
    cost[1:] = rng.choice([-1, 0, 1], 2)  # zero costs make many lower solutions
    rows = (np.vstack([problem.lower.inequalities.A, np.hstack([np.zeros((4, 1)), np.vstack([np.eye(2), -np.eye(2)])])]), np.append(problem.lower.inequalities.b, 4 * np.ones(4)))
    problem = rb.QuadraticBilevel(n=1, m=2, upper=(None, problem.upper.objective.c), lower=(None, cost), lower_rows=rows, bounds=(-5, 5))
    result = solve(problem)
    grid = min(worst_by_linprog(problem, np.array([t])) for t in np.linspace(-5, 5, 101))
    if np.isinf(grid):
        assert result.status is rb.Status.INFEASIBLE
        return
    assert result.success
    step = 10 / 100 * 50  # the grid's spacing times a generous slope of the piecewise linear value
    assert grid - step <= result.fun <= grid + 1e-7
    near = min(worst_by_linprog(problem, result.x + d) for d in (0.0, 1e-6, -1e-6) if abs(result.x[0] + d) <= 5)
    assert near == pytest.approx(result.fun, abs=1e-3)  # the infimum is approached beside x


def test_what_is_only_bracketed_says_so():
    problem = rb.problems.load("FrankeEtal2018Ex53")  # an upper row that involves y
    result = solve(problem)
    assert not result.success and result.status is rb.Status.INACCURATE and "involve y" in result.message
    assert result.bound <= result.fun and result.bound == pytest.approx(1.0)


def test_infeasible_stays_infeasible():
    assert solve(rb.problems.load("jointc1_infeasible")).status is rb.Status.INFEASIBLE

"""Several starts, the choice of method, the joint program's branches, and that no end point escapes the re-check."""

import sys

import numpy as np
import pytest

import refbilevel as rb
from refbilevel.errors import ArgumentError
from refbilevel.outer import METHODS, choice, multistart
from refbilevel.outer.recheck import recheck


def two_valleys():
    """F(x) = (x^2 - 1)^2 + x / 4 with y* = x: minima near 1 and, lower, near -1."""
    return rb.BilevelProblem(
        n=1, m=1, bounds=(-2.0, 2.0), f=lambda x, y: (y[0] ** 2 - 1) ** 2 + 0.25 * y[0], f_x=lambda x, y: np.zeros(1),
        f_y=lambda x, y: np.array([4 * y[0] * (y[0] ** 2 - 1) + 0.25]), g=lambda x, y: 0.5 * (y[0] - x[0]) ** 2, g_y=lambda x, y: y - x,
        g_yy=lambda x, y: np.eye(1), g_xy=lambda x, y: -np.eye(1),
    )  # fmt: skip


def test_the_best_of_several_starts_is_kept_and_all_are_listed():
    alone = rb.minimize(two_valleys(), [0.95])
    several = rb.minimize(two_valleys(), [0.95], starts=8, rng=1)
    assert alone.x[0] > 0.9 and several.x[0] < -0.9 and several.success and several.accepted
    assert len(several.starts) == 8 and several.starts[0].x0[0] == 0.95 and len(alone.starts) == 1
    assert several.fun == min(s.fun for s in several.starts)
    assert rb.minimize(two_valleys(), [0.95], restarts=7, rng=1).fun == several.fun
    assert len(rb.minimize(two_valleys(), starts=3).starts) == 3


def test_wrong_counts():
    for options in ({"starts": 0}, {"restarts": -1}, {"starts": 2.5}, {"starts": 3, "restarts": 3}):
        with pytest.raises(ArgumentError, match="starts"):
            rb.minimize(two_valleys(), [0.95], **options)


def test_a_failing_start_is_listed_and_all_failing_raise():
    def breaking(x, y):
        if x[0] > 0:
            raise ZeroDivisionError("no")
        return 0.5 * (y[0] - x[0]) ** 2

    problem = rb.problem.replace(two_valleys(), g=breaking, g_y=lambda x, y: (breaking(x, y), y - x)[1])
    result = rb.minimize(problem, [0.95], starts=6, rng=1)
    assert result.x[0] < 0 and any("no" in s.message for s in result.starts)
    with pytest.raises(ZeroDivisionError):
        rb.minimize(problem, [0.95])


def test_the_callback_stops_all_starts():
    result = rb.minimize(two_valleys(), [0.95], starts=5, callback=lambda intermediate_result: True)
    assert result.status == "stopped" and len(result.starts) == 1


def test_a_point_that_the_recheck_refuses_is_no_success():
    """A lower solver that stops at the higher of two lower minima, g = (y^2 - 1)^2 + y / 4: the re-check, which solves anew, knows the lower."""
    problem = rb.BilevelProblem(
        n=1, m=1, f=lambda x, y: x[0] ** 2 + y[0], f_x=lambda x, y: 2 * x, f_y=lambda x, y: np.ones(1),
        g=lambda x, y: (y[0] ** 2 - 1) ** 2 + 0.25 * y[0], g_y=lambda x, y: np.array([4 * y[0] * (y[0] ** 2 - 1) + 0.25]),
        g_yy=lambda x, y: np.array([[12 * y[0] ** 2 - 4]]), g_xy=lambda x, y: np.zeros((1, 1)),
    )  # fmt: skip
    low, high = (rb.solve_lower(problem, [0.0], y0=[start]).y for start in (-1.0, 1.0))
    careless = rb.problem.replace(problem, lower_solver=lambda x, y0, tol: low if not y0.any() and x[0] == 0.0 else high)
    result = rb.minimize(careless, [0.5], tol=1e-6)
    assert problem.g([0.0], high) > problem.g([0.0], low) + 0.1
    assert result.y == pytest.approx(high) and not result.accepted and not result.success and result.status == "inaccurate"
    assert "Re-check" in result.message


@pytest.mark.parametrize("name,F", [("FrankeEtal2018Ex513", -1.0), ("IshizukaAiyoshi1992a", 0.0)])
def test_where_the_lower_solution_is_not_unique(name, F):
    result = rb.minimize(rb.problems.load(name), starts=5)
    assert result.fun == pytest.approx(F, abs=1e-6) and result.accepted and result.residual <= 1e-6


def test_a_kink_is_polished_by_gam_and_the_message_says_so():
    valley = rb.QuadraticBilevel(
        n=2, m=2, upper=(None, np.array([-1.0, -10, 2, 20])), lower=(np.block([[np.zeros((2, 2)), -np.eye(2)], [-np.eye(2), np.eye(2)]]), None),
        lower_rows=(np.hstack([np.zeros((2, 2)), -np.eye(2)]), np.zeros(2)),
    )  # fmt: skip
    result = rb.minimize(valley, [2.0, 0.3])
    assert result.success and abs(result.fun) < 1e-6 and result.accepted, result.message
    assert "minimize_global" in result.message and "chosen" in result.message


@pytest.mark.parametrize("seed", range(3))
def test_branches_end_at_the_optimum_that_enumeration_finds(seed):
    """Random LP and QP lower levels: the best of six starts of mpcc against the proven optimum."""
    from random_bilevel import random_problem

    problem = random_problem(np.random.default_rng(seed), "QQ", n=2, m=2, k=4, ku=0)
    proven = rb.minimize_global(problem)
    if not np.isfinite(proven.fun):
        pytest.skip("infeasible or unbounded")
    result = rb.minimize(problem, method="mpcc", starts=6)
    assert result.accepted and result.fun >= proven.fun - 1e-6 * (1 + abs(proven.fun))
    assert result.fun <= proven.fun + 1e-6 * (1 + abs(proven.fun)), (result.fun, proven.fun, result.message)


def test_joint_jacobians_against_differences():
    import refbilevel.outer.mpcc  # noqa: F401  (the package attribute of that name is the method)
    from refbilevel.problem import counted

    Joint = sys.modules["refbilevel.outer.mpcc"].Joint
    problem, _ = counted(rb.problems.load("DempeDutta2012Ex31"))
    joint, z, h = Joint(problem, (2, 2, 2, 0)), np.array([0.3, 0.8, 0.2, 1.1, 0.4, 0.7]), 1e-6
    for value, jacobian in (
        (joint.p, joint.p_jacobian), (joint.equations, joint.equations_jacobian), (lambda z: joint.complementarity(z, 0.1), joint.complementarity_jacobian)
    ):  # fmt: skip
        differences = np.array([(value(z + h * e) - value(z - h * e)) / (2 * h) for e in np.eye(6)]).T
        np.testing.assert_allclose(jacobian(z), differences, atol=1e-7)


def test_choice_by_structure():
    assert choice.choose(two_valleys())[0] == "lbfgs"
    assert choice.choose(rb.problems.load("Bard1988Ex3"))[0] == "slsqp"
    name, why = choice.choose(rb.problems.load("Outrata1990Ex2a"))
    assert name == "slsqp" or "minimize_global" in why
    assert METHODS["mpcc"].joint and "coupling" in METHODS["mpcc"].constraints


def test_start_points_are_reproducible():
    draws = [np.array(list(multistart.start_points(two_valleys(), 4, np.random.default_rng(r)))) for r in (3, 3, 4)]
    np.testing.assert_array_equal(draws[0], draws[1])
    assert not np.array_equal(draws[0], draws[2])


@pytest.mark.slow
def test_most_problems_beyond_the_global_method_are_solved():
    """Ten of the collection's problems that minimize_global does not cover, twenty starts, all else default."""
    from refbilevel.outer.solve_all import solve_all

    names = ["Bard1988Ex3", "Colson2002BIPA3", "Colson2002BIPA4", "Colson2002BIPA5", "F15_exponential_lambertw_3", "FrankeEtal2018Ex513",
             "IshizukaAiyoshi1992a", "Outrata1990Ex2b", "Outrata1990Ex2d", "jump_nlp_02"]  # fmt: skip
    rows = solve_all(names, starts=20)
    assert [r.verdict for r in rows] == ["best known"] * len(names), [(r.name, r.verdict) for r in rows if r.verdict != "best known"]

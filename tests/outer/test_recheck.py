"""The re-check accepts every verified optimum, refuses points that were spoilt, and knows the properties the files store."""

import numpy as np
import pytest

import refbilevel as rb
from refbilevel.outer.recheck import recheck
from refbilevel.problems import loading

NAMES = [info.name for info in loading.catalogue()]
#: the Lagrangian's curvature vanishes or the lower level is no QP: uniqueness is left open
OPEN = {"Colson2002BIPA1", "Colson2002BIPA1_x15", "DempeDutta2012Ex24", "DempeDutta2012Ex31", "FrankeEtal2018Ex513"}


@pytest.mark.parametrize("name", NAMES)
def test_verified_optima_are_accepted_with_their_properties(name):
    problem, record = rb.problems.load(name), loading.read_record(name)
    check = recheck(problem, record["solution"]["x"], record["solution"]["y"])
    stored = record["properties"]
    assert check.accepted and check.residual <= 1e-6
    assert check.licq == stored["licq_lower"] and check.strict_complementarity == stored["strict_complementarity"]
    assert check.unique == (None if name in OPEN else stored["lower_unique_at_solution"])
    if not stored["kkt_holds"]:
        assert np.isnan(check.margin)  # there are no multipliers
    elif stored["sc_margin"] is not None:
        assert check.margin == pytest.approx(stored["sc_margin"], abs=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_a_spoilt_y_is_refused(name):
    """y moved by 0.05 along a coordinate is infeasible or not optimal, unless y may move freely there."""
    problem, record = rb.problems.load(name), loading.read_record(name)
    x, y = np.array(record["solution"]["x"]), np.array(record["solution"]["y"])
    if not record["properties"]["lower_unique_at_solution"]:
        pytest.skip("other lower solutions exist")
    for j in range(len(y)):
        for sign in (1, -1):
            moved = y + 0.05 * sign * (1 + np.abs(y).max()) * (np.arange(len(y)) == j)
            assert not recheck(problem, x, moved).accepted


def test_an_x_outside_its_bounds_or_rows_is_refused():
    problem = rb.problems.load("jointc1")
    solution = loading.read_record("jointc1")["solution"]
    assert recheck(problem, solution["x"], solution["y"]).accepted
    assert recheck(problem, np.array(solution["x"]) - 3, solution["y"]).upper_violation > 0.1


def test_lower_infeasible_and_unbounded_are_named():
    rows = ([[1, 1], [0, -1]], [0, 0])  # 0 <= y <= -x
    problem = rb.QuadraticBilevel(n=1, m=1, upper=(None, [1, 1]), lower=(None, [0, 1]), lower_rows=rows)
    assert recheck(problem, [1.0], [0.0]).status is rb.Status.LOWER_INFEASIBLE
    free = rb.QuadraticBilevel(n=1, m=1, upper=(None, [1, 1]), lower=(None, [0, 1]))
    assert recheck(free, [1.0], [0.0]).status is rb.Status.LOWER_UNBOUNDED


def test_optimistic_and_pessimistic_by_hand():
    """g = 0: every y in [0, x] is optimal, F = (y - 1)^2 - y ranges over its extremes there."""
    Q = np.diag([0.0, 2.0])
    problem = rb.QuadraticBilevel(n=1, m=1, upper=(Q, [0, -3], 1.0), lower=(None, None), lower_rows=([[-1, 1], [0, -1]], [0, 0]))
    check = recheck(problem, [4.0], [1.0])
    assert check.accepted and check.unique is False and not check.strict_complementarity is None
    assert check.optimistic == pytest.approx(-1.25, abs=1e-9) and check.pessimistic == pytest.approx(5.0, abs=1e-9)
    assert check.gap == pytest.approx(6.25, abs=1e-9)


def test_coupling_rows_bind_the_optimistic_value_only():
    problem = rb.QuadraticBilevel(
        n=1, m=1, upper=(None, [0, 1]), upper_rows=([[0, -1]], [-0.5]), lower=(None, None), lower_rows=([[-1, 1], [0, -1]], [0, 0])
    )
    check = recheck(problem, [2.0], [0.5])
    assert check.optimistic == pytest.approx(0.5) and check.pessimistic == pytest.approx(2.0)


def test_degenerate_multipliers_have_the_largest_smallest_entry():
    """Twice the same row: any split of mu = 1 is a multiplier, the best has margin 1/2; LICQ fails."""
    problem = rb.QuadraticBilevel(n=1, m=1, upper=(None, [1, 1]), lower=(None, [0, 1]), lower_rows=([[1, -1], [1, -1]], [0, 0]))
    check = recheck(problem, [1.0], [1.0])
    assert check.margin == pytest.approx(0.5) and not check.licq and check.strict_complementarity
    assert check.mu.sum() == pytest.approx(1.0)


def test_wrong_shapes():
    problem = rb.problems.load("jointc1")
    with pytest.raises(rb.errors.ShapeError):
        recheck(problem, [1.0, 2.0], [0.0])


def test_an_oracle_out_of_its_domain_is_said():
    problem = rb.problems.load("F16_logit_pricing_3")
    check = recheck(problem, np.ones(problem.n), -np.ones(problem.m))
    assert not check.accepted and check.status is rb.Status.NONFINITE


def test_strong_convexity_spares_the_lower_solves_and_refuses_a_poor_y():
    H, C, solves = np.array([[2.0, 1.0], [1.0, 3.0]]), np.array([[1.0, -2.0]]), []
    problem = rb.BilevelProblem(
        n=1, m=2, f=lambda x, y: y @ y, g=lambda x, y: 0.5 * y @ H @ y - x @ C @ y, g_y=lambda x, y: H @ y - x @ C,
        g_yy=lambda x, y: H, lower_solver=lambda x, y0, tol: solves.append(1) or np.linalg.solve(H, x @ C),
        constants={"mu": float(np.linalg.eigvalsh(H)[0])},
    )  # fmt: skip
    x = np.array([2.0])
    y = np.linalg.solve(H, x @ C)
    check = recheck(problem, x, y)
    assert check.accepted and check.unique and not solves
    poor = recheck(problem, x, y + 0.01)
    assert not poor.accepted and solves and poor.lower_gap > 1e-5
    unknown = recheck(rb.problem.replace(problem, constants=None), x, y)
    assert unknown.accepted and len(solves) == 4 and abs(unknown.lower_objective - check.lower_objective) <= 1e-12

"""minimize_global against the verified optima, brute force over all patterns, SCIP, and itself re-checked."""

import functools

import numpy as np
import pytest

import refbilevel as rb
from refbilevel.errors import ArgumentError, DtypeError, StatusError, UnknownOption
from refbilevel.outer import global_concave, global_convex, global_search
from refbilevel.outer.global_identity import identity
from refbilevel.outer.global_kkt import build, is_convex
from refbilevel.outer.recheck import recheck
from refbilevel.problems import loading

from random_bilevel import brute_force, random_problem

CATALOGUE = {info.name: info for info in loading.catalogue()}


def linear_rows(problem):
    levels = (problem.upper, problem.lower)
    return all(rows.linear for level in levels for rows in (level.inequalities, level.equalities))


QUADRATIC = {name: p for name in CATALOGUE if isinstance(p := rb.problems.load(name), rb.QuadraticBilevel) and linear_rows(p)}
CONVEX = [name for name, p in QUADRATIC.items() if is_convex(p.upper.objective.Q) and CATALOGUE[name].lower_kind in ("LP", "QP")]
NONCONVEX = [name for name in QUADRATIC if name not in CONVEX]


@functools.cache
def solved(name):
    return rb.minimize_global(QUADRATIC[name], method="branch-and-bound")


def test_the_promised_number_of_problems():
    complete = [loading.read_record(name)["matrices"]["complete"] for name in CONVEX]
    assert sum(complete) == 78 and len(CONVEX) == 79 and len(NONCONVEX) == 11


@pytest.mark.parametrize("name", CONVEX + NONCONVEX)
def test_the_optimum_is_proven(name):
    solution, result = loading.read_record(name)["solution"], solved(name)
    scale = 1 + abs(solution["F"])
    assert result.status is rb.Status.CERTIFIED and result.success
    assert abs(result.fun - solution["F"]) <= 1e-9 * scale and result.bound <= result.fun + 1e-12 * scale
    assert result.gap <= 1e-9 * scale and result.residual <= 1e-9


#: the optimal (x, y) is not unique: another one of the same value is as good
MANY_OPTIMA = {"Bard1988Ex2", "Outrata1990Ex2a", "TollSettingP2", "TollSettingP3", "YALMIP_bard_sq"}


@pytest.mark.parametrize("name", CONVEX + NONCONVEX)
def test_the_solution_itself(name):
    solution, result, problem = loading.read_record(name)["solution"], solved(name), QUADRATIC[name]
    error = max(np.abs(result.x - solution["x"]).max(), np.abs(result.y - solution["y"]).max())
    if name in MANY_OPTIMA:
        stored = recheck(problem, solution["x"], solution["y"])
        assert error > 1e-3 and stored.accepted, "the stored optimum is another one, and as valid"
    else:
        assert error <= 1e-9 * (1 + np.abs(solution["x"]).max())


@pytest.mark.parametrize("name", [n for n in CONVEX + NONCONVEX if n not in MANY_OPTIMA])
def test_uniqueness_licq_and_strict_complementarity_as_stored(name):
    stored, result = loading.read_record(name)["properties"], solved(name)
    assert result.unique == stored["lower_unique_at_solution"]
    assert result.licq == stored["licq_lower"]
    assert result.strict_complementarity == stored["strict_complementarity"]


@pytest.mark.parametrize("name", [n for n in CONVEX if not CATALOGUE[n].unique])
def test_the_optimistic_value_is_the_lowest_over_the_lower_solutions(name):
    result = solved(name)
    assert result.optimistic == pytest.approx(result.fun, abs=1e-9 * (1 + abs(result.fun)))
    assert np.isnan(result.pessimistic) or result.pessimistic >= result.optimistic - 1e-9


@pytest.mark.parametrize("method", ["branch-and-bound", "sos1"])
@pytest.mark.parametrize("problem", rb.problems.load(loading.DATA / "_infeasible.json"), ids=lambda p: p.name)
def test_infeasible_problems(problem, method):
    if method == "sos1":
        pytest.importorskip("pyscipopt")
    result = rb.minimize_global(problem, method=method)
    assert result.status is rb.Status.INFEASIBLE and not result.success and result.fun == np.inf
    assert "violates the upper rows" in result.message


@pytest.mark.parametrize(
    "rows,costs,reason",
    [(([[0, 1]], [0]), [0, 1], "no solution for any x"), (([[0, 1], [0, -1]], [0, -1]), [0, 1], "contradict"), (([[1, 1], [-1, 1]], [9, 9]), [0, -1], None)],
)
def test_why_infeasible(rows, costs, reason):
    result = rb.minimize_global(rb.QuadraticBilevel(n=1, m=1, upper=(None, [1, 1]), lower=(None, costs), lower_rows=rows, bounds=(0, 1)))
    assert (reason is None and result.success) or reason in result.message


@pytest.mark.parametrize("kind", ["LL", "LQ", "QL", "QQ"])
@pytest.mark.parametrize("seed", range(4))
def test_random_problems_against_brute_force(kind, seed):
    problem = random_problem(np.random.default_rng(seed), kind)
    agrees(rb.minimize_global(problem), brute_force(problem))


@pytest.mark.long
@pytest.mark.parametrize("kind", ["LL", "LQ", "QL", "QQ"])
@pytest.mark.parametrize("seed", range(4, 200))
def test_many_random_problems_against_brute_force(kind, seed):
    problem = random_problem(np.random.default_rng(seed), kind)
    agrees(rb.minimize_global(problem), brute_force(problem))


def agrees(result, truth):
    if np.isinf(truth):
        assert result.status is (rb.Status.INFEASIBLE if truth > 0 else rb.Status.UNBOUNDED)
    else:
        assert result.success and abs(result.fun - truth) <= 2e-6 * (1 + abs(truth))  # the interior point's own accuracy


@pytest.mark.slow
@pytest.mark.parametrize("seed", [9, 11, 12, 14])
def test_nonconvex_objectives_against_scip(seed):
    pytest.importorskip("pyscipopt")
    problem = random_problem(np.random.default_rng(seed), "NQ")
    own, scip = (rb.minimize_global(problem, method=method, time_limit=20) for method in ("branch-and-bound", "sos1"))
    assert own.status is scip.status
    assert own.fun == scip.fun or own.fun == pytest.approx(scip.fun, rel=2e-6, abs=2e-6)


def test_a_root_that_presolve_calls_infeasible_is_not_lost():
    """HiGHS's presolve reports this unbounded relaxation as infeasible; phase one knows better."""
    Q = np.array([[0, 0, 2, -1, 2], [0, 0, 2, 2, -1], [2, 2, 5, -4, -1], [-1, 2, -4, 9, -1], [2, -1, -1, -1, 2]])
    rows = ([[4, 4, 1, 2, -4], [0, -2, -2, 0, 1]], [0, 2])
    problem = rb.QuadraticBilevel(n=2, m=3, upper=(None, [-2, 0, -3, 0, -2]), lower=(Q, [-2, 2, -2, -2, 1]), lower_rows=rows, bounds=(-5, 5))
    result = rb.minimize_global(problem)
    assert result.success and result.fun == pytest.approx(-679 / 12, abs=1e-9)
    assert brute_force(problem) == pytest.approx(-679 / 12, abs=1e-6)


def test_unbounded_with_a_ray_that_holds():
    problem = rb.QuadraticBilevel(n=2, m=1, upper=(None, [-1, 0, 0]), lower=(None, [0, 0, 1]), lower_rows=([[0, 0, -1], [1, 1, -1]], [0, 0]))
    result = rb.minimize_global(problem)
    assert result.status is rb.Status.UNBOUNDED and result.fun == -np.inf
    values = []
    for t in (0.0, 1.0, 1e3, 1e6):
        x, y = result.x + t * result.ray[:2], result.y + t * result.ray[2:]
        assert recheck(problem, x, y).accepted
        values.append(problem.f(x, y))
    assert (np.diff(values) < 0).all()


def test_a_lost_child_is_noticed(monkeypatch):
    """The planted bug: a search that drops one branch must fail the proof's check against the stored optimum."""
    divide = global_search.Search._divide
    monkeypatch.setattr(global_search.Search, "_divide", lambda *a: divide(*a)[:1])
    monkeypatch.setattr(global_search.Search, "_try_points", lambda self, w: self._try_piece(self.kkt.pattern(w), w))
    wrong = 0
    for name in ("BardFalk1982Ex1", "Savard1989", "MershaDempe2006Ex1", "AnandalinghamWhite1990"):
        result = rb.minimize_global(QUADRATIC[name])
        wrong += abs(result.fun - loading.read_record(name)["solution"]["F"]) > 1e-6
    assert wrong


def test_quadratic_upper_rows():
    """Convex: y* = x on the disc (x - 2)^2 + y^2 <= 2, so F = -x is best at the far end of 2x^2 - 4x + 2 <= 0, x = 1."""
    disc = {0: np.diag([2.0, 2.0])}
    problem = rb.QuadraticBilevel(
        n=1, m=1, upper=(None, [-1, 0]), upper_rows=([[-4, 0]], [-2]), upper_quadratic=disc, lower=([[0, -1], [-1, 1]], None), bounds=(-9, 9)
    )
    result = rb.minimize_global(problem)
    assert result.x == pytest.approx([1.0], abs=1e-4) and result.fun == pytest.approx(-1.0, abs=1e-4)  # a double root: sqrt of the tolerance
    wider = rb.QuadraticBilevel(
        n=1, m=1, upper=(None, [-1, 0]), upper_rows=([[0, 0]], [8]), upper_quadratic=disc, lower=([[0, -1], [-1, 1]], None), bounds=(-9, 9)
    )
    assert rb.minimize_global(wider).fun == pytest.approx(-2.0, abs=1e-8)


def test_nonconvex_upper_rows_go_to_scip():
    pytest.importorskip("pyscipopt")
    result = rb.minimize_global(rb.problems.load("jump_nlp_03"))
    assert result.method == "sos1" and result.success and result.fun == pytest.approx(-4.0, abs=1e-5)
    with pytest.raises(ArgumentError, match="sos1"):
        rb.minimize_global(rb.problems.load("jump_nlp_03"), method="branch-and-bound")


@pytest.mark.parametrize("name", ["Savard1989", "F06_toll_parallel_routes_2_4", "TollSettingP1", "DeSilva1978", "FrankeEtal2018Ex53"])
def test_sos1_agrees(name):
    pytest.importorskip("pyscipopt")
    result = rb.minimize_global(QUADRATIC[name], method="sos1")
    assert result.success and result.method == "sos1"
    assert abs(result.fun - solved(name).fun) <= 1e-6 * (1 + abs(result.fun))


def test_several_followers():
    """Two followers of x: each takes y_i = max(0, x - a_i); F = (y_1 + y_2 - 3)^2 + x / 10 by hand."""
    followers = [
        rb.QuadraticBilevel(n=1, m=1, upper=(None, None), lower=([[0, -1], [-1, 1]], [0, a]), lower_rows=([[0, -1]], [0])) for a in (0.0, 1.0)
    ]
    Q = np.zeros((3, 3))
    Q[1:, 1:] = 2.0
    joint = rb.join_followers(followers, upper=(Q, [0.1, -6, -6], 9.0), bounds=(0, 10))
    x = 2.0 - 0.1 / 8  # F = (2x - 4)^2 + x / 10 for x >= 1
    result = rb.minimize_global(joint)
    assert result.success and result.x == pytest.approx([x], abs=1e-9) and result.y == pytest.approx([x, x - 1], abs=1e-9)


@pytest.mark.parametrize("name", ["BardFalk1982Ex1", "TollSettingP1", "F06_toll_parallel_routes_2_4", "Savard1989", "DeSilva1978"])
def test_the_duality_identity_vanishes_on_kkt_points(name):
    kkt = build(QUADRATIC[name])
    Q, c = identity(kkt)
    result = solved(name)
    w = np.concatenate([result.x, result.y, result.mu * kkt.row_scale / kkt.objective_scale, result.nu / kkt.objective_scale])
    assert abs(0.5 * w @ Q @ w + c @ w) <= 1e-9 * (1 + np.abs(w).max() ** 2)
    off = w + 0.1
    assert abs(0.5 * off @ Q @ off + c @ off) > 1e-3


@pytest.mark.parametrize("seed", range(5))
def test_secants_lie_below_and_tighten_quadratically(seed):
    """The relaxation's value is below F at every feasible point, and its error falls fourfold when the box is halved."""
    rng = np.random.default_rng(seed)
    M = rng.standard_normal((3, 3))
    Q, c = M + M.T - 3 * np.eye(3), rng.standard_normal(3)
    gaps = []
    for h in (1.0, 0.5, 0.25):
        box = global_convex.Program(Q, c, 0.0, np.zeros((0, 3)), np.zeros(0), np.zeros((0, 3)), np.zeros(0), -h * np.ones(3), h * np.ones(3))
        relaxed = global_concave.relax(box).answer
        points = rng.uniform(-h, h, (2000, 3))
        assert relaxed.bound <= min(box.objective(p) for p in points) + 1e-9
        gaps.append(box.objective(relaxed.w) - relaxed.value)
    assert gaps[2] <= gaps[0] / 8 + 1e-9


def test_polished_leaves_are_exact():
    """A QP with a rational answer: min (x-1)^2 + (y-2)^2 s.t. x + 3y <= 4 at (0.7, 1.1), to rounding."""
    Q, c, inf = 2 * np.eye(2), np.array([-2.0, -4.0]), np.full(2, np.inf)
    program = global_convex.Program(Q, c, 5.0, np.array([[1.0, 3.0]]), np.array([4.0]), np.zeros((0, 2)), np.zeros(0), -inf, inf)
    assert np.abs(global_convex.solve(program).w - [0.7, 1.1]).max() <= 1e-15


def test_time_limit_strict_and_progress():
    problem = random_problem(np.random.default_rng(0), "QQ", 6, 8, 14, 2)
    seen = []
    result = rb.minimize_global(problem, progress=lambda search, bound: seen.append((search.nodes, bound)))
    assert result.success and len(seen) == result.nodes > 3
    early = rb.minimize_global(problem, time_limit=1e-9)
    assert early.status is rb.Status.TIME_LIMIT and not early.success
    with pytest.raises(StatusError):
        rb.minimize_global(problem, time_limit=1e-9, strict=True)


def test_arguments_that_cannot_be_used():
    problem = QUADRATIC["Savard1989"]
    with pytest.raises(UnknownOption, match="sos1"):
        rb.minimize_global(problem, method="sos")
    for options in ({"tol": 0}, {"tol": "a"}, {"time_limit": -1}):
        with pytest.raises(ArgumentError):
            rb.minimize_global(problem, **options)
    with pytest.raises(DtypeError):
        rb.minimize_global(problem, progress=3)
    with pytest.raises(ArgumentError, match="matrices"):
        rb.minimize_global(rb.problems.load("YALMIP_bard_exp"))
    with pytest.raises(ArgumentError, match="quadratic ones"):
        rb.minimize_global(rb.problems.load("FrankeEtal2018Ex513"))
    with pytest.raises(ArgumentError, match="convex in y"):
        rb.minimize_global(rb.QuadraticBilevel(n=1, m=1, upper=(None, [1, 1]), lower=(-np.eye(2), None)))
    from refbilevel.problem import replace

    with pytest.raises(ArgumentError, match="replaced"):
        rb.minimize_global(replace(problem, f=lambda x, y: 0.0))


def test_matrix_form_is_validated():
    good = dict(n=1, m=2, upper=(None, [1, 1, 1]), lower=(np.eye(3), None))
    rb.QuadraticBilevel(**good)
    for bad in (
        {"upper": (None, [1, 1])}, {"upper": 3}, {"lower": (np.eye(2), None)}, {"lower_rows": ([[1, 1]], [1])}, {"lower_rows": [1]},
        {"lower_rows": ([[1, 1, 1]], [np.inf])}, {"upper_quadratic": {0: np.eye(3)}}, {"n": 0}, {"bounds": (1, 0)}, {"upper": (None, ["a", 1, 1])},
    ):  # fmt: skip
        with pytest.raises(rb.errors.BilevelError):
            rb.QuadraticBilevel(**(good | bad))

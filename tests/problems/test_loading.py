"""The shipped problems: values, derivatives, multipliers and sensitivities against what the files store, and files that are refused."""

import json
import pickle

import numpy as np
import pytest

import refbilevel as rb
from refbilevel.errors import ArgumentError, SchemaError, UnknownOption
from refbilevel.problem import counted
from refbilevel.problems import loading

NAMES = [info.name for info in loading.catalogue()]


#: no quadratic lower objective, but only for a term in x alone (x[0]**3)
X_ALONE = {"Colson2002BIPA2"}


@pytest.fixture(scope="module")
def loaded():
    return {name: (loading.read_record(name), rb.problems.load(name)) for name in NAMES}


def rows(record, oracle, *z):
    return oracle(*z) if record is not None and oracle is not None else np.zeros(0)


@pytest.mark.parametrize("name", NAMES)
def test_stored_values(loaded, name):
    record, problem = loaded[name]
    assert isinstance(problem, rb.QuadraticBilevel) == (record["matrices"]["complete"] or name in X_ALONE)
    for where in (record["solution"], record["probe"]):
        if where:
            x, y = np.array(where["x"]), np.array(where["y"])
            assert problem.f(x, y) == pytest.approx(where["F"], rel=1e-9, abs=1e-9)
            assert problem.g(x, y) == pytest.approx(where["f"], rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_first_and_second_derivatives_against_central_differences(loaded, name):
    record, problem = loaded[name]
    where = record["probe"] or record["solution"]
    x, y = np.array(where["x"]) + 0.01, np.array(where["y"]) + 0.013
    view, _ = counted(problem)
    oracles = [(view.f, view.f_x, view.f_y), (view.g, view.g_x, view.g_y), (view.f_x, view.f_xx, view.f_xy), (view.g_x, view.g_xx, view.g_xy)]
    oracles += [(view.f_y, None, view.f_yy), (view.g_y, lambda x, y: view.g_xy(x, y).T, view.g_yy)]
    c, u = view.constraints, view.upper_constraints
    oracles += [(r.p, r.p_x, r.p_y) for r in [c] if r is not None and r.p] + [(r.q, r.q_x, r.q_y) for r in [c] if r is not None and r.q]
    oracles += [(r.G, r.G_x, r.G_y) for r in [u] if r is not None and r.G] + [(r.H, r.H_x, r.H_y) for r in [u] if r is not None and r.H]
    for value, by_x, by_y in oracles:
        check(value, by_x, by_y, x, y)


def check(value, by_x, by_y, x, y, h=1e-5):
    for slot, derivative in ((0, by_x), (1, by_y)):
        if derivative is not None:
            moved = lambda t, d: value(*(v + t * d if i == slot else v for i, v in enumerate((x, y))))
            numeric = np.stack([(np.asarray(moved(h, d)) - np.asarray(moved(-h, d))) / (2 * h) for d in np.eye(len((x, y)[slot]))], axis=-1)
            exact = np.asarray(derivative(x, y))
            assert np.abs(numeric - exact).max(initial=0) <= 2e-7 * (1 + np.abs(exact).max(initial=0) + np.abs(np.asarray(value(x, y))).max(initial=0))


@pytest.mark.parametrize("name", NAMES)
def test_multipliers_sensitivity_and_hypergradient_of_the_probe(loaded, name):
    """Stationarity with the file's multipliers, and dy/dx by the implicit function theorem from the problem's second derivatives."""
    record, problem = loaded[name]
    probe = record["probe"]
    if not probe:
        pytest.skip("the file has no probe")
    x, y, mu, nu = (np.array(probe[k], float) for k in ("x", "y", "multipliers_g", "multipliers_h"))
    c, m = problem.constraints, problem.m
    K, right = problem.g_yy(x, y).copy(), -problem.g_xy(x, y).T.copy()
    if c is not None:
        B = np.vstack([c.p_y(x, y)[probe["active_g"]] if c.p else np.zeros((0, m)), c.q_y(x, y) if c.q else np.zeros((0, m))])
        B_x = np.vstack([c.p_x(x, y)[probe["active_g"]] if c.p else np.zeros((0, problem.n)), c.q_x(x, y) if c.q else np.zeros((0, problem.n))])
        stationarity = problem.g_y(x, y) + (c.p_y(x, y).T @ mu if c.p else 0) + (c.q_y(x, y).T @ nu if c.q else 0)
        assert np.abs(stationarity).max() <= 1e-6 * (1 + np.abs(problem.g_y(x, y)).max())
        K = K + c.lagrangian_yy(x, y, mu, nu)
        K = np.block([[K, B.T], [B, np.zeros((len(B), len(B)))]])
        right = np.vstack([right - c.lagrangian_xy(x, y, mu, nu).T, -B_x])
    dy = np.linalg.solve(K, right)[:m]
    stored = np.array(probe["dy_dx"]).reshape(m, problem.n)
    assert np.abs(dy - stored).max() <= 1e-6 * (1 + np.abs(stored).max())
    gradient = problem.f_x(x, y) + dy.T @ problem.f_y(x, y)
    assert gradient == pytest.approx(probe["hypergradient"], rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_every_upper_row_is_kept_as_a_row_or_a_bound(loaded, name):
    record, problem = loaded[name]
    lo, hi = problem.bounds or (np.full(problem.n, -np.inf), np.full(problem.n, np.inf))
    for ends, key, missing in ((lo, "x_lb", -np.inf), (hi, "x_ub", np.inf)):
        assert ends == pytest.approx([missing if v is None else v for v in record["bounds"][key]])
    z = [np.array(record["solution"][k]) + 0.3 for k in "xy"]
    u = problem.upper_constraints
    given = [eval(text, {"np": np, "x": z[0], "y": z[1]}) for text in record["expr"]["G"]]
    for value in rows(u, u.G if u else None, *z):
        assert np.abs(np.array(given) - value).min() <= 1e-9 * (1 + abs(value))


def test_the_catalogue_is_a_query():
    every = rb.problems.catalogue()
    assert len(every) == 113 and len(rb.problems.catalogue(class_="LP-LP")) == 39
    assert {i.name for i in rb.problems.catalogue(coupling=True)} == {i.name for i in every if i.coupling}
    assert all(2 <= i.n <= 3 and i.m == 3 for i in rb.problems.catalogue(n=(2, 3), m=3)) and rb.problems.catalogue(n=(2, 3), m=3)
    assert len(rb.problems.catalogue(lower_kind={"LP", "QP"})) == len(rb.problems.catalogue(lower_kind="LP")) + len(rb.problems.catalogue(lower_kind="QP"))
    assert loading.parse_range("2:5") == (2, 5) and loading.parse_range("7") == 7
    with pytest.raises(ArgumentError):
        loading.parse_range("a:b")


def test_infeasible_instances_are_loaded_by_file_and_by_name():
    problems = rb.problems.load(loading.DATA / "_infeasible.json")
    assert [p.name for p in problems] == ["MitsosBarton2006Ex32", "jointc1_infeasible", "MibS_issue45_continuous"]
    assert rb.problems.load("jointc1_infeasible").bounds[0][0] == 1.0


def test_problems_can_be_pickled():
    for name in ("Colson2002BIPA5", "Savard1989"):
        problem = pickle.loads(pickle.dumps(rb.problems.load(name)))
        x, y = np.ones(problem.n), np.ones(problem.m)
        assert problem.f(x, y) == rb.problems.load(name).f(x, y)


MINIMAL = {"schema": "refbilevel-problem/1", "nx": 1, "ny": 1, "expr": {"F": "x[0] + y[0]", "f": "y[0]**2", "G": ["1 - x[0]"], "g": ["-y[0]"]}}


def write(tmp_path, content):
    path = tmp_path / "p.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_a_minimal_file_is_enough(tmp_path):
    problem = rb.problems.load(write(tmp_path, MINIMAL))
    assert problem.bounds[0][0] == 1.0 and problem.upper_constraints is None and problem.constraints.p(np.ones(1), np.ones(1)) == -1.0


BROKEN = {
    "empty": "",
    "not json": "{",
    "truncated": json.dumps(MINIMAL)[:-20],
    "a list": "[]",
    "a number": "3",
    "no schema": MINIMAL | {"schema": None},
    "other schema": MINIMAL | {"schema": "something/1"},
    "newer schema": MINIMAL | {"schema": "refbilevel-problem/2"},
    "no sizes": {k: v for k, v in MINIMAL.items() if k != "nx"},
    "zero size": MINIMAL | {"nx": 0},
    "size not an integer": MINIMAL | {"ny": 1.5},
    "huge size": MINIMAL | {"ny": 10**9},
    "boolean size": MINIMAL | {"ny": True},
    "no expressions": MINIMAL | {"expr": None},
    "F not a text": MINIMAL | {"expr": MINIMAL["expr"] | {"F": 3}},
    "rows not a list": MINIMAL | {"expr": MINIMAL["expr"] | {"G": "x[0]"}},
    "row not a text": MINIMAL | {"expr": MINIMAL["expr"] | {"g": [1]}},
    "index out of range": MINIMAL | {"expr": MINIMAL["expr"] | {"F": "x[1]"}},
    "injection": MINIMAL | {"expr": MINIMAL["expr"] | {"F": "__import__('os').getcwd()"}},
    "nested json": "[" * 100_000 + "]" * 100_000,
    "matrices disagree": MINIMAL | {"matrices": {"complete": True, "upper": {"obj": {"Q": [[0, 0], [0, 0]], "c": [1, 2]}}, "lower": {"obj": {"Q": [[0, 0], [0, 2]], "c": [0, 0]}, "A": [[0, -1]], "b": [0]}}},
    "matrices malformed": MINIMAL | {"matrices": {"complete": True, "upper": 3}},
    "infeasible without list": {"schema": "refbilevel-infeasible/1", "problems": 3},
}  # fmt: skip


@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN)
def test_broken_files_raise_schema_errors(tmp_path, content):
    with pytest.raises(SchemaError):
        rb.problems.load(write(tmp_path, content))


def test_a_binary_file_a_folder_and_a_missing_file_raise_schema_errors(tmp_path):
    binary = tmp_path / "b.json"
    binary.write_bytes(b"\xff\xfe\x00\x01")
    folder = tmp_path / "f.json"
    folder.mkdir()
    for path in (binary, folder, tmp_path / "missing.json"):
        with pytest.raises(SchemaError):
            rb.problems.load(path)


@pytest.mark.parametrize("name", ["nothing", "../data/Savard1989", "/etc/passwd2", "Savard198"])
def test_unknown_names(name):
    with pytest.raises(UnknownOption):
        rb.problems.load(name)

"""The certified cases: coverage, derivatives against jets of 60 digits, references against differences of re-solved values."""

import json
import pickle

import numpy as np
import pytest
from mpmath import mp, mpf

import refbilevel as rb
from refbilevel.errors import SchemaError, UnknownOption
from refbilevel.validation import certify as certification
from refbilevel.validation import formulas
from refbilevel.validation.cases import CLASSES, DIFFICULTIES, GROUPS, cases, load_case, read_case
from refbilevel.validation.certify import certify, derive, disagreement
from refbilevel.validation.exact import CertificationError
from refbilevel.validation.jets import variables

ALL = cases()
ids = [c.id for c in ALL]
TERMS = [c for c in ALL if c.klass not in ("layer",)]
UNIQUE = [c for c in ALL if c.expected_status == "converged"]


def test_every_class_has_three_instances_of_each_difficulty():
    for klass in CLASSES:
        for difficulty in DIFFICULTIES:
            found = cases(klass, difficulty)
            assert len(found) >= 3, (klass, difficulty)
            assert [c.id for c in found] == [f"{klass}/{difficulty}/{i + 1}" for i in range(len(found))]
    assert len(set(ids)) == len(ids) == sum(len(cases(k)) for k in CLASSES)


def test_shapes_are_never_square_and_include_one_and_the_identity():
    assert all(c.problem.n != c.problem.m for c in ALL)
    for klass in CLASSES:
        found = cases(klass)
        assert any(c.problem.n == 1 for c in found), klass
        assert any(c.problem.m == 1 for c in found) or klass in ("softmax", "conic", "layer"), klass
    assert {"identity-hessian", "near-stationary", "scaled", "margin", "ill-conditioned"} <= set().union(*(c.tags for c in ALL))


def test_higher_is_hard():
    """Each smooth or constrained class has an ill-conditioned instance, or one with margin 1e-6."""
    for klass in GROUPS["smooth"] + GROUPS["constrained"]:
        hard = cases(klass, "higher")
        assert max(np.nan_to_num(c.condition) for c in hard) > 1e3 or any("margin" in c.tags for c in hard), klass


def test_names_are_checked():
    with pytest.raises(UnknownOption, match="did you mean 'ridge'"):
        cases("rigde")
    with pytest.raises(UnknownOption, match="average"):
        cases("ridge", "avarage")
    with pytest.raises(UnknownOption, match="ridge/lower/1"):
        load_case("ridge/lower/11")
    with pytest.raises(SchemaError, match="not valid JSON"):
        read_case("{")
    with pytest.raises(SchemaError, match="refbilevel-case/2"):
        read_case('{"schema": "refbilevel-case/2"}')
    with pytest.raises(SchemaError, match="lacks .*certified"):
        read_case('{"schema": "refbilevel-case/1"}')
    assert cases(["qp", "smooth"])[0].klass == "qp"
    assert load_case("ridge/average/3").id == "ridge/average/3"


def test_margins():
    for case in [c for c in ALL if "margin" in c.tags and c.expected_status == "converged"]:
        assert 5e-7 < case.margin < 5e-6, case.id
    assert load_case("qp-degenerate/lower/1").margin == 0 and load_case("ridge/lower/1").margin == np.inf


def test_cases_survive_pickling():
    """joblib and multiprocessing send problems to workers."""
    for case in ALL:
        copy = pickle.loads(pickle.dumps(case))
        assert copy.problem.f(case.x, np.ones(case.problem.m)) == case.problem.f(case.x, np.ones(case.problem.m)), case.id


# the oracles against second-order jets --------------------------------------------------------------------------------


def _jets(case, x, y):
    """f, g, rows of p and q as jets at (x, y), with 60 digits."""
    X, Y = variables([mpf(float(v)) for v in x], [mpf(float(v)) for v in y])
    spec = case.spec
    found = {name: [formulas.value(spec[name], X, Y)] for name in "fg" if name in spec}
    return found | {name: formulas.rows(spec[name], X, Y) for name in "pq" if name in spec}


def _dense(jet, n, m):
    gradient, hessian = np.zeros(n + m), np.zeros((n + m, n + m))
    for i, v in jet.gradient.items():
        gradient[i] = float(v)
    for (i, j), v in jet.hessian.items():
        hessian[i, j] = hessian[j, i] = float(v)
    return float(jet.value), gradient, hessian


def _close(ours, truth, scale):
    assert np.max(np.abs(np.asarray(ours) - truth), initial=0) <= 2e-14 * scale


@pytest.mark.parametrize("case", TERMS, ids=[c.id for c in TERMS])
def test_oracles_agree_with_jets_of_sixty_digits(case):
    """At a point off the solution, where no term vanishes; the jets know only the formulas of the file."""
    p, n, m = case.problem, case.problem.n, case.problem.m
    y = (case.y if case.y.size else np.zeros(m)) + 0.25 * (1.0 - 0.3 * np.arange(m))
    x = case.x + 0.125 * np.cos(np.arange(n))
    with mp.workdps(60):
        found = _jets(case, x, y)
        size = 1.0 + np.abs(x).sum() + np.abs(y).sum()
        for letter in set(found) & {"f", "g"}:
            value, gradient, hessian = _dense(found[letter][0], n, m)
            scale = size**2 * (1 + np.abs(hessian).max() + np.abs(gradient).max() + abs(value))
            _close(getattr(p, letter)(x, y), value, scale)
            _close(np.concatenate([getattr(p, f"{letter}_x")(x, y), getattr(p, f"{letter}_y")(x, y)]), gradient, scale)
            if p.g_yy is not None:
                blocks = {d: getattr(p, f"{letter}_{d}")(x, y) for d in ("xx", "xy", "yy")}
                _close(np.block([[blocks["xx"], blocks["xy"]], [blocks["xy"].T, blocks["yy"]]]), hessian, scale)
        if p.constraints is not None:
            _constraints_agree(p.constraints, found, x, y, n, m, size**2)


def _constraints_agree(constraints, found, x, y, n, m, size):
    weights = {name: np.arange(1.0, len(found.get(name, ())) + 1) for name in "pq"}
    total = np.zeros((n + m, n + m))
    for name in "pq":
        rows = [_dense(row, n, m) for row in found.get(name, ())]
        for i, (value, gradient, hessian) in enumerate(rows):
            scale = size * (1 + np.abs(hessian).max() + np.abs(gradient).max() + abs(value))
            _close(getattr(constraints, name)(x, y)[i], value, scale)
            slopes = [getattr(constraints, f"{name}_{d}")(x, y)[i] for d in "xy"]
            _close(np.concatenate(slopes), gradient, scale)
            total += weights[name][i] * hessian
    if constraints.linear:
        assert not total.any()
        return
    blocks = {d: getattr(constraints, f"lagrangian_{d}")(x, y, weights["p"], weights["q"]) for d in ("xx", "xy", "yy")}
    _close(np.block([[blocks["xx"], blocks["xy"]], [blocks["xy"].T, blocks["yy"]]]), total, size * (1 + np.abs(total).max()))


# the references ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", ALL, ids=ids)
def test_certification_is_reproduced(case):
    assert disagreement(case.spec) < 1e-22


@pytest.mark.parametrize("case", UNIQUE, ids=[c.id for c in UNIQUE])
def test_reference_is_the_slope_of_the_resolved_objective(case):
    """(F(x + hd) - F(x - hd)) / 2h with h = 1e-18 and F re-solved to 50 digits: no adjoint, no derivative of f in x."""
    direction = np.cos(1.0 + np.arange(case.problem.n))
    with mp.workdps(60):
        h = mpf(10) ** -18
        values = [_objective(case.spec, [mpf(a) + sign * h * mpf(d) for a, d in zip(case.spec["x"], direction)]) for sign in (1, -1)]
        slope = float((values[0] - values[1]) / (2 * h))
        truth = float(sum(mpf(a) * mpf(d) for a, d in zip(case.spec["certified"]["gradient"], direction)))
    assert abs(slope - truth) <= 1e-9 * (abs(truth) + 1e-3 * np.linalg.norm(case.reference)), (slope, truth)


def _objective(spec, x):
    return derive(spec | {"x": x})["objective"]


def test_attainable_digits_are_those_of_an_exact_solve():
    """At the certified y, LAPACK's solve of the adjoint system reaches the attainable digits up to one."""
    for case in [c for c in UNIQUE if c.problem.constraints is None and c.problem.solution_map is None]:
        p, x, y = case.problem, case.x, case.y
        gradient = p.f_x(x, y) - p.g_xy(x, y) @ np.linalg.solve(p.g_yy(x, y), p.f_y(x, y))
        assert rb.digits(gradient, case.reference) >= case.attainable_digits - 1, case.id


def test_degenerate_points_carry_the_gradients_of_their_pieces():
    for case in [c for c in ALL if c.expected_status == "degenerate"]:
        assert case.reference is None and case.generators.shape[1] == case.problem.n and len(case.generators) >= 2
        size = np.linalg.norm(case.direct) + case.indirect_scale
        assert np.ptp(case.generators, axis=0).max() > 1e-4 * size, f"{case.id}: the pieces must differ"


@pytest.mark.slow
def test_recipes_reproduce_the_files():
    """The same integers on every machine; the truth to 20 digits (its start is a float solution)."""
    from refbilevel.validation.cases.recipes import RECIPES
    from refbilevel.validation.cases.recipes.__main__ import instances

    assert set(RECIPES) == set(CLASSES)
    for klass in CLASSES:
        made = list(instances(klass))
        assert [spec["id"] for spec in made] == [c.id for c in cases(klass)]
        for spec, case in zip(made, cases(klass)):
            fresh, stored = ({k: v for k, v in s.items() if k != "certified"} for s in (spec, case.spec))
            assert fresh == stored, case.id
            assert disagreement(spec | {"certified": case.spec["certified"]}) < 1e-20


# the certificate can fail ---------------------------------------------------------------------------------------------


def _spoiled(id, **certified):
    spec = json.loads(json.dumps(load_case(id).spec))
    return spec | {"certified": spec["certified"] | certified}


def test_a_wrong_digit_is_noticed():
    spec = load_case("ridge/average/1").spec
    wrong = [*spec["certified"]["gradient"]]
    wrong[1] = wrong[1][:17] + ("1" if wrong[1][17] != "1" else "2") + wrong[1][18:]
    assert 1e-18 < disagreement(_spoiled("ridge/average/1", gradient=wrong)) < 1e-13
    assert disagreement(_spoiled("ridge/average/1", status="degenerate")) == np.inf
    assert disagreement(_spoiled("ridge/average/1", condition=1.0)) == np.inf


@pytest.mark.parametrize(
    "id, change, sentence",
    [
        ("qp/lower/1", {"mu": ["1", "1", "1", "0"]}, "no positive multiplier|Newton|violated"),
        ("qp/lower/4", {"mu": ["1", "0", "0"]}, "no positive multiplier"),
        ("qp/average/1", {"mu": ["0"] * 6}, "violated"),
    ],
)
def test_a_wrong_active_set_is_refused(id, change, sentence):
    with pytest.raises(CertificationError, match=sentence):
        certify(_spoiled(id, **change))


def test_a_saddle_is_refused():
    spec = json.loads(json.dumps(load_case("quadratic/lower/1").spec))
    spec["g"][0]["yy"][0][0] -= 100
    with pytest.raises(CertificationError, match="second-order"):
        certify(spec)


def test_a_false_farkas_proof_is_refused():
    spec = json.loads(json.dumps(load_case("qp-infeasible/lower/1").spec))
    spec["certificate"]["farkas"]["p"][0] += 1
    with pytest.raises(CertificationError, match="do not annihilate"):
        certify(spec)


def test_jets_need_the_formulas_only():
    """The certifying files import nothing of the library but one another."""
    from pathlib import Path

    folder = Path(certification.__file__).parent
    for name in ("certify.py", "exact.py", "formulas.py", "jets.py"):
        lines = [line for line in (folder / name).read_text().splitlines() if line.startswith(("from .", "import ref", "from ref"))]
        used = {line.removeprefix("from .").split()[0] for line in lines}
        assert used <= {"exact", "formulas", "jets", "import"}, (name, lines)

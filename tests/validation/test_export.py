"""The files-only door, way out: files say the same as the cases, and answers made from them alone are right."""

import json

import numpy as np
import pytest

import refbilevel as rb
from refbilevel.errors import ArgumentError, UnknownOption
from refbilevel.validation.cases import CLASSES, cases, read_case
from refbilevel.validation.export import export, flat


def test_json_files_are_the_cases(tmp_path):
    written = export(tmp_path, classes="all")
    assert [p.name for p in written[:2]] == ["README.txt", "answers.template.json"]
    assert len(written) == 2 + len(cases())
    for path in written[2:]:
        case = read_case(path.read_text())
        assert case.spec == json.loads(path.read_text()) and path.name == case.id.replace("/", ".") + ".json"
    entries = json.loads(written[1].read_text())["answers"]
    assert list(entries) == [c.id for c in cases()]


def test_a_stranger_solves_ridge_from_npz(tmp_path):
    """Only NumPy and the README's formulas: the hypergradient of ridge by its normal equations and finite differences."""
    export(tmp_path, classes=["ridge"], difficulty="lower", formats=["npz"])
    answers = {}
    for path in sorted(tmp_path.glob("*.npz")):
        data = np.load(path)
        A, c, E = data["g.0.A"], data["g.0.c"], data["g.1.E"]

        def F(x, A=A, c=c, E=E, data=data):
            y = np.linalg.solve(A.T @ A + np.diag(np.exp(E @ x)), -A.T @ c)
            r = data["f.1.A"] @ y + data["f.1.c"]
            return 0.5 * x @ data["f.0.xx"] @ x + data["f.0.x"] @ x + 0.5 * r @ r

        x, h = data["x"], 1e-4
        steps = h * np.eye(x.size)
        answers[str(data["id"])] = [(F(x - 2 * s) - 8 * F(x - s) + 8 * F(x + s) - F(x + 2 * s)) / (12 * h) for s in steps]
    for case in cases("ridge", "lower"):
        assert rb.digits(answers[case.id], case.reference) > 9


def test_csv_and_npz_hold_every_number(tmp_path):
    export(tmp_path, classes=["qp"], difficulty="average", formats=["npz", "csv"])
    for case in cases("qp", "average"):
        name, leaves = case.id.replace("/", "."), flat(case.spec)
        data = np.load(tmp_path / f"{name}.npz")
        assert set(data.files) == set(leaves) == {p.stem for p in (tmp_path / name).glob("*.csv")}
        P = np.array(case.spec["g"][0]["yy"], float)
        np.testing.assert_array_equal(data["g.0.yy"], P)
        np.testing.assert_array_equal(np.loadtxt(tmp_path / name / "g.0.yy.csv", delimiter=",", ndmin=2), P)
        np.testing.assert_array_equal(data["certified.gradient"], case.reference)
        np.testing.assert_array_equal(data["p.linear.A"], np.array(case.spec["p"]["linear"]["A"]))


def test_the_truth_can_be_left_out(tmp_path):
    for path in export(tmp_path, classes=list(CLASSES), difficulty="lower", certified=False)[2:]:
        spec = json.loads(path.read_text())
        assert "certified" not in spec and "start" not in spec


def test_curved_rows_and_layers_flatten():
    by_class = {c.klass: flat(c.spec) for c in cases(difficulty="average") if c.id.endswith("/1")}
    assert by_class["curved-constraint"]["p.curved.0.0.yy"].shape == (5, 5)
    assert by_class["layer"]["layer.lower.0.yy"].ndim == 2
    assert by_class["qp-degenerate"]["certified.generators"].ndim == 2
    assert by_class["combinatorial"]["feasible"].ndim == 2


def test_errors_come_before_any_file(tmp_path):
    with pytest.raises(UnknownOption, match="npz"):
        export(tmp_path / "a", formats=["nps"])
    with pytest.raises(UnknownOption, match="ridge"):
        export(tmp_path / "a", classes=["rigde"])
    assert not (tmp_path / "a").exists()
    (tmp_path / "file").write_text("")
    with pytest.raises(ArgumentError, match="cannot write"):
        export(tmp_path / "file" / "folder")

"""The scorecard's record: complete, rendered as committed, and every command in it one that the command line understands."""

import ast
import json
import re
import shlex
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from refbilevel.cli import build_parser
from refbilevel.validation.cases import CLASSES
from refbilevel.validation.checks import CHECKS
from refbilevel.validation.reproduce import parse
from refbilevel.validation.scorecard import environments, render, rows, run

FOLDER = Path(run.__file__).parent
RESULTS = json.loads((FOLDER / "results.json").read_text())
RAN = [r for r in RESULTS["rows"] if "reason" not in r]
PROBED = [p for p in RESULTS["probes"] if "reason" not in p]
VERDICTS = {"present", "not reproduced in this version"}


def functions(path):
    return {node.name for node in ast.parse(path.read_text()).body if isinstance(node, ast.FunctionDef)}


def test_every_row_and_probe_is_listed():
    assert RESULTS["schema"] == run.SCHEMA
    assert [r["key"] for r in RESULTS["rows"]] == [run.key_of(r) for r in rows.ROWS]
    assert [p["key"] for p in RESULTS["probes"]] == [run.key_of(p) for p in rows.PROBES]
    assert len(RAN) >= 5 and len(PROBED) > len(rows.PROBES) / 2
    assert all(e["reason"] for e in (*RESULTS["rows"], *RESULTS["probes"]) if e not in RAN and e not in PROBED)


def test_at_least_eight_published_defects_are_present():
    assert {p["verdict"] for p in PROBED} <= VERDICTS
    present = [p for p in PROBED if p["verdict"] == "present"]
    assert len({p["repro"] for p in present}) >= 8
    assert len({p["package"] for p in present}) >= 5


def test_the_table_is_the_record():
    assert (FOLDER / "SCORECARD.md").read_text() == render.markdown(RESULTS)


@pytest.mark.parametrize("row", rows.ROWS, ids=lambda r: r.target)
def test_rows_name_what_exists(row):
    assert row.function in functions(FOLDER / "peers" / f"{row.module}.py")
    assert set(row.classes) <= set(CLASSES) and set(rows.CHECKS) <= set(CHECKS)
    _, wanted = environments.requirements(row.environment)
    assert wanted and all(re.fullmatch(r"[\w.-]+==[\w.]+", line) for line in wanted)


@pytest.mark.parametrize("row", RAN, ids=lambda r: r["key"])
def test_rows_are_well_formed(row):
    command = shlex.split(row["repro"])
    assert command[:3] == ["python", "-m", "refbilevel"]
    arguments = build_parser().parse_args(command[3:])
    assert arguments.target == row["key"] and arguments.classes == row["classes"] and arguments.adapter == row["adapter"]
    assert set(row["digits"]) == set(row["classes"])
    for cell in (c for by_difficulty in row["digits"].values() for c in by_difficulty.values()):
        assert cell["digits"] is None or cell["digits"] <= 16
        assert max(cell["failed"], cell["raised"]) <= cell["cases"] and cell["silent"] <= cell["asked"]
    assert row["versions"]["python"] and row["versions"]["numpy"]


@pytest.mark.parametrize("row", RAN, ids=lambda r: r["key"])
def test_versions_are_those_that_are_pinned(row):
    pinned = dict(line.split("==") for line in environments.requirements(row["environment"])[1])
    if row["environment"] != "base":
        assert {name: row["versions"].get(name) for name in pinned} == pinned


FINDINGS = [(row["key"], found) for row in RAN for found in row["findings"]]


@pytest.mark.parametrize("key,found", FINDINGS, ids=[f"{key}-{','.join(f['classes'])}-{i}" for i, (key, f) in enumerate(FINDINGS)])
def test_findings_are_reproduced_by_a_command(key, found):
    command = shlex.split(found["repro"])
    arguments = build_parser().parse_args(command[3:])
    assert arguments.command == "repro" and arguments.impl == key
    check, case = parse(arguments.id)
    assert case.split("/")[0] in found["classes"] and check in rows.CHECKS


@pytest.mark.parametrize("probe", rows.PROBES, ids=run.key_of)
def test_probes_are_files(probe):
    path = FOLDER / "defects" / f"{probe.script}.py"
    assert ast.get_docstring(ast.parse(path.read_text()))
    assert probe.command[0] == str(path.relative_to(FOLDER.parents[1]))
    assert environments.requirements(probe.environment)[1]


@pytest.mark.parametrize("probe", PROBED, ids=lambda p: p["key"])
def test_probes_record_what_they_saw(probe):
    assert all(probe[name] for name in ("expected", "got", "versions", "package"))
    assert f"{probe['package']} " in probe["versions"]
    assert shlex.split(probe["repro"])[1].endswith(".py")


def test_nothing_of_this_machine_is_recorded():
    text = (FOLDER / "results.json").read_text()
    assert not re.search(r"/(opt|home|root|work|tmp|usr)/", text)


def test_environments_inside_the_repository_are_refused(capsys):
    with pytest.raises(SystemExit):
        run.main(["--envs", str(FOLDER / "environments")])
    assert "outside the repository" in capsys.readouterr().err


def test_missing_packages_are_noticed():
    numpy = metadata.version("numpy")
    assert environments.missing(sys.executable, [f"numpy=={numpy}"]) == []
    assert environments.missing(sys.executable, ["numpy==0.1", "no-such-package==1.0"]) == ["numpy==0.1", "no-such-package==1.0"]


def test_a_probe_runs_and_is_read(tmp_path, monkeypatch):
    """The probe of SciPy needs no peer: run it here, by the same functions."""
    probe = next(p for p in rows.PROBES if p.script == "scipy_minres_success")
    entry = run.run_probe(probe, sys.executable, 120)
    assert entry["verdict"] in VERDICTS and entry["package"] == "scipy"
    assert f"scipy {metadata.version('scipy')}" in entry["versions"]


def test_a_time_out_and_a_failure_are_reasons():
    assert run.last_line(run.call(["-c", "import time; time.sleep(5)"], sys.executable, 0.2)).startswith("not finished")
    assert "planted" in run.last_line(run.call(["-c", "raise SystemExit('planted')"], sys.executable, 60))


def test_cells_say_what_happened():
    cell = {"digits": 4.4, "attainable": 13.9, "cases": 3, "failed": 1, "raised": 1, "asked": 3, "silent": 2, "outside": 1}
    assert render.text(cell) == "4.4/13.9* raised 1 silent 2/3 outside 1"
    clean = cell | {"failed": 0, "raised": 0, "asked": 0, "silent": 0, "outside": 0}
    assert render.text(clean) == "4.4/13.9"


def test_the_module_starts():
    command = [sys.executable, "-m", "refbilevel.validation.scorecard.run", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "--envs" in done.stdout

"""The table of the shipped problems: verdicts, the command line, and that a wrong answer would be called wrong."""

import json

import numpy as np
import pytest
from scipy.optimize import OptimizeResult

import refbilevel as rb
from refbilevel.cli import main
from refbilevel.errors import ArgumentError
from refbilevel.outer import multistart, solve_all, solve_command
from refbilevel.problems import loading

SOME = ["Savard1989", "TollSettingP1", "jointc1_infeasible", "YALMIP_bard_exp", "DempeLohse2011Ex31a"]


def test_rows_and_table():
    told = []
    rows = solve_all.solve_all(SOME, starts=2, tell=told.append, local=False)
    assert [r.name for r in rows] == [n for n in SOME if n != "YALMIP_bard_exp"] and tuple(told) == rows
    assert [r.verdict for r in rows] == ["proven", "proven", "infeasible", "proven"]
    text = solve_all.table(rows)
    assert "Savard1989" in text and "3 proven, 1 infeasible" in text


@pytest.mark.slow
def test_every_problem_in_matrix_form_is_proven_or_infeasible():
    rows = solve_all.solve_all(local=False)
    assert sum(r.verdict == "proven" for r in rows) >= 89 and sum(r.verdict == "infeasible" for r in rows) == 3
    assert {r.verdict for r in rows} <= {"proven", "infeasible", "refused"}
    assert all(r.residual <= 1e-6 for r in rows if r.verdict == "proven")


def test_a_local_row(monkeypatch):
    rows = solve_all.solve_all(["F15_exponential_lambertw_3"], starts=3)
    assert rows[0].verdict == "best known" and rows[0].error <= 1e-5


LINE = dict(name="", class_="", method="", bound=0.0, gap=0.0, error=0.0, nodes=1, seconds=0.0, verdict="")


@pytest.mark.parametrize(
    "expected,found,residual,status,verdict",
    [
        (1.0, 1.0, 0.0, rb.Status.CERTIFIED, "proven"),
        (1.0, 1.0 + 1e-5, 0.0, rb.Status.CERTIFIED, "wrong"),
        (1.0, 0.9, 0.0, rb.Status.CERTIFIED, "wrong"),
        (1.0, 1.0, 0.0, rb.Status.CONVERGED, "best known"),
        (1.0, 0.5, 0.0, rb.Status.CONVERGED, "best known"),
        (1.0, 1.1, 0.0, rb.Status.CONVERGED, "worse"),
        (1.0, 1.0, 1e-3, rb.Status.CERTIFIED, "rejected"),
        (1.0, 1.0, np.nan, rb.Status.CERTIFIED, "rejected"),
        (1.0, np.inf, np.nan, rb.Status.INFEASIBLE, "wrong"),
        (np.inf, np.inf, np.nan, rb.Status.INFEASIBLE, "infeasible"),
        (np.inf, 3.0, 0.0, rb.Status.CERTIFIED, "wrong"),
        (1.0, -np.inf, np.nan, rb.Status.UNBOUNDED, "wrong"),
        (1.0, np.nan, np.nan, rb.Status.TIME_LIMIT, "none"),
    ],
)
def test_verdicts(expected, found, residual, status, verdict):
    assert solve_all.verdict(solve_all.Row(expected=expected, found=found, residual=residual, **LINE), status) == verdict


def test_starts_respect_bounds():
    problem = rb.QuadraticBilevel(n=3, m=1, upper=(None, None), lower=(None, None), bounds=([0, -np.inf, 5], [1, np.inf, np.inf]))
    points = np.array(list(multistart.start_points(problem, 200, np.random.default_rng(0))))
    assert points.shape == (200, 3) and (points[:, 0] <= 1).all() and (points[:, [0, 2]] >= [0, 5]).all()
    assert points[:, 0].std() > 0.2 and points[:, 1].std() > 2


def run(capsys, *arguments):
    code = main(list(arguments))
    captured = capsys.readouterr()
    return code, captured.out + captured.err


def test_the_command_line(capsys, tmp_path):
    code, text = run(capsys, "solve", "Savard1989")
    assert code == 0 and "certified" in text and "-14.6" in text and "unique yes" in text
    code, text = run(capsys, "solve", "jointc1_infeasible")
    assert code == 1 and "infeasible" in text
    file = tmp_path / "p.json"
    file.write_text(json.dumps(loading.read_record("Savard1989")))
    assert run(capsys, "solve", str(file))[0] == 0
    file.write_text("{")
    assert run(capsys, "solve", str(file))[0] == 2
    code, text = run(capsys, "list", "problems", "--class", "LP-LP", "--coupling", "yes", "-n", "2:9")
    assert code == 0 and len(text.splitlines()) == 3


def test_a_problem_in_python(capsys, tmp_path):
    script = tmp_path / "mine.py"
    script.write_text("import refbilevel as rb\nproblem = rb.problems.load('jointc1')\nother = 3\n")
    code, text = run(capsys, "solve", f"{script}:problem")
    assert code == 0 and "F         1" in text
    for bad in (f"{script}:other", f"{tmp_path}/none.py:problem"):
        with pytest.raises(ArgumentError):
            solve_command.problems_of(bad)


def test_description_of_an_open_answer():
    result = OptimizeResult(status=rb.Status.TIME_LIMIT, message="m", x=np.full(1, np.nan), y=np.full(1, np.nan), fun=np.nan, success=False)
    assert "time_limit" in solve_command.describe(rb.problems.load("jointc1"), result)

"""Every door leads to the same checks: decorator, function, plugin, command line, files."""

import json
import os
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

import refbilevel as rb
from refbilevel import cli
from refbilevel.errors import ArgumentError, SchemaError, UnknownOption
from refbilevel.validation import CheckFailure, ConformanceReport, check_implementation, implementation, parametrize_with_checks
from refbilevel.validation.answers import read_answers
from refbilevel.validation.cases import cases
from refbilevel.validation.conformance import matches, plan
from refbilevel.validation.reproduce import parse, reproduce
from refbilevel.validation.shrinking import shrink

ROOT = Path(__file__).parents[2]
#: an installed refbilevel brings the plugin by its entry point; a bare checkout must name it
INSTALLED = any(e.value == "refbilevel.validation.plugin" for e in entry_points(group="pytest11"))
PLUGIN = () if INSTALLED else ("-p", "refbilevel.validation.plugin")
MINE = """
import numpy as np

def newton(problem, x):
    y = np.zeros(problem.m)
    for _ in range(60):
        step = np.linalg.solve(problem.g_yy(x, y), problem.g_y(x, y))
        y = y - step
        if np.linalg.norm(step) <= 1e-15 * (1 + np.linalg.norm(y)):
            break
    return y

def right(problem, x):
    y = newton(problem, x)
    return problem.f_x(x, y) - problem.g_xy(x, y) @ np.linalg.solve(problem.g_yy(x, y), problem.f_y(x, y))

def wrong(problem, x):
    y = newton(problem, x)
    return problem.f_x(x, y) + problem.g_xy(x, y) @ np.linalg.solve(problem.g_yy(x, y), problem.f_y(x, y))

def diagonal(problem, x):
    y = newton(problem, x)
    return problem.f_x(x, y) - problem.g_xy(x, y) @ (problem.f_y(x, y) / np.diag(problem.g_yy(x, y)))
"""


def wrong(problem, x):
    result = rb.hypergradient(problem, x)
    return result.direct - result.indirect


def python(folder, *arguments):
    """Run Python in a folder that has nothing but the checkout on its path."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run([sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True, timeout=300)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "mylib.py").write_text(MINE)
    return tmp_path


@parametrize_with_checks(rb.hypergradient, classes=["quadratic"], level=1)
def test_three_lines(check):
    check()


def test_the_decorator_adopts_a_wrong_function_with_declared_failures():
    mark = parametrize_with_checks(
        wrong, classes=["quadratic"], checks=["value", "shape"], expected_failures={"value": "sign flipped in version 1"}
    )
    parameters = mark.args[1]
    declared = [p for p in parameters if any(m.name == "xfail" and m.kwargs["strict"] for m in p.marks)]
    assert len(declared) == sum(p.id.startswith("value[") for p in parameters) == 10


@pytest.mark.parametrize("name,failed", [("right", 0), ("wrong", 12)])
def test_adoption_from_an_empty_folder(folder, name, failed):
    (folder / "test_conformance.py").write_text(
        "from refbilevel.validation import parametrize_with_checks\n\n"
        f'@parametrize_with_checks("mylib:{name}", classes=["ridge"], checks=["value", "shape", "quiet", "additive", "taylor"])\n'
        "def test_conformance(check): check()\n"
    )
    done = python(folder, "-m", "pytest", "-q", "-p", "no:cacheprovider")
    assert (done.returncode == 0) == (failed == 0), done.stdout
    if failed:
        assert "looks like: the implicit term has the wrong sign" in done.stdout and "failed" in done.stdout


@pytest.mark.slow
def test_the_plugin_needs_no_test_file_and_writes_a_report(folder):
    done = python(
        folder,
        "-m",
        "pytest",
        *PLUGIN,
        "-p",
        "no:cacheprovider",
        "--bilevel-impl",
        "mylib:wrong",
        "--bilevel-classes",
        "quadratic",
        "--bilevel-report",
        "out.json",
    )
    assert done.returncode == 1 and "checking mylib:wrong (numpy)" in done.stdout and "FAIL value[quadratic/lower/1]" in done.stdout, (
        done.stdout + done.stderr
    )
    report = ConformanceReport.from_json((folder / "out.json").read_text())
    assert report.counts["failed"] > 5 and report.counts["passed"] > 5
    assert max(d for d in report.digits["digits"]) < 3


@pytest.mark.slow
def test_the_plugin_takes_strict_expected_failures(folder):
    (folder / "x.toml").write_text('"value[quadratic/lower/*]" = "known"\n"shape[quadratic/lower/1]" = "not true"\n')
    done = python(
        folder,
        "-m",
        "pytest",
        "-q",
        *PLUGIN,
        "-p",
        "no:cacheprovider",
        "--bilevel-impl",
        "mylib:wrong",
        "--bilevel-classes",
        "quadratic",
        "--bilevel-xfails",
        "x.toml",
    )
    assert "4 xfailed" in done.stdout and "[XPASS(strict)] not true" in done.stdout, done.stdout


@pytest.mark.slow
def test_a_wrong_option_of_the_plugin_is_a_usage_error(folder):
    done = python(folder, "-m", "pytest", "-q", *PLUGIN, "--bilevel-impl", "mylib:nothing")
    assert done.returncode == 4 and "cannot import 'mylib:nothing'" in done.stderr


def test_a_report_holds_what_happened():
    report = check_implementation(wrong, classes=["ridge"], checks=["value", "shape"], expected_failures={"value[ridge/lower": "declared"})
    assert report.counts["passed"] == 10 and report.counts["expected"] == 4 and report.counts["failed"] == 6 and report.exit_code == 1
    assert report.cell("ridge", "lower").verdict == "expected" and report.cell("ridge", "higher").verdict == "fail"
    assert [f.example.diagnosis_name for f in report.findings] == ["implicit_sign"]
    assert set(report.digits) == {"class", "difficulty", "case", "digits", "attainable", "ratio", "status"}


def test_declared_failures_are_strict():
    report = check_implementation(rb.hypergradient, classes=["ridge"], checks="value", expected_failures={"value[ridge/lower/1]": "flaky"})
    assert [o.id for o in report.failures] == ["value[ridge/lower/1]"] and "although declared to fail (flaky)" in report.failures[0].message
    with pytest.raises(UnknownOption, match="expected_failures"):
        check_implementation(rb.hypergradient, classes=["ridge"], checks="value", expected_failures={"value[ridge/lower/99]": "typo"})


def test_on_fail():
    with pytest.raises(CheckFailure, match="implicit_sign"):
        check_implementation(wrong, classes=["ridge"], checks="value", on_fail="raise")
    with pytest.warns(UserWarning, match="FAIL value"):
        check_implementation(wrong, classes=["ridge"], checks="value", on_fail="warn")
    with pytest.raises(UnknownOption, match="on_fail"):
        check_implementation(wrong, on_fail="shrug")


@pytest.mark.parametrize("bad", [{"classes": ["rigde"]}, {"checks": "vlaue"}, {"adapter": "tensorflow"}])
def test_unknown_names_list_the_close_matches(bad):
    with pytest.raises(UnknownOption, match="did you mean|known:"):
        check_implementation(wrong, **bad)


@pytest.mark.parametrize("level", [-1, 6, 1.5, True, "2"])
def test_levels_are_0_to_5(level):
    with pytest.raises(ArgumentError, match="level must be"):
        check_implementation(wrong, level=level)


@pytest.mark.parametrize("target", ["nowhere:f", "numpy:nothing", "numpy", 3])
def test_targets_that_cannot_be_tested(target):
    with pytest.raises(ArgumentError):
        implementation(target)


def test_patterns_of_expected_failures():
    id = "fault[lower_infeasible][qp-infeasible/lower/1]"
    assert all(matches(p, id) for p in (id, "fault[lower_infeasible]", "fault*", "*infeasible/lower/1]"))
    assert not any(matches(p, id) for p in ("fault[lower]", "fault[degenerate]", "value"))


def test_required_digits_suit_methods_of_finite_accuracy():
    def six_digits(problem, x):
        return rb.hypergradient(problem, x).gradient * (1 + 1e-7)

    assert check_implementation(six_digits, classes=["ridge"], checks="value", digits=6).exit_code == 0
    failed = check_implementation(six_digits, classes=["ridge"], checks="value")
    assert failed.exit_code == 1 and "no fault of the formula" in failed.failures[0].diagnosis


def test_an_implementation_may_decline():
    def declines(problem, x):
        raise NotImplementedError("no constraints")

    report = check_implementation(declines, classes=["qp"], checks="value")
    assert report.counts["skipped"] == len(report.outcomes) > 0 and "declined" in report.outcomes[0].message


# --- renderings


@pytest.fixture(scope="module")
def report():
    return check_implementation(wrong, classes=["ridge", "qp-infeasible"], level=4)


def test_json_round_trip_is_strict_json(report):
    text = report.to_json()
    json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    again = ConformanceReport.from_json(text)
    assert again.to_json() == text and again.summary() == report.summary()
    for corrupt in ("{}", "[", '{"schema": "refbilevel-conformance/99"}'):
        with pytest.raises(SchemaError):
            ConformanceReport.from_json(corrupt)


def test_junit_counts(report):
    suite = ElementTree.fromstring(report.to_junit())
    assert int(suite.get("failures")) == len(suite.findall("testcase/failure")) == report.counts["failed"]
    assert len(suite.findall("testcase")) == len(report.outcomes)


def test_markdown_and_summary_name_the_fault_and_the_command(report):
    for text in (report.to_markdown(), report.summary()):
        assert "the implicit term has the wrong sign" in text and 'refbilevel repro "value[ridge/lower/1]"' in text and "ridge" in text


def test_badge(report):
    badge = json.loads(report.badge())
    assert badge["schemaVersion"] == 1 and badge["label"] == "hypergradients" and badge["color"] in ("orange", "red")


def test_html_is_one_file_and_escapes_what_it_shows(report):
    page = report.to_html()
    assert page.startswith("<!DOCTYPE html>") and page.count("<svg") >= 1
    for outside in ("<script", 'src="http', 'href="http', "@import", "url(http"):
        assert outside not in page.replace('xmlns:xlink="http', "")
    assert "prefers-color-scheme: dark" in page and "viewport" in page
    named = ConformanceReport("<b>x</b>", "numpy", report.outcomes, level=4)
    assert "<b>x</b>" not in named.to_html()


def test_a_report_path_is_refused_before_the_run(tmp_path, capsys):
    assert cli.main(["check", "nowhere:f", "--report", str(tmp_path / "missing" / "r.html")]) == 2
    assert "cannot be written" in capsys.readouterr().err
    assert cli.main(["check", "nowhere:f", "--report", str(tmp_path / "r.pdf")]) == 2
    assert "must end in one of" in capsys.readouterr().err


# --- command line


def test_check_from_the_command_line(tmp_path, capsys):
    paths = [tmp_path / f"r{suffix}" for suffix in (".html", ".md", ".json", ".xml")]
    arguments = [word for path in paths for word in ("--report", str(path))]
    code = cli.main(
        [
            "check",
            "refbilevel:hypergradient",
            "--classes",
            "ridge,qp",
            "--difficulty",
            "lower",
            *arguments,
            "--badge",
            str(tmp_path / "b.json"),
        ]
    )
    assert code == 0 and all(path.stat().st_size > 100 for path in paths)
    assert "0 failed" in capsys.readouterr().out


def test_list_checks(capsys):
    assert cli.main(["list", "checks"]) in (0, None)
    assert "invariance_reparametrise_y" in capsys.readouterr().out


def test_repro_shows_both_answers(folder):
    done = python(folder, "-m", "refbilevel", "repro", "value[ridge/average/1]", "--impl", "mylib:wrong")
    assert done.returncode == 1 and "certified =" in done.stdout and "answered  =" in done.stdout and "FAIL value" in done.stdout


@pytest.mark.parametrize(
    "id,expected",
    [
        ("ridge/average/1", ("value", "ridge/average/1")),
        ("fault[degenerate][qp-degenerate/lower/1]", ("fault[degenerate]", "qp-degenerate/lower/1")),
        ("invariance_rotate_x[ridge/average/1+rotate_x]", ("invariance_rotate_x", "ridge/average/1")),
    ],
)
def test_ids(id, expected):
    assert parse(id) == expected
    assert not reproduce(id, rb.hypergradient).failed


@pytest.mark.parametrize("id", ["ridge", "vlaue[ridge/average/1]", "ridge/average/77"])
def test_unknown_ids(id):
    with pytest.raises(UnknownOption):
        reproduce(id, rb.hypergradient)


def test_every_reproduction_command_of_a_report_reproduces(report):
    for outcome in report.failures[:6]:
        id = outcome.reproduction.split('"')[1]
        assert reproduce(id, wrong).failed, id


# --- shrinking


@pytest.mark.slow
def test_shrink_writes_a_script_of_small_integers_that_runs(folder):
    done = python(folder, "-m", "refbilevel", "shrink", "mylib:diagonal", "--classes", "quadratic", "-o", "tiny.py")
    assert done.returncode == 0 and "only the diagonal of the Hessian is inverted" in done.stdout, done.stdout + done.stderr
    script = (folder / "tiny.py").read_text()
    assert len(script.strip().splitlines()) <= 18 and "m=2" in script
    run = python(folder, "tiny.py")
    assert (
        run.returncode == 0 and run.stdout.splitlines()[0].startswith("certified") and run.stdout.splitlines()[1].startswith("answered")
    ), run.stderr


@pytest.mark.slow
def test_shrink_finds_a_fault_that_needs_a_constraint(folder):
    def ignores_constraints(problem, x):
        result = rb.hypergradient(problem, x)
        y = result.lower.y
        return problem.f_x(x, y) - problem.g_xy(x, y) @ np.linalg.solve(problem.g_yy(x, y), problem.f_y(x, y))

    found = shrink(ignores_constraints, classes=["qp"])
    assert found.case.problem.constraints is not None and (found.case.problem.n, found.case.problem.m) == (1, 1)
    assert found.diagnosis.name in ("constraints_ignored", "active_as_inactive") and "constraints=rb.Constraints" in found.script


@pytest.mark.slow
def test_shrink_finds_a_fault_that_no_quadratic_program_shows(folder):
    """The Hessian at zero instead of at y: right wherever it is constant."""
    (folder / "mylib.py").write_text(
        "import numpy as np\nimport refbilevel as rb\n\ndef frozen(problem, x):\n    r = rb.hypergradient(problem, x)\n    y = r.lower.y\n"
        "    H = problem.g_yy(x, 0 * y)\n    return problem.f_x(x, y) - problem.g_xy(x, y) @ np.linalg.solve(H, problem.f_y(x, y))\n"
    )
    done = python(folder, "-m", "refbilevel", "shrink", "mylib:frozen", "--classes", "logistic", "-o", "tiny.py")
    assert done.returncode == 0, done.stdout + done.stderr
    run = python(folder, "tiny.py")
    assert run.returncode == 0 and run.stdout.startswith("certified") and "read_case(r" in (folder / "tiny.py").read_text(), run.stderr


@pytest.mark.slow
def test_shrink_says_when_nothing_fails(capsys):
    assert cli.main(["shrink", "refbilevel:hypergradient", "--classes", "quadratic"]) == 1
    assert "nothing fails" in capsys.readouterr().out


# --- files


def answers_file(path, change=lambda v: v, classes=("ridge", "qp-infeasible")):
    entries = {}
    for case in cases(list(classes)):
        gradient = None if case.reference is None else change(case).tolist()
        entries[case.id] = {"gradient": gradient, "y": case.y.tolist() if case.y.size else None, "status": case.expected_status}
    path.write_text(json.dumps({"schema": "refbilevel-answers/1", "implementation": "MyLib.jl", "answers": entries}))
    return path


def test_answers_from_files(tmp_path, capsys):
    good = answers_file(tmp_path / "good.json", lambda c: c.reference)
    assert cli.main(["check", "--answers", str(good), "--classes", "ridge,qp-infeasible", "--level", "4"]) == 0
    bad = answers_file(tmp_path / "bad.json", lambda c: 2 * c.direct - c.reference)
    assert cli.main(["check", "--answers", str(bad), "--classes", "ridge,qp-infeasible", "--level", "4"]) == 1
    assert "the implicit term has the wrong sign" in capsys.readouterr().out


def test_a_silent_answer_to_an_infeasible_problem_fails(tmp_path):
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"schema": "refbilevel-answers/1", "answers": {"qp-infeasible/lower/1": [0.0, 1.0]}}))
    report = check_implementation(read_answers(path), classes=["qp-infeasible"], level=4)
    assert [o.id for o in report.failures] == ["fault[lower_infeasible][qp-infeasible/lower/1]"]


@pytest.mark.parametrize(
    "text", ["", "{}", '{"schema": "refbilevel-answers/2", "answers": {}}', '{"schema": "refbilevel-answers/1", "answers": {"a": "b"}}']
)
def test_corrupt_answers(tmp_path, text):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(SchemaError):
        read_answers(tmp_path / "a.json")


def test_export_and_its_template_go_together(tmp_path, capsys):
    assert cli.main(["export", "--class", "ridge", "--difficulty", "lower", "-o", str(tmp_path)]) == 0
    template = read_answers(tmp_path / "answers.template.json")
    report = check_implementation(template, classes=["ridge"], difficulty="lower")
    assert report.counts["skipped"] == len(report.outcomes)


def test_the_plan_skips_protocols_that_are_missing():
    ids = {b.check.name for b in plan(rb.hypergradient, classes=["ridge"], level=5)}
    assert "value" in ids and not ids & {"lower_solution", "adjoint_identity", "step"}
    both = {b.check.name for b in plan(rb.hypergradient, classes=["ridge"], level=5, protocols={"vjp": lambda problem, x, u: x})}
    assert "adjoint_identity" in both

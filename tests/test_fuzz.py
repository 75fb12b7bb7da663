"""Random problems with random faults, and random input to the loader, the command line and the parser: never silently wrong, no crash."""

import contextlib
import io
import itertools
import json
import os
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import refbilevel as rb
from refbilevel.cli import main
from refbilevel.errors import BilevelError, SchemaError
from refbilevel.problems.expressions import Graph, parse
from refbilevel.validation import fuzzing
from refbilevel.validation.watchdog import outcomes

SMALL = st.integers(1, 4)
FITTING = {family: fuzzing.fitting(family) for family in fuzzing.FAMILIES}


@settings(max_examples=150)
@given(st.sampled_from(list(FITTING)), st.sampled_from(list(fuzzing.FAULTS)), st.integers(0, 99), SMALL, SMALL, st.integers(0, 10_000))
def test_every_run_ends_right_or_says_so(family, fault, method, n, m, seed):
    choices = (family, fault, FITTING[family][method % len(FITTING[family])], n, m, seed)
    ending = fuzzing.judge(fuzzing.scenario(*choices))
    assert not ending.failed, (choices, ending)


@pytest.mark.long
def test_twenty_thousand_runs():
    assert fuzzing.main(20_000, 7) == 0


def test_the_campaign_can_fail(monkeypatch):
    """A solver that says converged whatever it found, and estimates that flatter, are found out."""
    monkeypatch.setattr(fuzzing, "hypergradient", lambda *a, **k: _flattered(rb.hypergradient(*a, **k)))
    endings = [fuzzing.judge(fuzzing.scenario("quadratic", "stopped_early", "implicit", 3, 3, seed)) for seed in range(10)]
    assert sum(e.word == "silent" for e in endings) >= 5


def _flattered(h):
    from dataclasses import replace

    return replace(h, error_estimate=0.0, status=rb.Status.CONVERGED)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**20), 10**20) | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4), max_leaves=12,
)  # fmt: skip
GOOD = rb.problems.read_record("Bard1988Ex1")
PLACES = [(key,) for key in GOOD] + [("expr", key) for key in GOOD["expr"]]


@given(st.sampled_from(PLACES), JSON)
def test_a_record_with_any_value_anywhere_loads_or_is_refused(place, value):
    record = json.loads(json.dumps(GOOD))
    inner = record
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    with contextlib.suppress(SchemaError), np.errstate(all="ignore"):
        from refbilevel.problems.loading import check_record, from_record

        check_record(record)
        from_record(record)


@given(st.binary(max_size=200))
def test_a_file_of_any_bytes_is_refused(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("fuzz") / "problem.json"
    path.write_bytes(content)
    with pytest.raises(SchemaError):
        rb.problems.load(path)


TOKENS = st.sampled_from(
    ["x0", "y[0]", "x1", "y1", "+", "-", "*", "/", "**", "^", "(", ")", "2", "1e3", "1e999", "exp", "log(", "sin(", ",", ".", "__class__", "lambda", "[", "]",
     "import", "os.system('touch x')", "'", '"', ";", "\n", "if", "for", "eval(", "x", "9" * 400, "0x10", "=", ":=", "{", "\x00", "é"]
)  # fmt: skip


@given(st.lists(TOKENS, max_size=12).map(" ".join) | st.text(max_size=30))
def test_the_parser_takes_arithmetic_or_refuses(text):
    with contextlib.suppress(SchemaError), np.errstate(all="ignore"):
        parse(text, Graph(4), 2)


@pytest.mark.parametrize("depth", [10, 1000, 20_000])
def test_deep_expressions_do_not_exhaust_the_stack(depth):
    for text in ("(" * depth + "x1" + ")" * depth, "-" * depth + "x1", "**".join(["2"] * depth), "+".join(["x1"] * depth)):
        with contextlib.suppress(SchemaError):
            parse(text, Graph(4), 2)


def test_no_code_runs_from_a_file(tmp_path):
    trap = tmp_path / "trap"
    for attack in (f"__import__('os').system('touch {trap}')", f"open('{trap}', 'w')", f"[c for c in ().__class__.__base__.__subclasses__()]", "x1.__class__"):
        record = {**GOOD, "expr": {**GOOD["expr"], "F": attack}}
        path = tmp_path / "problem.json"
        path.write_text(json.dumps(record))
        with pytest.raises(SchemaError):
            rb.problems.load(path)
    assert not trap.exists()


WORDS = st.sampled_from(
    ["solve", "list", "check", "export", "shrink", "repro", "estimators", "problems", "checks", "--all", "--class", "-n", "2:5", "-1", "--markdown", "--report",
     "nosuch.json", "/proc/x", "--levels", "--level", "9", "no.module:f", ":", "--help", "--version", "--adapter", "numpy", "--coupling", "yes", "", "é", "--digits", "x"]
)  # fmt: skip


@settings(max_examples=80)
@given(st.lists(WORDS, max_size=4))
def test_any_arguments_give_an_exit_code_and_no_traceback(tmp_path_factory, words):
    if "--all" in words or words[:1] in (["demo"], ["doctor"]):
        return
    here = os.getcwd()
    os.chdir(tmp_path_factory.mktemp("cli"))
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            code = main(words)
    except SystemExit as stop:  # argparse's own
        code = stop.code
    finally:
        os.chdir(here)
    assert code in (0, 1, 2, None)


def test_errors_of_the_command_line_are_one_sentence(capsys):
    assert main(["solve", "nosuch.json"]) == 2
    assert "nosuch.json" in capsys.readouterr().err
    assert issubclass(SchemaError, BilevelError)


def test_no_case_stalls_a_campaign():
    """Not one in compiled code, where no signal handler runs, not one asleep; a case that ends its process is a crash."""
    endless = itertools.repeat(1)
    (_, three), (_, stuck), (case, three_again) = outcomes(sum, [([1, 2],), (endless,), ([1, 2],)], seconds=0.5)
    assert (three, three_again, case) == (3, 3, ([1, 2],))
    assert stuck.word == "hang" and "processor time" in stuck.detail
    (_, awake), (_, asleep) = outcomes(time.sleep, [(0.0,), (60.0,)], seconds=30, wall=0.5)
    assert awake is None and asleep.word == "hang"
    assert [lost.word for _, lost in outcomes(os._exit, [(3,), (4,)], seconds=30)] == ["crash", "crash"]


def test_a_run_that_swallows_its_interruption_is_interrupted_again(monkeypatch):
    def deaf(*arguments, **options):
        while True:
            try:
                while True:
                    pass
            except Exception:
                continue

    monkeypatch.setattr(fuzzing, "hypergradient", deaf)
    monkeypatch.setattr(fuzzing, "SECONDS", 0.2)
    assert fuzzing.judge(fuzzing.scenario("quadratic", "healthy", "implicit", 2, 2, 0)).word == "hang"


def test_a_campaign_reports_each_scenario_and_its_ending():
    endings = dict(fuzzing.run(12, seed=3))
    assert list(endings) == list(fuzzing.drawn(12, seed=3))
    assert not any(ending.failed for ending in endings.values()), endings


def test_every_estimator_is_fuzzed():
    assert set().union(*FITTING.values()) == set(rb.ESTIMATORS)


@pytest.mark.parametrize("family", FITTING)
def test_without_a_fault_the_truth_of_each_family_is_met(family):
    """By the exact method to 1e-6 of it, by differences of solved values to 1e-4."""
    for seed in range(4):
        s = fuzzing.scenario(family, "healthy", "finite_difference", 1 + seed % 3, 3, seed)
        for method, digits in (("auto", 6), ("finite_difference", 4)):
            h = rb.hypergradient(s.problem, s.x, method)
            assert h.success or method == "finite_difference", h.message  # differences may straddle a kink, and say so
            assert not h.success or np.linalg.norm(h.gradient - s.truth) <= 10.0**-digits * (np.linalg.norm(s.truth) + 1e-3), (method, seed)

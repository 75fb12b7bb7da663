"""The command line: every command answers, and wrong arguments give one sentence and exit code 2."""

import pytest

from refbilevel.cli import main


@pytest.mark.slow
def test_doctor(capsys):
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    assert "All checks pass." in out and "numpy" in out and "threads" in out


def test_a_sick_installation_is_told(capsys, monkeypatch):
    from refbilevel import doctor

    monkeypatch.setattr(doctor, "CHECKS", (("planted", lambda: 3.0, 13.0), ("broken", lambda: 1 / 0, 1.0)))
    assert main(["doctor"]) == 1
    out = capsys.readouterr().out
    assert out.count("FAIL") == 3 and "ZeroDivisionError" in out


def test_lists(capsys):
    from refbilevel import ESTIMATORS

    assert main(["list", "estimators"]) == 0
    out = capsys.readouterr().out
    assert all(name in out for name in ESTIMATORS)
    assert main(["list", "problems", "--class", "LP-QP"]) == 0
    assert "LP-QP" in capsys.readouterr().out
    assert main(["list", "checks"]) == 0


def test_no_command_prints_help(capsys):
    assert main([]) == 2
    assert "demo" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [["solve"], ["solve", "no-such-problem"], ["solve", "missing.json"]])
def test_wrong_arguments_give_one_sentence(arguments, capsys):
    assert main(arguments) == 2
    assert capsys.readouterr().err.count("\n") == 1

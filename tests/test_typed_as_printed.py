"""What the documents print works as typed, and a wrong argument is answered by its name and the mend."""

import pytest

import refbilevel as rb
from refbilevel.cli import main
from refbilevel.validation import parametrize_with_checks

IMPLICIT = "refbilevel.demo.implementations:implicit"


def test_a_declared_failure_of_a_check_that_these_classes_lack_is_accepted():
    parametrize_with_checks(IMPLICIT, classes=["qp"], level=0, expected_failures={"fault[lower_infeasible]": "clamps"})
    with pytest.raises(rb.errors.UnknownOption, match="in all") as caught:
        parametrize_with_checks(IMPLICIT, classes=["qp"], level=2, expected_failures={"zzzz": "no such check"})
    assert str(caught.value).count(", ") <= 40


def test_export_of_at_most_n_cases_a_class(tmp_path, capsys):
    assert main(["export", "--class", "ridge", "--n", "2", "-o", str(tmp_path)]) == 0
    assert len(list(tmp_path.glob("ridge.*.json"))) == 2
    assert main(["export", "--class", "ridge", "--n", "0", "-o", str(tmp_path)]) == 2
    assert "n must be an integer of at least 1" in capsys.readouterr().err


def test_solve_of_a_python_file_asks_for_the_variable(capsys):
    assert main(["solve", "prices.py"]) == 2
    assert "prices.py:problem" in capsys.readouterr().err


def test_a_layer_of_a_plain_problem_names_the_mend():
    with pytest.raises(rb.errors.DtypeError, match=r"must be a LayerProblem, whose oracles take \(x, y, z\)"):
        rb.BilevelLayer(rb.problems.load("Bard1988Ex1"))


def test_the_statuses_are_listed(capsys):
    assert main(["list", "statuses"]) == 0
    printed = capsys.readouterr().out
    assert all(f"`{status.code}`" in printed for status in rb.Status)

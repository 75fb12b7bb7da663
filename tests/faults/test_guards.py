"""Every guard is needed: deleting it fails its row (validation/guards.py)."""

import warnings

import pytest

from refbilevel.validation import guards
from refbilevel.validation.guards import GUARDS, caught, fault_rows, without


def test_every_row_has_a_guard():
    assert {g.row for g in GUARDS} == set(range(1, 73))


def test_every_guard_is_where_the_list_says():
    fault_rows()
    for guard in GUARDS:
        with without(guard):
            pass


def test_a_row_that_fails_with_its_guard_in_place_is_no_catch(monkeypatch, capsys):
    def fails():
        raise AssertionError("always")

    monkeypatch.setattr(guards, "fault_rows", lambda: {1: fails})
    monkeypatch.setattr(guards, "GUARDS", [g for g in GUARDS if g.row == 1])
    assert guards.main() == 1
    assert "BROKEN" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize("guard", GUARDS, ids=[f"{g.row}-{g.edits[0].target}" for g in GUARDS])
def test_deleting_the_guard_fails_its_row(guard):
    rows = fault_rows()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert caught(guard, rows), f"row {guard.row} passes without its guard {guard.edits}"

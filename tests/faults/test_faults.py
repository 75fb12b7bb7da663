"""The fault list: one test a row. Besides its own response, every row leaves the process as it was and prints nothing."""

import numpy as np
import pytest

from . import rows_arguments, rows_estimators, rows_lower, rows_oracles, rows_system  # noqa: F401
from .record import ROWS

SLOW = {68}


def test_the_list_is_complete():
    assert sorted(ROWS) == list(range(1, 73))


@pytest.mark.parametrize("number", [pytest.param(n, marks=pytest.mark.slow if n in SLOW else ()) for n in sorted(ROWS)])
def test_row(number, capsys):
    before, settings = np.random.get_state()[1].copy(), np.geterr()
    ROWS[number]()
    assert (before == np.random.get_state()[1]).all() and settings == np.geterr()
    assert capsys.readouterr() == ("", "")

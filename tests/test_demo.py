"""The demo: one split from start to end; the report says what was found."""

import pytest

from refbilevel.cli import main

pytest.importorskip("sklearn")


@pytest.mark.slow
def test_demo_solves_judges_and_reports(tmp_path, capsys):
    report = tmp_path / "report.html"
    assert main(["demo", "--splits", "2", "--report", str(report)]) == 0
    out = capsys.readouterr().out
    assert "no worse than the grid's on 2 of 2 splits" in out
    assert "implicit: right" in out and out.count("WRONG") == 2
    assert "previous iterate" in out and "unconverged" in out
    page = report.read_text()
    assert page.count("<svg") == 2 and "previous iterate" in page and "http" not in page.replace("http://www.w3.org", "").replace("http://purl.org", "").replace("https://matplotlib.org", "").replace("http://creativecommons.org", "")


def test_an_unwritable_report_is_refused_before_the_run(capsys):
    assert main(["demo", "--report", "/nowhere/at/all/report.html"]) == 2
    assert "--report" in capsys.readouterr().err


def test_reference_losses_of_the_grid():
    """The grid search's coefficients minimise the training loss: their gradient vanishes."""
    import numpy as np

    from refbilevel.demo.data import split
    from refbilevel.demo.study import grid_search

    s = split(3)
    loss, x, y = grid_search(s)
    assert np.linalg.norm(s.single_penalty().g_y(np.array([x]), y)) < 1e-12
    assert loss == pytest.approx(np.mean(np.logaddexp(0, -s.t_val * (s.X_val @ y))))

"""minimize(checkpoint=): interrupted and resumed, never half written, never mistaken for another run's."""

import json
import os

import numpy as np
import pytest

import refbilevel as rb
from refbilevel.errors import ArgumentError, SchemaError


def problem():
    return rb.problems.random_quartic(3, 4, condition=10, rng=5)


X0 = np.array([2.0, -1.0, 1.5])


def interrupted(path, after, **options):
    """A run stopped by Ctrl-C at its `after`-th accepted point."""
    seen = []

    def stop(iterate):
        seen.append(iterate.x)
        if len(seen) == after:
            raise KeyboardInterrupt

    return rb.minimize(problem(), X0, "lbfgs", checkpoint=path, callback=stop, **options), seen


def test_an_interrupted_run_keeps_its_result_and_goes_on(tmp_path):
    path = tmp_path / "run.json"
    whole = rb.minimize(problem(), X0, "lbfgs")
    stopped, seen = interrupted(path, 4)
    assert stopped.status == "stopped" and not stopped.success and np.isfinite(stopped.x).all()
    np.testing.assert_array_equal(json.loads(path.read_text())["points"][0], seen[-1])
    first = []
    rest = rb.minimize(problem(), X0, "lbfgs", checkpoint=path, callback=lambda it: first.append(it.x) and False)
    np.testing.assert_array_equal(first[0], seen[-1])
    assert rest.success and abs(rest.fun - whole.fun) <= 1e-10 * (1 + abs(whole.fun))
    again = rb.minimize(problem(), X0, "lbfgs", checkpoint=path)
    assert again.success and again.nit <= 1


def test_several_starts(tmp_path):
    path = tmp_path / "run.json"
    whole = rb.minimize(problem(), X0, "lbfgs", starts=3)
    interrupted(path, 6, starts=3)
    rest = rb.minimize(problem(), X0, "lbfgs", starts=3, checkpoint=path)
    assert abs(rest.fun - whole.fun) <= 1e-8 * (1 + abs(whole.fun)) and len(rest.starts) == 3


def test_a_write_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "run.json"
    interrupted(path, 3)
    before = path.read_text()

    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(ArgumentError, match="No space"):
        rb.minimize(problem(), X0, "lbfgs", checkpoint=path)
    assert path.read_text() == before and os.listdir(tmp_path) == ["run.json"]


def test_files_of_other_runs_and_corrupt_ones_are_refused(tmp_path):
    path = tmp_path / "run.json"
    interrupted(path, 3)
    with pytest.raises(ArgumentError, match="another run"):
        rb.minimize(problem(), X0 + 1, "lbfgs", checkpoint=path)
    with pytest.raises(ArgumentError, match="method"):
        rb.minimize(problem(), X0, "newton", checkpoint=path)
    for text in ("{", "[]", '{"points": 3}'):
        path.write_text(text)
        with pytest.raises(SchemaError):
            rb.minimize(problem(), X0, "lbfgs", checkpoint=path)
    with pytest.raises(ArgumentError, match="written"):
        rb.minimize(problem(), X0, "lbfgs", checkpoint=tmp_path / "no" / "such" / "folder.json")

"""Every shipped problem with a probe is reproduced: y*, multipliers, active set, dy/dx and hypergradient."""

import json
from pathlib import Path

import numpy as np
import pytest

import refbilevel as rb
from refbilevel.kkt_sensitivity import kkt_sensitivity

FILES = sorted((Path(rb.__file__).parent / "problems" / "data").glob("[A-Z]*.json"))
PROBES = {p.stem: p for p in FILES if "probe" in json.loads(p.read_text()) and json.loads(p.read_text())["probe"]}
#: the recorded y of this quartic lower level, min (x + 2y - 15)^4, is 5e-6 off (15 + 5.07)/2, its flat minimum
ROUGH = {"Colson2002BIPA1"}


def test_there_are_probes():
    assert len(PROBES) >= 90


@pytest.mark.parametrize("name", PROBES)
def test_probe(name):
    probe = json.loads(PROBES[name].read_text())["probe"]
    problem = rb.problems.load(PROBES[name])
    result = rb.hypergradient(problem, probe["x"], method="kkt")
    s = kkt_sensitivity(problem, probe["x"], lower=result.lower)
    assert result.success, result.message
    assert np.flatnonzero(result.lower.active).tolist() == probe["active_g"]
    pairs = [
        (result.lower.y, probe["y"]), (result.lower.mu, probe["multipliers_g"]), (result.lower.nu, probe["multipliers_h"]),
        (s.dy_dx, probe["dy_dx"]), (result.gradient, probe["hypergradient"]),
    ]  # fmt: skip
    for found, recorded in pairs:
        recorded = np.asarray(recorded, float)
        tol = 1e-5 if name in ROUGH else 1e-9
        assert np.abs(found - recorded.reshape(found.shape)).max(initial=0.0) <= tol * (1 + np.abs(recorded).max(initial=0.0))

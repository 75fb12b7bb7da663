"""The registry is the only list: an estimator in one file and one registry line is picked up by every check, table and list."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from examples import quartic

import refbilevel as rb
from refbilevel import cli
from refbilevel.errors import MissingDerivative, UnknownOption
from refbilevel.estimators import table
from refbilevel.problem import replace

HERE = Path(__file__).parent

TOY = '''
"""A toy: forward nudging with the energy solved by the library."""

from refbilevel.estimators.protocol import Estimator
from refbilevel.lower.auxiliary import nudged, solve_auxiliary
from refbilevel.results import Estimate


def _compute(problem, x, lower, *, beta=1e-4):
    energy = nudged(problem, beta)
    t = energy.g_x(x, solve_auxiliary(energy, x, lower.y).y)
    return Estimate(gradient=(t - problem.g_x(x, lower.y)) / beta)


toy = Estimator("NAME", "toys", _compute, ("f", "f_x", "f_y", "g", "g_x", "g_y"), "LAW", "nobody 2099")
'''


def load(tmp_path, name="toy", law="O(beta)"):
    """The toy's file, imported."""
    path = tmp_path / f"{name}.py"
    path.write_text(TOY.replace("NAME", name).replace("LAW", law))
    spec = importlib.util.spec_from_file_location(f"toy_{name}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.toy


@pytest.fixture
def toy(tmp_path, monkeypatch):
    entry = load(tmp_path)
    monkeypatch.setitem(rb.ESTIMATORS, "toy", entry)  # the registry line
    return entry


def test_the_verb_knows_it(toy):
    problem, x = quartic(3, 4, seed=3), np.array([0.3, -0.4, 0.5])
    result = rb.hypergradient(problem, x, "toy", beta=1e-5)
    truth = rb.hypergradient(problem, x).gradient
    assert result.success and result.method == "toy" and result.cost["g_x"] >= 2
    np.testing.assert_allclose(result.gradient, truth, rtol=1e-4)
    assert result.error_estimate == pytest.approx(np.linalg.norm(result.gradient - truth), rel=1e-3)
    with pytest.raises(UnknownOption, match="beta"):
        rb.hypergradient(problem, x, "toy", bata=1)
    with pytest.raises(UnknownOption, match="toy"):
        rb.hypergradient(problem, x, "toyy")
    with pytest.raises(MissingDerivative, match="g_x"):
        rb.hypergradient(replace(problem, g_x=None), x, "toy")


def test_tables_and_lists_show_it(toy, capsys):
    assert "toy" not in [row[0] for row in table.rows()[:-1]] and table.rows()[-1][0] == "toy"
    for text in (table.as_text(), table.as_markdown()):
        assert "O(beta)" in text.splitlines()[-1] and "nobody 2099" in text.splitlines()[-1]
    assert cli.main(["list", "estimators"]) == 0
    assert "nobody 2099" in capsys.readouterr().out


def test_every_check_picks_it_up(tmp_path):
    """The suite runs on it unchanged: an honest law passes, a false one is found."""
    for name, law in (("toy", "O(beta)"), ("boaster", "O(beta^2)"), ("liar", "exact")):
        load(tmp_path, name, law)
    plugin = "\n".join(
        ["import refbilevel as rb", *(f"import {n}; rb.ESTIMATORS['{n}'] = {n}.toy" for n in ("toy", "boaster", "liar"))]
    )
    (tmp_path / "toy_plugin.py").write_text(plugin)
    command = [
        sys.executable, "-m", "pytest", "-p", "toy_plugin", "-q", "-rA", "--tb=no", "-k", "(toy or boaster or liar) and not properties",
        str(HERE / "test_error_laws.py"),
    ]  # fmt: skip
    path = os.pathsep.join([str(tmp_path), str(HERE.parents[1]), os.environ.get("PYTHONPATH", "")])
    output = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path}, cwd=HERE.parents[1]).stdout
    lines = output.splitlines()
    passed, failed = ([line for line in lines if line.startswith(word)] for word in ("PASSED", "FAILED"))
    assert sum("[toy]" in line for line in passed) >= 3, output
    assert not any("[toy" in line for line in failed)
    assert any("test_declared_powers[boaster]" in line for line in failed)
    assert any("test_exact_ones" in line and "liar" in line for line in failed)


def test_the_catalogue_is_complete():
    expected = {
        "implicit", "fixed_point", "neumann", "one_step", "t1_t2", "nystrom", "hia", "reverse", "forward", "truncated", "checkpointed",
        "equilibrium", "holomorphic_equilibrium", "value_function", "minimax", "penalty", "augmented_lagrangian", "zeroth_order",
        "finite_difference",
    }  # fmt: skip
    assert expected <= set(rb.ESTIMATORS)
    for name, estimator in rb.ESTIMATORS.items():
        assert estimator.name == name and estimator.error and estimator.reference and estimator.requires
        assert len(sys.modules[estimator.compute.__module__].__doc__) > 200


def test_only_exact_ones_say_so():
    assert {e.name for e in rb.ESTIMATORS.values() if e.exact and e.classes == ("smooth",)} == {"implicit"}

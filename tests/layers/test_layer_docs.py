"""refbilevel/layers/README.md runs as printed, and the docstrings' examples too."""

import doctest
import re
from importlib import import_module
from pathlib import Path

import pytest

TEXT = (Path(__file__).parents[2] / "refbilevel" / "layers" / "README.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", TEXT, re.S)
MODULES = ["continuous", "problem", "combinatorial.layer", "combinatorial.bilevel", "combinatorial.interdiction"]


def run(extra=None):
    """The blocks in order, with those that need `extra`; the names they leave."""
    scope = {"__name__": "docs"}
    for block in BLOCKS:
        needs = re.match(r"# needs (\w+)", block)
        if needs is None or needs[1] == extra:
            exec(compile(block, "refbilevel/layers/README.md", "exec"), scope)
    return scope


def test_the_numpy_blocks():
    scope = run()
    assert scope["answer"].success and scope["path"].solve(scope["costs"]).sum() == 4
    assert scope["x"].sum() == 1


@pytest.mark.torch
def test_the_torch_loop_learns_and_is_twenty_lines():
    pytest.importorskip("torch")
    losses = run("torch")["losses"]
    assert losses[-1] < 1e-2 * losses[0]
    block = next(b for b in BLOCKS if "import torch" in b)
    assert len(block.strip().splitlines()) <= 21  # and the line that says what it needs


@pytest.mark.jax
def test_the_jax_block():
    pytest.importorskip("jax")
    assert run("jax")["from_jax"].differentiate([0.3, -0.2, 0.4], [1.0, 1.0]).error_estimate == 0.0


@pytest.mark.parametrize("name", MODULES)
def test_docstring_examples(name):
    module = import_module(f"refbilevel.layers.{name}")
    found = doctest.testmod(module, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert found.attempted and not found.failed

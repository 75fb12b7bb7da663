"""The README's Python blocks run as printed, its catalogue is the registry's, its commands are one line each."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.S)


@pytest.mark.parametrize("block", BLOCKS, ids=[b.strip().splitlines()[0][:40] for b in BLOCKS])
def test_python_blocks_run_as_printed(block):
    exec(compile(block, "README.md", "exec"), {"__name__": "readme"})


def test_the_stackelberg_block_gives_the_closed_form(capsys):
    import numpy as np

    scope = {"__name__": "readme"}
    exec(next(b for b in BLOCKS if "from_cvxpy" in b), scope)
    result = scope["result"]
    assert result.success and result.fun == pytest.approx(-13.75, abs=1e-9)
    np.testing.assert_allclose(result.x, np.arange(1.0, 6.0) / 2, atol=1e-6)


def test_the_catalogue_is_that_of_the_registry():
    from refbilevel.estimators.table import as_markdown

    printed = README.split("<!-- catalogue -->")[1].split("<!-- /catalogue -->")[0].strip()
    assert printed == as_markdown().strip(), "regenerate it: python -m refbilevel list estimators --markdown"


def test_the_statuses_are_those_of_the_library():
    from refbilevel.results import status_table

    printed = README.split("<!-- statuses -->")[1].split("<!-- /statuses -->")[0].strip()
    assert printed == status_table(), "regenerate it: python -m refbilevel list statuses"


def test_each_command_is_one_line():
    bash = re.findall(r"```bash\n(.*?)```", README, re.S)
    assert len(bash) == 3 and all(len(b.strip().splitlines()) == 1 for b in bash)
    assert "refbilevel demo" in bash[0] and "pytest" in bash[1] and "benchmarks/run.py" in bash[2]


@pytest.mark.parametrize("page", ["README.md", "refbilevel/layers/README.md", "CHANGELOG.md"])
def test_links_to_files_lead_somewhere(page):
    path = ROOT / page
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", path.read_text()) if "://" not in link]
    assert [link for link in links if not (path.parent / link).exists()] == []

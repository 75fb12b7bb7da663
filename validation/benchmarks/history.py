"""The history of our own speeds, by pytest-benchmark: save a run, change something, compare.

    pytest validation/benchmarks/history.py --benchmark-autosave
    pytest validation/benchmarks/history.py --benchmark-compare            # against the last one saved
    pytest validation/benchmarks/history.py -k W5 --benchmark-compare

Runs are kept in .benchmarks/ by machine; the workloads are those of run.py, ours alone: one test a group of the table.
"""

import importlib
import sys
from pathlib import Path

import pytest

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[2])]

from run import MODULES  # noqa: E402
from timing import OURS  # noqa: E402

pytest.importorskip("pytest_benchmark")
#: groups of the table that each workload has
GROUPS = {"W1": 2, "W2": 4, "W3": 4, "W4": 2, "W5": 4, "W6": 3, "W7": 1, "Q1": 10, "Q2": 4, "C1": 1, "P1": 4, "L1": 1}


@pytest.fixture(scope="module")
def groups():
    """{workload: its cases}, each made when first asked for."""
    made = {}
    return lambda workload: made.setdefault(workload, list(importlib.import_module(MODULES[workload]).cases()))


@pytest.mark.parametrize("workload, group", [(workload, group) for workload in MODULES for group in range(GROUPS[workload])])
def test_ours(workload, group, groups, benchmark):
    case = groups(workload)[group]
    benchmark.group = f"{workload} {case.title}"
    call = case.make[OURS]()
    call()  # compiles
    benchmark(call)

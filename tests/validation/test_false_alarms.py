"""No false alarms: correct methods pass on random instances, among them m = 1, c I, condition 1e8 and near-stationary points."""

from functools import partial

import numpy as np
import pytest
from random_cases import KINDS, random_case

import refbilevel as rb
from refbilevel.validation import CHECKS, implementation

LINEAR = {f"implicit-{name}": partial(rb.hypergradient, method="implicit", linear=name) for name in ("cholesky", "lu", "cg", "minres")}
KKT = {"kkt": partial(rb.hypergradient, method="kkt")}


def unrolled(problem, x):
    """Reverse mode through enough steps: K log q < log eps."""
    H = problem.g_yy(x, np.zeros(problem.m))
    low, high = np.linalg.eigvalsh(H)[[0, -1]]
    K = int(np.ceil(45 * high / low)) + 5
    return rb.hypergradient(problem, x, method="reverse", K=K, step=1 / high)


def correct(case):
    """Correct implementations for a case."""
    methods = KKT if case.problem.constraints is not None else LINEAR | KKT
    return methods | ({"unrolled": unrolled} if case.condition < 100 and case.problem.constraints is None else {})


def alarms(seeds):
    """(runs, [messages]) over every kind."""
    runs, found = 0, []
    for case in (random_case(kind, seed) for seed in seeds for kind in KINDS):
        for name, method in correct(case).items():
            runs += 1
            try:
                CHECKS["value"].run(implementation(method), case)
            except AssertionError as failure:
                found.append(f"{name}: {failure}")
    return runs, found


def test_no_false_alarm_in_a_hundred_runs():
    runs, found = alarms(range(4))
    assert runs >= 100 and not found, "\n".join(found)


@pytest.mark.slow
def test_no_false_alarm_in_a_thousand_runs():
    runs, found = alarms(range(1000, 1045))
    assert runs >= 1000 and not found, "\n".join(found)

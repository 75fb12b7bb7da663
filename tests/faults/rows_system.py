"""Rows 68-72: the machine around it."""

import json
import os
import pickle
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest

import refbilevel as rb
from refbilevel.errors import ArgumentError, SchemaError, StatusError

from .record import row
from .rows_arguments import X3

ROOT = Path(__file__).parents[2]
WITHOUT_NUMBA = """
import sys, warnings
sys.modules["numba"] = None
import numpy as np
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    import refbilevel as rb
    A = np.cos(np.arange(24.0)).reshape(8, 3)
    problem = rb.problems.logistic(A, np.sign(A[:, 0]), A, np.sign(A[:, 1]), penalties="per-feature")
    gradient = rb.hypergradient(problem, np.full(3, -1.0)).gradient
    y = rb.solve_qp(np.eye(2), -np.ones(2), np.eye(2), np.array([0.3, 5.0])).y
print(len([w for w in caught if "Numba" in str(w.message)]), *map(float.hex, [*gradient, *y]))
"""


@row(68, "without Numba")
def _():
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    out = subprocess.run([sys.executable, "-c", WITHOUT_NUMBA], capture_output=True, text=True, env=environment)
    assert out.returncode == 0, out.stderr[-800:]
    warned, *numbers = out.stdout.split()
    A = np.cos(np.arange(24.0)).reshape(8, 3)
    problem = rb.problems.logistic(A, np.sign(A[:, 0]), A, np.sign(A[:, 1]), penalties="per-feature")
    expected = [*rb.hypergradient(problem, np.full(3, -1.0)).gradient, 0.3, 1.0]
    assert warned == "1"
    np.testing.assert_allclose([float.fromhex(v) for v in numbers], expected, rtol=1e-12)


@row(69, "two threads, the same digits")
def _():
    from refbilevel.qp import batch

    rng = np.random.default_rng(0)
    P = np.array([np.eye(4) * (1 + k / 10) for k in range(80)])
    q, G, h = rng.standard_normal((80, 4)), rng.standard_normal((80, 5, 4)), rng.random((80, 5))
    answers = []
    for threads in (1, 2):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(batch, "workers_for", lambda B, least, threads=threads: threads)
            answers.append(rb.solve_qp_batch(P, q, G, h).y)
    np.testing.assert_array_equal(*answers)
    one_by_one = np.array([rb.solve_qp(*data).y for data in zip(P, q, G, h)])
    np.testing.assert_allclose(answers[0], one_by_one, rtol=1e-10, atol=1e-12)


@row(70, "pickled and back")
def _():
    A = np.cos(np.arange(24.0)).reshape(8, 3)
    problems = [rb.problems.random_quadratic(3, 5, rng=0), rb.problems.ridge(A, A[:, 0], A, A[:, 1], penalties="per-feature")]
    problems += [rb.problems.load("F05_stackelberg_cournot_4")]
    for problem in problems:
        x = np.full(problem.n, 0.5)
        result = rb.hypergradient(problem, x)
        again = rb.hypergradient(pickle.loads(pickle.dumps(problem)), x)
        np.testing.assert_array_equal(result.gradient, again.gradient)
        stored = pickle.loads(pickle.dumps(result))
        np.testing.assert_array_equal(stored.gradient, result.gradient)
        assert stored.status is result.status and stored.message == result.message
    for error, call in (
        (ArgumentError, lambda: rb.hypergradient(problems[0], [np.nan] * 3)),
        (StatusError, lambda: rb.hypergradient(problems[0], [0.5] * 3, method="neumann", K=50, step=3.0, strict=True)),
    ):
        with pytest.raises(error) as caught:
            call()
        again = pickle.loads(pickle.dumps(caught.value))
        assert type(again) is type(caught.value) and str(again) == str(caught.value)


@row(71, "files that are corrupt or newer")
def _():
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "problem.json"
        good = rb.problems.read_record("Bard1988Ex1")
        for text, word in (
            ('{"schema": "refbilevel-problem/1", "nx": 1', "JSON"),
            (json.dumps({**good, "schema": "refbilevel-problem/9"}), "update refbilevel"),
            (json.dumps({**good, "nx": "two"}), "nx"),
            (json.dumps({**good, "expr": {**good["expr"], "F": "__import__('os').system('true')"}}), "_"),
            ("[]", "schema"),
        ):
            path.write_text(text)
            with pytest.raises(SchemaError) as caught:
                rb.problems.load(path)
            assert word in str(caught.value)
        path.write_bytes(b"\xff\xfe\x00")
        with pytest.raises(SchemaError):
            rb.problems.load(path)
    from refbilevel.validation.cases.load import read_case

    for text in ("{", '{"schema": "refbilevel-case/99"}', "[]"):
        with pytest.raises(SchemaError):
            read_case(text, "case.json")


@row(72, "a report that cannot be written")
def _():
    from refbilevel.demo.run import demo
    from refbilevel.validation.report.conformance_report import check_writable

    for path in ("/no/such/folder/report.html", "/proc/report.html"):
        with pytest.raises(ArgumentError, match="writ"):
            check_writable(path)
        with pytest.raises(ArgumentError, match="writ"):
            demo(path, 1)

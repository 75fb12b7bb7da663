"""The demo from start to end: print what happens, then write the report."""

from __future__ import annotations

import os
import sys
import time

import numpy as np

from ..errors import ArgumentError, require
from .data import RHO, split
from .study import study


def demo(path="report.html", splits=10):
    """Solve `splits` splits, judge three implementations, write the report to `path`; returns the exit code."""
    for module in ("sklearn", "matplotlib", "jinja2"):
        require(module, "demo", "refbilevel demo")
    if splits < 1:
        raise ArgumentError(f"--splits must be at least 1, got {splits}")
    _writable(path)
    from .judge import judge
    from .report import write

    start = time.perf_counter()
    print("Breast-cancer data, logistic regression, 30 log-penalties chosen on a validation part by hypergradient.")
    studies = [_show(study(split(seed), progress=seed == 0 and sys.stderr.isatty()), seed) for seed in range(splits)]
    _summary(studies)
    print("\nThree implementations of the hypergradient, judged at a generic point of this problem and on certified cases:")
    problem = studies[0].problem
    verdicts = judge(problem, np.full(problem.n, studies[0].x_grid) + 0.5 * np.cos(np.arange(problem.n)))
    for v in verdicts:
        _tell(v)
    write(path, studies, verdicts, time.perf_counter() - start)
    print(f"\nReport written to {os.path.abspath(path)} after {time.perf_counter() - start:.0f} s.")
    solved = all(s.projected_norm < 1e-8 and s.objective <= s.objective_grid for s in studies)
    return 0 if solved and [v.right for v in verdicts] == [True, False, False] else 1


def _writable(path):
    """Raise before the run if the report cannot be written after it."""
    new = not os.path.exists(path)
    try:
        with open(path, "a"):
            pass
    except OSError as error:
        raise ArgumentError(f"--report: cannot write {path} ({error.strerror}); give a path in a folder that exists and is writable") from None
    if new:
        os.unlink(path)


def _show(s, seed):
    if seed == 0:
        h = s.result.hypergradient
        print(f"F = validation loss + {RHO / 2:g} |x - x_grid|^2; x_grid is the best of one shared penalty.\n")
        print(f"{'iteration':>9} {'F':>12} {'|projected hypergradient|':>27}")
        for it in s.result.history:
            print(f"{it.nit:9d} {it.fun:12.8f} {it.projected_norm:27.2e}")
        print(f"\n{h.explain()}\n")
        print("split   F grid        F  val grid      val  test grid     test  evals  |proj grad|  error estimate")
    print(
        f"{s.seed:5d}  {s.objective_grid:.5f}  {s.objective:.5f}   {s.validation_grid:.5f}  {s.validation:.5f}    {s.test_grid:.5f}  "
        f"{s.test:.5f}  {s.evaluations:5d}  {s.projected_norm:11.1e}  {s.error_estimate:14.1e}"
    )
    return s


def _summary(studies):
    better = sum(s.objective <= s.objective_grid for s in studies)
    test = sum(s.test <= s.test_grid for s in studies)
    print(f"\nValidation objective no worse than the grid's on {better} of {len(studies)} splits; test loss lower on {test} of {len(studies)}.")


def _tell(v):
    worst = ", ".join(f"{c} {d:.1f} of {a:.1f}" for c, (d, a) in v.worst.items())
    print(f"\n{v.name}: {'right' if v.right else 'WRONG'}; {v.digits_here:.1f} digits here of {v.attainable_here:.1f} attainable; worst on certified cases: {worst}.")
    if v.diagnosis:
        print(f"  looks like: {v.diagnosis}")

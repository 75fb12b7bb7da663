"""What `refbilevel solve` does: one problem from a file, a name or problem.py:variable, or the whole collection with --all."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import numpy as np

from ..errors import ArgumentError
from ..problem import BilevelProblem
from ..problems.loading import load
from .solve_all import best_of, solve_all, table, takes_global


def command_all(arguments):
    """Print the table of every shipped problem; 1 if an answer is wrong or rejected."""
    rows = solve_all(starts=arguments.starts, tell=_progress if sys.stderr.isatty() else None, prefer_local=arguments.local)
    print(table(rows))
    return int(any(row.verdict in ("wrong", "rejected") for row in rows))


def _progress(row):
    sys.stderr.write(f"\r{row.name:<40}")
    sys.stderr.flush()


def command_one(arguments):
    """Solve one problem (or the several of a collection file) and print the answer; 1 unless each is a success."""
    failed = False
    for problem in problems_of(arguments.file):
        failed |= not _solve_and_print(problem, arguments)
    return int(failed)


def problems_of(name):
    """The problems that `name` stands for: problem.py:variable, a JSON file, or a shipped problem's name."""
    path, colon, variable = str(name).rpartition(":")
    if colon and path.endswith(".py"):
        return (_from_python(Path(path), variable),)
    if str(name).endswith(".py"):
        raise ArgumentError(f"{name}: say which variable holds the problem, as {name}:problem")
    loaded = load(name)
    return loaded if isinstance(loaded, tuple) else (loaded,)


def _from_python(path, variable):
    if not path.is_file():
        raise ArgumentError(f"there is no file {path}")
    names = runpy.run_path(str(path))
    if not isinstance(names.get(variable), BilevelProblem):
        raise ArgumentError(f"{path} has no BilevelProblem named {variable!r}")
    return names[variable]


def _solve_and_print(problem, arguments):
    from .global_minimize import minimize_global

    if takes_global(problem) and not arguments.local:
        result = minimize_global(problem)
    else:
        result = best_of(problem, arguments.starts, 0)
    print(describe(problem, result))
    return result.success


def describe(problem, result):
    """The answer as a few lines of text."""
    lines = [f"problem   {problem.name or '(unnamed)'}: n = {problem.n}, m = {problem.m}", f"status    {result.status}: {result.message}"]
    if np.isfinite(result.x).all():
        lines += [f"F         {result.fun:.12g}", f"x         {_vector(result.x)}", f"y         {_vector(result.y)}"]
    if "bound" in result:
        lines.append(f"bound     {result.bound:.12g}   gap {result.gap:.1e}   nodes {result.nodes}")
    if result.get("recheck") is not None:
        check = result.recheck
        lines.append(f"re-check  residual {check.residual:.1e}   LICQ {_word(check.licq)}   strict complementarity {_word(check.strict_complementarity)}")
        lines.append(f"lower     unique {_word(check.unique)}   F over its solutions: {check.optimistic:.8g} to {check.pessimistic:.8g}")
    return "\n".join(lines)


def _vector(v):
    return np.array2string(np.asarray(v), precision=8, max_line_width=120)


def _word(value):
    return "not decided" if value is None else "yes" if value else "no"

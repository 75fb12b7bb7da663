"""Solve every problem of the collection and say how each answer compares with the verified optimum.

`minimize_global` where the problem is in matrix form with a convex QP lower level, `minimize` from several random starts elsewhere.
Every returned point is re-checked (recheck.py). Verdicts, in the order in which they are tried:

    infeasible  reported infeasible, as it is        wrong       an answer that contradicts the verified one
    rejected    the re-check refuses the point       proven      |F - F*| <= 1e-6 (1 + |F*|) and the bound meets it
    best known  the value is reached, unproven       worse       a feasible point of higher value
    refused     the method cannot take the problem (the message says why)      none   no feasible point was found
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from ..errors import ArgumentError, BilevelError
from ..problems.loading import DATA, INFEASIBLE, catalogue, from_record, read_record
from ..results import Status
from .global_kkt import check_global
from .multistart import FAILURES

ACCURATE = 1e-6


@dataclass(frozen=True)
class Row:
    """One line of the table. `expected` is the verified F* (inf: infeasible), `error` that of (x, y) where both are unique."""

    name: str
    class_: str
    method: str
    expected: float
    found: float
    bound: float
    gap: float
    error: float
    residual: float
    nodes: int
    seconds: float
    verdict: str
    message: str = ""


def solve_all(names=None, *, time_limit=60.0, starts=20, local=True, prefer_local=False, seed=0, tell=None):
    """One `Row` a problem.

    Parameters
    ----------
    names : list of str, optional
        Names or files; by default the whole collection and the infeasible problems.
    time_limit : float
        Seconds for each global search.
    starts : int
        Random starts for each problem that goes to `minimize`.
    local : bool
        False leaves those problems out.
    prefer_local : bool
        True sends every problem to `minimize`.
    seed : int
        Of the starts.
    tell : callable(Row), optional
        Called as each row is ready.

    Raises
    ------
    UnknownOption, SchemaError
        For a name or a file that cannot be read.
    """
    rows = []
    for record in _records(names):
        problem = from_record(record)
        globally = takes_global(problem) and not prefer_local
        if not (globally or local):
            continue
        rows.append(_solve_globally(problem, record, time_limit) if globally else _solve_locally(problem, record, starts, seed))
        if tell is not None:
            tell(rows[-1])
    return tuple(rows)


def _records(names):
    if names is None:
        names = [info.name for info in catalogue()] + [entry["name"] for entry in read_record(DATA / "_infeasible.json")["problems"]]
    records = []
    for name in names:
        record = read_record(name)
        records += record["problems"] if record["schema"] == INFEASIBLE else [record]
    return records


def takes_global(problem):
    """Whether `minimize_global` reads this problem."""
    try:
        check_global(problem)
    except ArgumentError:
        return False
    return True


def _solve_globally(problem, record, time_limit):
    from .global_minimize import minimize_global

    started = time.perf_counter()
    try:
        result = minimize_global(problem, time_limit=time_limit)
    except BilevelError as error:
        return _refused(record, "minimize_global", error, time.perf_counter() - started)
    seconds = time.perf_counter() - started
    return _row(record, result, result.method, result.bound, result.gap, result.nodes, seconds, result.status)


def _solve_locally(problem, record, starts, seed):
    started = time.perf_counter()
    try:
        best = best_of(problem, starts, seed)
    except FAILURES as error:
        return _refused(record, "minimize", error, time.perf_counter() - started)
    seconds = time.perf_counter() - started
    claim = None  # what a local method says of its status is no claim about the whole problem
    return _row(record, best, best.get("method", "minimize"), np.nan, np.nan, best.get("nit", 0), seconds, claim)


def best_of(problem, starts, seed):
    """The result of `minimize` from random starts, all else at its defaults."""
    from .minimize_ import minimize

    return minimize(problem, starts=starts, rng=seed)


# rows ---------------------------------------------------------------------------------------------------------------


def _line(record, method, found, *, bound=np.nan, gap=np.nan, error=np.nan, residual=np.nan, nodes=0, seconds=0.0, verdict, message=""):
    expected = float(record["solution"]["F"]) if "solution" in record else np.inf if "why" in record else np.nan
    return Row(
        str(record.get("name", "")), str(record.get("class", "")), method, expected, float(found), float(bound), float(gap), float(error),
        float(residual), int(nodes), seconds, verdict, message,
    )  # fmt: skip


def _refused(record, method, error, seconds):
    return _line(record, method, np.nan, seconds=seconds, verdict="refused", message=str(error))


def _row(record, result, method, bound, gap, nodes, seconds, status):
    line = _line(
        record, method, result.fun, bound=bound, gap=gap, error=solution_error(record, result), residual=result.residual, nodes=nodes,
        seconds=seconds, verdict="", message=result.message,
    )  # fmt: skip
    return Row(**{**line.__dict__, "verdict": verdict(line, status)})


def verdict(line, status):
    """The word for a row; see the module's list."""
    if status is Status.INFEASIBLE:
        return "infeasible" if not np.isfinite(line.expected) else "wrong"
    if not np.isfinite(line.found):
        return "wrong" if status is Status.UNBOUNDED and np.isfinite(line.expected) else "none"
    if not line.residual <= ACCURATE:
        return "rejected"
    if np.isnan(line.expected):
        return "proven" if status is Status.CERTIFIED else "found"
    difference = (line.found - line.expected) / (1.0 + abs(line.expected)) if np.isfinite(line.expected) else -np.inf
    if status is Status.CERTIFIED:
        return "proven" if abs(difference) <= ACCURATE else "wrong"
    return "worse" if difference > ACCURATE else "best known"


def solution_error(record, result):
    """Largest difference from the verified (x, y); it says something only where the optimum is unique."""
    solution = record.get("solution")
    if not solution or not np.isfinite(result.x).all():
        return np.nan
    return float(max(np.abs(result.x - np.array(solution["x"])).max(), np.abs(result.y - np.array(solution["y"])).max()))


def table(rows):
    """The rows as text, one a line, and a summary."""
    head = f"{'problem':<32} {'class':<24} {'F*':>14} {'found':>14} {'bound':>14} {'gap':>8} {'residual':>8} {'nodes':>6} {'seconds':>8}  verdict"
    lines = [head, "-" * len(head)]
    for r in rows:
        lines.append(
            f"{r.name:<32} {r.class_:<24} {r.expected:>14.7g} {r.found:>14.7g} {r.bound:>14.7g} {r.gap:>8.1e} {r.residual:>8.1e} "
            f"{r.nodes:>6d} {r.seconds:>8.2f}  {r.verdict}"
        )
    counts = {}
    for r in rows:
        counts[r.verdict] = counts.get(r.verdict, 0) + 1
    summary = ", ".join(f"{count} {word}" for word, count in sorted(counts.items(), key=lambda item: -item[1]))
    return "\n".join([*lines, f"{len(rows)} problems in {sum(r.seconds for r in rows):.1f} s: {summary}"])

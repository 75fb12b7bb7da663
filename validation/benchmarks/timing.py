"""Interleaved timing of several implementations of one case, for machines whose load changes while they measure.

A round runs every implementation once (a block of calls, for short ones), A B C A B C ..., so that a disturbance meets all of them. The
ratio is the median over rounds of t / t_ours within one round; beside it stand each one's fastest and median time, and the same ratio of
processor time, which on one core does not see other people's programs except through the caches. One call before
the rounds compiles and warms caches and is not counted. Peak memory is the growth of the resident set during one call (Linux: VmHWM
reset through /proc), interpreter and libraries' own pools included, so it is an upper bound; nan elsewhere.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

OURS = "refbilevel"
BLOCK = 0.02  # seconds of one block of short calls
REST = 0.1  # seconds before a block, in which the threads that the one before left spinning fall asleep


@dataclass(frozen=True)
class Case:
    """One group of lines of the table.

    `make[name]()` builds a call without arguments that returns the answer (an array, or a pair of it and a dict of counts); one that
    raises, such as a peer that is not installed, is left out with the reason. `truth` is the exact answer, None without one; `read`,
    outside the timing, makes of an answer the array that is compared with it. A call with an attribute `times` does its work so often,
    and its row is for once.
    """

    workload: str
    title: str
    make: dict[str, Callable]
    truth: np.ndarray | None = None
    floor: str = "floor"
    goal: str = ""
    notes: dict[str, str] = field(default_factory=dict)
    read: Callable = np.asarray


def measure(case, rounds=9, budget=20.0):
    """List of rows (dicts) for the implementations that run, ours first."""
    calls, rows = {}, {}
    for name, make in case.make.items():
        try:
            call = make()
            start = time.perf_counter()
            answer = call()
            once = time.perf_counter() - start
        except Exception as error:  # a peer that is absent or fails is named in the table; ours must run
            if name == OURS:
                raise
            case.notes[name] = f"left out: {type(error).__name__}: {str(error).splitlines()[0][:120]}"
            continue
        array, counts = answer if isinstance(answer, tuple) else (answer, {})
        calls[name] = call
        rows[name] = dict(implementation=name, first_seconds=once, digits=digits(None if array is None else case.read(array), case.truth), **counts)
    measured = _rounds(calls, rounds, budget)
    wall, cpu = ({name: [pair[i] for pair in pairs] for name, pairs in measured.items()} for i in (0, 1))
    for name, row in rows.items():
        row.update(
            best=min(wall[name]), median=float(np.median(wall[name])), ratio=_paired(wall[name], wall[OURS]), cpu=min(cpu[name]),
            ratio_cpu=_paired(cpu[name], cpu[OURS]), rounds=len(wall[name]), megabytes=peak_memory(calls[name]),
        )  # fmt: skip
    return list(rows.values())


def _paired(times, ours):
    """The median over the rounds of times / ours."""
    return float(np.median([t / max(s, 1e-9) for t, s in zip(times, ours)]))


def _rounds(calls, rounds, budget):
    """{name: [(wall, processor) seconds a call, one entry a round]}; at least three rounds, then until the budget of the case is spent."""
    repeat = {}
    for name, call in calls.items():
        start = time.perf_counter()
        call()
        repeat[name] = max(1, int(BLOCK / max(time.perf_counter() - start, 1e-7)))
    times, end = {name: [] for name in calls}, time.perf_counter() + budget
    for done in range(rounds):
        if done >= 3 and time.perf_counter() > end:
            break
        for name, call in calls.items():
            time.sleep(REST)
            start, used = time.perf_counter(), time.process_time()
            for _ in range(repeat[name]):
                call()
            done_so_often = repeat[name] * getattr(call, "times", 1)
            times[name].append(((time.perf_counter() - start) / done_so_often, (time.process_time() - used) / done_so_often))
    return times


def digits(answer, truth):
    """-log10 of the relative error in norm, at most 16; nan without a truth."""
    if truth is None or answer is None:  # nothing to compare
        return float("nan")
    error = np.linalg.norm(np.asarray(answer, float) - truth) / np.linalg.norm(truth)
    return float(min(16.0, -np.log10(max(error, 1e-17)))) if np.isfinite(error) else 0.0


def peak_memory(call):
    """Growth of the resident set during one call, in MB, what malloc had kept being given back before."""
    try:
        ctypes.CDLL("libc.so.6").malloc_trim(0)
        with open("/proc/self/clear_refs", "w") as reset:
            reset.write("5")
        before = _status("VmRSS")
        call()
        return round((_status("VmHWM") - before) / 1024, 1)
    except (OSError, AttributeError):
        return float("nan")


def _status(name):
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith(name))

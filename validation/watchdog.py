"""Cases run in a child process, so that none can stall a campaign: not in compiled code that no handler interrupts, not asleep.

The child sets a clock of processor time before each case and leaves its signal to the kernel, which ends the process whatever it is
doing; the parent waits no longer than `wall` seconds. A child that has ended is replaced, and the case that ended it is answered by `Lost`.
"""

from __future__ import annotations

import multiprocessing
import signal
from dataclasses import dataclass


@dataclass(frozen=True)
class Lost:
    """No answer: `word` is hang or crash, `detail` says how the process ended."""

    word: str
    detail: str


def outcomes(function, cases, seconds, wall=None):
    """(case, function(*case)) for each case, or (case, `Lost`) after `seconds` of processor time or `wall` (20 times that) of waiting.

    `function` must be importable, for the child starts afresh; what it raises ends the child as a crash would.
    """
    wall, child = 20 * seconds if wall is None else wall, None
    try:
        for case in cases:
            child = child or _Child(function, seconds)
            answer = child.ask(case, wall)
            if isinstance(answer, Lost):
                child = child.end()
            yield case, answer
    finally:
        if child is not None:
            child.end()


class _Child:
    def __init__(self, function, seconds):
        start = multiprocessing.get_context("spawn")
        self.seconds, (self.pipe, theirs) = seconds, start.Pipe()
        self.process = start.Process(target=_serve, args=(theirs, function, seconds), daemon=True)
        self.process.start()
        theirs.close()
        self.pipe.recv()  # it is up: what it takes to start is no case's time

    def ask(self, case, wall):
        try:
            self.pipe.send(case)
            if not self.pipe.poll(wall):
                return Lost("hang", f"no answer within {wall:.0f} s")
            return self.pipe.recv()
        except (EOFError, OSError):
            self.process.join()
        if self.process.exitcode == -signal.SIGVTALRM:
            return Lost("hang", f"no answer within {self.seconds:.0f} s of processor time, and not to be interrupted")
        return Lost("crash", f"the process ended with exit code {self.process.exitcode}")

    def end(self):
        self.process.kill()
        self.process.join()
        self.pipe.close()


def _serve(pipe, function, seconds):
    """The child: cases in, answers out, until the pipe closes."""
    signal.signal(signal.SIGVTALRM, signal.SIG_DFL)
    pipe.send("ready")
    while True:
        try:
            case = pipe.recv()
        except EOFError:
            return
        signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
        answer = function(*case)
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        pipe.send(answer)

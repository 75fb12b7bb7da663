"""What a check is: a function of (implementation, case) that returns what it measured or raises `CheckFailure`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

#: what the levels are about
LEVELS = ("contract", "value", "error law", "adjoint", "faults", "cost")


def always(case):
    return True


@dataclass(frozen=True)
class Check:
    """One check. `applies(case)` selects cases; sample="class" runs it on one case of each class, "first" on one case in all.

    `protocols` are those the implementation must have, `adapters` those it makes sense for (None: all).
    """

    name: str
    level: int
    sentence: str
    run: Callable
    applies: Callable = always
    sample: str = "all"
    protocols: tuple = ("hypergradient",)
    adapters: tuple | None = None
    #: of a check made by a transform: case -> changed case
    change: Callable | None = field(default=None, repr=False)

    @property
    def level_name(self):
        return LEVELS[self.level]


def check(level, *, applies=always, sample="all", protocols=("hypergradient",), adapters=None, name=None):
    """Decorator: a function becomes a `Check`; its docstring's first line is the sentence."""

    def wrap(function):
        sentence = function.__doc__.splitlines()[0]
        return Check(name or function.__name__, level, sentence, function, applies, sample, protocols, adapters)

    return wrap


def converged(case):
    """A case with one hypergradient."""
    return case.reference is not None and case.expected_status in ("converged", "certified", "minimum_norm")


def oracular(case):
    """A converged case with second derivatives of a lower objective."""
    return converged(case) and case.problem.has("g", "g_y", "g_yy", "g_xy", "f_x", "f_y")


def regular(case):
    """An oracular case whose y* is locally unique, so that dy/dx exists."""
    return oracular(case) and case.expected_status != "minimum_norm"

"""What an upper-level method is: `run(objective, x0, **options)` on an `Objective`, which evaluates, counts and remembers.

A method never sees the problem's oracles directly unless it is a single-loop method; those get `objective.problem`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass

from ..errors import unknown


@dataclass(frozen=True)
class OuterMethod:
    """One entry of the registry. `constraints`: upper constraints it honours, any of "bounds", "linear", "nonlinear", "coupling".

    `kinks`: it stops at Clarke stationary points, so that an x on a kink of F is no failure. `joint`: it chooses y together with x,
    among the lower solutions where there are several.
    `run(objective, x0, **options) -> Outcome`; keyword-only parameters are the method's own options.
    """

    name: str
    run: Callable
    reference: str
    constraints: tuple[str, ...] = ("bounds",)
    classes: tuple[str, ...] = ("smooth", "constrained", "map")
    kinks: bool = False
    joint: bool = False

    @property
    def options(self):
        return [p.name for p in inspect.signature(self.run).parameters.values() if p.kind is p.KEYWORD_ONLY]

    def check_options(self, given):
        known = self.options
        for name in given:
            if name not in known:
                raise unknown(f"option of outer method {self.name!r}", name, known)


@dataclass(frozen=True)
class Outcome:
    """What a method hands back to `minimize`: the point, a status code of results.Status, and a sentence."""

    x: object
    status: object
    detail: str = ""
    nit: int = 0
    y: object = None

"""What an estimator is: one function and the data that tests, tables and the command line derive from.

`compute(problem, x, lower, **options) -> Estimate` gets a counted view of the problem, x (n,), and a `LowerSolution`
(or, for an estimator that runs its own lower dynamics, only its `.y` as starting point). Its keyword-only parameters
are its options; unknown ones raise before any work. The driver (driver.py) owns everything else.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType

from ..errors import unknown


@cache
def _keyword_only(compute):
    parameters = inspect.signature(compute).parameters.values()
    return MappingProxyType({p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY})


@dataclass(frozen=True)
class Estimator:
    """One entry of the catalogue.

    `error` begins with "exact" only if the default call returns the gradient of f(x, y*(x)) to the attainable digits;
    otherwise it is the declared error law, e.g. "O(beta^2)". `classes`: the lower levels it accepts, any of
    "smooth" (unconstrained), "constrained", "map" (a problem with its own solution_map).
    `lower`: "solve" if the driver is to solve the lower level first, "start" if only a starting y is wanted.
    """

    name: str
    family: str
    compute: Callable
    requires: tuple[str, ...]
    error: str
    reference: str
    linear_solve: str = "none"
    classes: tuple[str, ...] = ("smooth",)
    lower: str = "solve"

    @property
    def exact(self):
        return self.error.startswith("exact")

    @property
    def options(self):
        """Names and defaults of the options."""
        return _keyword_only(self.compute)

    def check_options(self, given):
        for name in given:
            if name not in self.options:
                raise unknown(f"option of method {self.name!r}", name, self.options)

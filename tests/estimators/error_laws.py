"""Reading the declared error law of an estimator and fitting it: what every entry of the registry is held to."""

import re
from dataclasses import dataclass

import numpy as np

import refbilevel as rb

POWER = re.compile(r"O\((1/)?([a-z]+)(?:\^(\d+|[A-Z]))?\)")
#: where the law dominates: large enough for rounding, small enough for the next term
RANGE = {1: (1e-4, 1e-3), 2: (1e-3, 3e-2), 3: (1e-2, 5e-2), 4: (2e-2, 6e-2), 6: (0.1, 0.25)}


@dataclass(frozen=True)
class PowerLaw:
    """error ~ knob^order (knob -> 0), or knob^-order (knob -> infinity) if inverse."""

    knob: str
    order: int
    inverse: bool

    def values(self, count=5):
        low, high = RANGE[self.order]
        return 1.0 / np.geomspace(low, high, count) if self.inverse else np.geomspace(low, high, count)

    @property
    def slope(self):
        return -self.order if self.inverse else self.order


def power_law(estimator, options=None):
    """The PowerLaw that `estimator.error` declares for one of its options, or None (exact, geometric, random)."""
    match = POWER.match(estimator.error)
    if match is None or match[2] not in estimator.options:
        return None
    exponent = match[3] or "1"
    order = int(exponent) if exponent.isdigit() else {**estimator.options, **(options or {})}[exponent]
    return PowerLaw(match[2], int(order), bool(match[1]))


def errors(problem, x, truth, method, knob, values, **options):
    """Relative errors of the method as its knob runs through the values; every result must call itself a success."""
    found = []
    for value in values:
        result = rb.hypergradient(problem, x, method, diagnostics=False, **{knob: value}, **options)
        assert result.success, result.message
        found.append(np.linalg.norm(result.gradient - truth) / np.linalg.norm(truth))
    return np.array(found)


def slope(values, found):
    """Least-squares slope of log error against log value."""
    return np.polyfit(np.log(values), np.log(found), 1)[0]


def check_power_law(estimator, problem, x, truth, law=None, **options):
    """The fitted slope is the declared one within 0.05."""
    law = law or power_law(estimator, options)
    values = law.values()
    found = errors(problem, x, truth, estimator.name, law.knob, values, **options)
    fitted = slope(values, found)
    assert abs(fitted - law.slope) <= 0.05, f"{estimator.name}: error {found} has slope {fitted:.3f}, declared {law.slope}"

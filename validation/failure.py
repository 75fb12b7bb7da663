"""What a check measures, and how it fails: with a message that says where, by how much, and what it looks like."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from ..errors import BilevelError


@dataclass(frozen=True)
class Measured:
    """The numbers behind a verdict. `series` holds the points of an error law, `slope` its fitted exponent."""

    digits: float = np.nan
    attainable: float = np.nan
    required: float = np.nan
    ratio: float = np.nan
    slope: float = np.nan
    expected_slope: float = np.nan
    series: Mapping[str, tuple] = field(default_factory=dict)


class CheckFailure(BilevelError, AssertionError):
    """A check failed. `.measured` holds its numbers, `.diagnosis` a `Diagnosis` or None, `.headline` the first line."""

    def __init__(self, headline, lines=(), measured=None, diagnosis=None):
        self.headline, self.lines = headline, tuple(lines)
        self.measured, self.diagnosis = measured or Measured(), diagnosis
        super().__init__("\n  ".join([headline, *self.lines]))

    def __reduce__(self):
        return type(self), (self.headline, self.lines, self.measured, self.diagnosis)


class Skip(BilevelError):
    """A check does not apply (a protocol is missing, or the implementation declined); not a failure."""

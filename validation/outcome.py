"""One line of a report: what became of one check on one case. Plain values, so that JSON holds it whole."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field

STATUSES = ("passed", "failed", "expected", "skipped")


@dataclass(frozen=True)
class Outcome:
    """`status` is one of STATUSES; "expected" is a declared failure that happened. Numbers are nan where nothing was measured."""

    id: str
    check: str
    level: int
    case: str
    klass: str
    difficulty: str
    status: str
    message: str = ""
    digits: float = math.nan
    attainable: float = math.nan
    required: float = math.nan
    ratio: float = math.nan
    slope: float = math.nan
    expected_slope: float = math.nan
    series: dict = field(default_factory=dict)
    diagnosis: str = ""
    diagnosis_name: str = ""
    reason: str = ""

    @classmethod
    def of(cls, bound, status, message, measured, diagnosis=None):
        """The outcome of a `BoundCheck`."""
        numbers = {k: float(getattr(measured, k)) for k in ("digits", "attainable", "required", "ratio", "slope", "expected_slope")}
        case = bound.case
        return cls(bound.id, bound.check.name, bound.check.level, case.id, case.klass, case.difficulty, status, message, **numbers,
                   series={k: [float(v) for v in values] for k, values in measured.series.items()}, diagnosis=str(diagnosis or ""),
                   diagnosis_name=getattr(diagnosis, "name", ""), reason=bound.expected)  # fmt: skip

    @property
    def reproduction(self):
        """The command at the end of the message, or ""."""
        last = self.message.strip().splitlines()[-1].strip() if self.message else ""
        return last.removeprefix("repro: ") if last.startswith("repro: ") else ""

    def to_dict(self):
        """Values that strict JSON can hold: a number that is not finite becomes its name."""
        return {k: _json(v) for k, v in asdict(self).items()}

    @classmethod
    def from_dict(cls, record):
        numbers = ("digits", "attainable", "required", "ratio", "slope", "expected_slope")
        return cls(**{k: float(v) if k in numbers else v for k, v in record.items()})


def _json(value):
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value

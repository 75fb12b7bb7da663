"""`ConformanceReport`: the outcomes of a run and what is read off them."""

from __future__ import annotations

import json
import math
import platform
from collections import Counter
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

from ...errors import ArgumentError, SchemaError
from ..outcome import STATUSES, Outcome

SCHEMA = "refbilevel-conformance/1"


def versions():
    """Versions of what took part, as installed."""
    found = {"python": platform.python_version()}
    for name in ("refbilevel", "numpy", "scipy", "torch", "jax"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


@dataclass(frozen=True)
class Cell:
    """One cell of the heat map: the worst digits of a class at a difficulty. verdict: "pass", "fail", "expected", "none"."""

    klass: str
    difficulty: str
    digits: float
    attainable: float
    verdict: str
    cases: int
    failed: int


@dataclass(frozen=True)
class Finding:
    """Failures that look alike, and the classes they are in."""

    classes: tuple[str, ...]
    sentence: str
    count: int
    example: Outcome


@dataclass(frozen=True)
class ConformanceReport:
    """What a run of the checks found. `.exit_code` is 0 if nothing failed undeclared, else 1."""

    implementation: str
    adapter: str
    outcomes: tuple[Outcome, ...]
    level: int = 1
    classes: tuple[str, ...] = ()
    versions: dict = field(default_factory=versions)

    @property
    def counts(self):
        """How many passed, failed, failed as declared, were skipped."""
        found = Counter(o.status for o in self.outcomes)
        return {status: found.get(status, 0) for status in STATUSES}

    @property
    def failures(self):
        return [o for o in self.outcomes if o.status == "failed"]

    @property
    def exit_code(self):
        return int(bool(self.failures) or not self.outcomes)

    @property
    def digits(self):
        """Columns {"class", "difficulty", "case", "digits", "attainable", "ratio", "status"} of the value checks (a data frame)."""
        rows = [o for o in self.outcomes if o.check == "value"]
        columns = {
            "class": "klass",
            "difficulty": "difficulty",
            "case": "case",
            "digits": "digits",
            "attainable": "attainable",
            "ratio": "ratio",
            "status": "status",
        }
        return {name: [getattr(o, attribute) for o in rows] for name, attribute in columns.items()}

    @property
    def difficulties(self):
        return [d for d in ("lower", "average", "higher") if any(o.difficulty == d for o in self.outcomes)]

    def cell(self, klass, difficulty):
        """The heat map's `Cell`: the worst value check (or, where there is no value, the status checks) of a class and difficulty."""
        rows = [o for o in self.outcomes if o.klass == klass and o.difficulty == difficulty]
        values = [o for o in rows if o.check == "value" and o.status != "skipped"]
        judged = values or [o for o in rows if o.status != "skipped"]
        failed = sum(o.status == "failed" for o in judged)
        verdict = "none" if not judged else "fail" if failed else "expected" if any(o.status == "expected" for o in judged) else "pass"
        worst = min(values, key=_shortfall, default=None)
        digits, attainable = (worst.digits, worst.attainable) if worst else (math.nan, math.nan)
        return Cell(klass, difficulty, digits, attainable, verdict, len(judged), failed)

    @property
    def rows(self):
        """[(class, [Cell, ...])] for the heat map, classes that were run only."""
        ran = [k for k in dict.fromkeys((*self.classes, *(o.klass for o in self.outcomes))) if any(o.klass == k for o in self.outcomes)]
        return [(klass, [self.cell(klass, d) for d in self.difficulties]) for klass in ran]

    @property
    def findings(self):
        """`Finding`s: failures grouped by diagnosis (or by check, where there is none), those with a name first."""
        named = {o.klass: o.diagnosis_name for o in reversed(self.failures) if o.diagnosis_name}
        groups = {}
        for o in self.failures:
            groups.setdefault(
                o.diagnosis_name or (named.get(o.klass) if o.level < 4 and not o.check.endswith("_slope") else "") or o.check, []
            ).append(o)
        found = []
        for members in groups.values():
            example = next((o for o in members if o.diagnosis_name), members[0])
            sentence = example.diagnosis or example.message.splitlines()[0].partition("]  ")[2]
            found.append(Finding(tuple(dict.fromkeys(o.klass for o in members)), sentence, len(members), example))
        return sorted(found, key=lambda f: (not f.example.diagnosis_name, -f.count))

    def by_level(self):
        """{level: counts by status}."""
        levels = sorted({o.level for o in self.outcomes})
        return {level: Counter(o.status for o in self.outcomes if o.level == level) for level in levels}

    def summary(self):
        """A table for the terminal: digits by class and difficulty, then the findings."""
        from .text import summary

        return summary(self)

    def to_json(self, path=None):
        """JSON (schema "refbilevel-conformance/1"); also written to `path` if given."""
        record = {
            "schema": SCHEMA,
            "implementation": self.implementation,
            "adapter": self.adapter,
            "level": self.level,
            "classes": list(self.classes),
            "versions": self.versions,
            "counts": self.counts,
            "exit_code": self.exit_code,
            "outcomes": [o.to_dict() for o in self.outcomes],
        }
        return _written(json.dumps(record, indent=1, allow_nan=False), path)

    @classmethod
    def from_json(cls, text):
        """The report written in `text`; SchemaError if it is corrupt or of another schema."""
        try:
            record = json.loads(text)
            if record["schema"] != SCHEMA:
                raise SchemaError(f"a report must have the schema {SCHEMA!r}, got {record['schema']!r}")
            outcomes = tuple(Outcome.from_dict(o) for o in record["outcomes"])
            return cls(record["implementation"], record["adapter"], outcomes, record["level"], tuple(record["classes"]), record["versions"])
        except (json.JSONDecodeError, KeyError, TypeError) as error:
            raise SchemaError(f"not a conformance report: {error!r}") from None

    def to_markdown(self, path=None):
        """Markdown, fit for a pull request."""
        from .text import markdown

        return _written(markdown(self), path)

    def to_html(self, path=None):
        """One self-contained HTML page (needs jinja2 and matplotlib)."""
        from .html import html

        return _written(html(self), path)

    def to_junit(self, path=None):
        """JUnit XML."""
        from .text import junit

        return _written(junit(self), path)

    def badge(self, path=None):
        """A badge in the JSON form of shields.io's endpoint."""
        from .text import badge

        return _written(badge(self), path)

    def write(self, path):
        """Write to `path` in the format of its suffix: .html, .md, .json or .xml."""
        return _writer(path)(self, path)


_WRITERS = {
    ".html": ConformanceReport.to_html,
    ".md": ConformanceReport.to_markdown,
    ".json": ConformanceReport.to_json,
    ".xml": ConformanceReport.to_junit,
}


def _writer(path):
    suffix = Path(path).suffix.lower()
    if suffix not in _WRITERS:
        raise ArgumentError(f"report path {str(path)!r} must end in one of {', '.join(_WRITERS)}")
    return _WRITERS[suffix]


def check_writable(path):
    """Raise ArgumentError before a run if a report cannot be written to `path` after it."""
    path = Path(path)
    _writer(path)
    try:
        with open(path, "a"):
            pass
    except OSError as error:
        raise ArgumentError(f"report path {str(path)!r} cannot be written: {error.strerror}") from None
    if path.stat().st_size == 0:
        path.unlink()


def _shortfall(outcome):
    """Smallest for the worst outcome: failed ones first, then digits short of the attainable."""
    short = outcome.digits - (outcome.attainable if math.isfinite(outcome.attainable) else 15.95)
    return (outcome.status != "failed", short if not math.isnan(short) else math.inf)


def _written(text, path):
    if path is not None:
        Path(path).write_text(text, encoding="utf-8")
    return text

"""The three implementations judged: digits at the solved point of the real problem, and on the kit's certified cases."""

from __future__ import annotations

from dataclasses import dataclass

from ..driver import hypergradient
from ..validation import check_implementation
from ..validation.lre import digits
from .implementations import IMPLEMENTATIONS

CLASSES = ("ridge", "logistic")


@dataclass(frozen=True)
class Verdict:
    """One implementation: digits on the real problem, worst (digits, attainable) by class, what the kit calls its fault."""

    name: str
    right: bool
    digits_here: float
    attainable_here: float
    worst: dict
    passed: int
    failed: int
    diagnosis: str
    message: str


def judge(problem, x):
    """Verdicts of all implementations; the truth at x is the refined implicit gradient."""
    truth = hypergradient(problem, x, refine=True)
    return [_verdict(name, function, problem, x, truth) for name, function in IMPLEMENTATIONS.items()]


def _verdict(name, function, problem, x, truth):
    report = check_implementation(function, classes=list(CLASSES), level=1)
    table = report.digits
    rows = list(zip(table["class"], table["digits"], table["attainable"]))
    worst = {c: min((d, a) for k, d, a in rows if k == c) for c in CLASSES}
    named = [f for f in report.findings if f.example.diagnosis_name]
    finding = named[0] if named else next(iter(report.findings), None)
    return Verdict(
        name=name, right=report.exit_code == 0, digits_here=digits(function(problem, x), truth.gradient),
        attainable_here=truth.attainable_digits, worst=worst, passed=report.counts["passed"], failed=report.counts["failed"],
        diagnosis=finding.sentence if finding else "", message=finding.example.message if finding else "",
    )  # fmt: skip

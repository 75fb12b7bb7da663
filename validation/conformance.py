"""The doors: one plan of checks, run by a decorator, by a function, by the command line.

plan(implementation, classes, level)  ->  [BoundCheck]  ->  [Outcome]  ->  ConformanceReport
"""

from __future__ import annotations

import fnmatch
import sys
import warnings
from dataclasses import dataclass, field

from ..errors import ArgumentError, unknown
from .adapters import implementation as as_implementation
from .cases import cases as certified
from .cases import class_names
from .checks import CHECKS, LEVELS
from .failure import CheckFailure, Measured, Skip
from .outcome import Outcome
from .report import ConformanceReport

ON_FAIL = ("record", "warn", "raise")


@dataclass(frozen=True, eq=False)
class BoundCheck:
    """One check of one implementation on one case: call it, and it returns `Measured` or raises `CheckFailure`."""

    check: object
    implementation: object
    case: object
    expected: str = ""
    memory: dict = field(default_factory=dict, repr=False)

    @property
    def measured(self):
        """What the last call measured."""
        return self.memory.get("measured", Measured())

    @property
    def id(self):
        return f"{self.check.name}[{self.case.id}]"

    def __call__(self):
        try:
            self.memory["measured"] = self.check.run(self.implementation, self.case)
            return self.measured
        except Skip as reason:
            _skip(str(reason))

    def __repr__(self):
        return self.id

    def outcome(self):
        """Run and record; a declared failure that does not happen is itself a failure (strict)."""
        try:
            measured = self.check.run(self.implementation, self.case)
        except Skip as reason:
            return Outcome.of(self, "skipped", str(reason), Measured())
        except CheckFailure as failure:
            return Outcome.of(self, "expected" if self.expected else "failed", str(failure), failure.measured, failure.diagnosis)
        if self.expected:
            return Outcome.of(
                self, "failed", f"passes, although declared to fail ({self.expected}); remove it from expected_failures", measured
            )
        return Outcome.of(self, "passed", "", measured)


def _skip(reason):
    """Within pytest, skip the test; elsewhere, nothing is left to do."""
    if "pytest" in sys.modules:
        sys.modules["pytest"].skip(reason)


def matches(pattern, id):
    """Does a key of expected_failures name this id? By the id itself, its beginning ("fault[lower_infeasible]"), or wildcards."""
    literal = pattern.replace("[", "[[]")
    return id == pattern or id.startswith((pattern + "[", pattern.removesuffix("]") + "/")) or fnmatch.fnmatchcase(id, literal)


def chosen_checks(level, checks=None):
    """The checks up to `level`, or those named (by name or wildcard), whatever their level.

    Raises ArgumentError for a level that does not exist, UnknownOption for a name that matches nothing.
    """
    if checks is None:
        if isinstance(level, bool) or level not in range(len(LEVELS)):
            raise ArgumentError(f"level must be 0 ... {len(LEVELS) - 1}, got {level!r}")
        return [c for c in CHECKS.values() if c.level <= level]
    names = [checks] if isinstance(checks, str) else list(checks)
    for name in names:
        if not any(matches(name, c) for c in CHECKS):
            raise unknown("check", name, CHECKS)
    return [c for c in CHECKS.values() if any(matches(name, c.name) for name in names)]


def plan(
    target,
    adapter="numpy",
    classes="all",
    level=1,
    checks=None,
    expected_failures=None,
    protocols=None,
    digits=None,
    laws=None,
    cases=None,
    difficulty=None,
):
    """The `BoundCheck`s to run, in the order of the levels.

    Parameters
    ----------
    target, adapter, protocols
        See `refbilevel.validation.adapters.implementation`.
    classes : str or list
        Classes or groups of cases; `difficulty` narrows them, `cases` replaces them by cases of your own.
    level : int
        Highest level; `checks` (names or wildcards) replaces it.
    expected_failures : dict, optional
        {id or beginning of an id or wildcard: reason}. Strict: a declared failure that passes, or that names no check,
        fails; one that names a check which these classes do not have is of no effect.
    digits : float, optional
        Accept this many digits where more are attainable (for methods of finite accuracy).
    laws : dict, optional
        Declared orders, e.g. {"beta": 2}.
    """
    tested = as_implementation(target, adapter, digits, **(protocols or {}))
    tested.laws.update(laws or {})
    expected = dict(expected_failures or {})
    instances = certified(classes, difficulty) if cases is None else list(cases)
    bound = []
    for check in chosen_checks(level, checks):
        if all(tested.has(p) for p in check.protocols) and (check.adapters is None or tested.adapter.name in check.adapters):
            bound += [BoundCheck(check, tested, case) for case in _sampled(check, instances)]
    for key in expected:
        if not any(matches(key, b.id) for b in bound) and not any(matches(key, name) for name in CHECKS):
            raise unknown("check in expected_failures", key, [b.id for b in bound])
    return [BoundCheck(b.check, tested, b.case, _reason(b.id, expected)) for b in bound]


def _reason(id, expected):
    return next((reason or "declared" for key, reason in expected.items() if matches(key, id)), "")


def _sampled(check, instances):
    """The cases a check runs on; of a class, the first of average difficulty with n != m and m > 1 if there is one."""
    suitable = [case for case in instances if check.applies(case)]
    if check.sample == "all" or not suitable:
        return suitable
    ranked = sorted(suitable, key=lambda c: (c.difficulty != "average", c.problem.m < 2, c.problem.n == c.problem.m))
    if check.sample == "first":
        return ranked[:1]
    first = {}
    for case in ranked:
        first.setdefault(case.klass, case)
    return [case for case in suitable if first[case.klass] is case]


def check_implementation(
    target, *, adapter="numpy", classes="all", level=1, checks=None, expected_failures=None, on_fail="record", progress=None, **options
):
    """Run the checks and return a `ConformanceReport`.

    Parameters
    ----------
    target : callable, object or "package.module:function"
        hypergradient(problem, x) -> (n,); further protocols as attributes of an object, or by keyword (`protocols=`).
    adapter : {"numpy", "torch", "jax"}
    classes, level, checks, expected_failures, and `options`
        See `plan`.
    on_fail : {"record", "warn", "raise"}
        What to do at a failure: note it, also warn, or raise the CheckFailure at once.
    progress : callable, optional
        Called with (number done, number in all, BoundCheck) before each check.

    Raises
    ------
    UnknownOption, ArgumentError
        For names and values that do not exist; before any work.

    Examples
    --------
    >>> report = check_implementation("mylib.bilevel:hypergradient", classes=["smooth"], level=2)  # doctest: +SKIP
    >>> print(report.summary()); report.exit_code  # doctest: +SKIP
    """
    if on_fail not in ON_FAIL:
        raise unknown("on_fail", on_fail, ON_FAIL)
    bound = plan(target, adapter, classes, level, checks, expected_failures, **options)
    outcomes = []
    for index, one in enumerate(bound):
        if progress is not None:
            progress(index, len(bound), one)
        outcome = one.outcome()
        if outcome.status == "failed" and on_fail == "raise":
            raise CheckFailure(*outcome.message.splitlines()[:1], [line.strip() for line in outcome.message.splitlines()[1:]])
        if outcome.status == "failed" and on_fail == "warn":
            warnings.warn(outcome.message, stacklevel=2)
        outcomes.append(outcome)
    name = bound[0].implementation.name if bound else str(target)
    return ConformanceReport(name, adapter, tuple(outcomes), level=level, classes=tuple(class_names(classes)))


def parametrize_with_checks(target, *, adapter="numpy", classes="all", level=1, checks=None, expected_failures=None, **options):
    """Decorator for a pytest test function with the argument `check`: one test for each check.

    Examples
    --------
    >>> @parametrize_with_checks("mylib.bilevel:hypergradient", adapter="torch", classes=["smooth", "qp"], level=2)  # doctest: +SKIP
    ... def test_conformance(check): check()
    """
    import pytest

    parameters = []
    for bound in plan(target, adapter, classes, level, checks, expected_failures, **options):
        marks = [pytest.mark.xfail(reason=bound.expected, strict=True, raises=CheckFailure)] if bound.expected else []
        parameters.append(pytest.param(bound, id=bound.id, marks=marks))
    return pytest.mark.parametrize("check", parameters)

"""The pytest plugin (entry point pytest11): run the checks from the command line, and write a report after any run.

    pytest --bilevel-impl mylib.bilevel:hypergradient --bilevel-adapter torch --bilevel-level 2 --bilevel-report conformance.html

The checks appear as tests of a collector of their own; no test file is needed. Tests made by `parametrize_with_checks` land
in the same report.
"""

from __future__ import annotations

import pytest

from ..errors import BilevelError

CHECK, OUTCOMES = pytest.StashKey[object](), pytest.StashKey[list]()


def pytest_addoption(parser):
    group = parser.getgroup("bilevel", "conformance of hypergradients (refbilevel)")
    group.addoption("--bilevel-impl", help="implementation to check, package.module:function")
    group.addoption("--bilevel-adapter", default="numpy", help="numpy, torch or jax")
    group.addoption("--bilevel-classes", default="all", help="classes or groups of cases, separated by commas")
    group.addoption("--bilevel-level", type=int, default=1, help="highest level of checks, 0 to 5")
    group.addoption("--bilevel-xfails", help="TOML or JSON file of expected failures: id = reason")
    group.addoption("--bilevel-report", action="append", default=[], help="write a report (.html, .md, .json, .xml)")


def pytest_configure(config):
    config.stash[OUTCOMES] = []
    from .report.conformance_report import check_writable

    for path in config.getoption("bilevel_report"):
        try:
            check_writable(path)
        except BilevelError as error:
            raise pytest.UsageError(str(error)) from None


def pytest_report_header(config):
    if config.getoption("bilevel_impl"):
        from .. import __version__

        return f"refbilevel {__version__}: checking {config.getoption('bilevel_impl')} ({config.getoption('bilevel_adapter')})"


def bound_checks(config):
    """The plan of the command line's options."""
    from .cli import read_xfails, words
    from .conformance import plan

    xfails = config.getoption("bilevel_xfails")
    try:
        return plan(config.getoption("bilevel_impl"), config.getoption("bilevel_adapter"), words(config.getoption("bilevel_classes")),
                    config.getoption("bilevel_level"), expected_failures=read_xfails(xfails) if xfails else None)  # fmt: skip
    except BilevelError as error:
        raise pytest.UsageError(str(error)) from None


class Conformance(pytest.Collector):
    """Holds one item for each check."""

    def collect(self):
        for bound in bound_checks(self.config):
            yield ConformanceItem.from_parent(self, name=bound.id, bound=bound)


class ConformanceItem(pytest.Item):
    """One check."""

    def __init__(self, *, bound, **keywords):
        super().__init__(**keywords)
        self.bound = bound
        if bound.expected:
            from .failure import CheckFailure

            self.add_marker(pytest.mark.xfail(reason=bound.expected, strict=True, raises=CheckFailure))

    def runtest(self):
        self.bound()

    def repr_failure(self, excinfo):
        from .failure import CheckFailure

        return str(excinfo.value) if isinstance(excinfo.value, CheckFailure) else super().repr_failure(excinfo)

    def reportinfo(self):
        return self.path, None, self.name


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(session, config, items):
    if config.getoption("bilevel_impl"):
        items.extend(Conformance.from_parent(session, name="conformance", nodeid="conformance").collect())


def pytest_runtest_makereport(item, call):
    """Keep the outcome of every bound check, whichever door it came through."""
    from .conformance import BoundCheck

    bound = getattr(item, "bound", None)
    if bound is None and hasattr(item, "callspec"):
        bound = next((value for value in item.callspec.params.values() if isinstance(value, BoundCheck)), None)
    if bound is not None and call.when == "call" and item.config.getoption("bilevel_report"):
        item.config.stash[OUTCOMES].append((bound, _outcome(bound, call.excinfo)))


def _outcome(bound, excinfo):
    from .failure import CheckFailure, Measured
    from .outcome import Outcome

    if excinfo is None:
        return Outcome.of(
            bound, "failed" if bound.expected else "passed", "passes, although declared to fail" * bool(bound.expected), bound.measured
        )
    if isinstance(excinfo.value, CheckFailure):
        failure = excinfo.value
        return Outcome.of(bound, "expected" if bound.expected else "failed", str(failure), failure.measured, failure.diagnosis)
    skipped = isinstance(excinfo.value, pytest.skip.Exception)
    return Outcome.of(bound, "skipped" if skipped else "failed", str(excinfo.value), Measured())


def pytest_terminal_summary(terminalreporter, config):
    outcomes = config.stash[OUTCOMES]
    if not outcomes:
        return
    from .report import ConformanceReport

    first = outcomes[0][0].implementation
    report = ConformanceReport(first.name, first.adapter.name, tuple(o for _, o in outcomes), level=max(o.level for _, o in outcomes))
    for path in config.getoption("bilevel_report"):
        report.write(path)
        terminalreporter.write_line(f"conformance report: {path}")

"""The kit's part of the command line: check, repro, shrink, export, list checks. Thin doors to library functions."""

from __future__ import annotations

import json
import sys
import tomllib
from pathlib import Path

from ..errors import ArgumentError, SchemaError
from .adapters import ADAPTERS


def add_parsers(commands):
    """Add the kit's commands to argparse subparsers; each sets `run`, a function of the parsed arguments."""
    _add_check(commands)
    _add_repro(commands)
    _add_shrink(commands)
    _add_export(commands)


def words(text):
    """Words separated by commas; "all" stays a word."""
    return [word.strip() for word in text.split(",") if word.strip()]


def law(text):
    name, equals, value = text.partition("=")
    if not equals:
        raise ArgumentError(f"--law must be name=order, e.g. beta=2, got {text!r}")
    return name, float(value)


def _add_check(commands):
    check = commands.add_parser("check", help="check an implementation: digits, error laws, faults; what a failure looks like")
    check.add_argument("target", nargs="?", help="package.module:function, a callable (problem, x) -> gradient")
    check.add_argument("--answers", help="answers.json instead of a target: the files-only door")
    check.add_argument("--adapter", choices=list(ADAPTERS), default="numpy", help="framework of the target (default: numpy)")
    check.add_argument("--classes", type=words, default=["all"], help="classes or groups, separated by commas (default: all)")
    check.add_argument("--difficulty", choices=["lower", "average", "higher"], help="one difficulty only")
    check.add_argument("--level", type=int, default=1, help="highest level, 0 to 5 (default: 1)")
    check.add_argument("--checks", type=words, help="checks by name or wildcard, whatever their level")
    check.add_argument("--digits", type=float, help="digits to require, where more are attainable")
    check.add_argument("--law", type=law, action="append", default=[], metavar="KNOB=ORDER", help="declared error law, e.g. beta=2")
    check.add_argument("--xfails", help="TOML or JSON file of expected failures: id = reason")
    check.add_argument("--report", action="append", default=[], help="write a report: .html, .md, .json or .xml (may be repeated)")
    check.add_argument("--badge", help="write the badge's JSON to this path")
    check.add_argument("--quiet", action="store_true", help="print nothing but errors")
    check.set_defaults(run=run_check)


def read_xfails(path):
    """{id: reason} of a TOML or JSON file (at top level, or under "expected_failures")."""
    try:
        text = Path(path).read_text(encoding="utf-8")
        record = json.loads(text) if str(path).endswith(".json") else tomllib.loads(text)
    except OSError as error:
        raise ArgumentError(f"--xfails {path}: {error.strerror}") from None
    except (json.JSONDecodeError, tomllib.TOMLDecodeError) as error:
        raise SchemaError(f"--xfails {path}: {error}") from None
    record = record.get("expected_failures", record)
    if not all(isinstance(reason, str) for reason in record.values()):
        raise SchemaError(f"--xfails {path}: every value must be a reason (a string)")
    return record


def run_check(arguments):
    """`refbilevel check`; the exit code is the report's."""
    from .answers import read_answers
    from .conformance import check_implementation
    from .report.conformance_report import check_writable

    if (arguments.target is None) == (arguments.answers is None):
        raise ArgumentError("give a target (package.module:function) or --answers FILE, one of the two")
    for path in [*arguments.report, *filter(None, [arguments.badge])]:
        check_writable(path)
    target = read_answers(arguments.answers) if arguments.answers else arguments.target
    expected = read_xfails(arguments.xfails) if arguments.xfails else None
    report = check_implementation(
        target,
        adapter=arguments.adapter,
        classes=arguments.classes,
        level=arguments.level,
        checks=arguments.checks,
        expected_failures=expected,
        digits=arguments.digits,
        laws=dict(arguments.law),
        difficulty=arguments.difficulty,
        progress=None if arguments.quiet else progress(),
    )
    for path in arguments.report:
        report.write(path)
    if arguments.badge:
        report.badge(arguments.badge)
    if not arguments.quiet:
        print(report.summary())
    return report.exit_code


def progress():
    """A counter on a terminal's standard error, nothing elsewhere."""
    if not sys.stderr.isatty():
        return None

    def show(done, total, bound):
        end = "\r" if done + 1 < total else "\r" + " " * 79 + "\r"
        print(f"{done + 1}/{total} {bound.id}"[:78].ljust(78), end=end, file=sys.stderr, flush=True)

    return show


def _add_repro(commands):
    repro = commands.add_parser("repro", help="run one check again and show both answers")
    repro.add_argument("id", help='e.g. "value[ridge/average/1]"')
    repro.add_argument("--impl", required=True, help="package.module:function")
    repro.add_argument("--adapter", choices=list(ADAPTERS), default="numpy", help="framework of the target (default: numpy)")
    repro.set_defaults(run=run_repro)


def run_repro(arguments):
    from .reproduce import reproduce

    found = reproduce(arguments.id, arguments.impl, arguments.adapter)
    print(found.text)
    return int(found.failed)


def _add_shrink(commands):
    shrink = commands.add_parser("shrink", help="find the smallest failing problem and write it as a script")
    shrink.add_argument("target", help="package.module:function")
    shrink.add_argument("--from", dest="report", help="a JSON report: search the classes that failed there")
    shrink.add_argument("--adapter", choices=list(ADAPTERS), default="numpy", help="framework of the target (default: numpy)")
    shrink.add_argument("--classes", type=words, default=["all"], help="classes or groups to search (default: all)")
    shrink.add_argument("-o", "--output", help="where to write the script (default: print it)")
    shrink.set_defaults(run=run_shrink)


def run_shrink(arguments):
    """`refbilevel shrink`; exit code 0 if a failing problem was found."""
    from .report import ConformanceReport
    from .shrinking import shrink

    classes = arguments.classes
    if arguments.report:
        try:
            report = ConformanceReport.from_json(Path(arguments.report).read_text(encoding="utf-8"))
        except OSError as error:
            raise ArgumentError(f"--from {arguments.report}: {error.strerror}") from None
        classes = sorted({o.klass for o in report.failures}) or classes
    found = shrink(arguments.target, arguments.adapter, classes)
    if found is None:
        print("nothing fails: no small problem and no certified case")
        return 1
    if arguments.output:
        Path(arguments.output).write_text(found.script, encoding="utf-8")
        print(
            f"{arguments.output}: n = {found.case.problem.n}, m = {found.case.problem.m}, {found.digits:.1f} digits; "
            f"looks like: {found.diagnosis}"
        )
    else:
        print(found.script)
    return 0


def _add_export(commands):
    export = commands.add_parser("export", help="write certified cases as files, for use from any language")
    export.add_argument("--class", "--classes", dest="classes", type=words, default=["all"], help="classes or groups (default: all)")
    export.add_argument("--difficulty", choices=["lower", "average", "higher"], help="one difficulty only (default: all)")
    export.add_argument("--n", type=int, help="at most so many cases of each class, easy ones first (default: all)")
    export.add_argument("--format", dest="formats", type=words, default=["json"], help="json, npz, csv (default: json)")
    export.add_argument("--blind", action="store_true", help="leave the certified answers out")
    export.add_argument("-o", "--output", required=True, help="directory to write to")
    export.set_defaults(run=run_export)


def run_export(arguments):
    from .export import export

    written = export(
        arguments.output, arguments.classes, arguments.difficulty, n=arguments.n, formats=arguments.formats, certified=not arguments.blind
    )
    print(f"{len(written)} files in {arguments.output}")
    return 0


def list_checks(arguments=None):
    """`refbilevel list checks`: a table of every check."""
    from .checks import CHECKS

    for check in CHECKS.values():
        print(f"{check.level} {check.level_name:<10} {check.name:<32} {check.sentence}")
    return 0

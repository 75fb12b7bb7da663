"""The console script: `refbilevel demo | check | solve | list | export | shrink | repro | doctor`.

Every command is a thin door to a library function; exit code 0 success, 1 a run that did not succeed, 2 wrong arguments.
"""

from __future__ import annotations

import argparse
import sys

from . import __version__
from .errors import BilevelError


def main(argv=None):
    """Run the command line; returns the exit code."""
    parser = build_parser()
    arguments = parser.parse_args(argv)
    if not hasattr(arguments, "run"):
        parser.print_help()
        return 2
    try:
        return arguments.run(arguments) or 0
    except BilevelError as error:
        print(f"refbilevel {arguments.command}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # `refbilevel list estimators | head`
        sys.stderr.close()
        return 0


def build_parser():
    """The argument parser with every command."""
    parser = argparse.ArgumentParser(prog="refbilevel", description="The reference for hypergradients of bilevel problems.")
    parser.add_argument("--version", action="version", version=f"refbilevel {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="command")
    _add_demo(commands)
    _add_solve(commands)
    _add_list(commands)
    _add_doctor(commands)
    from .validation import cli as validation_cli

    validation_cli.add_parsers(commands)
    return parser


def _add_demo(commands):
    demo = commands.add_parser("demo", help="solve a real problem, validate three implementations, write report.html")
    demo.add_argument("--report", default="report.html", help="where to write the report (default: report.html)")
    demo.add_argument("--splits", type=int, default=10, help="number of train/validation/test splits (default: 10)")
    demo.set_defaults(run=_demo)


def _demo(arguments):
    from .demo.run import demo

    return demo(arguments.report, arguments.splits)


def _add_solve(commands):
    solve = commands.add_parser("solve", help="solve a problem file, or all shipped problems")
    solve.add_argument("file", nargs="?", help="problem.json, the name of a shipped problem, or problem.py:variable")
    solve.add_argument("--all", action="store_true", help="solve every shipped problem and print one table")
    solve.add_argument("--local", action="store_true", help="use minimize even where minimize_global applies")
    solve.add_argument("--starts", type=int, default=20, help="multistarts of the local method (default: 20)")
    solve.set_defaults(run=_solve)


def _solve(arguments):
    from .outer import solve_command

    if arguments.all:
        return solve_command.command_all(arguments)
    if arguments.file is None:
        raise BilevelError("give a problem file or name, or --all")
    return solve_command.command_one(arguments)


def _add_list(commands):
    listing = commands.add_parser("list", help="list estimators, problems, checks or statuses")
    listing.add_argument("what", choices=["estimators", "problems", "checks", "statuses"])
    listing.add_argument("--markdown", action="store_true", help="as a Markdown table (estimators)")
    listing.add_argument("--class", dest="class_", help="problems of one class, e.g. LP-QP")
    listing.add_argument("--difficulty", help="problems of one difficulty, e.g. regular")
    listing.add_argument("--coupling", choices=["yes", "no"], help="problems with or without coupling constraints")
    for size, what in (("n", "upper"), ("m", "lower")):
        listing.add_argument(f"-{size}", metavar="SIZE", help=f"problems with this {what} size, or a range as 2:5")
    listing.set_defaults(run=_list)


def _list(arguments):
    if arguments.what == "estimators":
        from .estimators.table import as_markdown, as_text

        print(as_markdown() if arguments.markdown else as_text())
    elif arguments.what == "statuses":
        from .results import status_table

        print(status_table())
    elif arguments.what == "problems":
        from .problems.loading import catalogue, parse_range

        coupling = None if arguments.coupling is None else arguments.coupling == "yes"
        sizes = {name: parse_range(getattr(arguments, name)) for name in ("n", "m")}
        for row in catalogue(class_=arguments.class_, difficulty=arguments.difficulty, coupling=coupling, **sizes):
            print(f"{row.name:<32} {row.class_:<24} n={row.n:<3} m={row.m:<3} {'coupling' if row.coupling else '':<9} {row.difficulty}")
    else:
        from .validation.cli import list_checks

        list_checks()


def _add_doctor(commands):
    doctor = commands.add_parser("doctor", help="print versions, threads, Numba state and a five-second self-check")
    doctor.set_defaults(run=_doctor)


def _doctor(arguments):
    from .doctor import doctor

    return doctor()

"""The shipped problems, solved: python validation/experiments/problem_table.py [--time-limit 60] [--starts 20] [--no-local] [NAME ...]

Claim: `minimize_global` proves the optimum of every problem with an LP or convex-QP lower level and linear rows to
|F - F*| <= 1e-6 (1 + |F*|); no returned point is rejected by the re-check; infeasible problems are reported so.
"""

from __future__ import annotations

import argparse
import sys

from refbilevel.outer.solve_all import solve_all, table


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--time-limit", type=float, default=60.0)
    parser.add_argument("--starts", type=int, default=20)
    parser.add_argument("--no-local", action="store_true")
    options = parser.parse_args(arguments)
    rows = solve_all(
        options.names or None, time_limit=options.time_limit, starts=options.starts, local=not options.no_local,
        tell=lambda row: print(f"\r{row.name:<40}", end="", file=sys.stderr),
    )  # fmt: skip
    print("\r" + table(rows))
    return 1 if any(row.verdict in ("wrong", "rejected") for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())

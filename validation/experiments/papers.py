"""What the papers' experiments share: a command line with --out and --quick, the table, the paper's claims beside what was measured, a figure."""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass

from refbilevel.validation.experiments.worked import table


@dataclass(frozen=True)
class Claim:
    """A sentence of the paper, what was measured here, and whether the two agree."""

    says: str
    measured: str
    agrees: bool

    def __str__(self):
        return f"claim     {self.says}\nmeasured  {self.measured}\n          {'agrees' if self.agrees else 'DOES NOT AGREE'}"


@dataclass(frozen=True, eq=False)
class Study:
    """What an experiment found: a table, the claims, and `draw(figure)`."""

    header: tuple
    rows: list
    claims: list
    draw: object


def run(description, study, size=(10, 4)):
    """`study(quick=False)` -> Study; prints table and claims and, with --out, saves the figure."""
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    parser.add_argument("--out", help="where to save the figure (png, svg or pdf)")
    parser.add_argument("--quick", action="store_true", help="at reduced size")
    arguments = parser.parse_args()
    started = time.perf_counter()
    found = study(arguments.quick)
    print(table(found.header, found.rows))
    for claim in found.claims:
        print(f"\n{claim}")
    print(f"\n{time.perf_counter() - started:.0f} s")
    if arguments.out:
        save(found, arguments.out, size)


def save(found, path, size=(10, 4)):
    """The figure, without a display."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    found.draw(figure)
    figure.savefig(path, dpi=110)

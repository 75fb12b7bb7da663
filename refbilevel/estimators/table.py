"""The catalogue as a table, from the registry: what `refbilevel list estimators` prints and the README shows."""

from __future__ import annotations

from . import ESTIMATORS

HEADINGS = ("method", "family", "lower levels", "error", "derivatives", "linear solve", "reference")


def rows():
    """One tuple of strings for each estimator, in the order of HEADINGS."""
    return [
        (e.name, e.family, ", ".join(e.classes), e.error, " ".join(e.requires), e.linear_solve, e.reference) for e in ESTIMATORS.values()
    ]


def as_text():
    """The table in aligned columns."""
    table = [HEADINGS, *rows()]
    widths = [max(len(row[j]) for row in table) for j in range(len(HEADINGS))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in table)


def as_markdown():
    """The table in Markdown."""
    lines = [HEADINGS, ("---",) * len(HEADINGS)]
    lines += [(f"`{name}`", *others) for name, *others in ([cell.replace("|", "\\|") for cell in row] for row in rows())]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)

"""What the worked examples share: a command line with --out, a table on the screen, a figure in a file."""

from __future__ import annotations

import argparse

import numpy as np
from scipy.special import stdtrit


def run(description, study):
    """`study()` -> (header, rows, draw, *notes); prints rows and notes and, with --out, saves the figure that draw(figure) fills."""
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    parser.add_argument("--out", help="where to save the figure (png, svg or pdf)")
    options = parser.parse_args()
    header, rows, draw, *notes = study()
    print("\n".join([table(header, rows), *notes]))
    if options.out:
        save(draw, options.out)


def table(header, rows):
    """A Markdown table; floats with five digits."""
    cells = [[f"{cell:.5g}" if isinstance(cell, float) else str(cell) for cell in row] for row in rows]
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in cells])


def mean_and_interval(values):
    """(mean, half width of its 95 % interval by Student's t) of a sample over seeds."""
    values = np.asarray(values, float)
    return float(values.mean()), float(stdtrit(values.size - 1, 0.975) * values.std(ddof=1) / np.sqrt(values.size))


def save(draw, path):
    """The figure, without a display."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    draw(figure)
    figure.savefig(path)

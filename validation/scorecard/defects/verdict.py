"""How a probe ends: what was expected, what was got, with which versions, and whether the published defect is there.

A probe is one file that needs NumPy, its package and nothing else. It computes the truth by itself (a closed form, or central
differences of re-solved problems), asks the package, and calls `report`. Exit code 0 whatever the verdict; an exception is an exception.
"""

import platform
from importlib import metadata

import numpy as np


def report(*, package, source, expected, got, present, note="", also=("numpy",)):
    """Print the record of a probe, one "field: value" a line; `present` is the verdict.

    `package` is what the defect is in, `also` what else takes part, `source` where the defect was published.
    """
    versions = {"python": platform.python_version()} | {name: metadata.version(name) for name in (package, *also)}
    record = {
        "package": package,
        "source": source,
        "expected": _text(expected),
        "got": _text(got),
        "note": note,
        "versions": ", ".join(f"{name} {version}" for name, version in versions.items()),
        "verdict": "present" if present else "not reproduced in this version",
    }
    for field, value in record.items():
        if value:
            print(f"{field}: {value}")


def relative(got, expected):
    """|got - expected| / |expected|, as floats."""
    got, expected = np.asarray(got, float), np.asarray(expected, float)
    return float(np.linalg.norm(got - expected) / np.linalg.norm(expected))


def _text(value):
    if isinstance(value, str):
        return value
    return np.array2string(np.asarray(value), precision=6, max_line_width=200, threshold=12).replace("\n", "")

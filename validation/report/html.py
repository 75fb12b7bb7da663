"""The HTML page: one file, no scripts, no network; light and dark by the reader's preference (template.html)."""

from __future__ import annotations

import math
from importlib import resources

from ...errors import require
from ..checks import LEVELS
from .plots import laws
from .text import number, verdict

#: shades by digits short of the attainable: up to these numbers, class names s0 ... s5
SHADES = (1.5, 3.0, 5.0, 8.0, 11.0)


def shade(cell):
    """CSS class of a heat-map cell: s0 (all attainable digits) to s5 (hardly any), or the verdict where there are no digits."""
    if cell.verdict == "none":
        return "empty"
    if math.isnan(cell.digits):
        return {"pass": "s0", "fail": "s5", "expected": "declared"}[cell.verdict]
    if cell.verdict == "pass":
        return "s0"
    short = cell.attainable - cell.digits
    return f"s{max(1, sum(short > limit for limit in SHADES))}"


def html(report):
    """The page as a string."""
    jinja2 = require("jinja2", "report", "the HTML report")
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined)
    template = environment.from_string((resources.files(__package__) / "template.html").read_text(encoding="utf-8"))
    return template.render(
        report=report, verdict=verdict(report), levels=LEVELS, laws=laws(report), shade=shade, number=number, isnan=math.isnan,
    )  # fmt: skip

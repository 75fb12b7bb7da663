"""The demo's report: one self-contained HTML page with the convergence plot, the table of splits and the verdicts."""

from __future__ import annotations

import io
import platform
from importlib.resources import files

import jinja2
import matplotlib
import matplotlib.figure
import numpy as np
import scipy

from .. import __version__, plot


def write(path, studies, verdicts, seconds):
    """Render report.html.j2 to `path`."""
    source = files(__package__).joinpath("report.html.j2").read_text()
    template = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(source)
    versions = f"refbilevel {__version__}, numpy {np.__version__}, scipy {scipy.__version__}, Python {platform.python_version()}"
    page = template.render(
        studies=studies, verdicts=verdicts, seconds=seconds, versions=versions, picture=_picture(studies), penalties=_penalties(studies[0])
    )
    with open(path, "w", encoding="utf-8") as out:
        out.write(page)


def _svg(draw):
    """An inline SVG of what `draw(ax)` draws."""
    with matplotlib.rc_context({"svg.fonttype": "none", "font.size": 10, "svg.hashsalt": "refbilevel"}):
        figure = matplotlib.figure.Figure(figsize=(6.4, 3.8), layout="constrained")
        draw(figure.subplots())
        out = io.StringIO()
        figure.savefig(out, format="svg", metadata={"Date": None}, transparent=True)
    text = out.getvalue()
    return text[text.index("<svg") :]


def _picture(studies):
    def draw(ax):
        plot.convergence({f"split {s.seed}": s.result for s in studies}, ax=ax)
        ax.axhline(1e-8, color="0.5", linewidth=0.8, linestyle="--")
        ax.set_ylabel("projected hypergradient norm")
        ax.get_legend() and ax.get_legend().remove()

    return _svg(draw)


def _penalties(study):
    def draw(ax):
        x = study.result.x
        ax.bar(np.arange(len(x)), x - study.x_grid, color=plot.CYCLE[0])
        ax.axhline(0, color="0.3", linewidth=0.8)
        ax.set_xlabel("feature")
        ax.set_ylabel("log-penalty, difference to the grid's")
        ax.spines[["top", "right"]].set_visible(False)

    return _svg(draw)

"""Error laws as inline SVG: error against knob, log-log, with the fitted and the due slope. Ink follows the page's text colour."""

from __future__ import annotations

import io
import re

import numpy as np

from ...errors import require

INK, GOOD, BAD = "#010203", "#0f8b8d", "#c8553d"


def laws(report, most=6):
    """[(title, svg, outcome)] of the outcomes that hold an error law: failed ones first, one a check and class."""
    chosen = {}
    for o in sorted(
        (o for o in report.outcomes if {"knob", "error"} <= set(o.series)), key=lambda o: (o.status != "failed", o.check == "taylor")
    ):
        if len(o.series["knob"]) >= 3:
            chosen.setdefault((o.check, o.klass), o)
    return [(f"{o.check} · {o.case}", svg(o), o) for o in list(chosen.values())[:most]]


def svg(outcome):
    """One plot as an <svg> element without fixed size."""
    require("matplotlib", "report", "the HTML report")
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": outcome.id, "font.family": "sans-serif", "font.size": 10}):
        figure = Figure(figsize=(4.0, 2.9), layout="constrained")
        axes = figure.add_subplot()
        _draw(axes, outcome)
        out = io.StringIO()
        figure.savefig(out, format="svg", transparent=True, metadata={"Date": None})
    text = out.getvalue()
    text = text[text.index("<svg") :].replace(INK, "currentColor")
    return re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", text, count=1), count=1)


def _draw(axes, outcome):
    knob, error = (np.asarray(outcome.series[k]) for k in ("knob", "error"))
    colour = BAD if outcome.status == "failed" else GOOD
    geometric = outcome.check == "K_slope"
    axes.loglog(knob, error, "o", color=colour, ms=5)
    if geometric:
        axes.set_xscale("linear")
    else:
        anchor = np.exp(np.mean(np.log(error)) - outcome.expected_slope * np.mean(np.log(knob)))
        axes.loglog(
            knob, anchor * knob**outcome.expected_slope, "--", color=INK, lw=1, alpha=0.6, label=f"slope due {outcome.expected_slope:g}"
        )
        fitted = np.exp(np.mean(np.log(error)) - outcome.slope * np.mean(np.log(knob)))
        axes.loglog(knob, fitted * knob**outcome.slope, color=colour, lw=1.5, label=f"fitted {outcome.slope:.2f}")
        axes.legend(frameon=False, labelcolor=INK, fontsize=9)
    axes.set_xlabel({"taylor": "t", "K_slope": "inner steps K"}.get(outcome.check, outcome.check.removesuffix("_slope")), color=INK)
    axes.set_ylabel("Taylor remainder" if outcome.check == "taylor" else "relative error", color=INK)
    axes.tick_params(colors=INK, which="both")
    axes.grid(True, color=INK, alpha=0.12)
    for side, spine in axes.spines.items():
        spine.set_color(INK)
        spine.set_visible(side in ("left", "bottom"))

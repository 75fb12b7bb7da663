"""Reports in plain text, Markdown, JUnit XML, and a badge."""

from __future__ import annotations

import json
import math
from xml.etree import ElementTree

MARKS = {"pass": "ok", "fail": "FAIL", "expected": "declared", "none": ""}


def number(digits):
    """Digits to one place; "-" where there is none, "none" for an answer without a single digit to compare."""
    if math.isnan(digits):
        return "-"
    return "none" if math.isinf(digits) else f"{round(digits, 1) + 0.0:.1f}"


def verdict(report):
    counts = report.counts
    if not report.outcomes:
        return "nothing was checked"
    return f"{counts['passed']} passed, {counts['failed']} failed, {counts['expected']} failed as declared, {counts['skipped']} skipped"


def _cell(cell):
    if cell.verdict == "none":
        return ""
    if math.isnan(cell.digits):
        return {"pass": "ok", "fail": "FAIL", "expected": "declared"}[cell.verdict]
    return f"{number(cell.digits)}/{number(cell.attainable)}" + {"fail": " FAIL", "expected": " declared", "pass": ""}[cell.verdict]


def table(report):
    """[[header], [row], ...] of the heat map as text."""
    return [["class", *report.difficulties], *([klass, *map(_cell, cells)] for klass, cells in report.rows)]


def summary(report):
    rows = table(report)
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = [f"{report.implementation} ({report.adapter}), level {report.level}: {verdict(report)}", ""]
    lines += ["worst digits / attainable digits"]
    lines += ["  " + "  ".join(word.ljust(width) for word, width in zip(row, widths)).rstrip() for row in rows]
    for finding in report.findings:
        lines += ["", f"{', '.join(finding.classes)} ({finding.count} failed): {finding.sentence}"]
        lines += [f"  {finding.example.reproduction}"] if finding.example.reproduction else []
    return "\n".join(lines)


def markdown(report):
    mark = "✅" if report.exit_code == 0 else "❌"
    rows = table(report)
    lines = [
        f"### {mark} refbilevel conformance: `{report.implementation}`",
        "",
        f"{verdict(report)} (adapter {report.adapter}, level {report.level})",
        "",
    ]
    lines += ["Worst digits / attainable digits", "", "| " + " | ".join(rows[0]) + " |", "|" + "---|" * len(rows[0])]
    lines += ["| " + " | ".join(f"**{word}**" if "FAIL" in word else word for word in row) + " |" for row in rows[1:]]
    if report.findings:
        lines += ["", "#### What it looks like", ""]
    for finding in report.findings:
        lines += [f"- **{', '.join(finding.classes)}** ({finding.count} failed): {finding.sentence}"]
        lines += [f"  `{finding.example.reproduction}`"] if finding.example.reproduction else []
    laws = [o for o in report.outcomes if not math.isnan(o.slope) and o.status == "failed"]
    if laws:
        lines += ["", "#### Error laws missed", "", "| check | fitted | due |", "|---|---|---|"]
        lines += [f"| {o.id} | {o.slope:.2f} | {o.expected_slope:g} |" for o in laws]
    lines += ["", "<sub>" + ", ".join(f"{k} {v}" for k, v in report.versions.items()) + "</sub>", ""]
    return "\n".join(lines)


def junit(report):
    counts = report.counts
    suite = ElementTree.Element("testsuite", name=f"refbilevel {report.implementation}", tests=str(len(report.outcomes)),
                                failures=str(counts["failed"]), skipped=str(counts["skipped"] + counts["expected"]))  # fmt: skip
    for o in report.outcomes:
        case = ElementTree.SubElement(suite, "testcase", classname=f"level{o.level}.{o.klass}", name=o.id)
        if o.status == "failed":
            ElementTree.SubElement(case, "failure", message=o.message.splitlines()[0]).text = o.message
        elif o.status in ("skipped", "expected"):
            ElementTree.SubElement(case, "skipped", message=o.reason or o.message)
    return ElementTree.tostring(suite, encoding="unicode", xml_declaration=True)


def badge(report):
    counts = report.counts
    checked = counts["passed"] + counts["failed"] + counts["expected"]
    colour = "brightgreen" if report.exit_code == 0 else "red" if counts["failed"] * 2 > checked else "orange"
    message = f"level {report.level}: {counts['passed']}/{checked}"
    return json.dumps({"schemaVersion": 1, "label": "hypergradients", "message": message, "color": colour})

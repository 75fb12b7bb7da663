"""SCORECARD.md from results.json: the table of defects, the table of digits, the findings with their commands, the versions."""

from __future__ import annotations

DIFFICULTIES = ("lower", "average", "higher")

HEAD = """# Scorecard

Released packages under the conformance kit. Everything below was run; nothing is quoted. The numbers are those of the versions, settings
and problems stated, and of no others. The file is written by

    python -m refbilevel.validation.scorecard.run --envs DIR

from `results.json`, which the same command writes. Each command shown runs from the root of the repository with the interpreter of
the environment named beside it (`DIR/<environment>/bin/python`; its packages are pinned in `environments/<environment>.txt`).
"""

DEFECTS = """## Published defects

One file of `defects/` each: it computes the truth by itself, asks the package, and prints what was expected, what was got, and a verdict.
"""

DIGITS = """## Digits by class and difficulty

"9.1/13.7" is the worst case of the cell: 9.1 digits of the hypergradient where 13.7 are attainable in double precision. "*" marks a cell
with a case below the kit's pass line (error > 30 kappa eps); a method of finite accuracy is below it by its nature. "silent 2/3": of
three problems that have no gradient, or no single one (infeasible, unbounded, degenerate), two were answered by finite numbers without an
exception, warning or status. "raised 1": an exception where an answer exists. "outside 1": a finite answer that is farther from the Clarke
set than rounding explains (error > 300 kappa eps).
An empty cell: declined by the adapter. Peers without a lower solver of their own get a Newton solution (peers/torch_tools.py).
"""


def markdown(results):
    """The whole file."""
    present = [p for p in results["probes"] if p.get("verdict") == "present"]
    ran = [p for p in results["probes"] if "verdict" in p]
    count = f"{len(present)} of {len(ran)} probes find their defect in the versions installed."
    columns = ("defect", "package", "expected", "got", "verdict", "command", "environment")
    blocks = [HEAD, DEFECTS, count + "\n", table(columns, [probe(p) for p in results["probes"]])]
    blocks += [DIGITS, *(digits(group, rows) for group, rows in groups(results["rows"]))]
    blocks += ["## What the failures look like\n", table(("peer", "classes", "the kit says", "command"), findings(results["rows"]))]
    columns = ("peer", "setting", "environment", "versions", "command")
    blocks += ["## Commands and versions\n", table(columns, map(versions, results["rows"]))]
    if results["not_run"]:
        blocks += ["## Not run\n", table(("package", "pip says"), [(n["name"], n["reason"]) for n in results["not_run"]])]
    return "\n".join(blocks)


def table(head, rows):
    lines = [" | ".join(head), " | ".join("---" for _ in head), *(" | ".join(map(cleaned, row)) for row in rows)]
    return "\n".join(f"| {line} |" for line in lines) + "\n"


def cleaned(text):
    return str(text).replace("|", "\\|").replace("\n", " ")


def probe(p):
    if "reason" in p:
        return p.get("title", p["key"]), "", "", "", f"not run: {p['reason']}", "", p.get("environment", "")
    version = dict(v.split(" ", 1) for v in p["versions"].split(", ")).get(p["package"], "")
    got = p["got"] + (f" ({p['note']})" if p["note"] else "")
    return p["title"], f"{p['package']} {version}", p["expected"], got, f"**{p['verdict']}**", f"`{p['repro']}`", p["environment"]


def groups(rows):
    """Rows by what they are for, so that the columns of a table are alike."""
    constrained = {"qp", "qp-degenerate", "qp-infeasible", "equality"}
    yield "Unconstrained lower levels", [r for r in rows if set(r.get("classes", ())) - constrained]
    yield "Constrained lower levels", [r for r in rows if set(r.get("classes", ())) & constrained]


def digits(title, rows):
    constrained = title.startswith("Constrained")
    names = ("qp", "qp-degenerate", "qp-infeasible", "equality")
    order = ("quadratic", "ridge", "logistic", "softmax", "quartic", "degenerate-hessian", "fixed-point")
    columns = names if constrained else order
    lines = []
    for row in rows:
        name = f"{row['peer']}: {row['setting']}"
        found = row.get("digits")
        cells = ["not run: " + row["reason"]] + [""] * (len(columns) - 1) if not found else [triple(found.get(c, {})) for c in columns]
        lines.append((name, *cells))
    return f"### {title} (lower, average, higher difficulty)\n\n" + table(("peer", *columns), lines)


def triple(found):
    return "; ".join(text(found[d]) for d in DIFFICULTIES if d in found)


def text(cell):
    """One cell: worst digits, exceptions, silence."""
    parts = []
    if cell["digits"] is not None:
        parts.append(f"{cell['digits']:.1f}/{cell['attainable']:.1f}" + ("*" if cell["failed"] else ""))
    if cell["raised"]:
        parts.append(f"raised {cell['raised']}")
    if cell["asked"]:
        parts.append(f"silent {cell['silent']}/{cell['asked']}")
    if cell["outside"]:
        parts.append(f"outside {cell['outside']}")
    return " ".join(parts)


def findings(rows):
    for row in rows:
        for found in row.get("findings", ()):
            command = f"`{found['repro']}`" if found["repro"] else ""
            said = f"{found['sentence']} ({found['count']} failures)"
            yield f"{row['peer']}: {row['setting']}", ", ".join(found["classes"]), said, command


def versions(row):
    listed = ", ".join(f"{name} {version}" for name, version in row.get("versions", {}).items())
    return row.get("peer", row["key"]), row.get("setting", ""), row.get("environment", ""), listed, f"`{row.get('repro', '')}`"

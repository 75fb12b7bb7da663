"""The scorecard in one command: released packages, each in its own environment, under the kit.

    python -m refbilevel.validation.scorecard.run --envs DIR [--base PYTHON] [--only WORD ...] [--list]

Makes the environments that are missing under DIR (outside the repository), installs the pinned versions of environments/*.txt, runs
`refbilevel check` for every row and each probe of defects/ by subprocess, and writes results.json and SCORECARD.md. Rows and
probes named by --only are run again and the others kept. --base uses an existing interpreter with the packages of base.txt.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from ..report import ConformanceReport
from . import environments
from .render import markdown
from .rows import NOT_RUN, PROBES, ROWS

HERE = Path(__file__).parent
CHECKOUT = HERE.parents[1]
SCHEMA = "refbilevel-scorecard/1"
NOT_YET = "not in this record"
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1", "JAX_PLATFORMS": "cpu"}


def main(argv=None):
    parser = argparse.ArgumentParser(prog="scorecard", description=__doc__.splitlines()[0])
    parser.add_argument("--envs", required=True, help="folder of the environments, outside the repository")
    parser.add_argument("--base", help="an interpreter that has the packages of environments/base.txt")
    parser.add_argument("--only", nargs="*", help="peers, environments or scripts to run again (default: all)")
    parser.add_argument("--timeout", type=float, default=1200.0, help="seconds for one row (default: 1200)")
    parser.add_argument("--output", default=str(HERE), help="where to write results.json and SCORECARD.md")
    arguments = parser.parse_args(argv)
    envs = Path(arguments.envs).resolve()
    if CHECKOUT in (envs, *envs.parents):
        parser.error(f"--envs must be outside the repository {CHECKOUT}")
    envs.mkdir(parents=True, exist_ok=True)
    output = Path(arguments.output) / "results.json"
    results = json.loads(output.read_text()) if output.exists() else {"schema": SCHEMA, "rows": [], "probes": [], "not_run": []}
    for record, kind, key in work(arguments.only):
        python, reason = environments.ensure(record.environment, envs, arguments.base)
        print(f"{time.strftime('%H:%M:%S')} {key}", file=sys.stderr, flush=True)
        entry = kind(record, python, arguments.timeout) if python else blank(record) | {"reason": reason}
        keep(results[kind.section], {"key": key, **entry}, order(kind))
        write(results, output)
    if arguments.only is None:
        results["not_run"] = [{"name": name, "reason": unavailable(name, envs, arguments.base)} for name in NOT_RUN]
    write(results, output)


def work(only):
    """(record, function, key) of everything that is to be run."""
    for record in ROWS:
        if only is None or {record.peer, record.environment, record.module, record.target} & set(only):
            yield record, run_row, key_of(record)
    for record in PROBES:
        if only is None or {record.environment, record.script} & set(only):
            yield record, run_probe, key_of(record)


def key_of(record):
    return record.target if hasattr(record, "target") else " ".join([record.script, *record.arguments])


def order(kind):
    return [key_of(r) for r in (ROWS if kind is run_row else PROBES)]


def keep(entries, entry, keys):
    """Replace the entry of the same key, and leave the entries that are still asked for, in their order."""
    kept = {e["key"]: e for e in entries} | {entry["key"]: entry}
    entries[:] = [kept[key] for key in keys if key in kept]


def blank(record):
    """The entry of what has not been run: it is listed, with that as its reason."""
    kept = ("peer", "setting", "environment", "adapter", "title")
    classes = {"classes": list(record.classes)} if record in ROWS else {}
    return {"key": key_of(record), **{k: getattr(record, k) for k in kept if hasattr(record, k)}, **classes, "reason": NOT_YET}


def write(results, output):
    """results.json and SCORECARD.md beside it, every row and probe in its place."""
    for section, records in (("rows", ROWS), ("probes", PROBES)):
        have = {e["key"]: e for e in results[section]}
        results[section] = [have.get(key_of(r)) or blank(r) for r in records]
    output.write_text(json.dumps(results, indent=1) + "\n")
    output.with_name("SCORECARD.md").write_text(markdown(results))


def run_row(row, python, timeout):
    """Digits by class and difficulty, what they look like, versions, and the command."""
    _, wanted = environments.requirements(row.environment)
    framework = {"torch": ["torch"], "jax": ["jax", "jaxlib"], "numpy": []}[row.adapter]
    also = ["cvxpy", "scs"] if row.peer == "cvxpy" else []
    named = [line.split("==")[0] for line in wanted] if row.environment != "base" else [row.peer]
    names = list(dict.fromkeys([*named, *also, *framework, "numpy", "scipy"]))
    entry = {"peer": row.peer, "setting": row.setting, "adapter": row.adapter, "environment": row.environment, "classes": list(row.classes),
             "versions": environments.versions(python, names), "repro": f"python {' '.join(map(quoted, row.command))}"}  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "report.json"
        done = call([*row.command, "--report", str(path), "--quiet"], python, timeout)
        if not path.exists():
            return entry | {"reason": last_line(done)}
        report = ConformanceReport.from_json(path.read_text())
    found = {klass: cells(report, klass) for klass in row.classes}
    return entry | {"digits": found, "findings": [finding(f, row.target) for f in report.findings], "counts": report.counts}


run_row.section = "rows"


def quoted(word):
    return f'"{word}"' if "[" in word else word


def cells(report, klass):
    """{difficulty: {digits, attainable, cases, failed, raised, silent, asked, outside}} of a class."""
    table = {}
    for outcome in report.outcomes:
        if outcome.klass == klass and outcome.status != "skipped":
            table.setdefault(outcome.difficulty, []).append(outcome)
    return {difficulty: cell(table[difficulty]) for difficulty in ("lower", "average", "higher") if difficulty in table}


def cell(outcomes):
    values = [o for o in outcomes if o.check == "value"]
    faults = [o for o in outcomes if o.check.startswith("fault")]
    numbers = [o for o in values if o.digits == o.digits]
    worst = min(numbers, key=lambda o: o.digits - o.attainable, default=None)
    return {
        "digits": round(worst.digits, 1) if worst else None,
        "attainable": round(worst.attainable, 1) if worst else None,
        "cases": len(values),
        "failed": sum(o.status == "failed" for o in values),
        "raised": len(values) - len(numbers),
        "asked": len(faults),
        "silent": sum(o.status == "failed" for o in faults),
        "outside": sum(o.status == "failed" for o in outcomes if o.check == "clarke"),
    }


def finding(found, target):
    """A `Finding` as plain values; `name` is the known-wrong formula that matches, if one does."""
    example = found.example
    return {"classes": list(found.classes), "count": found.count, "name": example.diagnosis_name, "sentence": found.sentence,
            "repro": "python -m " + example.reproduction if example.reproduction else "", "case": example.case}  # fmt: skip


def run_probe(probe, python, timeout):
    """The lines of a probe's record, or why it did not end."""
    shown = {"title": probe.title, "environment": probe.environment, "repro": f"python {' '.join(probe.command)}"}
    done = call(probe.command, python, min(timeout, 300))
    fields = dict(line.split(": ", 1) for line in done.stdout.splitlines() if ": " in line)
    if done.returncode or "verdict" not in fields:
        return shown | {"reason": last_line(done)}
    return shown | {name: fields.get(name, "") for name in ("package", "source", "expected", "got", "note", "versions", "verdict")}


run_probe.section = "probes"


def call(command, python, timeout):
    """The completed process of `python command`, from the root of the checkout; a time-out is a process that failed."""
    try:
        return subprocess.run([str(python), *command], cwd=CHECKOUT, capture_output=True, text=True, timeout=timeout, check=False,
                              env={**os.environ, **ONE_THREAD})  # fmt: skip
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, 1, "", f"not finished after {timeout:.0f} s")


def last_line(done):
    return ((done.stderr.strip() or done.stdout.strip() or "no output").splitlines())[-1][:200]


def unavailable(name, envs, base):
    """pip's reason for not installing `name`, from a dry run; "installs" if there is none."""
    python, _ = environments.ensure("base", envs, base)
    return environments.install(python, ["--dry-run", "--no-deps"], [name]) or "installs; not run"


if __name__ == "__main__":
    main()

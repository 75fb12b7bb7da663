"""Regenerates the table of speeds: every workload, ours, the peers that are installed, and the floor.

    python validation/benchmarks/run.py [W1 W2 ...] [--cores 1] [--rounds 9] [--budget 20]

Each workload runs in a process of its own on `--cores` cores (affinity and every thread pool set before anything is imported), so that
ratios compare equal resources. Results are merged into results.json and rendered as RESULTS.md, with versions and the load average
of the machine while they were measured. `pip install -r validation/benchmarks/peers.txt` brings the peers; none is needed.
"""

from __future__ import annotations

import argparse
import datetime
import importlib
import json
import os
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path

HERE = Path(__file__).parent
MODULES = {
    "W1": "w1_logistic", "W2": "w2_sparse_logistic", "W3": "w3_lasso", "W4": "w4_cleaning", "W5": "w5_ridge", "W6": "w6_finite_sum",
    "W7": "w7_outer", "Q1": "qp_single", "Q2": "qp_batch", "C1": "c1_cvxpy", "P1": "p1_projections", "L1": "l1_layer",
}  # fmt: skip
#: what keeps ours above a floor or a goal, as measured
REMARKS = {
    "W4": "Ours spends 72 products where plain cg spends 110, nearly all in float32 under float64 residuals; the preconditioner is one "
    "factor for all ten classes.",
    "W5": "Above the two LAPACK calls: six checked oracles, the condition estimate, a second residual, records. With all diagnostics a "
    "quarter of the time each goes to the adjoint, to the Newton point, and to the rigorous bound, whose least eigenvalue a second Cholesky "
    "factor proves.",
    "W6": "With drawn batches each step gathers 6 MB of matrices, and everybody waits for memory; the averages of fixed batches are 100 KB.",
    "P1": "The simplex needs no sort. Above the closed form of the second-order cone: x and the cotangent are searched for NaN, and the "
    "distance from the kinks is reported.",
    "W7": "Lower and adjoint solves tighten with the hypergradient, the peer's stop at 1e-9; one float32 Gram matrix serves every point. A fifth "
    "of ours is the re-check of the final point, which the peer has not.",
}
PACKAGES = (
    "numpy", "scipy", "numba", "jax", "jaxopt", "optimistix", "torch", "scikit-learn", "celer", "proxsuite", "qpth", "cvxpy", "clarabel",
    "diffcp", "cvxpylayers",
)  # fmt: skip
POOLS = ("NUMBA_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def environment(cores):
    """The child's environment: every pool at `cores` threads, otherwise as a user has it."""
    ours = {"JAX_PLATFORMS": "cpu", "BENCHMARK_CORES": str(cores)}
    return {**os.environ, **{name: str(cores) for name in POOLS}, **ours}


def child(workload, rounds, budget):
    """Measure one workload in this process and print its rows as the last line."""
    from timing import measure

    cores = int(os.environ["BENCHMARK_CORES"])
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-cores:])
    groups = []
    for case in importlib.import_module(MODULES[workload]).cases():
        print(f"{case.workload} {case.title}", file=sys.stderr, flush=True)
        rows = measure(case, rounds, budget)
        groups.append(dict(title=case.title, goal=case.goal, floor=case.floor, notes=case.notes, rows=rows, load=os.getloadavg()[0]))
        print(_group(groups[-1]), file=sys.stderr, flush=True)
    print("\n" + json.dumps(groups))


def parent(workloads, cores, rounds, budget):
    path = HERE / "results.json"
    results = json.loads(path.read_text()) if path.exists() else {"workloads": {}}
    results["versions"] = versions()
    for workload in workloads:
        command = [sys.executable, str(HERE / "run.py"), workload, "--child", "--rounds", str(rounds), "--budget", str(budget)]
        done = subprocess.run(command, env=environment(cores), stdout=subprocess.PIPE, text=True, cwd=HERE)
        if done.returncode:
            print(f"{workload} failed with code {done.returncode}", file=sys.stderr)
            continue
        groups = json.loads(done.stdout.strip().splitlines()[-1])
        stamp = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M")
        results["workloads"][workload] = dict(cores=cores, measured=stamp, groups=groups)
        path.write_text(json.dumps(results, indent=1, default=float) + "\n")
        (HERE / "RESULTS.md").write_text(render(results))


def versions():
    found = {"python": platform.python_version(), "machine": f"{platform.machine()}, {os.cpu_count()} cores"}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            pass
    return found


def render(results):
    """RESULTS.md."""
    lines = [
        "# Speeds", "",
        "Written by `python validation/benchmarks/run.py`; do not edit. Times are milliseconds, fastest and median of interleaved rounds;",
        "`x ours` is the median over rounds of the time divided by ours in the same round (above 1: slower than refbilevel), so it holds",
        "on a busy machine, whose load average stands beside each group; the same of processor time, on one core the steadier of the two.",
        "Products: Hessian products of the adjoint where they are counted. Digits: -log10 of the relative error against a truth computed",
        "apart. MB: growth of the resident set during a call. Compilation is in none of them.", "",
        ", ".join(f"{name} {version}" for name, version in results["versions"].items()), "",
    ]  # fmt: skip
    for name in MODULES:
        if name in results["workloads"]:
            entry = results["workloads"][name]
            for group in entry["groups"]:
                where = f"{entry['cores']} core(s), load {group['load']:.1f}, {entry['measured']} UTC. {group['goal']}"
                lines += [f"## {name} {group['title']}", "", where, ""]
                lines += [REMARKS[name], ""] if name in REMARKS and group is entry["groups"][0] else []
                lines += [_group(group), "", *(f"- {who}: {note}" for who, note in group["notes"].items()), ""]
    return "\n".join(lines) + "\n"


def _group(group):
    columns = ("implementation", "best ms", "median ms", "CPU ms", "x ours", "x ours, CPU", "digits", "products", "MB")
    lines = [columns, ["---"] * len(columns)]
    for r in group["rows"]:
        times = [f"{1e3 * r[k]:.4g}" for k in ("best", "median", "cpu")] + [f"{r[k]:.2f}" for k in ("ratio", "ratio_cpu")]
        lines.append([r["implementation"], *times, _number(r["digits"]), str(r.get("products", "")), _number(r["megabytes"])])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _number(value):
    return "" if value is None or value != value else f"{value:.1f}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workloads", nargs="*", metavar="workload", help=", ".join(MODULES))
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--budget", type=float, default=20.0, help="seconds a case, after its first three rounds")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    unknown = [w for w in given.workloads if w not in MODULES]
    if unknown:
        parser.error(f"unknown workload {unknown[0]}; they are {', '.join(MODULES)}")
    if given.child:
        child(given.workloads[0], given.rounds, given.budget)
    else:
        parent(given.workloads or list(MODULES), given.cores, given.rounds, given.budget)


if __name__ == "__main__":
    sys.path.insert(0, str(HERE.parents[1]))
    main()

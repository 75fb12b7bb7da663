"""How cost and memory grow: time and resident growth of one hypergradient against m, n, K and the batch, with the slopes of log-log fits.

    python validation/benchmarks/scaling.py [--out scaling.png]

Slopes expected: matrix-free 1 in the nonzeros; dense Cholesky 2 to 3 in m (products, then the factorisation); unrolled reverse 1 in K in
time and memory, forward 1 in n; QP batches 1 in B. Fitted on the upper half of each range, where the call overhead no longer counts.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

for pool in ("NUMBA_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):  # one thread: slopes, not speeds
    os.environ[pool] = "1"

import numpy as np  # noqa: E402
from scipy import sparse  # noqa: E402

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parents[1])]

import refbilevel as rb  # noqa: E402
from timing import peak_memory  # noqa: E402


def matrix_free(nonzeros, m=5000):
    """Sparse logistic regression of m features, the adjoint at a given y to 1e-10."""
    rng = np.random.default_rng(0)
    X = sparse.random(nonzeros // 20, m, 20 / m, "csr", random_state=rng, data_rvs=rng.standard_normal)
    t = rng.choice([-1.0, 1.0], X.shape[0])
    problem, y = rb.problems.logistic(X, t, X[:100], t[:100]), 0.01 * rng.standard_normal(m)
    return lambda: rb.hypergradient(problem, [-7.0], lower=y, rtol=1e-10, diagnostics=False)


def dense(m):
    """A quadratic with a dense Hessian, Cholesky."""
    rng = np.random.default_rng(0)
    F = rng.standard_normal((m, m))
    H = F @ F.T / m + np.eye(m)
    problem = quadratic(10, m, H)
    return lambda: rb.hypergradient(problem, np.ones(10), lower=np.ones(m), linear="cholesky", diagnostics=False)


def quadratic(n, m, H):
    C = np.random.default_rng(1).standard_normal((n, m))
    return rb.BilevelProblem(
        n=n, m=m, f=lambda x, y: 0.5 * y @ y, f_x=lambda x, y: 0.0 * x, f_y=lambda x, y: y, g=lambda x, y: 0.5 * y @ (H @ y) - x @ C @ y,
        g_x=lambda x, y: -C @ y, g_y=lambda x, y: H @ y - x @ C, g_yy=lambda x, y: H, g_xy=lambda x, y: -C,
    )  # fmt: skip


def unrolled(K, n=20, m=2000, method="reverse"):
    """Gradient descent of K steps on a diagonal quadratic, differentiated."""
    problem, x = quadratic(n, m, sparse.diags_array(np.linspace(1.0, 2.0, m)).tocsr()), np.ones(n)
    return lambda: rb.hypergradient(problem, x, method, K=K, step=0.5, diagnostics=False)


def batch(B, n=20):
    from qp_batch import BLOCKS, problem

    members = [problem(n, seed)[0] for seed in range(B)]
    blocks = {k: np.stack([member[k] for member in members]) for k in BLOCKS}
    bars = np.ones((B, n))
    return lambda: rb.solve_qp_batch(**blocks).vjp(bars)


CURVES = {
    "matrix-free, nonzeros": (matrix_free, (20_000, 60_000, 200_000, 600_000, 2_000_000)),
    "dense Cholesky, m": (dense, (50, 100, 200, 400, 800, 1600)),
    "reverse unrolling, K": (unrolled, (10, 30, 100, 300, 1000)),
    "forward unrolling, n": (lambda n: unrolled(30, n=n, method="forward"), (5, 20, 80, 320)),
    "QP batch, B": (batch, (16, 64, 256, 1024)),
}


def seconds(call):
    """Processor seconds (those of a busy machine's other programs left out) of the fastest of at least five calls."""
    call()
    times, end = [], time.perf_counter() + 0.5
    while len(times) < 5 or time.perf_counter() < end:
        start = time.process_time()
        call()
        times.append(time.process_time() - start)
    return min(times)


def slope(sizes, values):
    """Of the log-log fit over the upper half."""
    half = len(sizes) // 2
    sizes, values = np.array(sizes[half:], float), np.array(values[half:], float)
    return float(np.polyfit(np.log(sizes), np.log(values), 1)[0]) if (values > 0).all() else np.nan


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=HERE / "scaling.png")
    out = parser.parse_args().out
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(11, 4.5), constrained_layout=True)
    head = "| cost against | sizes | CPU ms | slope of time | MB | slope of memory |"
    lines = ["# Scaling", "", "Written by `python validation/benchmarks/scaling.py`.", "", head, "|---|---|---|---|---|---|"]
    for name, (make, sizes) in CURVES.items():
        calls = [make(size) for size in sizes]
        times, memory = [seconds(call) for call in calls], [peak_memory(call) for call in calls]
        row = [name, ", ".join(map(str, sizes)), ", ".join(f"{1e3 * t:.3g}" for t in times), f"{slope(sizes, times):.2f}"]
        row += [", ".join(f"{mb:.3g}" for mb in memory), f"{slope(sizes, memory):.2f}"]
        lines.append("| " + " | ".join(row) + " |")
        print(lines[-1], flush=True)
        left.loglog(sizes, times, "o-", label=f"{name}: slope {slope(sizes, times):.2f}")
        right.loglog(sizes, np.maximum(memory, 0.01), "o-", label=name)
    left.set(xlabel="size", ylabel="processor seconds a hypergradient"), right.set(xlabel="size", ylabel="growth of the resident set, MB")
    left.legend(fontsize=8)
    figure.savefig(out, dpi=110)
    out.with_name("SCALING.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()

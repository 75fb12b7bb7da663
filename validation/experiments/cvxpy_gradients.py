"""Gradients of convex programs: refbilevel, `problem.backward()` and cvxpylayers on the same eight programs, in one run.

    python -m refbilevel.validation.experiments.cvxpy_gradients  [--repeat 20]  [--out table.md]

For c'y, c random: the worst relative error over the parameters against a sixth-order difference of re-solves along one direction
(closed form for entropy), and the best time of re-solve + gradient. Peers that are not installed are left out.
"""

from __future__ import annotations

import argparse
import time
import warnings

import cvxpy as cp
import numpy as np

import refbilevel as rb
from refbilevel.frontends.cvxpy_ import frobenius


def elastic_net(r, rows=60, columns=30):
    X, w = r.standard_normal((rows, columns)), cp.Variable(columns)
    l1, l2 = cp.Parameter(nonneg=True, value=4.0), cp.Parameter(nonneg=True, value=1.5)
    t = cp.Parameter(rows, value=r.standard_normal(rows))
    return cp.Problem(cp.Minimize(0.5 * cp.sum_squares(X @ w - t) + l1 * cp.norm1(w) + 0.5 * l2 * cp.sum_squares(w))), w


def portfolio(r, assets=30, factors=6):
    w, F, mean = cp.Variable(assets), cp.Parameter((factors, assets)), cp.Parameter(assets)
    cap = cp.Parameter(nonneg=True, value=0.21)
    F.value, mean.value = r.standard_normal((factors, assets)) / 3, 0.3 * r.standard_normal(assets)
    objective = 0.5 * cp.sum_squares(F @ w) + 0.05 * cp.sum_squares(w) - mean @ w
    return cp.Problem(cp.Minimize(objective), [cp.sum(w) == 1, w >= 0, w <= cap]), w


def svm(r, rows=60, columns=12):
    X = r.standard_normal((rows, columns))
    t = np.sign(X @ r.standard_normal(columns) + 0.7 * r.standard_normal(rows))
    w, b, C = cp.Variable(columns), cp.Variable(), cp.Parameter(nonneg=True, value=0.02)
    return cp.Problem(cp.Minimize(0.5 * cp.sum_squares(w) + C * cp.sum(cp.pos(1 - cp.multiply(t, X @ w + b))))), w


def robust_least_squares(r, rows=25, columns=6):
    A, w = r.standard_normal((rows, columns)), cp.Variable(columns)
    t, penalty = cp.Parameter(rows, value=r.standard_normal(rows)), cp.Parameter(nonneg=True, value=0.4)
    objective = cp.norm(A @ w - t, 2) + penalty * cp.norm(w, 2) + 0.1 * cp.sum_squares(w)
    return cp.Problem(cp.Minimize(objective), [cp.sum(w) >= 0.1]), w


def logistic(r, rows=60, columns=8):
    X, w = r.standard_normal((rows, columns)), cp.Variable(columns)
    t = np.sign(X @ r.standard_normal(columns) + r.standard_normal(rows))
    lam, offset = cp.Parameter(nonneg=True, value=0.6), cp.Parameter(rows, value=0.1 * r.standard_normal(rows))
    loss = cp.sum(cp.logistic(-cp.multiply(t, X @ w) - offset))
    return cp.Problem(cp.Minimize(loss + 0.5 * lam * cp.sum_squares(w))), w


def entropy(r):
    y, b = cp.Variable(2), cp.Parameter(value=0.58)
    return cp.Problem(cp.Maximize(0.6 * y[0] + b * y[1] + 0.01 * cp.sum(cp.entr(y))), [cp.sum(y) == 1]), y


def semidefinite(r, order=4):
    Y, S = cp.Variable((order, order), PSD=True), cp.Parameter((order, order), symmetric=True)
    B = r.standard_normal((order, order))
    S.value = B + B.T
    return cp.Problem(cp.Minimize(cp.sum_squares(Y - S)), [cp.trace(Y) == 1]), Y


def power(r):
    y, c, k = cp.Variable(3), cp.Parameter(3, value=np.array([0.5, 0.4, 1.1])), cp.Parameter(nonneg=True, value=1.2)
    objective = cp.sum_squares(y - c) + cp.power(cp.abs(y[2]), 1.7, approx=False)
    return cp.Problem(cp.Minimize(objective), [cp.geo_mean(y[:2], [0.3, 0.7], approx=False) >= k, y[:2] <= 3]), y


PROGRAMS = (elastic_net, portfolio, svm, robust_least_squares, logistic, entropy, semidefinite, power)
EXACT_ENTROPY = -10.499358540350636


def best_time(call, repeat):
    """Seconds of the fastest of `repeat` calls."""
    times = []
    for _ in range(repeat):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times)


def ours(problem, variable, c):
    program = rb.ConvexProgram(problem)
    return lambda: program.solve().vjp({variable: c})


def backward(options):
    """CVXPY's own, with diffcp; its symmetric convention turned into ours."""

    def build(problem, variable, c):
        def call():
            problem.solve(requires_grad=True, **options)
            for v in problem.variables():
                v.gradient = c if v is variable else np.zeros(v.shape)
            problem.backward()
            return {p: frobenius(p.gradient) if p.attributes["symmetric"] else np.asarray(p.gradient) for p in problem.parameters()}

        return call

    return build


def layer(problem, variable, c):
    """cvxpylayers with its defaults."""
    import torch
    from cvxpylayers.torch import CvxpyLayer

    parameters = problem.parameters()
    made = CvxpyLayer(problem, parameters=parameters, variables=[variable])

    def call():
        inputs = [torch.tensor(np.array(p.value, float), dtype=torch.float64, requires_grad=True) for p in parameters]
        (made(*inputs)[0] * torch.tensor(c)).sum().backward()
        return {p: frobenius(i.grad.numpy()) if p.attributes["symmetric"] else i.grad.numpy() for p, i in zip(parameters, inputs)}

    return call


def peers():
    """(name, builder) of what is installed."""
    found = [("refbilevel", ours)]
    try:
        import diffcp  # noqa: F401

        found += [("backward", backward({})), ("backward, eps 1e-10", backward({"eps": 1e-10, "max_iters": 200_000}))]
        import cvxpylayers  # noqa: F401
        import torch  # noqa: F401

        found.append(("cvxpylayers", layer))
    except ImportError:
        pass
    return found


def difference(problem, variable, c, parameter, direction):
    """The derivative of c'y along one direction of one parameter, by sixth-order differences; (value, its own error)."""
    program, base = rb.ConvexProgram(problem), np.array(parameter.value, float)

    def value(t):
        return float(np.sum(c * program.solve({parameter: base + t * direction}).values[variable]))

    size, estimates = max(1e-3, np.abs(base).max()), []
    for h in size * np.array([1e-2, 3e-3, 1e-3, 1e-4]):
        F = [value(t * h) for t in (-3, -2, -1, 1, 2, 3)]
        estimates.append((45 * (F[3] - F[2]) - 9 * (F[4] - F[1]) + (F[5] - F[0])) / (60 * h))
    gaps = np.abs(np.diff(estimates))
    i = int(np.argmin(gaps))
    return estimates[i + 1], float(gaps[i])


def truths(problem, variable, c, r):
    """[(parameter, direction, derivative, size)] to compare a gradient with."""
    exact = ours(problem, variable, c)()
    found = []
    for p in problem.parameters():
        direction = r.standard_normal(p.shape)
        direction = direction + direction.T if p.attributes["symmetric"] else direction
        direction = np.asarray(direction / np.linalg.norm(direction))
        value, _ = difference(problem, variable, c, p, direction)
        found.append((p, direction, value, max(np.linalg.norm(exact[p]), 1e-300)))
    return found


def error(gradient, truth):
    return max(abs(np.sum(gradient[p] * d) - value) / size for p, d, value, size in truth)


def table(repeat):
    """Rows (program, peer, error, milliseconds, ratio of our time to that of the peer)."""
    rows = []
    for make in PROGRAMS:
        r = np.random.default_rng(3)
        problem, variable = make(r)
        c = np.array([1.0, 0.0]) if make is entropy else r.standard_normal(variable.shape)
        c = c + c.T if c.ndim == 2 else c
        truth, mine = truths(problem, variable, c, r), None
        if make is entropy:
            truth = [(problem.parameters()[0], np.ones(()), EXACT_ENTROPY, -EXACT_ENTROPY)]
        for name, build in peers():
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                try:
                    call = build(problem, variable, c)
                    gradient = call()
                    seconds = best_time(call, repeat)
                except Exception as failure:  # a peer's failure is a row of the table, not of this script
                    rows.append((make.__name__, name, f"{type(failure).__name__}", "", ""))
                    continue
            mine = seconds if mine is None else mine
            rows.append((make.__name__, name, f"{error(gradient, truth):.1e}", f"{1e3 * seconds:.2f}", f"{mine / seconds:.2f}"))
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeat", type=int, default=20)
    parser.add_argument("--out", help="write the table there too (Markdown)")
    options = parser.parse_args()
    lines = ["| program | by | relative error | ms, solve + gradient | ours / theirs |", "|---|---|---|---|---|"]
    lines += ["| " + " | ".join(row) + " |" for row in table(options.repeat)]
    print("\n".join(lines))
    if options.out:
        with open(options.out, "w") as file:
            file.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()

"""Q1: one dense quadratic program, n = 10 ... 1000: forward, VJP, digits; the floor is SciPy's Schur complement.

    python validation/benchmarks/qp_single.py [n ...]

Problem: P = B'B/n + 0.1 I, n/2 inequalities of which a third are active, n/5 equalities, solution known by construction.
Digits: -log10 of the largest block-relative gradient error against the KKT system in extended precision. Times are the best
of many calls, in microseconds, ratios to ours; compilation is not in them. A peer that is not installed is left out.
"""

import importlib.util
import sys
import time

import numpy as np
from numba import njit
from scipy.linalg import cho_factor, cho_solve, lu_factor, lu_solve

from refbilevel import solve_qp
from refbilevel.kernels import qp as kernel

BLOCKS = ("P", "q", "G", "h", "A", "b")
LOOP = 50


def problem(n, seed=0):
    """(blocks, active): a strictly convex program with a known active set."""
    rng = np.random.default_rng(seed)
    m, p = n // 2, n // 5
    B = rng.standard_normal((n, n))
    P = B.T @ B / n + 0.1 * np.eye(n)
    G, A, y, nu = (rng.standard_normal(shape) for shape in ((m, n), (p, n), n, p))
    active = np.arange(m) < m // 3
    mu, slack = np.where(active, rng.uniform(0.1, 1, m), 0), np.where(active, 0, rng.uniform(0.1, 1, m))
    return dict(P=(P + P.T) / 2, q=-((P + P.T) / 2 @ y + G.T @ mu + A.T @ nu), G=G, h=G @ y + slack, A=A, b=A @ y), active


def extended(K, rhs):
    """K^{-1} rhs with residual and solution in extended precision."""
    factor, wide, x = lu_factor(K), K.astype(np.longdouble), np.zeros(rhs.size, np.longdouble)
    for _ in range(5):
        x = x + lu_solve(factor, np.asarray(rhs - wide @ x, float))
    return np.asarray(x, float)


def truth(blocks, active, bar):
    """{block: gradient}, and the parts that the floor needs."""
    P, q, G, h, A, b = (blocks[name] for name in BLOCKS)
    n, J = q.size, np.flatnonzero(active)
    N = np.vstack([G[J], A])
    K = np.block([[P, N.T], [N, np.zeros((len(N), len(N)))]])
    z, w = extended(K, np.concatenate([-q, h[J], b])), extended(K, np.concatenate([bar, np.zeros(len(N))]))
    mu, v = np.zeros(h.size), np.zeros(h.size)
    mu[J], v[J] = z[n : n + J.size], w[n : n + J.size]
    return assemble(z[:n], mu, z[n + J.size :], w[:n], v, w[n + J.size :]), N, z


def assemble(y, mu, nu, w, v, s):
    outer = np.multiply.outer
    return {"P": -(outer(w, y) + outer(y, w)) / 2, "q": -w, "G": -(outer(mu, w) + outer(v, y)), "h": v, "A": -(outer(nu, w) + outer(s, y)), "b": s}


def ours(blocks, active, bar):
    """(forward, vjp): the public functions."""
    solution = [None]

    def forward():
        solution[0] = solve_qp(**blocks)

    return forward, lambda: solution[0].vjp(bar)._asdict()


def our_kernel(blocks, active, bar):
    """(forward, vjp): the kernels behind them."""
    arrays, state = [blocks[name] for name in BLOCKS], [None]
    rows, none = blocks["b"].size + blocks["h"].size, np.zeros(blocks["b"].size + blocks["h"].size)

    def forward():
        state[0] = kernel.solve_dense(*arrays)

    def vjp():
        s = state[0]
        P, q, N, r = kernel.vjp_dense(arrays[0], s[9], s[14], s[10], s[11], s[12], s[8], rows, s[1], s[2], bar, none, 1)
        p = blocks["b"].size
        return {"P": P, "q": q, "G": N[p:], "h": r[p:], "A": N[:p], "b": r[:p]}

    return forward, vjp


@njit(cache=True)
def repeated(times, state, P, rows, bar, none):
    """The last of so many VJPs, called from compiled code."""
    _, y, u, _, _, _, _, _, W, N, M, R, sigma, _, L = state
    for _ in range(times):
        answer = kernel.vjp_dense(P, N, L, M, R, sigma, W, rows, y, u, bar, none, 1)
    return answer


def inside_njit(blocks, active, bar):
    """(None, vjp): the VJP kernel from a compiled loop, at a given solution: what a Numba caller pays."""
    p, rows = blocks["b"].size, blocks["b"].size + blocks["h"].size
    state, none = kernel.solve_dense(*(blocks[name] for name in BLOCKS)), np.zeros(rows)

    def vjp():
        P, q, N, r = repeated(LOOP, state, blocks["P"], rows, bar, none)
        return {"P": P, "q": q, "G": N[p:], "h": r[p:], "A": N[:p], "b": r[:p]}

    vjp.times = LOOP
    return None, vjp


def floor(blocks, active, bar):
    """(None, vjp): SciPy, P factorised and the Schur complement too, six outer products, at a given solution."""
    _, N, z = truth(blocks, active, bar)
    n, J, m = bar.size, np.flatnonzero(active), active.size
    mu = np.zeros(m)
    mu[J] = z[n : n + J.size]

    def vjp():
        factor = cho_factor(blocks["P"], check_finite=False)
        X = cho_solve(factor, np.column_stack([N.T, bar]), check_finite=False)
        u = cho_solve(cho_factor(N @ X[:, :-1], check_finite=False), N @ X[:, -1], check_finite=False)
        v = np.zeros(m)
        v[J] = u[: J.size]
        return assemble(z[:n], mu, z[n + J.size :], X[:, -1] - X[:, :-1] @ u, v, u[J.size :])

    return None, vjp


def proxqp(blocks, active, bar):
    """(forward, vjp): ProxQP's dense backend with its compute_backward (default accuracy)."""
    import proxsuite

    P, q, G, h, A, b = (blocks[name] for name in BLOCKS)
    solver = proxsuite.proxqp.dense.QP(q.size, b.size, h.size)
    solver.settings.eps_abs = 1e-10
    solver.settings.initial_guess = proxsuite.proxqp.InitialGuess.NO_INITIAL_GUESS
    low, loss = np.full(h.size, -1e20), np.concatenate([bar, np.zeros(b.size + h.size)])
    solver.init(P, q, A, b, G, low, h)

    def forward():
        solver.update(P, q, A, b, G, low, h)
        solver.solve()

    def vjp():
        proxsuite.proxqp.dense.compute_backward(solver, loss, 1e-4, 1e-6, 1e-6)
        d = solver.model.backward_data
        return {"P": np.array(d.dL_dH), "q": np.array(d.dL_dg), "G": np.array(d.dL_dC), "h": np.array(d.dL_du), "A": np.array(d.dL_dA), "b": np.array(d.dL_db)}

    return forward, vjp


IMPLEMENTATIONS = {"refbilevel": ours, "kernels": our_kernel, "kernel inside njit": inside_njit, "floor": floor, "proxqp": proxqp}
NEEDS = {"proxqp": "proxsuite"}
VJP_ONLY = ("floor", "kernel inside njit")
GOALS = {
    10: "Goal: the kernel inside njit 0.01 ms, the Python call at most 0.06 ms more.",
    50: "Goal: the kernel inside njit 0.04 ms, the Python call at most 0.06 ms more.",
    **dict.fromkeys((100, 200, 500), "Goal: at most 0.6 of the floor."),
}


def best(call, seconds=0.5):
    """Microseconds of the fastest call within a budget, after one to warm up."""
    call()
    fastest, end, times = np.inf, time.perf_counter() + seconds, getattr(call, "times", 1)
    while time.perf_counter() < end:
        start = time.perf_counter()
        call()
        fastest = min(fastest, time.perf_counter() - start)
    return 1e6 * fastest / times


def digits(got, exact):
    return -np.log10(max(max(abs(got[k] - exact[k]).max() / abs(exact[k]).max() for k in BLOCKS if exact[k].size), 1e-17))


def flat(gradient):
    return np.concatenate([gradient[k].ravel() for k in BLOCKS])


def cases(sizes=(10, 50, 100, 200, 500)):
    """For run.py: the VJP at a solved program, and forward and VJP together."""
    from timing import OURS, Case

    for n in sizes:
        blocks, active = problem(n)
        bar = np.random.default_rng(1).standard_normal(n)
        exact = truth(blocks, active, bar)[0]

        def vjp(make, both):
            forward, backward = make(blocks, active, bar)
            if forward is not None:
                forward()
            return (lambda: (forward(), backward())[1]) if both else backward

        for both in (False, True):
            names = {OURS if k == "refbilevel" else k: v for k, v in IMPLEMENTATIONS.items() if not (both and k in VJP_ONLY)}
            yield Case(
                "Q1", f"one QP, n = {n}, {'forward and VJP' if both else 'VJP'}",
                {k: lambda make=make, both=both: vjp(make, both) for k, make in names.items()},
                flat(exact), floor="" if both else "floor", goal=GOALS.get(n, "") if not both else "Goal: ProxQP at 1 or more." if n <= 200 else "",
                read=flat,
            )  # fmt: skip


def main(sizes):
    print(f"{'n':>5} {'implementation':<18} {'forward us':>11} {'ratio':>6} {'VJP us':>9} {'ratio':>6} {'both':>6} {'digits':>6}")
    for n in sizes:
        blocks, active = problem(n)
        bar = np.random.default_rng(1).standard_normal(n)
        exact, base = truth(blocks, active, bar)[0], None
        for name, make in IMPLEMENTATIONS.items():
            if name in NEEDS and importlib.util.find_spec(NEEDS[name]) is None:
                continue
            forward, vjp = make(blocks, active, bar)
            times = np.array([best(forward) if forward else np.nan, best(vjp)])
            base = times if base is None else base
            ratio = np.append(times / base, times.sum() / base.sum())
            print(f"{n:>5} {name:<18} {times[0]:>11.1f} {ratio[0]:>6.2f} {times[1]:>9.1f} {ratio[1]:>6.2f} {ratio[2]:>6.2f} {digits(vjp(), exact):>6.1f}")


if __name__ == "__main__":
    main([int(n) for n in sys.argv[1:]] or [10, 20, 50, 100, 200, 500, 1000])

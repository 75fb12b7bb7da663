"""Q2: batches of quadratic programs with n = 20: forward and VJP for each member, digits.

    python validation/benchmarks/qp_batch.py [B ...]

Problems as in qp_single.py. The floor is one batched LAPACK solve of the KKT systems (NumPy), VJP only, active set given.
"""

import importlib.util
import sys

import numpy as np
from qp_single import BLOCKS, best, digits, problem, truth

from refbilevel import solve_qp, solve_qp_batch


def ours(blocks, actives, bars):
    solution = [None]

    def forward():
        solution[0] = solve_qp_batch(**blocks)

    return forward, lambda: solution[0].vjp(bars)._asdict()


def loop(blocks, actives, bars):
    """Single calls in a Python loop."""
    members = [{name: np.ascontiguousarray(blocks[name][i]) for name in BLOCKS} for i in range(len(bars))]
    solutions = []

    def forward():
        solutions[:] = [solve_qp(**member) for member in members]

    def vjp():
        gradients = [s.vjp(bar) for s, bar in zip(solutions, bars)]
        return {name: np.stack([getattr(g, name) for g in gradients]) for name in BLOCKS}

    return forward, vjp


def floor(blocks, actives, bars):
    """np.linalg.solve on the stacked KKT systems, inactive rows replaced by identity rows."""
    P, q, G, h, A, b = (blocks[name] for name in BLOCKS)
    B, n, m, p = *bars.shape, h.shape[1], b.shape[1]
    K = np.zeros((B, n + m + p, n + m + p))
    masked = np.where(actives[:, :, None], G, 0.0)
    K[:, :n, :n], K[:, n : n + m, :n], K[:, n + m :, :n] = P, masked, A
    K[:, :n, n:] = K[:, n:, :n].transpose(0, 2, 1)
    K[:, np.arange(n, n + m), np.arange(n, n + m)] = np.where(actives, 0.0, 1.0)
    z = np.linalg.solve(K, np.concatenate([-q, np.where(actives, h, 0.0), b], 1)[..., None])[..., 0]
    y, mu, nu = z[:, :n], z[:, n : n + m], z[:, n + m :]

    def vjp():
        w = np.linalg.solve(K, np.concatenate([bars, np.zeros((B, m + p))], 1)[..., None])[..., 0]
        wy, v, s = w[:, :n], w[:, n : n + m], w[:, n + m :]
        outer = lambda a, c: a[:, :, None] * c[:, None, :]  # noqa: E731
        return {"P": -(outer(wy, y) + outer(y, wy)) / 2, "q": -wy, "G": -(outer(mu, wy) + outer(v, y)), "h": v, "A": -(outer(nu, wy) + outer(s, y)), "b": s}

    return None, vjp


def proxqp(blocks, actives, bars):
    """One ProxQP solver a member, in a loop."""
    from qp_single import proxqp as single

    calls = [single({name: np.ascontiguousarray(blocks[name][i]) for name in BLOCKS}, actives[i], bars[i]) for i in range(len(bars))]

    def vjp():
        gradients = [c[1]() for c in calls]
        return {name: np.stack([g[name] for g in gradients]) for name in BLOCKS}

    return lambda: [c[0]() for c in calls], vjp


def qpth(blocks, actives, bars):
    """OptNet's batched interior point layer in torch, at its default accuracy."""
    import torch
    from qpth.qp import QPFunction

    layer, bars = QPFunction(verbose=-1), torch.tensor(bars)
    given = {name: torch.tensor(blocks[name], requires_grad=True) for name in BLOCKS}
    y = [None]

    def forward():
        y[0] = layer(*given.values())

    def vjp():
        gradients = torch.autograd.grad(y[0], list(given.values()), bars, retain_graph=True)
        return {name: g.numpy() for name, g in zip(BLOCKS, gradients)}

    return forward, vjp


IMPLEMENTATIONS = {"refbilevel": ours, "loop": loop, "floor": floor, "proxqp": proxqp, "qpth": qpth}
NEEDS = {"proxqp": "proxsuite", "qpth": "qpth"}


def cases(batches=(128, 4096), n=20):
    """For run.py; a call treats the whole batch."""
    from timing import OURS, Case

    for B in batches:
        members = [problem(n, seed) for seed in range(B)]
        blocks = {name: np.stack([member[0][name] for member in members]) for name in BLOCKS}
        actives, bars = np.stack([member[1] for member in members]), np.random.default_rng(1).standard_normal((B, n))
        exact = [truth(members[i][0], members[i][1], bars[i])[0] for i in range(4)]

        def build(make, both):
            forward, backward = make(blocks, actives, bars)
            if forward is not None:
                forward()
            call = (lambda: (forward(), backward())[1]) if both else backward

            def first():
                got = call()
                return np.concatenate([got[k][i].ravel() for i in range(4) for k in BLOCKS])

            return first

        for both in (False, True):
            skip = ["floor"] * both + ["loop"] * (B > 1000)
            names = {OURS if k == "refbilevel" else k: v for k, v in IMPLEMENTATIONS.items() if k not in skip}
            yield Case(
                "Q2", f"{B} QPs, n = {n}, {'forward and VJP' if both else 'VJP'}; milliseconds a batch",
                {k: lambda make=make, both=both: build(make, both) for k, make in names.items()},
                np.concatenate([exact[i][k].ravel() for i in range(4) for k in BLOCKS]), floor="" if both else "floor",
                goal=f"Goal: {(15 if both else 5) * B / 1000:.3g} ms ({15 if both else 5} microseconds a QP).",
            )  # fmt: skip


def main(batches, n=20):
    print(f"{'B':>5} {'implementation':<12} {'forward us/QP':>14} {'VJP us/QP':>10} {'both':>7} {'ratio':>6} {'digits':>6}")
    for B in batches:
        members = [problem(n, seed) for seed in range(B)]
        blocks = {name: np.stack([member[0][name] for member in members]) for name in BLOCKS}
        actives, bars = np.stack([member[1] for member in members]), np.random.default_rng(1).standard_normal((B, n))
        exact = [truth(members[i][0], members[i][1], bars[i])[0] for i in range(4)]
        base = None
        for name, make in IMPLEMENTATIONS.items():
            if name in NEEDS and importlib.util.find_spec(NEEDS[name]) is None:
                continue
            forward, vjp = make(blocks, actives, bars)
            times = np.array([best(forward, 1.0) if forward else np.nan, best(vjp, 1.0)]) / B
            base = times.sum() if base is None else base
            got = vjp()
            worst = min(digits({k: got[k][i] for k in BLOCKS}, exact[i]) for i in range(4))
            print(f"{B:>5} {name:<12} {times[0]:>14.2f} {times[1]:>10.2f} {times.sum():>7.2f} {times.sum() / base:>6.2f} {worst:>6.1f}")


if __name__ == "__main__":
    main([int(B) for B in sys.argv[1:]] or [128, 4096])

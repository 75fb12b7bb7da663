"""Pictures: each function draws on `ax` (made if None) and returns it. Needs matplotlib (the extra `plot`).

    convergence      F and the projected hypergradient norm against iterations, one curve a run
    landscape        x -> F(x) = f(x, y*(x)) over a line or a plane, kinks marked
    error_vs_cost    error of an estimator against what it cost
    beta_sweep       error of equilibrium propagation (or of a penalty) against its parameter, with the declared slope
    digits_heatmap   digits by row and column (class x difficulty)
    profile          performance profiles (Dolan & More, Math. Programming 91, 2002)
"""

from __future__ import annotations

import numpy as np

from .errors import ArgumentError, require

CYCLE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")  # Okabe & Ito: told apart by colour-blind readers
MARKS = "osD^vP*"


def _axes(ax):
    pyplot = require("matplotlib.pyplot", "plot", "refbilevel.plot")
    if ax is None:
        _, ax = pyplot.subplots(figsize=(6.4, 4.2), layout="constrained")
    ax.spines[["top", "right"]].set_visible(False)
    return ax


def _style(i):
    return {"color": CYCLE[i % len(CYCLE)], "marker": MARKS[i % len(MARKS)], "markersize": 4, "linewidth": 1.4}


def convergence(runs, ax=None, what="projected_norm"):
    """Iterations against `what` (an attribute of the history's Iterates; "fun" is shown as the gap to the best).

    Parameters
    ----------
    runs : OptimizeResult, or {name: OptimizeResult}
        Results of `minimize`.
    """
    ax = _axes(ax)
    runs = runs if isinstance(runs, dict) and "history" not in runs else {getattr(runs, "method", "run"): runs}
    best = min(min(h.fun for h in run.history) for run in runs.values())
    for i, (name, run) in enumerate(runs.items()):
        values = np.array([getattr(h, what) for h in run.history], float)
        ax.semilogy(np.maximum(values - best if what == "fun" else values, 1e-17), label=name, **_style(i))
    ax.set_xlabel("iteration")
    ax.set_ylabel("F - best F" if what == "fun" else what.replace("_", " "))
    if len(runs) > 1:
        ax.legend(frameon=False)
    return ax


def landscape(problem, x, direction=None, second=None, *, width=1.0, points=101, ax=None):
    """F(x + t d) for t in [-width, width], or over a plane with `second`; changes of the active set are marked.

    Parameters
    ----------
    problem : BilevelProblem
    x : (n,) centre
    direction, second : (n,), optional
        The line (default: the first axis) and, for a plane, its second axis.
    """
    from .lower.solve import solve_lower

    x = np.atleast_1d(np.asarray(x, float))
    d = np.eye(len(x))[0] if direction is None else np.asarray(direction, float)
    t = np.linspace(-width, width, points)
    ax = _axes(ax)
    if second is not None:
        return _plane(problem, x, d, np.asarray(second, float), t[:: max(points // 41, 1)], ax)
    lowers = [solve_lower(problem, x + s * d) for s in t]
    F = np.array([problem.f(x + s * d, low.y) if low.success or low.status == "degenerate" else np.nan for s, low in zip(t, lowers)])
    ax.plot(t, F, color=CYCLE[0], linewidth=1.6)
    kinks = [i for i in range(1, points) if not np.array_equal(lowers[i].active, lowers[i - 1].active)]
    for count, i in enumerate(kinks):
        ax.axvline((t[i] + t[i - 1]) / 2, color=CYCLE[1], linewidth=0.8, linestyle=":", label="active set changes" if count == 0 else None)
    if kinks:
        ax.legend(frameon=False)
    ax.set_xlabel("t  (x + t d)")
    ax.set_ylabel("F(x) = f(x, y*(x))")
    return ax


def _plane(problem, x, d, e, t, ax):
    from .lower.solve import solve_lower

    F = np.array([[problem.f(z, solve_lower(problem, z).y) for z in (x + s * d + r * e for s in t)] for r in t])
    picture = ax.contourf(t, t, F, levels=24, cmap="viridis")
    ax.figure.colorbar(picture, ax=ax, label="F(x)")
    ax.plot(0, 0, "w+")
    ax.set_xlabel("first direction")
    ax.set_ylabel("second direction")
    return ax


def error_vs_cost(curves, ax=None, cost="Hessian-vector products"):
    """{name: (costs, errors)} on log axes."""
    ax = _axes(ax)
    for i, (name, (costs, errors)) in enumerate(curves.items()):
        ax.loglog(costs, np.maximum(errors, 1e-17), label=name, **_style(i))
    ax.set_xlabel(cost)
    ax.set_ylabel("error of the hypergradient")
    ax.legend(frameon=False)
    return ax


def beta_sweep(curves, ax=None, slopes=None, parameter="beta"):
    """{name: (betas, errors)} on log axes; `slopes` {name: order} draws the declared law beside the curve."""
    ax = _axes(ax)
    for i, (name, (betas, errors)) in enumerate(curves.items()):
        betas, errors = np.asarray(betas, float), np.maximum(errors, 1e-17)
        ax.loglog(betas, errors, label=name, **_style(i))
        if slopes and name in slopes:
            anchor = int(np.argmax(betas))
            law = errors[anchor] * (betas / betas[anchor]) ** slopes[name]
            shown = law > 0.3 * errors.min()
            ax.loglog(betas[shown], law[shown], color=CYCLE[i % len(CYCLE)], linestyle="--", linewidth=0.8)
    ax.set_xlabel(parameter)
    ax.set_ylabel("error of the hypergradient")
    ax.legend(frameon=False)
    return ax


def digits_heatmap(digits, ax=None):
    """{row: {column: digits}} as a table of coloured cells with the numbers in them."""
    rows, columns = list(digits), list(dict.fromkeys(c for row in digits.values() for c in row))
    if not rows:
        raise ArgumentError("digits must hold at least one row")
    table = np.array([[digits[r].get(c, np.nan) for c in columns] for r in rows], float)
    ax = _axes(ax)
    ax.imshow(np.ma.masked_invalid(table), cmap="RdYlGn", vmin=0, vmax=15, aspect="auto")
    for i, j in np.ndindex(table.shape):
        if np.isfinite(table[i, j]):
            ax.text(j, i, f"{table[i, j]:.1f}", ha="center", va="center", fontsize=8)
    ax.set_xticks(range(len(columns)), columns)
    ax.set_yticks(range(len(rows)), rows)
    ax.spines[:].set_visible(False)
    return ax


def profile(costs, ax=None, cost="evaluations"):
    """Performance profiles: {solver: [cost on problem 1, 2, ...]}, nan or inf where it failed."""
    ax = _axes(ax)
    table = np.array([np.asarray(c, float) for c in costs.values()])
    table[~np.isfinite(table)] = np.inf
    ratios = table / np.maximum(table.min(axis=0), 1e-300)
    top = np.max(ratios[np.isfinite(ratios)], initial=2.0) * 1.05
    for i, (name, row) in enumerate(zip(costs, ratios)):
        steps = np.sort(row[np.isfinite(row)])
        ax.step([1.0, *steps, top], [0.0, *np.arange(1, len(steps) + 1), len(steps)] / np.float64(table.shape[1]), where="post", label=name, color=CYCLE[i % len(CYCLE)])
    ax.set_xscale("log")
    ax.set_xlabel(f"{cost}, ratio to the best")
    ax.set_ylabel("fraction of problems solved")
    ax.legend(frameon=False)
    return ax

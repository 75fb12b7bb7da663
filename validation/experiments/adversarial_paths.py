"""Shortest paths and their interdiction on generated grid maps: terrain costs learned through the layer against a two-stage baseline.

Each cell has features phi: height, wetness and two that do not matter, smoothed over the map. Wetness makes valleys slow (mud) and
mountains faster (snow), and mountains cost far more: c = exp(0.7 wet) below height 0.3, 6 exp(-0.7 wet) above, times noise. The
model is affine, c_hat = theta.(1, phi), and cannot say both: misspecified on purpose, as in the literature of decision-focused
learning, since regression then spends itself on mountains that few paths enter. With a truth that is affine it has no such
disadvantage: the third task is that control.

    path           y(c) = argmin over monotone paths of c.y on 8 x 8 cells; learned from the best paths of the training maps
    interdiction   an interdictor lengthens 2 of 38 edges across a 4 x 4 grid by 3, the traveller answers: (x, y)(c); learned from
                   the traveller's answers by re-solving the whole game (joint), the path alone (decoupled), or the game
                   under noise (perturbed: a heuristic here, as the answer is not the argmin of one linear cost), or from
                   both decisions (joint, x too)

The two-stage baseline regresses the cells' costs (which it sees, and the others do not) on phi, then solves. The others start at the
same neutral theta, run Adam on the Hamming distance between decisions (perturbed: on the Fenchel-Young loss), and keep the epoch
that is best on validation maps; the two-stage model is given the validation maps for its regression instead. Regret is relative to
the true optimum, on test maps: sum (c.y_hat - c.y) / sum c.y; for interdiction, what the interdictor loses of the delay of its best plan.

    python -m refbilevel.validation.experiments.adversarial_paths [--out figure.png]

Claim (Alesiani 2023; Vlastelica et al. 2020; Elmachtoub & Grigas 2022): costs learned through the solver beat the two-stage ones.
"""

from __future__ import annotations

import numpy as np

from refbilevel.layers.combinatorial import GridPath, ShortestPath, ShortestPathInterdiction
from refbilevel.layers.combinatorial.estimators import blackbox, fenchel_young, identity
from refbilevel.validation.experiments.worked import mean_and_interval, run

FEATURES = 4


def maps(rng, count, side, affine=False):
    """(Phi (count, cells, FEATURES + 1), true costs (count, cells)) of smooth random terrain."""
    raw = rng.standard_normal((count, side, side, FEATURES))
    smooth = raw + sum(np.roll(raw, s, a) for s in (1, -1) for a in (1, 2)) / 2
    phi = (smooth / smooth.std()).reshape(count, side * side, FEATURES)
    height, wet = phi[..., 0], phi[..., 1]
    clean = np.maximum(4.0 + height + 0.5 * wet, 0.2) if affine else np.where(height > 0.3, 6 * np.exp(-0.7 * wet), np.exp(0.7 * wet))
    noise = rng.uniform(0.8, 1.2, clean.shape)
    return np.concatenate([np.ones((*phi.shape[:2], 1)), phi], axis=2), clean * noise


def two_stage(Phi, C):
    """theta of least squares, cell by cell."""
    return np.linalg.lstsq(Phi.reshape(-1, Phi.shape[2]), C.ravel(), rcond=None)[0]


def adam(theta, slope, measure, epochs, items, rng, rate):
    """The best theta by `measure` over the epochs of stochastic Adam; slope(theta, i) is the gradient on map i."""
    first, second, t = np.zeros_like(theta), np.zeros_like(theta), 0
    best, low = theta, measure(theta)
    for _ in range(epochs):
        for i in rng.permutation(items):
            gradient = slope(theta, i)
            t += 1
            first, second = 0.9 * first + 0.1 * gradient, 0.99 * second + 0.01 * gradient**2
            theta = theta - rate * first / (1 - 0.9**t) / (np.sqrt(second / (1 - 0.99**t)) + 1e-8)
        if (value := measure(theta)) < low:
            best, low = theta, value
    return best


# shortest paths

def _path_cotangents(solver, targets):
    """{method: (i, c) -> cotangent on the costs of map i}."""

    def hamming(y):
        return 1.0 - 2.0 * y

    return {
        "blackbox": lambda i, c: blackbox(solver, c, hamming(targets[i]), tau=2.0),
        "identity": lambda i, c: identity(solver, c, solver(c) - targets[i]),
        "perturbed": lambda i, c: fenchel_young(solver, c, targets[i], eps=0.5, samples=8, rng=i)[1],
    }


def _through(Phi, cotangent):
    """(theta, i) -> the gradient on map i of the affine model with this cotangent on its costs."""
    return lambda theta, i: Phi[i].T @ cotangent(i, Phi[i] @ theta)


def path_trial(seed, counts=(60, 40, 100), epochs=15, side=8, affine=False):
    """{method: relative regret on the test maps}."""
    rng = np.random.default_rng(seed)
    solver = GridPath(side, side)
    data = [maps(rng, count, side, affine) for count in counts]
    (Phi, C), (Phi_v, C_v), test = data
    best_paths = [np.array([solver(c) for c in costs]) for _, costs in data]

    def regret(theta, k):
        features, costs = data[k]
        optimal = np.sum(costs * best_paths[k])
        return (np.sum(costs * np.array([solver(p @ theta) for p in features])) - optimal) / optimal

    start = np.r_[1.0, np.zeros(FEATURES)]
    found = {"two-stage": two_stage(np.concatenate([Phi, Phi_v]), np.concatenate([C, C_v]))}
    for name, cotangent in _path_cotangents(solver, best_paths[0]).items():
        found[name] = adam(start, _through(Phi, cotangent), lambda theta: regret(theta, 1), epochs, len(C), rng, 0.03)
    return {name: regret(theta, 2) for name, theta in found.items()} | {"untrained": regret(start, 2)}


# interdiction

def game(side=4, delay=3.0, budget=2):
    """(the game from the left side of a grid to its right one, moving right, straight or diagonal; the cell each edge enters, -1: none)."""
    source, target = side * side, side * side + 1
    edges = [(source, i * side) for i in range(side)]
    steps = [(i, j, k) for j in range(side - 1) for i in range(side) for k in (i - 1, i, i + 1) if 0 <= k < side]
    edges += [(i * side + j, k * side + j + 1) for i, j, k in steps]
    edges += [(i * side + side - 1, target) for i in range(side)]
    enters = np.array([-1 if j == target else j for _, j in edges])
    path = ShortestPath(side * side + 2, np.array(edges), source, target)
    return ShortestPathInterdiction(path, np.where(enters >= 0, delay, 0.0), budget), enters


def on_edges(cells, enters):
    """Values of the cells entered, (..., cells, j) -> (..., edges, j); zero for the edges to the target."""
    return np.where((enters >= 0)[:, None], cells[..., np.maximum(enters, 0), :], 0.0)


GAME = ("joint", "joint, x too", "decoupled", "perturbed")


def game_trial(seed, counts=(40, 40, 60), epochs=8, side=4, affine=False, methods=GAME):
    """{method: share of the best interdicted length that the interdictor loses on the test maps}."""
    rng = np.random.default_rng(seed)
    layer, enters = game(side)
    data = [maps(rng, count, side, affine) for count in counts]
    cells = data
    data = [(on_edges(Phi, enters), on_edges(C[..., None], enters)[..., 0]) for Phi, C in data]
    played = [[layer.solve(c) for c in costs] for _, costs in data]
    worth = [sum(length(layer, c, x) for c, (x, _) in zip(costs, games)) for (_, costs), games in zip(data, played)]

    def predicted(features, theta):
        return np.maximum(features @ theta, 0.0)

    def regret(theta, k):
        features, costs = data[k]
        return 1.0 - sum(length(layer, c, layer.solve(predicted(p, theta))[0]) for p, c in zip(features, costs)) / worth[k]

    def answer(c):
        return layer.solve(np.maximum(c, 0.0))[1]

    def cotangents(i, c):
        x, y = played[0][i]
        return {
            "joint": lambda: layer.vjp(c, None, 1.0 - 2.0 * y, tau=1.0),
            "joint, x too": lambda: layer.vjp(c, 1.0 - 2.0 * x, 1.0 - 2.0 * y, tau=1.0),
            "decoupled": lambda: layer.vjp(c, None, 1.0 - 2.0 * y, method="decoupled", tau=1.0),
            "perturbed": lambda: fenchel_young(answer, c, y, eps=0.5, samples=4, rng=i)[1],
        }

    def slope(name):
        def of(theta, i):
            c = predicted(Phi[i], theta)
            return Phi[i].T @ (cotangents(i, c)[name]() * (c > 0))

        return of

    (Phi, C), _, _ = data
    start = np.r_[2.0, np.zeros(FEATURES)]
    found = {"two-stage": two_stage(*(np.concatenate(parts) for parts in zip(*cells[:2])))}
    for name in methods:
        found[name] = adam(start, slope(name), lambda theta: regret(theta, 1), epochs, len(C), np.random.default_rng(seed), 0.05)
    return {name: regret(theta, 2) for name, theta in found.items()} | {"untrained": regret(start, 2)}


def length(layer, c, x):
    """The traveller's shortest path on true costs c under the interdiction x."""
    delayed = c + layer.delay * x
    return float(delayed @ layer.path(delayed))


# the study

def study(seeds=range(10), path=None, interdiction=None):
    """`path`, `interdiction`: options of the two trials."""
    tasks = {
        "path": [path_trial(s, **(path or {})) for s in seeds],
        "interdiction": [game_trial(s, **(interdiction or {})) for s in seeds],
        "path, affine truth": [path_trial(s, affine=True, **(path or {})) for s in seeds],
    }
    tables = {task: {name: 100 * np.array([t[name] for t in trials]) for name in trials[0]} for task, trials in tasks.items()}
    rows, notes = [], []
    for task, regrets in tables.items():
        base = regrets["two-stage"]
        for name, values in regrets.items():
            mean, half = mean_and_interval(values)
            rows.append((task, name, f"{mean:.2f} ± {half:.2f}", f"{(values < base).sum()} of {len(base)}"))
            if name not in ("two-stage", "untrained"):
                notes.append(verdict(task, name, base - values))

    def draw(figure):
        for axes, (task, regrets) in zip(figure.subplots(1, 3), tables.items()):
            for i, (name, values) in enumerate(regrets.items()):
                mean, half = mean_and_interval(values)
                axes.errorbar([i], [mean], [half], fmt="o", capsize=4)
                axes.plot(i + 0.15 + np.zeros(len(values)), values, ".", color="0.7")
            axes.set_xticks(range(len(regrets)), list(regrets), rotation=35, ha="right")
            axes.set(ylabel="regret on test maps, %", title=task, ylim=(0, None))

    return ("task", "method", "regret, % of optimum", "below two-stage in"), rows, draw, *notes


def verdict(task, name, gain):
    """Claim and measurement side by side, from the paired differences two-stage minus method."""
    mean, half = mean_and_interval(gain)
    word = "holds" if mean > half else "is reversed" if mean < -half else "is not decided"
    return f"{task}, {name}: the claim that it beats two-stage {word} (regret lower by {mean:.2f} ± {half:.2f} points)."


if __name__ == "__main__":
    run(__doc__, study)

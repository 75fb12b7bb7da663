"""Recipes of the layer (a solved bilevel program) and of the finite choice."""

from __future__ import annotations

from itertools import combinations, product

import numpy as np

from ..build import total
from .integers import TINY, ints, record, spd, stream, upper

#: (inputs k, inner n, inner m) of the instances of layer
SIZES = {
    "lower": ((3, 1, 1), (2, 2, 3), (1, 1, 2)), "average": ((2, 3, 4), (5, 2, 2), (3, 1, 4)), "higher": ((2, 2, 4), (4, 2, 3), (3, 3, 2)),
}  # fmt: skip
HIGHER = {1: ["ill-conditioned"], 2: ["near-stationary"], 3: ["scaled"]}


def layer(difficulty, instance):
    """Inner solution (x, y) near small integers; third derivatives of the quartic lower objective enter the derivative."""
    rng = stream("layer", difficulty, instance)
    k, n, m = SIZES[difficulty][instance - 1]
    tags = list(HIGHER[instance]) if difficulty == "higher" else []
    quartic = difficulty != "lower" or instance > 1
    z, x, y = ints(rng, k), ints(rng, n, zero=False), ints(rng, m, bound=2, zero=False)
    s = np.concatenate([z, x])
    H = spd(rng, m, 1e7 if "ill-conditioned" in tags else 30.0)
    C = ints(rng, k + n, m, zero=False)
    A, B, r = ints(rng, m, m, bound=1), ints(rng, m, k + n, bound=1), ints(rng, m, bound=1)
    if "ill-conditioned" in tags:
        A, B, r = A[:1], B[:1], np.ones(1)
    b = -H @ y - s @ C
    lower = [{"kind": "quadratic", "yy": H, "xy": C}]
    if quartic:
        lower.append({"kind": "loss", "loss": "quartic", "A": A, "B": B, "c": r - A @ y - B @ s, "scale": 0.25})
        b = b - 0.25 * A.T @ r**3
    lower[0]["y"] = b
    spec = record(
        "layer", difficulty, instance, k, n + m, f"a layer of {k} inputs: the upper ({n}) and lower ({m}) solution of a bilevel program",
        tags=[*tags, "nonlinear"] if quartic else tags, truth="layer", x=z, f=[upper(rng, k, n + m)],
        layer={"n": n, "m": m, "upper": [_inner_upper(rng, s, y, k, n, lower)], "lower": lower},
    )  # fmt: skip
    F, g = (total(spec["layer"][name], k + n, m) for name in ("upper", "lower"))
    v = np.round(np.linalg.solve(g.d_yy(s, y), F.d_y(s, y)) * 1024) / 1024
    return spec | {"start": np.concatenate([x, y, v])}, {"y": np.concatenate([x, y]), "v": v}


def _inner_upper(rng, s, y, k, n, lower):
    """A quadratic F(z, x, y), strongly convex in x, with the linear term in x that makes the integer point stationary to rounding."""
    m = len(y)
    record = {
        "kind": "quadratic", "yy": spd(rng, m, 10.0), "xy": ints(rng, k + n, m, bound=1), "xx": np.zeros((k + n, k + n)),
        "y": ints(rng, m), "x": np.zeros(k + n),
    }  # fmt: skip
    record["xx"][k:, k:] = 4.0 * np.eye(n)
    cross = ints(rng, k, n)
    record["xx"][:k, k:], record["xx"][k:, :k] = cross, cross.T
    F, g = total([record], k + n, m), total(lower, k + n, m)
    slope = F.d_x(s, y) - g.d_xy(s, y) @ np.linalg.solve(g.d_yy(s, y), F.d_y(s, y))
    record["x"][k:] = -np.round(slope[k:] / TINY) * TINY
    return record


#: (n, m, feasible set) of the instances of combinatorial
CHOICES = {
    "lower": ((3, 4, "assignment"), (1, 3, "cube"), (2, 1, "cube")),
    "average": ((4, 9, "assignment"), (3, 5, "two of them"), (2, 6, "two of them")),
    "higher": ((4, 9, "assignment"), (3, 5, "two of them"), (2, 4, "cube"), (5, 3, "cube")),
}


def combinatorial(difficulty, instance):
    """min_y (C'x + c).y over a finite set; "higher": near ties, a scaled f, an exact tie."""
    rng = stream("combinatorial", difficulty, instance)
    n, m, kind = CHOICES[difficulty][instance - 1]
    points = feasible(m, kind)
    x, C, best = ints(rng, n), ints(rng, n, m), points[rng.randrange(len(points))]
    tags = {1: ["margin"], 2: ["scaled"], 3: ["tie"], 4: ["margin"]}[instance] if difficulty == "higher" else []
    weights = np.abs(ints(rng, m, zero=False))  # cost(y) - cost(best) = weights . |y - best|
    if "margin" in tags or "tie" in tags:
        distances = np.abs(points - best).sum(axis=1)
        runner = points[np.argmin(np.where(distances > 0, distances, np.inf))]
        axes = np.flatnonzero(runner != best)
        weights[axes] = 0.0
        weights[axes[0]] = TINY if "margin" in tags else 0.0
    spec = record(
        "combinatorial", difficulty, instance, n, m, f"the cheapest point of a finite set ({kind}); the choice does not move with x",
        tags=[*tags, "discrete"], truth="discrete", x=x, f=[upper(rng, n, m)],
        g=[{"kind": "quadratic", "xy": C, "y": weights * (1.0 - 2.0 * best) - x @ C}], feasible=points,
    )  # fmt: skip
    return spec, {}


def feasible(m, kind):
    """The cube {0, 1}^m, all 0/1 vectors with two ones, or the permutation matrices of size sqrt(m)."""
    if kind == "cube":
        return np.array(list(product((0.0, 1.0), repeat=m)))
    if kind == "two of them":
        return np.array([[float(i in pair) for i in range(m)] for pair in combinations(range(m), 2)])
    size = int(np.sqrt(m))
    squares = feasible(m, "cube").reshape(-1, size, size)
    return squares[(squares.sum(axis=1) == 1).all(axis=1) & (squares.sum(axis=2) == 1).all(axis=1)].reshape(-1, m)


RECIPES = {"layer": layer, "combinatorial": combinatorial}

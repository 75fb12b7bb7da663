"""Recipes of the unconstrained classes."""

from __future__ import annotations

import numpy as np

from ..build import total
from .integers import TINY, ints, record, spd, stream, upper

#: (n, m) of instances 1, 2, 3, ...: never square, one with m = 1, one with n = 1
SIZES = {"lower": ((2, 3), (1, 4), (3, 1), (4, 3)), "average": ((3, 5), (5, 3), (1, 6)), "higher": ((3, 6), (5, 4), (2, 7))}
CONDITION = {"lower": 30.0, "average": 3e3, "higher": 1e8}
HIGHER = {1: "ill-conditioned", 2: "near-stationary", 3: "scaled"}


def tags_of(difficulty, instance):
    """What makes an instance of "higher" hard; the others carry no special tag."""
    return [HIGHER[instance]] if difficulty == "higher" else []


def condition_of(difficulty, instance):
    """Near-stationary points and scaled losses keep a moderate condition number, so that one cause shows at a time."""
    return 30.0 if (difficulty, instance) in (("higher", 2), ("higher", 3)) else CONDITION[difficulty]


def start(spec):
    """The unconstrained minimiser of g to float accuracy: a start for certification."""
    from scipy.optimize import minimize

    g, x = total(spec["g"], spec["n"], spec["m"]), np.array(spec["x"], float)
    found = minimize(lambda y: g.value(x, y), np.zeros(spec["m"]), jac=lambda y: g.d_y(x, y), hess=lambda y: g.d_yy(x, y),
                     method="trust-exact", options={"gtol": 1e-9, "maxiter": 2000})  # fmt: skip
    return {"y": [float(v) for v in found.x]}


def centred(rng, H, C):
    """The quadratic term y'Hy/2 + x'Cy + b'y with b = -Hy* for a small integer y*: solutions stay of order one however ill-conditioned H."""
    return {"kind": "quadratic", "yy": H, "xy": C, "y": -H @ ints(rng, len(H))}


def quadratic(difficulty, instance):
    rng = stream("quadratic", difficulty, instance)
    n, m = SIZES[difficulty][instance - 1]
    identity = (difficulty, instance) == ("lower", 4)
    H = 2.0 * np.eye(m) if identity else spd(rng, m, condition_of(difficulty, instance))
    spec = record(
        "quadratic", difficulty, instance, n, m,
        "g = y'Hy/2 + x'Cy + b'y with " + ("H = 2I" if identity else "a full Hessian H"),
        tags=[*tags_of(difficulty, instance), "identity-hessian" if identity else "full-hessian"],
        x=ints(rng, n), f=[upper(rng, n, m)], g=[centred(rng, H, ints(rng, n, m, zero=False))],
    )  # fmt: skip
    spec["g"][0]["y"] -= spec["x"] @ spec["g"][0]["xy"]
    return spec, start(spec)


RECIPES = {"quadratic": quadratic}

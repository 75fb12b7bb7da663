"""Recipes of the unconstrained classes."""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize

from ..build import total
from .integers import ints, record, spd, stream, upper

#: (n, m) of instances 1, 2, 3, ...: never square, one with m = 1, one with n = 1
SIZES = {"lower": ((2, 3), (1, 4), (3, 1), (4, 3)), "average": ((3, 5), (5, 3), (1, 6)), "higher": ((3, 6), (5, 4), (2, 7))}
CONDITION = {"lower": 30.0, "average": 3e3, "higher": 1e8}
HIGHER = {1: "ill-conditioned", 2: "near-stationary", 3: "scaled"}


def tags_of(difficulty, instance):
    """What makes an instance of "higher" hard; the others carry no such tag."""
    return [HIGHER[instance]] if difficulty == "higher" else []


def condition_of(difficulty, instance):
    """Near-stationary points and scaled losses keep a moderate condition number, so that one cause shows at a time."""
    return 30.0 if difficulty == "higher" and instance > 1 else CONDITION[difficulty]


def start(spec):
    """The unconstrained minimiser of g to float accuracy: a start for certification."""
    g, x = total(spec["g"], spec["n"], spec["m"]), np.array(spec["x"], float)
    found = minimize(lambda y: g.value(x, y), np.zeros(spec["m"]), jac=lambda y: g.d_y(x, y), hess=lambda y: g.d_yy(x, y),
                     method="trust-exact", options={"gtol": 1e-9, "maxiter": 2000})  # fmt: skip
    return {"y": [float(v) for v in found.x]}


def quadratic(difficulty, instance):
    rng = stream("quadratic", difficulty, instance)
    n, m = SIZES[difficulty][instance - 1]
    identity = (difficulty, instance) == ("lower", 4)
    H = 2.0 * np.eye(m) if identity else spd(rng, m, condition_of(difficulty, instance))
    x, C, y = ints(rng, n), ints(rng, n, m, zero=False), ints(rng, m)
    spec = record(
        "quadratic", difficulty, instance, n, m,
        "g = y'Hy/2 + x'Cy + b'y with " + ("H = 2I" if identity else "a full Hessian H") + "; y* is a small integer vector",
        tags=[*tags_of(difficulty, instance), "identity-hessian" if identity else "full-hessian"],
        x=x, f=[upper(rng, n, m)], g=[{"kind": "quadratic", "yy": H, "xy": C, "y": -H @ y - x @ C}],
    )  # fmt: skip
    return spec, {"y": y}


def groups(m, n):
    """(m, n) assignment of coordinates to penalties: coordinate j belongs to group j mod n; for n > m, group i also to i mod m."""
    E = np.zeros((m, n))
    for k in range(max(m, n)):
        E[k % m, k % n] = 1.0
    return E


def design(rng, rows, m, dependent=False):
    """An integer design; if `dependent`, its last column is the sum of the others, so the penalty alone bounds the Hessian."""
    A = ints(rng, rows, m)
    if dependent and m > 1:
        A[:, -1] = A[:, :-1].sum(axis=1)
    return A


def direct(n, rng):
    """The direct term x'x/32 + a'x of a validation objective."""
    return {"kind": "quadratic", "xx": 0.0625 * np.eye(n), "x": 0.5 * ints(rng, n, zero=False)}


def dependent(difficulty, instance):
    """Whether the training design has dependent columns."""
    return difficulty == "average" or (difficulty, instance) == ("higher", 1)


def penalties(rng, n, difficulty, instance):
    """Log-penalties: mild; down to e^-6; at "higher" e^-14 where the instance is to be ill-conditioned."""
    if difficulty == "average":
        return -3.0 - np.abs(ints(rng, n))
    return np.full(n, -14.0) - 0.5 * np.arange(n) if (difficulty, instance) == ("higher", 1) else 0.5 * ints(rng, n, bound=2)


def ridge(difficulty, instance):
    rng = stream("ridge", difficulty, instance)
    n, m = SIZES[difficulty][instance - 1]
    identity = (difficulty, instance) == ("lower", 4)
    A = np.vstack([np.eye(m), np.zeros((1, m))]) if identity else design(rng, m + 4, m, dependent(difficulty, instance))
    x = np.zeros(n) if identity else penalties(rng, n, difficulty, instance)
    E = np.eye(n)[np.arange(m) % n] if identity else groups(m, n)
    spec = record(
        "ridge", difficulty, instance, n, m, "least squares with log-penalties x on groups of coordinates; f is the validation loss",
        tags=[*tags_of(difficulty, instance), "identity-hessian" if identity else "full-hessian"], x=x,
        f=[direct(n, rng), {"kind": "loss", "loss": "square", "A": design(rng, m + 2, m), "c": ints(rng, m + 2)}],
        g=[{"kind": "loss", "loss": "square", "A": A, "c": ints(rng, len(A))}, {"kind": "ridge", "E": E}],
    )  # fmt: skip
    return spec, start(spec)


def logistic(difficulty, instance):
    rng = stream("logistic", difficulty, instance)
    n, m = SIZES[difficulty][instance - 1]
    signs = ints(rng, m + 8, 1, bound=1, zero=False)
    spec = record(
        "logistic", difficulty, instance, n, m, "logistic regression with log-penalties x on groups of weights; f is the validation loss",
        tags=[*tags_of(difficulty, instance), "full-hessian", "nonlinear"], x=penalties(rng, n, difficulty, instance),
        f=[direct(n, rng), {"kind": "loss", "loss": "logistic", "A": signs[: m + 3] * design(rng, m + 3, m)}],
        g=[{"kind": "loss", "loss": "logistic", "A": signs * design(rng, m + 8, m, dependent(difficulty, instance))},
           {"kind": "ridge", "E": groups(m, n)}],
    )  # fmt: skip
    return spec, start(spec)


#: (n, classes, features) of the instances of softmax
SOFTMAX = {
    "lower": ((2, 3, 1), (1, 2, 2), (4, 3, 2)), "average": ((3, 3, 2), (5, 2, 2), (1, 3, 2)), "higher": ((2, 3, 2), (4, 3, 1), (3, 2, 4)),
}  # fmt: skip


def softmax(difficulty, instance):
    rng = stream("softmax", difficulty, instance)
    n, classes, features = SOFTMAX[difficulty][instance - 1]

    def loss(rows, dependent=False):
        labels = [k % classes for k in range(rows)]
        return {"kind": "softmax", "X": design(rng, rows, features, dependent), "onehot": np.eye(classes)[rng.sample(labels, rows)]}

    m = classes * features
    spec = record(
        "softmax", difficulty, instance, n, m,
        f"multinomial logistic regression, {classes} classes x {features} features; f is the validation loss",
        tags=[*tags_of(difficulty, instance), "full-hessian", "nonlinear"], x=penalties(rng, n, difficulty, instance),
        f=[direct(n, rng), loss(m + 3)], g=[loss(m + 6, dependent(difficulty, instance)), {"kind": "ridge", "E": groups(m, n)}],
    )  # fmt: skip
    return spec, start(spec)


def quartic(difficulty, instance):
    """b is chosen so that the solution is a small integer vector with small integer residuals r."""
    rng = stream("quartic", difficulty, instance)
    n, m = SIZES[difficulty][instance - 1]
    A, B, H = ints(rng, m + 1, m, bound=2), ints(rng, m + 1, n, bound=2), spd(rng, m, condition_of(difficulty, instance))
    x, y, r, C = ints(rng, n), ints(rng, m, bound=2), ints(rng, m + 1, bound=1), ints(rng, n, m)
    if (difficulty, instance) == ("higher", 1):
        A[0], r[1:] = 0.0, 0.0  # the quartic adds no curvature at the solution
    spec = record(
        "quartic", difficulty, instance, n, m, "g = sum (Ay + Bx + c)^4/4 + y'Hy/2 + x'Cy + b'y; integer solution",
        tags=[*tags_of(difficulty, instance), "full-hessian", "nonlinear"], x=x, f=[upper(rng, n, m)],
        g=[{"kind": "loss", "loss": "quartic", "A": A, "B": B, "c": r - A @ y - B @ x},
           {"kind": "quadratic", "yy": H, "xy": C, "y": -H @ y - x @ C - A.T @ r**3}],
    )  # fmt: skip
    return spec, {"y": y}


#: what each instance of degenerate-hessian is
DEGENERATE = {
    "lower": ("minimum_norm", "undefined", "minimum_norm", "undefined"),
    "average": ("minimum_norm", "undefined", "converged"),
    "higher": ("minimum_norm", "undefined", "converged", "ill_conditioned"),
}
DEGENERATE_SIZES = {
    "lower": ((2, 3), (1, 4), (4, 2), (2, 1)), "average": ((3, 5), (5, 3), (2, 4)), "higher": ((3, 6), (5, 4), (2, 7), (3, 4)),
}  # fmt: skip


def degenerate_hessian(difficulty, instance):
    """g depends on y through S y with fewer rows than m, plus (where it converges) a curvature of 2^-6 or 2^-14."""
    rng = stream("degenerate-hessian", difficulty, instance)
    kind, (n, m) = DEGENERATE[difficulty][instance - 1], DEGENERATE_SIZES[difficulty][instance - 1]
    rank = max(m // 2, 1) if m > 1 else 0
    M = np.eye(m)[:rank] + np.vstack([np.eye(m)[1 : rank + 1], np.zeros((rank + (1 - m if rank == m else 0), m))])[:rank]
    S = M + (np.arange(m) >= rank) * ints(rng, rank, m, bound=1, zero=False)
    x, y, B = ints(rng, n), ints(rng, m), ints(rng, rank, n, zero=False)
    g = [{"kind": "loss", "loss": "square", "A": S, "B": B, "c": -S @ y - B @ x}] if rank else [{"kind": "quadratic", "xx": np.eye(n)}]
    if kind == "converged":
        curvature = 2.0 ** {"average": -6, "higher": -14}[difficulty]
        g.append({"kind": "quadratic", "yy": curvature * np.eye(m), "y": -curvature * y})
    if kind == "ill_conditioned":  # graded: E (spd) E with E = diag(1, ..., 2^-30), exact in float64
        E = 2.0 ** -np.where(np.arange(m) == m - 1, 30.0, 0.0)
        H, C = E[:, None] * spd(rng, m, 30.0) * E, ints(rng, n, m, zero=False)
        g = [{"kind": "quadratic", "yy": H, "xy": C, "y": -H @ y - x @ C}]
    T = ints(rng, 2, rank) @ S if kind == "minimum_norm" else ints(rng, 2, m, zero=False)
    spec = record(
        "degenerate-hessian", difficulty, instance, n, m, DESCRIPTIONS[kind],
        tags=["singular" if kind in ("minimum_norm", "undefined") else "ill-conditioned"], truth=TRUTH[kind], x=x,
        f=[direct(n, rng), {"kind": "loss", "loss": "square", "A": T, "c": ints(rng, 2, bound=5, zero=False) - T @ y}], g=g,
    )  # fmt: skip
    return spec, {"y": y}


TRUTH = {"minimum_norm": "singular", "undefined": "singular", "converged": "regular", "ill_conditioned": "ill_conditioned"}
DESCRIPTIONS = {
    "minimum_norm": "singular Hessian; f sees y only through its range, so the hypergradient is defined although y* is not unique",
    "undefined": "singular Hessian; f_y leaves the range of the Hessian, so the hypergradient is not defined",
    "converged": "a Hessian of low rank plus a small multiple of the identity, which makes y* unique",
    "ill_conditioned": "a graded Hessian, one variable in units 2^30 times too large: condition number beyond 1/eps",
}

#: gain of the map's slope: a contraction, near 1, and (average 3, higher 2) expansive, where iterating the map does not converge
GAIN = {"lower": (0.5, 0.5, 0.5, 0.5), "average": (0.9, 0.9, -2.5), "higher": (1 - 2.0**-5, -4.0, 0.75)}


def fixed_point(difficulty, instance):
    """The map tanh(Wy + Ux + b) with W not symmetric; `gain` is its diagonal."""
    rng = stream("fixed-point", difficulty, instance)
    n, m = SIZES[difficulty][instance - 1]
    gain = GAIN[difficulty][instance - 1]
    tags = ["expansive"] if gain < 0 else tags_of(difficulty, instance)
    W = _slopes(rng, m, gain, corner="ill-conditioned" not in tags)
    x, U = ints(rng, n, bound=2), ints(rng, m, n, bound=2) / 8
    size = 2.0**-12 if "ill-conditioned" in tags else 2.0**-4 if gain < 0 else 0.125
    b = ints(rng, m, bound=2) * size - U @ x
    spec = record(
        "fixed-point", difficulty, instance, n, m, "y = tanh(Wy + Ux + b), W not symmetric; as a minimisation g = |y - T(x, y)|^2/2",
        tags=[*tags, "nonsymmetric", "nonlinear"], x=x, f=[upper(rng, n, m)], g=[{"kind": "fixed_point", "W": W, "U": U, "b": b}],
    )  # fmt: skip
    return spec, {"y": solve_fixed_point(W, U @ x + b)}


def _slopes(rng, m, gain, corner):
    """A full non-symmetric W for which I - DW is regular for every D in [0, 1]^m, so that the fixed point is the only one:

    |W| < 1, or W + W' negative definite (gain < 0), or W triangular with diagonal below 1 (no corner).
    """
    N = np.triu(ints(rng, m, m, bound=2), 1)
    N[-1, 0] += float(corner and m > 1)
    for k in range(2 if corner else 4, 12):
        W = gain * np.eye(m) + N * 2.0**-k
        if not corner or np.linalg.norm(W, 2) < 1 or (np.linalg.eigvalsh(W + W.T) < 0).all():
            return W


def solve_fixed_point(W, b):
    """Newton on y = tanh(Wy + b) along b = t b, from 0."""
    y = np.zeros(len(b))
    for t in np.linspace(0, 1, 21):
        for _ in range(20):
            T = np.tanh(W @ y + t * b)
            y = y - np.linalg.solve(np.eye(len(b)) - (1 - T**2)[:, None] * W, y - T)
    return y


RECIPES = {
    "quadratic": quadratic, "ridge": ridge, "logistic": logistic, "softmax": softmax, "quartic": quartic,
    "degenerate-hessian": degenerate_hessian, "fixed-point": fixed_point,
}  # fmt: skip

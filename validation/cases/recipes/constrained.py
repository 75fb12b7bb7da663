"""Recipes of the constrained classes: the solution and its multipliers are chosen first, the data follow exactly."""

from __future__ import annotations

from itertools import product

import numpy as np

from .integers import TINY, ints, record, spd, stream, upper
from .smooth import CONDITION, direct

#: (n, m, rows of p, strictly active rows, rows of q) of instances 1, 2, ...
SHAPES = {
    "lower": ((2, 4, 4, 2, 1), (1, 3, 3, 1, 0), (3, 1, 2, 1, 0), (2, 3, 3, 0, 0)),
    "average": ((3, 6, 6, 2, 2), (5, 4, 5, 2, 0), (2, 4, 6, 4, 0)),
    "higher": ((3, 6, 6, 2, 1), (4, 5, 6, 2, 1), (2, 5, 5, 2, 1), (5, 6, 6, 3, 0)),
}
HIGHER = {1: ["ill-conditioned"], 2: ["margin"], 3: ["near-stationary"], 4: ["scaled"]}


def full_rank(rng, rows, m, among=4):
    """Integer rows of which the first `among` (those that may be active) are well independent."""
    while True:
        G = ints(rng, rows, m)
        first = G[: min(among, rows)]
        if len(first) == 0 or np.linalg.matrix_rank(first) == len(first) and np.linalg.cond(first) < 20 and np.abs(G).sum(axis=1).all():
            return G


def multipliers(rng, rows, active, margin):
    """(mu, slack): positive integers; the last active multiplier and the first slack are 2^-20 if `margin`."""
    mu, slack = np.zeros(rows), np.zeros(rows)
    mu[:active], slack[active:] = np.abs(ints(rng, active, zero=False)), np.abs(ints(rng, rows - active, zero=False))
    if margin:
        mu[active - 1] = slack[active] = TINY
    return mu, slack


def linear_program(rng, x, y, P, G, A, mu, nu, slack, tags=(), B=None):
    """The blocks g, p, q with solution y and multipliers mu, nu: g = y'Py/2 + x'Cy + c'y, Gy + Bx <= h, Ay + Vx = b."""
    n, m = len(x), len(y)
    C, V = ints(rng, n, m), ints(rng, len(A), n)
    B = ints(rng, len(G), n) if B is None else B
    parts = {"g": [{"kind": "quadratic", "yy": P, "xy": C, "y": -(P @ y + x @ C + G.T @ mu + A.T @ nu)}]}
    if len(G):
        parts["p"] = {"linear": {"A": G, "B": B, "c": -(G @ y + B @ x + slack)}}
    if len(A):
        parts["q"] = {"linear": {"A": A, "B": V, "c": -(A @ y + V @ x)}}
    return parts


def qp(difficulty, instance):
    rng = stream("qp", difficulty, instance)
    n, m, rows, active, equalities = SHAPES[difficulty][instance - 1]
    tags = HIGHER[instance] if difficulty == "higher" else []
    vertex = active + equalities == m
    hard = "ill-conditioned" in tags
    P = spd(rng, m, 1e8, strong=1) if hard else spd(rng, m, CONDITION[difficulty] if difficulty != "higher" else 30.0)
    if vertex and m > 1:
        P = np.outer(*2 * (ints(rng, m, zero=False),))
    both = full_rank(rng, rows + equalities, m, active + equalities)
    A, G = both[:equalities], both[equalities:]
    x, y, nu = ints(rng, n), ints(rng, m), ints(rng, equalities, zero=False)
    mu, slack = multipliers(rng, rows, active, "margin" in tags)
    tags = [*tags, "vertex"] if vertex else [*tags, "inactive"] if active == 0 else tags
    spec = record(
        "qp", difficulty, instance, n, m, f"quadratic program, {active} of {rows} inequalities active, {equalities} equalities",
        tags=tags, x=x, f=[upper(rng, n, m)], **linear_program(rng, x, y, P, G, A, mu, nu, slack),
    )  # fmt: skip
    return spec, {"y": y, "mu": mu, "nu": nu}


#: (n, m, rows, strictly active, weakly active, redundant copies) of the instances of qp-degenerate
DEGENERATE = {
    "lower": ((2, 4, 4, 1, 1, 0), (1, 3, 3, 1, 1, 0), (3, 1, 1, 0, 1, 0), (2, 4, 3, 2, 0, 1)),
    "average": ((3, 6, 5, 1, 2, 0), (5, 4, 4, 1, 1, 0), (2, 5, 4, 2, 0, 1)),
    "higher": ((3, 6, 5, 1, 1, 0), (4, 5, 6, 1, 3, 0), (2, 6, 5, 2, 0, 2), (1, 4, 3, 1, 1, 0)),
}


def qp_degenerate(difficulty, instance):
    """Rows active with multiplier 0 (the hypergradient has several one-sided values), or positive multiples of active rows."""
    rng = stream("qp-degenerate", difficulty, instance)
    n, m, rows, active, weak, copies = DEGENERATE[difficulty][instance - 1]
    tags = ["redundant" if copies else "weakly-active"]
    condition = CONDITION[difficulty] if (difficulty, instance) == ("higher", 1) else 30.0
    G, P = full_rank(rng, rows, m, active + weak), spd(rng, m, condition, strong=1 if condition > 1e6 else None)
    x, y = ints(rng, n), ints(rng, m)
    B = ints(rng, rows, n)
    mu, slack = multipliers(rng, rows, active, False)
    slack[active : active + weak] = 0.0
    double = [0, 1][:copies]
    G, B = np.vstack([G, 2 * G[double]]), np.vstack([B, 2 * B[double]])
    mu, slack = np.append(mu, np.ones(copies)), np.append(slack, np.zeros(copies))
    none = np.zeros((0, m))
    spec = record(
        "qp-degenerate", difficulty, instance, n, m,
        f"{weak} rows weakly active" if weak else f"{copies} active rows are there twice, so the multipliers are not unique",
        tags=[*tags, "ill-conditioned"] if condition > 1e6 else [*tags, "scaled"] if (difficulty, instance) == ("higher", 4) else tags,
        x=x, f=[upper(rng, n, m)], **linear_program(rng, x, y, P, G, none, mu, np.zeros(0), slack, B=B),
        **({"redundant": list(range(rows, rows + copies))} if copies else {}),
    )  # fmt: skip
    return spec, {"y": y, "mu": mu, "nu": []}


#: (n, m, kind) of the instances of qp-infeasible
INFEASIBLE = {
    "lower": ((2, 3, "rows"), (3, 1, "rows"), (1, 4, "unbounded")),
    "average": ((3, 5, "rows and equalities"), (5, 4, "equalities"), (2, 6, "unbounded")),
    "higher": ((3, 6, "rows"), (4, 5, "equalities"), (1, 4, "rows and equalities"), (2, 5, "unbounded")),
}


def qp_infeasible(difficulty, instance):
    """Rows with a positive combination that reads 0 <= -gap; or a direction without curvature along which g falls for ever."""
    rng = stream("qp-infeasible", difficulty, instance)
    n, m, kind = INFEASIBLE[difficulty][instance - 1]
    make = _unbounded if kind == "unbounded" else _contradictory
    parts, certificate, text = make(rng, n, m, kind, TINY if difficulty == "higher" else 1.0)
    tags = ["unbounded" if kind == "unbounded" else "infeasible", *(["margin"] if difficulty == "higher" else [])]
    truth = "unbounded" if kind == "unbounded" else "infeasible"
    spec = record("qp-infeasible", difficulty, instance, n, m, text, tags=tags, truth=truth, f=[upper(rng, n, m)], **parts)
    return spec | {"certificate": certificate}, {}


def _contradictory(rng, n, m, kind, gap):
    rows = 0 if kind == "equalities" else max(m - 1, 1)
    equalities = {"rows": 0, "equalities": 3, "rows and equalities": 1}[kind]
    x, weights = ints(rng, n), np.concatenate([np.abs(ints(rng, rows, zero=False)), ints(rng, equalities, zero=False)])
    A, B, c = full_rank(rng, rows + equalities, m, rows + equalities), ints(rng, rows + equalities, n), ints(rng, rows + equalities)
    last, b = -weights @ A, ints(rng, n)
    d = gap - weights @ (B @ x + c) - b @ x  # so that weights.(Ay + Bx + c) + last.y + b.x + d = gap
    A, B, c = np.vstack([A, last]), np.vstack([B, b]), np.append(c, d)
    split = rows + 1 if rows else 0
    order = [*range(rows), len(A) - 1] if rows else []
    rest = [i for i in range(len(A)) if i not in order]
    weights = np.append(weights, 1.0)
    blocks = {name: {"linear": {"A": A[i], "B": B[i], "c": c[i]}} for name, i in (("p", order), ("q", rest)) if i}
    g = [{"kind": "quadratic", "yy": spd(rng, m, 30.0), "xy": ints(rng, n, m), "y": ints(rng, m)}]
    certificate = {"farkas": {"p": weights[order] if split else [], "q": weights[rest] if rest else []}}
    return {"x": x, "g": g, **blocks}, certificate, f"no y satisfies the {kind}; a combination of them misses zero by {gap:.2g}"


def _unbounded(rng, n, m, kind, gap):
    """g curves in all directions but d, has slope -gap |d|^2 along d; the rows allow d."""
    d = ints(rng, m, zero=False)
    S = ints(rng, m + 1, m) * (d @ d)
    S = S - np.outer(S @ d, d) / (d @ d)  # rows orthogonal to d, integers
    P, x, y, C = S.T @ S, ints(rng, n), ints(rng, m), ints(rng, n, m)
    G, B = ints(rng, 3, m), ints(rng, 3, n)
    G = G * np.where(G @ d > 0, -1.0, 1.0)[:, None]
    g = [{"kind": "quadratic", "yy": P, "xy": C, "y": -gap * d - P @ y - x @ C}]
    blocks = {"x": x, "g": g, "p": {"linear": {"A": G, "B": B, "c": -(G @ y + B @ x + 1.0)}}}
    return blocks, {"ray": d, "from": y}, f"g falls without end along a direction d, with slope {gap:.2g}"


def curvature(rng, m, size=1.0):
    """A full positive definite matrix for a quadratic row."""
    return size * spd(rng, m, 20.0)


def quadratic_row(rng, x, y, S, slack):
    """The term y'Sy/2 + x'By + a'y + d'x - r whose value at (x, y) is -slack; (record, its gradient in y)."""
    B, a, d = ints(rng, len(x), len(y), bound=1), ints(rng, len(y), zero=False), ints(rng, len(x))
    r = 0.5 * y @ S @ y + x @ B @ y + a @ y + d @ x + slack
    return {"kind": "quadratic", "yy": S, "xy": B, "y": a, "x": d, "constant": -r}, S @ y + x @ B + a


def equality(difficulty, instance):
    """Linear rows; at "average" also a curved one, and a Hessian that is positive definite on their null space only."""
    rng = stream("equality", difficulty, instance)
    n, m, rows = {"lower": ((2, 4, 2), (1, 3, 1), (3, 2, 1), (4, 1, 1)), "average": ((3, 6, 3), (5, 4, 1), (2, 5, 2)),
                  "higher": ((3, 6, 2), (4, 5, 2), (2, 7, 3), (1, 4, 1))}[difficulty][instance - 1]  # fmt: skip
    tags = (HIGHER | {2: ["indefinite"]})[instance] if difficulty == "higher" else []
    A, x, y, nu = full_rank(rng, rows, m, rows), ints(rng, n), ints(rng, m, zero=False), ints(rng, rows, zero=False)
    P = spd(rng, m, 1e8, strong=1) if "ill-conditioned" in tags else spd(rng, m, 30.0)
    if "indefinite" in tags or (difficulty, instance) == ("average", 1):
        P, tags = P - 20.0 * A.T @ A, [*tags, "indefinite"]
    none = np.zeros((0, m))
    parts = linear_program(rng, x, y, P, none, A, np.zeros(0), nu, np.zeros(0))
    curved = difficulty == "average" and instance > 1
    if curved:
        row, slope = quadratic_row(rng, x, y, curvature(rng, m, 2.0**-3), 0.0)
        parts["g"][0]["y"] -= 2.0 * slope
        parts["q"]["curved"], nu, tags = [[row]], np.append(nu, 2.0), [*tags, "nonlinear"]
    spec = record(
        "equality", difficulty, instance, n, m, f"{rows} linear equalities" + (" and a quadratic one" if curved else ""),
        tags=tags, x=x, f=[upper(rng, n, m)], **parts,
    )  # fmt: skip
    return spec, {"y": y, "mu": [], "nu": nu}


def curved_constraint(difficulty, instance):
    """Convex quadratic rows and an exponential row; the last row is inactive."""
    rng = stream("curved-constraint", difficulty, instance)
    n, m, active, equalities = {
        "lower": ((2, 4, 1, 0), (1, 3, 1, 1), (3, 1, 1, 0)), "average": ((3, 5, 2, 1), (5, 4, 2, 0), (1, 6, 3, 0)),
        "higher": ((3, 6, 2, 1), (4, 5, 2, 0), (2, 6, 2, 1), (5, 3, 1, 0)),
    }[difficulty][instance - 1]  # fmt: skip
    tags = HIGHER[instance] if difficulty == "higher" else []
    x, y, nu = ints(rng, n), ints(rng, m, zero=False), ints(rng, equalities, zero=False)
    P = spd(rng, m, 30.0) * (2.0**-16 if "ill-conditioned" in tags else 1.0)
    mu, slack = multipliers(rng, active + 1, active, "margin" in tags)
    if "ill-conditioned" in tags:
        mu[:active] *= 2.0**-20
    made = [_curved_row(rng, x, y, i == 1, slack[i], "ill-conditioned" in tags) for i in range(active + 1)]
    while np.linalg.cond(np.array([slope for _, slope in made[:active]])) > 20:
        made = [_curved_row(rng, x, y, i == 1, slack[i], "ill-conditioned" in tags) for i in range(active + 1)]
    parts = linear_program(rng, x, y, P, np.zeros((0, m)), full_rank(rng, equalities, m, equalities), np.zeros(0), nu, np.zeros(0))
    parts["g"][0]["y"] -= sum(w * slope for w, (_, slope) in zip(mu, made))
    spec = record(
        "curved-constraint", difficulty, instance, n, m, f"{active + 1} convex quadratic or exponential rows, {active} of them active",
        tags=[*tags, "nonlinear"], x=x, f=[upper(rng, n, m)], p={"curved": [row for row, _ in made]}, **parts,
    )  # fmt: skip
    return spec, {"y": y, "mu": mu, "nu": nu}


def _curved_row(rng, x, y, exponential, slack, flat=False):
    """A row with value -slack at the solution and its gradient; the exponential one is e^(a.y + b.x + c) + d.y - r, exponent 0 there."""
    if not exponential:
        row, slope = quadratic_row(rng, x, y, curvature(rng, len(y), 2.0**-4 if flat else 1.0), slack)
        return [row], slope
    a, b, d = ints(rng, len(y), zero=False), ints(rng, len(x), zero=False), ints(rng, len(y))
    loss = {"kind": "loss", "loss": "exponential", "A": a[None], "B": b[None], "c": [-(a @ y + b @ x)]}
    return [loss, {"kind": "quadratic", "y": d, "constant": -(1.0 + d @ y + slack)}], a + d


#: vectors of integer length: the point of the second-order cone where the row is active
PYTHAGOREAN = ((3.0, 4.0), (1.0, 2.0, 2.0), (2.0, 3.0, 6.0), (4.0, -3.0), (2.0, -1.0, 2.0))


def conic(difficulty, instance):
    """Second-order cones |Ay + Bx + c| <= d.y + r (lower/1 and average/1: the 2 x 2 positive semidefinite cone)."""
    rng = stream("conic", difficulty, instance)
    n, m, active = {
        "lower": ((2, 3, 1), (1, 4, 1), (4, 3, 1)), "average": ((4, 3, 1), (3, 6, 2), (5, 4, 2)),
        "higher": ((3, 5, 2), (4, 6, 2), (2, 5, 2), (5, 4, 1)),
    }[difficulty][instance - 1]  # fmt: skip
    tags = HIGHER[instance] if difficulty == "higher" else []
    matrix = instance == 1 and difficulty != "higher"
    x = ints(rng, n)
    y = np.array([2.0, 1.0, 1.0] if difficulty == "lower" else [-1.0, -4.0, 9.0]) if matrix else ints(rng, m, zero=False)
    mu, slack = multipliers(rng, active + 1, active, "margin" in tags)
    size = 2.0**-6 if "ill-conditioned" in tags else 1.0
    while True:
        made = [_cone_row(rng, x, y, i, slack[i], size, matrix and i == 0) for i in range(active + 1)]
        if np.linalg.cond(np.array([slope for _, slope in made[:active]])) < 20:
            break
    P = np.diag([1.0, 2.0, 1.0]) if matrix else spd(rng, m, 30.0)
    parts = linear_program(rng, x, y, P, np.zeros((0, m)), np.zeros((0, m)), np.zeros(0), np.zeros(0), np.zeros(0))
    parts["g"][0]["y"] = parts["g"][0]["y"] - sum(w * slope for w, (_, slope) in zip(mu, made))
    text = "projection onto positive semidefinite matrices (y0 + 2, y1 + 1; y1 + 1, y2) and another cone" if matrix else (
        f"{active + 1} second-order cones, {active} active" + (", near their apex" if size < 1 else ""))  # fmt: skip
    spec = record(
        "conic", difficulty, instance, n, m, text, tags=[*tags, "nonlinear"], x=x, f=[upper(rng, n, m)],
        p={"curved": [row for row, _ in made]}, **parts,
    )  # fmt: skip
    return spec, {"y": y, "mu": mu, "nu": []}


def _cone_row(rng, x, y, i, slack, size, matrix):
    """A row |Ay + Bx + c| - d.y - e.x - r with value -slack, the vector in the norm being `size` times a Pythagorean one."""
    if matrix:
        A, B, d = np.array([[1.0, 0, -1], [0, 2, 0]]), np.zeros((2, len(x))), np.array([1.0, 0, 1])
        e, c = np.zeros(len(x)), np.array([2.0, 2.0])
        u = A @ y + c
    else:
        u = size * np.array(PYTHAGOREAN[i])
        A, B, d, e = ints(rng, len(u), len(y)), ints(rng, len(u), len(x)), ints(rng, len(y)), ints(rng, len(x), zero=False)
        c = u - A @ y - B @ x
    length = np.sqrt(u @ u)
    r = 2.0 if matrix else length + slack - d @ y - e @ x
    terms = [{"kind": "norm", "A": A, "B": B, "c": c}, {"kind": "quadratic", "y": -d, "x": -e, "constant": -r}]
    return terms, A.T @ u / length - d


def lasso(difficulty, instance):
    """beta = u - v with y = (u, v) >= 0: |A beta - t|^2/2 + sum exp(Ex)_j (u_j + v_j); lower/3 is the nonnegative lasso with m = 1."""
    rng = stream("lasso", difficulty, instance)
    n, k = {
        "lower": ((2, 3), (1, 2), (2, 1)), "average": ((4, 4), (1, 5), (3, 5)), "higher": ((4, 4), (5, 5), (4, 4), (2, 4)),
    }[difficulty][instance - 1]  # fmt: skip
    tags = HIGHER[instance] if difficulty == "higher" else []
    sign = np.array([[1.0]]) if k == 1 else np.hstack([np.eye(k), -np.eye(k)])
    E = np.eye(n)[np.arange(k) % n] if k > 1 else np.ones((1, n))
    A, beta = ints(rng, k + 4, k), ints(rng, k, zero=False) * (np.arange(k) % 2 == 0)
    if "ill-conditioned" in tags:
        A[:, 2] = A[:, 0] + A[:, 2] * 2.0**-8
    t = A @ beta + ints(rng, k + 4, bound=1)
    x = 0.5 * ints(rng, n, bound=2) + (-12.0 if "ill-conditioned" in tags else 2.5 if "margin" in tags else 0.0)
    if "margin" in tags:
        x = _near_kink(A, t, x)
    y, mu = lasso_solution(A, t, np.exp(E @ x), sign)
    spec = record(
        "lasso", difficulty, instance, n, sign.shape[1],
        "lasso with log-penalties, as y = (u, v) >= 0 and beta = u - v" if k > 1 else "nonnegative lasso",
        tags=tags, x=x, f=[direct(n, rng), {"kind": "loss", "loss": "square", "A": ints(rng, k + 2, k) @ sign, "c": ints(rng, k + 2)}],
        g=[{"kind": "loss", "loss": "square", "A": A @ sign, "c": -t}, {"kind": "weighted", "E": E, "S": np.abs(sign)}],
        p={"linear": {"A": -np.eye(sign.shape[1]), "c": np.zeros(sign.shape[1])}},
    )  # fmt: skip
    return spec, {"y": y, "mu": mu, "nu": []}


def lasso_solution(A, t, weights, sign):
    """(y, mu) of min |A beta - t|^2/2 + weights.|beta|, beta = sign @ y, by trying every pattern of signs: a start for certification."""
    k = len(weights)
    nonnegative = sign.shape[1] == k
    for signs in product((0, 1) if nonnegative else (0, 1, -1), repeat=k):
        signs = np.array(signs, float)
        S, beta = signs != 0, np.zeros(k)
        beta[S] = np.linalg.solve(A[:, S].T @ A[:, S], A[:, S].T @ t - weights[S] * signs[S])
        slope = A.T @ (A @ beta - t)
        if (np.sign(beta) == signs).all() and ((-slope if nonnegative else np.abs(slope)) <= weights + 1e-9).all():
            break
    y = beta if nonnegative else np.concatenate([np.maximum(beta, 0), np.maximum(-beta, 0)])
    return y, (np.abs(sign).T @ weights + sign.T @ slope) * (y == 0)


def _near_kink(A, t, x):
    """x with the penalty of one unselected coordinate within about 1e-6 of selecting it."""
    k = len(x)
    y, _ = lasso_solution(A, t, np.exp(x), np.hstack([np.eye(k), -np.eye(k)]))
    out = [j for j in range(k) if y[j] == y[k + j] == 0]
    if not out:
        raise ValueError("no unselected coordinate; choose other data")
    correlation = abs(A[:, out[0]] @ (t - A @ (y[:k] - y[k:])))
    return np.where(np.arange(k) == out[0], np.round(np.log(correlation) / TINY + 1) * TINY, x)


RECIPES = {
    "equality": equality, "qp": qp, "qp-degenerate": qp_degenerate, "qp-infeasible": qp_infeasible,
    "curved-constraint": curved_constraint, "conic": conic, "lasso": lasso,
}  # fmt: skip

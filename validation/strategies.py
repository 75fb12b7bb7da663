r"""Hypothesis strategies: certified bilevel problems of small integers, for property tests.

    from hypothesis import given
    from refbilevel.validation.strategies import bilevel_problems

    @given(bilevel_problems(classes=["quadratic", "qp"], max_ny=4))
    def test_mine(case):
        assert digits(mine(case.problem, case.x), case.reference) >= case.attainable_digits - 2

Every drawn object is a `Case`: the same record as a certified case, its reference derived on the spot with 50 digits (certify.py).
Problems are valid by construction (H = M M' + c I, rows with a unit triangular block, the solution chosen first), nothing is filtered,
so hypothesis shrinks a failure to small sizes and integers near zero. The classes qp-degenerate, qp-infeasible and degenerate-hessian draw
faults: look at `case.expected_status`.
"""

from __future__ import annotations

from itertools import product

import numpy as np

from ..errors import ArgumentError, require
from .cases import class_names
from .cases.load import case as case_of
from .cases.recipes import integers
from .cases.recipes.constrained import lasso_solution
from .cases.recipes.smooth import solve_fixed_point, start

st = require("hypothesis.strategies", "test", "refbilevel.validation.strategies")


class Drawn:
    """Stands in the place of a random stream: each choice is one that hypothesis can shrink, towards zero."""

    def __init__(self, draw, largest):
        self.draw, self.largest = draw, largest

    def choice(self, values):
        return self.draw(st.sampled_from(sorted(values, key=lambda v: (abs(v), v < 0))))

    def count(self, largest, least=1):
        return self.draw(st.integers(least, largest))


def ints(rng, *shape, bound=3, zero=True):
    """Integers in [-bound, bound]: the last entries of an array of the largest size, so that sizes shrink and the entries stay.

    (The last ones, because hypothesis sorts small values to the front.)
    """
    array = integers.ints(rng, *(max(size, rng.largest) for size in shape), bound=bound, zero=zero)
    return array[tuple(slice(full - size, None) for full, size in zip(array.shape, shape))]


def definite(rng, m):
    """H = M M' + c I."""
    M = ints(rng, m, m, bound=2)
    return M @ M.T + rng.count(3) * np.eye(m)


def independent(rng, rows, m):
    """(rows, m) integers with a unit triangular block in the first columns: full row rank by construction; rows <= m."""
    A = ints(rng, rows, m, bound=2)
    A[:, :rows] = np.tril(A[:, :rows], -1) + np.eye(rows)
    return A


def objective(rng, n, m):
    """f = |y - t|^2/2 + a'x, with a cross term."""
    return [{"kind": "quadratic", "yy": np.eye(m), "xy": ints(rng, n, m, bound=1), "y": -ints(rng, m), "x": ints(rng, n)}]


def _spec(klass, n, m, truth="regular", **parts):
    return integers.record(klass, "lower", 0, n, m, "drawn from small integers", tags=["drawn"], truth=truth, **parts)


def quadratic(rng, n, m):
    H, C, x, y = definite(rng, m), ints(rng, n, m), ints(rng, n), ints(rng, m)
    g = [{"kind": "quadratic", "yy": H, "xy": C, "y": -H @ y - x @ C}]
    return _spec("quadratic", n, m, x=x, f=objective(rng, n, m), g=g), {"y": y}


def _penalised(klass, rng, n, m, loss):
    E = np.zeros((m, n))
    E[np.arange(m), np.arange(m) % n] = 1.0
    spec = _spec(klass, n, m, x=ints(rng, n, bound=2), f=objective(rng, n, m), g=[loss, {"kind": "ridge", "E": E}])
    return spec, start(spec)


def ridge(rng, n, m):
    rows = rng.count(m + 1)
    return _penalised("ridge", rng, n, m, {"kind": "loss", "loss": "square", "A": ints(rng, rows, m), "c": ints(rng, rows)})


def logistic(rng, n, m):
    return _penalised("logistic", rng, n, m, {"kind": "loss", "loss": "logistic", "A": ints(rng, rng.count(m + 2), m, bound=2)})


def softmax(rng, n, m):
    classes, features, rows = (2, max(m // 2, 1), rng.count(m + 1))
    labels = np.array([rng.choice(range(classes)) for _ in range(rows)])
    loss = {"kind": "softmax", "X": ints(rng, rows, features, bound=2), "onehot": np.eye(classes)[labels]}
    return _penalised("softmax", rng, n, classes * features, loss)


def quartic(rng, n, m):
    H, A, B = definite(rng, m), ints(rng, m, m, bound=2), ints(rng, m, n, bound=2)
    x, y, r = ints(rng, n, bound=2), ints(rng, m, bound=2), ints(rng, m, bound=1)
    loss = {"kind": "loss", "loss": "quartic", "A": A, "B": B, "c": r - A @ y - B @ x}
    g = [loss, {"kind": "quadratic", "yy": H, "y": -H @ y - A.T @ r**3}]
    return _spec("quartic", n, m, x=x, f=objective(rng, n, m), g=g), {"y": y}


def degenerate_hessian(rng, n, m):
    """g = |Sy + Bx + c|^2/2 with fewer rows than m; f sees y through S (minimum_norm), or whole (undefined)."""
    m = max(m, 2)
    rank = rng.count(m - 1)
    S, B, x, y = independent(rng, rank, m), ints(rng, rank, n), ints(rng, n), ints(rng, m)
    T = S if rng.choice((0, 1)) == 0 else np.eye(m)
    f = [{"kind": "loss", "loss": "square", "A": T, "c": 1.0 + np.arange(len(T)) - T @ y}, {"kind": "quadratic", "x": ints(rng, n)}]
    g = [{"kind": "loss", "loss": "square", "A": S, "B": B, "c": -S @ y - B @ x}]
    return _spec("degenerate-hessian", n, m, truth="singular", x=x, f=f, g=g), {"y": y}


def fixed_point(rng, n, m):
    """|W| <= 7/8: the rows of an integer matrix over a common multiple of its size."""
    N = ints(rng, m, m, bound=2)
    W = np.floor(N / max(np.linalg.norm(N, 2), 1.0) * 8) / 16
    x, U, b = ints(rng, n, bound=2), ints(rng, m, n, bound=2) / 4, ints(rng, m, bound=2) / 4
    spec = _spec("fixed-point", n, m, x=x, f=objective(rng, n, m), g=[{"kind": "fixed_point", "W": W, "U": U, "b": b}])
    return spec, {"y": solve_fixed_point(W, U @ x + b)}


def _rows(rng, klass, n, m, active, weak, equalities, inactive):
    """A quadratic program with its solution chosen first."""
    P, C, x, y = definite(rng, m), ints(rng, n, m), ints(rng, n), ints(rng, m)
    both = independent(rng, active + weak + equalities, m)
    G = np.vstack([both[: active + weak], ints(rng, inactive, m)])
    A, nu = both[active + weak :], ints(rng, equalities)
    mu = np.append(np.abs(ints(rng, active, zero=False)), np.zeros(weak + inactive))
    slack = np.append(np.zeros(active + weak), np.abs(ints(rng, inactive, zero=False)))
    B, V = ints(rng, len(G), n), ints(rng, equalities, n)
    parts = {"g": [{"kind": "quadratic", "yy": P, "xy": C, "y": -(P @ y + x @ C + G.T @ mu + A.T @ nu)}]}
    if len(G):
        parts["p"] = {"linear": {"A": G, "B": B, "c": -(G @ y + B @ x + slack)}}
    if len(A):
        parts["q"] = {"linear": {"A": A, "B": V, "c": -(A @ y + V @ x)}}
    return _spec(klass, n, m, x=x, f=objective(rng, n, m), **parts), {"y": y, "mu": mu, "nu": nu}


def equality(rng, n, m):
    return _rows(rng, "equality", n, m, 0, 0, rng.count(m), 0)


def qp(rng, n, m):
    active = rng.count(m, 0)
    return _rows(rng, "qp", n, m, active, 0, rng.count(m - active, 0), rng.count(2, 0 if active else 1))


def qp_degenerate(rng, n, m):
    weak = rng.count(min(m, 3))
    active = rng.count(m - weak, 0)
    return _rows(rng, "qp-degenerate", n, m, active, weak, rng.count(m - weak - active, 0), rng.count(1, 0))


def qp_infeasible(rng, n, m):
    """Rows G and -weights'G whose weighted sum reads gap <= 0."""
    rows, gap = rng.count(m), float(rng.count(3))
    weights, G, B, c = np.abs(ints(rng, rows, zero=False)), independent(rng, rows, m), ints(rng, rows + 1, n), ints(rng, rows)
    x, spec = ints(rng, n), quadratic(rng, n, m)[0]
    last = gap - weights @ (B[:rows] @ x + c) - B[rows] @ x
    p = {"linear": {"A": np.vstack([G, -weights @ G]), "B": B, "c": np.append(c, last)}}
    certificate = {"farkas": {"p": np.append(weights, 1.0), "q": []}}
    return _spec("qp-infeasible", n, m, truth="infeasible", x=x, f=spec["f"], g=spec["g"], p=p) | {"certificate": certificate}, {}


def _one_row(klass, rng, n, m, row, slope, x, y):
    """g with the given row active (multiplier >= 1) or not (slack 1), slope being the row's gradient in y."""
    P, C, mu = definite(rng, m), ints(rng, n, m), float(rng.count(2, 0))
    row[-1]["constant"] -= float(mu == 0)
    g = [{"kind": "quadratic", "yy": P, "xy": C, "y": -(P @ y + x @ C + mu * slope)}]
    return _spec(klass, n, m, x=x, f=objective(rng, n, m), g=g, p={"curved": [row]}), {"y": y, "mu": [mu], "nu": []}


def curved_constraint(rng, n, m):
    S, B, d, x, y = definite(rng, m), ints(rng, n, m, bound=1), ints(rng, n), ints(rng, n), ints(rng, m, bound=2)
    slope = independent(rng, 1, m)[0]
    a = slope - S @ y - x @ B
    value = 0.5 * y @ S @ y + x @ B @ y + a @ y + d @ x
    row = [{"kind": "quadratic", "yy": S, "xy": B, "y": a, "x": d, "constant": -value}]
    return _one_row("curved-constraint", rng, n, m, row, slope, x, y)


def conic(rng, n, m):
    """|Ay + Bx + c| <= d.y + e.x + r with Ay + Bx + c = (3, 4) at the solution and A a multiple of 5, so that all is whole."""
    A, B, e, x, y = 5.0 * ints(rng, 2, m, bound=1), ints(rng, 2, n), ints(rng, n), ints(rng, n), ints(rng, m, bound=2)
    u, slope = np.array([3.0, 4.0]), independent(rng, 1, m)[0]
    d = A.T @ u / 5 - slope
    norm = {"kind": "norm", "A": A, "B": B, "c": u - A @ y - B @ x}
    row = [norm, {"kind": "quadratic", "y": -d, "x": -e, "constant": d @ y + e @ x - 5.0}]
    return _one_row("conic", rng, n, m, row, slope, x, y)


def lasso(rng, n, m):
    """y = (u, v) >= 0; the design has an identity block, the log-penalties are odd halves, so that nothing ties."""
    k = max(m // 2, 1)
    A, t, x = np.vstack([np.eye(k), ints(rng, 2, k, bound=2)]), ints(rng, k + 2), ints(rng, n, bound=1) - 0.5
    sign, E = np.hstack([np.eye(k), -np.eye(k)]), np.eye(n)[np.arange(k) % n]
    y, mu = lasso_solution(A, t, np.exp(E @ x), sign)
    g = [{"kind": "loss", "loss": "square", "A": A @ sign, "c": -t}, {"kind": "weighted", "E": E, "S": np.abs(sign)}]
    p = {"linear": {"A": -np.eye(2 * k), "c": np.zeros(2 * k)}}
    return _spec("lasso", n, 2 * k, x=x, f=objective(rng, n, 2 * k), g=g, p=p), {"y": y, "mu": mu, "nu": []}


def layer(rng, n, m):
    """Input z (n,), inner x (1,) and y: F = 2 x^2 + |y - t|^2/2 + z'Dx + a x, g quadratic; F is convex along y*(x)."""
    m = max(m - 1, 1)
    H, C, z = definite(rng, m), ints(rng, n + 1, m, bound=2), ints(rng, n)
    xx, t = np.zeros((n + 1, n + 1)), ints(rng, m)
    xx[:n, n] = xx[n, :n] = ints(rng, n)
    xx[n, n] = 4.0
    F = {"kind": "quadratic", "xx": xx, "yy": np.eye(m), "y": -t, "x": np.append(np.zeros(n), ints(rng, 1))}
    lower = {"kind": "quadratic", "yy": H, "xy": C, "y": ints(rng, m)}
    inner = {"n": 1, "m": m, "upper": [F], "lower": [lower]}
    spec = _spec("layer", n, 1 + m, truth="layer", x=z, f=objective(rng, n, 1 + m), layer=inner, start=np.zeros(1 + 2 * m))
    return spec, {"y": np.zeros(1 + m), "v": np.zeros(m)}


def combinatorial(rng, n, m):
    """The cube; cost(y) - cost(best) = weights.|y - best| with positive weights."""
    m = min(m, 4)
    points, x, C = np.array(list(product((0.0, 1.0), repeat=m))), ints(rng, n), ints(rng, n, m)
    best, weights = np.array([float(rng.choice((0, 1))) for _ in range(m)]), np.abs(ints(rng, m, zero=False))
    g = [{"kind": "quadratic", "xy": C, "y": weights * (1.0 - 2.0 * best) - x @ C}]
    return _spec("combinatorial", n, m, truth="discrete", x=x, f=objective(rng, n, m), g=g, feasible=points), {}


DRAW = {
    "quadratic": quadratic, "ridge": ridge, "logistic": logistic, "softmax": softmax, "quartic": quartic,
    "degenerate-hessian": degenerate_hessian, "equality": equality, "qp": qp, "qp-degenerate": qp_degenerate,
    "qp-infeasible": qp_infeasible, "curved-constraint": curved_constraint, "conic": conic, "lasso": lasso,
    "fixed-point": fixed_point, "layer": layer, "combinatorial": combinatorial,
}  # fmt: skip


def bilevel_problems(classes="smooth", *, max_n=3, max_ny=4):
    """Strategy of certified `Case`s of the classes (or groups) named.

    Parameters
    ----------
    classes : str or list of str
        Any of `refbilevel.validation.CLASSES`, or the groups smooth, constrained, map, all.
    max_n, max_ny : int
        Largest sizes of x and y, at least 1 (softmax, lasso, layer and degenerate-hessian need a y of at least 2 and take it).

    Raises
    ------
    UnknownOption, ArgumentError
    MissingDependency
        Without mpmath, which certifies each problem drawn.
    """
    require("mpmath", "test", "drawing certified problems")
    from .cases.recipes.finish import finish

    names = class_names(classes)
    for name, size in (("max_n", max_n), ("max_ny", max_ny)):
        if isinstance(size, bool) or not isinstance(size, int) or size < 1:
            raise ArgumentError(f"{name} must be an integer of at least 1, got {size!r}")

    @st.composite
    def problems(draw):
        rng = Drawn(draw, max(max_n, max_ny))
        name = draw(st.sampled_from(names))
        return case_of(finish(*DRAW[name](rng, rng.count(max_n), rng.count(max_ny))))

    return problems()

r"""Certification: the truth of a case file, from the file alone, with 50 digits.

    python -m refbilevel.validation.certify            re-derives every case of the package and compares
    python -m refbilevel.validation.certify FILE ...   the same for files

Only the formulas of the file (formulas.py), mpmath and Taylor arithmetic (jets.py) are used, none of the library's derivatives or
solvers: Newton's method (exact.py) on the KKT system of the lower level with the strictly active rows J,

    K = [L_yy  p_J,y'  q_y'; p_J,y  0  0; q_y  0  0],   L = g + mu.p + nu.q,

to a residual of 1e-45; the signs mu_J > 0, p < 0 off J and the positive definiteness of L_yy on the null space of the active rows
prove the minimum; then K w = (f_y, 0, 0) and the hypergradient f_x - [L_xy  p_J,x'  q_x'] w. Condition numbers and norms only
scale pass lines. A status is proved as well: a weakly active row has p_i = mu_i = 0 exactly, an empty
feasible set has Farkas multipliers, an unbounded one a ray, a singular Hessian a null vector (all in the file or recomputed).
"""

from __future__ import annotations

import json
import sys
from itertools import chain, combinations
from pathlib import Path

import numpy as np
from mpmath import mp, mpf

from .exact import ZERO, CertificationError, Point, newton, null_space, pseudo, solve
from .formulas import total, value
from .jets import Dual, Jet, variables

DIGITS = 50  # to which the KKT residual vanishes, at least
PRINTED = 25


def _check(condition, spec, sentence):
    if not condition:
        raise CertificationError(f"{spec['id']}: {sentence}")


def _positive_on_null_space(K, m, spec):
    """K has exactly as many negative eigenvalues as it has multiplier rows: the sufficient condition of second order."""
    values, _, null = null_space(K)
    _check(not null and sum(v < 0 for v in values) == K.rows - m, spec, "the second-order condition fails")


def _numpy(matrix):
    return np.array(matrix.tolist(), float)


def _norms(K, N, w):
    """Condition number of K (of its nonzero part) and |N| |w|: they only scale pass lines."""
    values, _, null = null_space(K)
    sizes = [abs(v) for i, v in enumerate(values) if i not in null]
    return float(max(sizes) / min(sizes)), float(np.linalg.norm(_numpy(N), 2) * mp.norm(mp.matrix(w), 2))


def _attainable(condition, direct, indirect, gradient):
    """15.95 - log10(condition) - log10(cancellation); where the gradient is zero, the digits are absolute ones."""
    parts, size = float(mp.norm(direct, 2)) + indirect, float(mp.norm(gradient, 2))
    return round(float(15.95 - np.log10(condition) - np.log10(max(parts / (size or 1.0), 1.0))), 2)


def _text(value):
    """mpmath numbers (and lists of them) as strings of 25 digits; the rest as it is."""
    if isinstance(value, list):
        return [_text(v) for v in value]
    return mp.nstr(value, PRINTED, strip_zeros=True, min_fixed=0, max_fixed=0) if isinstance(value, mp.mpf) else value


def _record(status, point, y, mu, nu, **more):
    direct = point.gradient(point.f, "x")
    return {"status": status, "objective": point.f.value, "y": list(y), "mu": list(mu), "nu": list(nu), "direct": list(direct)} | more


def _hypergradient(point, active):
    """(gradient, K, N, w) with the rows `active`."""
    K, N, right, _ = point.kkt(active)
    w = solve(K, right)
    return point.gradient(point.f, "x") - N.T * mp.matrix(w), K, N, w


def _answer(status, point, y, mu, nu, active, **more):
    gradient, K, N, w = _hypergradient(point, active)
    condition, indirect = _norms(K, N, w)
    return _record(
        status, point, y, mu, nu, gradient=list(gradient), condition=float(f"{condition:.4g}"),
        indirect_scale=float(f"{indirect:.6g}"), **more,
        attainable_digits=_attainable(condition, point.gradient(point.f, "x"), indirect, gradient),
    )  # fmt: skip
def _regular(spec, start):
    """A unique solution: converged, degenerate (weakly active rows) or licq_fails (redundant active rows)."""
    y, mu, nu = ([mpf(a) for a in start.get(k, ())] for k in ("y", "mu", "nu"))
    strict = [i for i, a in enumerate(mu) if a > 0]
    active = [i for i in strict if i not in start.get("redundant", ())]
    y, mu, nu, point = newton(spec, y, mu, nu, active)
    touching = all(mu[i] > 0 and abs(point.p[i].value) < ZERO for i in strict)
    _check(touching, spec, "an active row has no positive multiplier, or is not active")
    weak = [i for i, row in enumerate(point.p) if i not in strict and abs(row.value) < ZERO]
    _check(all(row.value < 0 for i, row in enumerate(point.p) if i not in strict and i not in weak), spec, "a row is violated")
    _positive_on_null_space(point.kkt(active)[0], spec["m"], spec)
    if start.get("redundant") or _dependent(point, strict + weak):
        return _answer("licq_fails", point, y, mu, nu, active)
    if not weak:
        return _answer("converged", point, y, mu, nu, active, margin=_margin(point, mu))
    pieces = chain.from_iterable(combinations(weak, k) for k in range(len(weak) + 1))
    gradients = [list(_hypergradient(point, active + list(piece))[0]) for piece in pieces]
    condition, indirect = _norms(*_hypergradient(point, active + weak)[1:])
    return _record("degenerate", point, y, mu, nu, generators=gradients, condition=float(f"{condition:.4g}"),
                   indirect_scale=float(f"{indirect:.6g}"), margin=0.0)  # fmt: skip


def _dependent(point, active):
    gradients = [list(point.gradient(row, "y")) for row in [*(point.p[i] for i in active), *point.q]]
    if not gradients:
        return False
    G = mp.matrix(gradients)
    return len(gradients) > point.m or len(null_space(G * G.T)[2]) > 0


def _margin(point, mu):
    sizes = [max(a, -row.value) for a, row in zip(mu, point.p)]
    return float(mp.nstr(min(sizes), 6)) if sizes else None


def _singular(spec, start):
    """A singular Hessian: minimum_norm if f_y and g_xy lie in its range, else undefined."""
    y, _, _, point = newton(spec, [mpf(a) for a in start["y"]], [], [], [])
    K, N, right, _ = point.kkt([])
    values, vectors, null = null_space(K)
    _check(null and min(values) > -ZERO, spec, "the Hessian is not singular and positive semidefinite")
    outside = max(mp.norm(vectors[:, i].T * mp.matrix([[*N[j, :], right[j]] for j in range(K.rows)]), mp.inf) for i in null)
    if outside > ZERO:
        return _record("undefined", point, y, [], [])
    w = pseudo(K, right)
    condition, indirect = _norms(K, N, w)
    gradient = point.gradient(point.f, "x") - N.T * w
    return _record(
        "minimum_norm", point, y, [], [], gradient=list(gradient), condition=float(f"{condition:.4g}"),
        indirect_scale=float(f"{indirect:.6g}"), attainable_digits=_attainable(condition, point.gradient(point.f, "x"), indirect, gradient),
    )  # fmt: skip


def _ill_conditioned(spec, start):
    """Regular in exact arithmetic, but the condition number exceeds 1/eps: no float64 answer deserves trust."""
    answer = _regular(spec, start)
    _check(answer["condition"] > 2.0**53, spec, "the condition number is below 1/eps")
    return {k: v for k, v in answer.items() if k not in ("gradient", "attainable_digits", "margin")} | {"status": "ill_conditioned"}


def _at(spec, start):
    return Point(spec, [mpf(a) for a in start["y"]], [mpf(0)] * 99, [mpf(0)] * 99)


def _infeasible(spec, start):
    """Farkas: lambda >= 0 with lambda'p_y + eta'q_y = 0 and lambda'p + eta'q > 0 at any y (the rows are linear)."""
    point, proof = _at(spec, {"y": [0] * spec["m"]}), spec["certificate"]["farkas"]
    weights = [mpf(a) for a in (*proof["p"], *proof["q"])]
    _check(all(a >= 0 for a in weights[: len(point.p)]) and not any(spec.get(k, {}).get("curved") for k in "pq"), spec, "bad Farkas proof")
    combined = total([row * w for row, w in zip([*point.p, *point.q], weights)])
    _check(mp.norm(point.gradient(combined, "y"), mp.inf) == 0, spec, "the Farkas multipliers do not annihilate the rows")
    _check(combined.value > 0, spec, "the Farkas multipliers prove nothing")
    return {"status": "lower_infeasible", "gap": float(mp.nstr(combined.value, 6))}


def _unbounded(spec, start):
    """A ray d from a feasible y: rows do not increase along it, g has no curvature there and decreases."""
    point, ray = _at(spec, {"y": spec["certificate"]["from"]}), mp.matrix([mpf(a) for a in spec["certificate"]["ray"]])
    _check(all(a.value <= 0 for a in point.p) and all(a.value == 0 for a in point.q), spec, "the start of the ray is infeasible")
    _check(all((point.gradient(a, "y").T * ray)[0] <= 0 for a in point.p), spec, "the ray leaves the feasible set")
    _check(all((point.gradient(a, "y").T * ray)[0] == 0 for a in point.q), spec, "the ray leaves the feasible set")
    _check(mp.norm(point.hessian(point.lagrangian, "y") * ray, mp.inf) == 0, spec, "g curves along the ray")
    _check((point.gradient(point.lagrangian, "y").T * ray)[0] < 0, spec, "g does not decrease along the ray")
    return {"status": "lower_unbounded"}


def _discrete(spec, start):
    """The best of the feasible points listed; the hypergradient is f_x there, unless two points tie."""
    X, _ = variables([mpf(a) for a in spec["x"]], [])
    costs = [value(spec["g"], X, [Jet(a) for a in y]).value for y in spec["feasible"]]
    order = sorted(range(len(costs)), key=costs.__getitem__)
    y, gap = [mpf(a) for a in spec["feasible"][order[0]]], costs[order[1]] - costs[order[0]]
    point = Point(spec, y, [], [])
    if gap == 0:
        return _record("nonunique", point, y, [], [], margin=0.0)
    gradient = point.gradient(point.f, "x")
    return _record("converged", point, y, [], [], gradient=list(gradient), condition=1.0, indirect_scale=0.0,
                   attainable_digits=15.95, margin=float(mp.nstr(gap, 6)))  # fmt: skip


def _layer(spec, start):
    r"""The input z is x of the case; (x, y, v) is a stationary point of  F(x, y, z) - v.G_y(x, y, z), whose Hessian is K."""
    inner = spec["layer"]
    z, (n, m) = [mpf(a) for a in spec["x"]], (inner["n"], inner["m"])
    u = [mpf(a) for a in start["y"]] + [mpf(a) for a in start.get("v", [0] * m)]
    for _ in range(60):
        Z, U = variables(z, u)
        X, Y, V = U[:n], U[n : n + m], U[n + m :]
        slope = value(inner["lower"], [Dual(a, Jet(0)) for a in [*Z, *X]], [Dual(a, b) for a, b in zip(Y, V)]).b
        jet = value(inner["upper"], [*Z, *X], Y) - slope
        point = _Layer(len(z), len(u), jet)
        residual = point.gradient(jet, "y")
        if mp.norm(residual, mp.inf) < ZERO * mpf(10) ** -5:
            break
        u = [a - b for a, b in zip(u, solve(point.hessian(jet, "y"), residual))]
    _check(mp.norm(residual, mp.inf) < ZERO, spec, "the layer was not solved")
    Z, W = variables(z, u[: n + m])
    f = value(spec["f"], Z, W)
    outer = _Layer(len(z), n + m, f)
    K, N = point.hessian(jet, "y"), point.hessian(jet, "x").T
    w = solve(K, mp.matrix([*outer.gradient(f, "y"), *[mpf(0)] * m]))
    direct = outer.gradient(f, "x")
    gradient = direct - N.T * mp.matrix(w)
    condition, indirect = _norms(K, N, w)
    return {
        "status": "converged", "objective": f.value, "y": u[: n + m], "v": u[n + m :], "mu": [], "nu": [], "direct": list(direct),
        "gradient": list(gradient), "condition": float(f"{condition:.4g}"), "indirect_scale": float(f"{indirect:.6g}"),
        "attainable_digits": _attainable(condition, direct, indirect, gradient),
    }  # fmt: skip


class _Layer(Point):
    def __init__(self, n, m, lagrangian):
        self.n, self.m, self.lagrangian = n, m, lagrangian


METHODS = {
    "regular": _regular, "ill_conditioned": _ill_conditioned, "singular": _singular, "infeasible": _infeasible, "unbounded": _unbounded,
    "discrete": _discrete, "layer": _layer,
}  # fmt: skip


def derive(spec, start=None):
    """The truth of a case record in mpmath numbers of 60 digits; `start` (y, mu, nu) to a few digits, by default the file's.

    Raises CertificationError if the point is not what it claims to be.
    """
    with mp.workdps(DIGITS + 10):
        start = spec["certified"] | {"redundant": spec.get("redundant", ())} if start is None else start
        return METHODS[spec["truth"]](spec, start)


def certify(spec, start=None):
    """The block "certified" of a case record, derived afresh: numbers as strings of 25 digits. Raises CertificationError."""
    with mp.workdps(DIGITS + 10):
        return {key: _text(value) for key, value in derive(spec, start).items()}


def disagreement(spec):
    """The largest relative difference of the file's numbers from those derived afresh; inf if a status or a field differs.

    y, mu, nu, v, gradient, generators and direct count with all 25 digits; condition numbers, norms and margins, which only scale
    pass lines, are compared to 3 digits.
    """
    fresh, stored = certify(spec), spec["certified"]
    if fresh.keys() != stored.keys() or fresh["status"] != stored["status"]:
        return np.inf
    return max([_difference(fresh[key], stored[key]) for key in fresh.keys() - {"status"}], default=0.0)


def _difference(fresh, stored):
    if isinstance(stored, (int, float)):
        return 0.0 if np.isclose(fresh, stored, rtol=2e-3, atol=0.01) else np.inf
    if isinstance(stored, str):
        return float(abs(mpf(fresh) - mpf(stored)) / (abs(mpf(stored)) or 1))
    if not stored:
        return 0.0 if not fresh else np.inf
    a, b = ([mpf(v) for v in np.ravel(values)] for values in (fresh, stored))
    if len(a) != len(b):
        return np.inf
    return float(max(abs(p - q) for p, q in zip(a, b)) / (max(abs(q) for q in b) or 1))


def main(paths=()):
    paths = [Path(p) for p in paths] or sorted((Path(__file__).parent / "cases" / "data").glob("*.json"))
    wrong = 0
    for path in paths:
        spec = json.loads(path.read_text())
        difference = disagreement(spec)
        wrong += not difference < 1e-20
        sys.stdout.write(f"{spec['id']:32s} {spec['certified']['status']:18s} {difference:.1e}\n")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""The formulas of a case file on jets: what f, g, p and q are, written a second time and independently of cases/terms.py."""

from __future__ import annotations

from functools import reduce

from mpmath import mpf

from . import jets
from .jets import Jet


def dot(row, z):
    return reduce(lambda a, b: a + b, [b * mpf(a) for a, b in zip(row, z) if a] or [Jet(0)])


def _affine(record, x, y, names=("A", "B", "c")):
    A, B, c = (record.get(k) for k in names)
    rows = len(A or B or c)
    parts = [[dot(M[i], z) for i in range(rows)] for M, z in ((A, y), (B, x)) if M]
    return [reduce(lambda a, b: a + b, [part[i] for part in parts] or [Jet(0)]) + (mpf(c[i]) if c else 0) for i in range(rows)]


def _quadratic(r, x, y):
    total = Jet(r.get("constant", 0))
    for name, left, right, half in (("yy", y, y, 0.5), ("xy", x, y, 1), ("xx", x, x, 0.5)):
        for a, row in zip(left, r.get(name, ())):
            if any(row):
                total = total + a * dot(row, right) * half
    for name, z in (("y", y), ("x", x)):
        if any(r.get(name, ())):
            total = total + dot(r[name], z)
    return total


def _loss(r, x, y):
    rows = _affine(r, x, y)
    if r["loss"] == "square":
        return total([a * a * 0.5 for a in rows])
    if r["loss"] == "quartic":
        return total([(a * a) * (a * a) * 0.25 for a in rows])
    return total([a.apply({"logistic": jets.softplus, "exponential": jets.exp}[r["loss"]]) for a in rows])


def _ridge(r, x, y):
    weights = [a.apply(jets.exp) for a in _affine(r, x, y, ("-", "E", "e"))]
    return total([w * b * b * 0.5 for w, b in zip(weights, y)])


def _weighted(r, x, y):
    weights = [a.apply(jets.exp) for a in _affine(r, x, y, ("-", "E", "e"))]
    return total([w * dot(row, y) for w, row in zip(weights, r["S"])])


def _softmax(r, x, y):
    d, result = len(r["X"][0]), []
    for row, onehot in zip(r["X"], r["onehot"]):
        scores = [dot(row, y[c * d : (c + 1) * d]) for c in range(len(onehot))]
        result.append(total([s.apply(jets.exp) for s in scores]).apply(jets.log) - dot(onehot, scores))
    return total(result)


def _norm(r, x, y):
    return total([a * a for a in _affine(r, x, y)]).apply(jets.sqrt)


def _fixed_point(r, x, y):
    residuals = [b - a.apply(jets.tanh) for a, b in zip(_affine(r, x, y, ("W", "U", "b")), y)]
    return total([a * a for a in residuals]) * 0.5


FORMULAS = {
    "quadratic": _quadratic, "loss": _loss, "ridge": _ridge, "weighted": _weighted,
    "softmax": _softmax, "norm": _norm, "fixed_point": _fixed_point,
}  # fmt: skip


def total(parts):
    return reduce(lambda a, b: a + b, parts)


def value(records, x, y):
    """The sum of the terms at jets (or duals) x, y."""
    return total([FORMULAS[r["kind"]](r, x, y) * mpf(r.get("scale", 1)) for r in records])


def rows(record, x, y):
    """The constraint rows, linear ones first."""
    linear = record.get("linear")
    return (_affine(linear, x, y) if linear else []) + [value(row, x, y) for row in record.get("curved", ())]

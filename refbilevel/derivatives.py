"""`check_problem`: compare every derivative a problem supplies with finite differences, and name the wrong one in digits.

Each derivative D of a function phi is compared along directions d (all unit vectors up to 24 variables, fixed random ones
beyond) with the sixth-order central difference

    D d ~ [45 (phi_1 - phi_-1) - 9 (phi_2 - phi_-2) + (phi_3 - phi_-3)] / (60 h),     phi_j = phi(z + j h d).

A wrong one is tried as its negative, transpose, double, half and mirrored triangle, so that the message can say which slip it is.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .errors import ArgumentError, BilevelError
from .problem import as_vector, counted

#: derivative -> (function differenced, variable, is the derivative the transpose of that difference?)
SMOOTH = {
    "f_x": ("f", "x", False), "f_y": ("f", "y", False), "g_x": ("g", "x", False), "g_y": ("g", "y", False),
    "g_yy": ("g_y", "y", False), "g_xy": ("g_y", "x", True), "g_xx": ("g_x", "x", False),
    "f_xx": ("f_x", "x", False), "f_xy": ("f_y", "x", True), "f_yy": ("f_y", "y", False),
}  # fmt: skip
ROWS = {"p_x": ("p", "x"), "p_y": ("p", "y"), "q_x": ("q", "x"), "q_y": ("q", "y")}
UPPER_ROWS = {"G_x": ("G", "x"), "G_y": ("G", "y"), "H_x": ("H", "x"), "H_y": ("H", "y")}


class WrongDerivative(BilevelError, ValueError):
    """A supplied derivative disagrees with finite differences; `.report` holds the whole table."""

    def __init__(self, report):
        super().__init__(" ".join(row.message for row in report.rows if not row.ok))
        self.report = report

    def __reduce__(self):
        return type(self), (self.report,)


@dataclass(frozen=True)
class DerivativeRow:
    """One derivative: digits of agreement, and what its slip looks like."""

    name: str
    digits: float
    ok: bool
    hint: str = ""

    @property
    def message(self):
        hint = f"; {self.hint}" if self.hint else ""
        return f"{self.name}: {self.digits:.1f} digits{hint}."


@dataclass(frozen=True)
class DerivativeReport:
    """All rows; `.success`, `.warnings` (sentences), and `str()` a table."""

    rows: tuple
    warnings: tuple = ()

    @property
    def success(self):
        return all(row.ok for row in self.rows)

    def __str__(self):
        lines = [f"{'ok   ' if row.ok else 'WRONG'}  {row.message}" for row in self.rows]
        return "\n".join([*lines, *(f"note   {w}" for w in self.warnings)])


def check_problem(problem, x, y=None, *, digits=5.0, strict=True):
    """Compare every supplied derivative with finite differences at (x, y).

    Parameters
    ----------
    problem : BilevelProblem
    x : (n,) array_like
    y : (m,) array_like, optional
        A generic point by default (derivatives need not be checked at y*).
    digits : float
        Agreement that passes.
    strict : bool
        Raise WrongDerivative if one fails; False returns the report whatever it says.

    Returns
    -------
    DerivativeReport

    Raises
    ------
    WrongDerivative
        Naming the derivative, its digits, and the slip it looks like ("g_xy: 0.1 digits; its transpose agrees to 9").
    ShapeError, DtypeError
        From the oracles' first answers; also when an oracle changes its argument in place.
    """
    view, _ = counted(problem)
    x = as_vector(x, problem.n, "x")
    y = 0.5 + 0.25 * np.cos(np.arange(problem.m)) if y is None else as_vector(y, problem.m, "y")
    warnings = _side_effects(view, x, y)
    rows = [_smooth_row(view, name, *SMOOTH[name], x, y, digits) for name in SMOOTH if view.has(name)]
    rows = [row for row in rows if row is not None]
    for record, table in ((view.constraints, ROWS), (view.upper_constraints, UPPER_ROWS)):
        if record is not None:
            present = [n for n in table if getattr(record, n) is not None]
            rows += [_compare(n, getattr(record, n), getattr(record, table[n][0]), table[n][1], False, x, y, digits) for n in present]
    if view.constraints is not None:
        rows += _lagrangian_rows(view.constraints, x, y, digits)
    report = DerivativeReport(tuple(rows), tuple(warnings))
    if strict and not report.success:
        raise WrongDerivative(report)
    return report


def _smooth_row(view, name, function, variable, transposed, x, y, digits):
    if getattr(view, function) is None:
        return None
    return _compare(name, getattr(view, name), getattr(view, function), variable, transposed, x, y, digits)


def _lagrangian_rows(constraints, x, y, digits):
    """lagrangian_yy and lagrangian_xy against differences of p_y'mu + q_y'nu at generic multipliers."""
    mu = 1.0 + 0.5 * np.cos(np.arange(len(constraints.p(x, y)))) if constraints.p is not None else np.zeros(0)
    nu = 1.0 + 0.5 * np.sin(np.arange(len(constraints.q(x, y)))) if constraints.q is not None else np.zeros(0)

    def slope(x, y):
        total = np.zeros(len(y))
        if constraints.p is not None:
            total = total + constraints.p_y(x, y).T @ mu
        return total if constraints.q is None else total + constraints.q_y(x, y).T @ nu

    rows = []
    for name, variable, transposed in (("lagrangian_yy", "y", False), ("lagrangian_xy", "x", True)):
        oracle = getattr(constraints, name)
        if oracle is not None:
            rows.append(_compare(name, lambda x, y, o=oracle: o(x, y, mu, nu), slope, variable, transposed, x, y, digits))
        elif constraints.linear:
            shape = (len(x), len(y)) if transposed else (len(y), len(y))
            row = _compare(name, lambda x, y, s=shape: np.zeros(s), slope, variable, transposed, x, y, digits)
            rows.append(row if row.ok else DerivativeRow(name, row.digits, False, "linear=True, but the rows have second derivatives"))
    return rows


def _compare(name, derivative, function, variable, transposed, x, y, pass_digits):
    size = len(x) if variable == "x" else len(y)
    directions = _directions(size)
    difference = np.array([_difference(function, variable, x, y, d) for d in directions.T]).T  # (out, d) or (d,)
    D = derivative(x, y)
    operator = D.T if transposed else D
    claimed = np.asarray(operator @ directions)
    agreement = _agreement(claimed, difference)
    ok = agreement >= pass_digits
    return DerivativeRow(name, agreement, ok, "" if ok else _hint(D, claimed, difference, directions, transposed))


def _directions(size):
    if size <= 24:
        return np.eye(size)
    directions = np.random.default_rng(0).standard_normal((size, 12))
    return directions / np.linalg.norm(directions, axis=0)


def _difference(function, variable, x, y, d):
    z = x if variable == "x" else y
    h = 4e-3 * max(1.0, float(np.abs(z[d != 0]).max(initial=0.0)))

    def phi(j):
        return np.asarray(function(x + j * h * d, y) if variable == "x" else function(x, y + j * h * d), float)

    return (45 * (phi(1) - phi(-1)) - 9 * (phi(2) - phi(-2)) + (phi(3) - phi(-3))) / (60 * h)


def _agreement(claimed, difference):
    """Digits of agreement, relative to the larger of the two; exact zeros agree to 15."""
    error = np.abs(claimed - difference).max(initial=0.0)
    scale = max(np.abs(claimed).max(initial=0.0), np.abs(difference).max(initial=0.0))
    if not np.isfinite(error) or not np.isfinite(scale):
        return 0.0
    if error == 0 or scale == 0:
        return 15.0
    return float(np.clip(-np.log10(error / scale), 0.0, 15.0))


def _hint(D, claimed, difference, directions, transposed):
    candidates = {"its negative": -claimed, "twice it": 2 * claimed, "half of it": claimed / 2}
    if getattr(D, "shape", None) and len(D.shape) == 2 and D.shape[0] == D.shape[1]:
        candidates["its transpose"] = np.asarray((D if transposed else D.T) @ directions)
        if isinstance(D, np.ndarray):
            mirrored = D + D.T - np.diag(np.diag(D))
            candidates["the symmetric matrix of its one triangle"] = (mirrored.T if transposed else mirrored) @ directions
    digits = {what: _agreement(value, difference) for what, value in candidates.items()}
    best = max(digits, key=digits.get)
    return f"{best} agrees to {digits[best]:.0f}" if digits[best] >= 4 else ""


def _side_effects(view, x, y):
    """Oracles that change their argument raise; those that answer differently the second time, or asymmetrically, are noted."""
    from .problem import SHAPES

    notes = []
    for name in SHAPES:
        oracle = getattr(view, name)
        if oracle is None:
            continue
        x0, y0 = x.copy(), y.copy()
        first, second = oracle(x0, y0), oracle(x0, y0)
        if not (np.array_equal(x0, x) and np.array_equal(y0, y)):
            raise ArgumentError(f"{name}(x, y) changes its argument in place; work on a copy inside the oracle")
        if isinstance(first, (float, np.ndarray)) and not np.array_equal(first, second, equal_nan=True):
            notes.append(f"{name} is not deterministic: two calls at one point differ by {np.abs(first - second).max():.1e}.")
        raw = oracle.call(x0, y0)
        if getattr(raw, "dtype", None) == np.float32:
            notes.append(f"{name} returns float32: at most 7 digits; return float64.")
        if name in ("g_yy", "f_yy", "f_xx", "g_xx"):
            notes += _operator_notes(name, first)
    return notes


def _operator_notes(name, H):
    """Symmetry and linearity of a Hessian, probed by two directions."""
    u, w = np.cos(np.arange(H.shape[0])), np.sin(1.0 + 2 * np.arange(H.shape[0]))
    Hu, Hw = H @ u, H @ w
    scale = max(np.linalg.norm(Hu) * np.linalg.norm(w), 1e-300)
    notes = []
    if abs(w @ Hu - u @ Hw) > 1e-10 * scale:
        notes.append(f"{name} is not symmetric: |w'Hu - u'Hw| is {abs(w @ Hu - u @ Hw) / scale:.1e} relative; use linear='gmres' or 'lu'.")
    if np.linalg.norm(H @ (2 * u - 3 * w) - (2 * Hu - 3 * Hw)) > 1e-8 * (np.linalg.norm(Hu) + np.linalg.norm(Hw) + 1e-300):
        raise ArgumentError(f"{name} is not a linear operator: its product with 2u - 3w is not that combination of its products")
    return notes

"""Changes of a case that change its hypergradient in a known way: the invariances of an exact method.

With x = X x', y = Y y', f' = a f, g' = b g and rows p' = R p, q' = S q, the hypergradient is a X' (gradient), whatever Y, b, R, S
are. The matrices are small integers and halves, so that next to nothing is lost to rounding on the way.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..problem import BilevelProblem, Constraints
from .arrays import constant, namespace
from .cases import Functions
from .mutants.system import dense


@dataclass(frozen=True, eq=False)
class Change:
    """x = X x', y = Y y', f' = a f, g' = b g, p' = [R p; row.y - offset], q' = S q; None stands for the identity."""

    X: np.ndarray | None = None
    Y: np.ndarray | None = None
    a: float = 1.0
    b: float = 1.0
    R: np.ndarray | None = None
    S: np.ndarray | None = None
    row: np.ndarray | None = None
    offset: float = 0.0

    def __call__(self, case, name):
        """The changed case, its id marked with `name`."""
        full = self._completed(case)
        condition = case.condition * np.linalg.cond(full.Y) ** 2
        return replace(
            case,
            id=f"{case.id}+{name}",
            problem=full._problem(case.problem),
            functions=full._functions(case.functions),
            x=np.linalg.solve(full.X, case.x),
            y=np.linalg.solve(full.Y, case.y),
            mu=full._mu(case.mu),
            nu=full.b * np.linalg.solve(full.S.T, case.nu),
            reference=full.a * full.X.T @ case.reference,
            direct=full.a * full.X.T @ case.direct,
            condition=condition,
            indirect_scale=abs(full.a) * np.linalg.norm(full.X, 2) * case.indirect_scale,
            attainable_digits=case.attainable_digits - 2 * np.log10(np.linalg.cond(full.Y)),
        )

    def _completed(self, case):
        sizes = {"X": case.problem.n, "Y": case.problem.m, "R": case.mu.size, "S": case.nu.size}
        return replace(self, **{k: np.eye(size) for k, size in sizes.items() if getattr(self, k) is None})

    def _mu(self, mu):
        scaled = self.b * np.linalg.solve(self.R.T, mu)
        return scaled if self.row is None else np.append(scaled, 0.0)

    def _problem(self, old):
        X, Y, a, b, n, m = self.X, self.Y, self.a, self.b, old.n, old.m

        def at(oracle, scale, left=None, right=None, shape=None):
            def moved(x, y):
                value = oracle(X @ x, Y @ y)
                value = value if shape is None else dense(value, shape)
                value = value if left is None else left.T @ value
                return scale * (value if right is None else value @ right)

            return moved if oracle is not None else None

        oracles = {}
        for letter, scale in (("f", a), ("g", b)):
            for suffix, left, right, shape in (
                ("", None, None, None),
                ("_x", X, None, (n,)),
                ("_y", Y, None, (m,)),
                ("_xx", X, X, (n, n)),
                ("_xy", X, Y, (n, m)),
                ("_yy", Y, Y, (m, m)),
            ):
                oracles[letter + suffix] = at(getattr(old, letter + suffix), scale, left, right, shape)
        return BilevelProblem(n=n, m=m, **oracles, constraints=self._constraints(old), name=old.name)

    def _constraints(self, old):
        c, X, Y, R, S = old.constraints, self.X, self.Y, self.R, self.S
        if c is None:
            return None
        rows = {}
        if c.p is not None or self.row is not None:
            extra, k = self.row, len(R)
            rows["p"] = lambda x, y: np.append(R @ c.p(X @ x, Y @ y), [] if extra is None else extra @ y - self.offset)
            rows["p_x"] = lambda x, y: np.vstack(
                [R @ dense(c.p_x(X @ x, Y @ y), (k, old.n)) @ X, np.zeros((int(extra is not None), old.n))]
            )
            rows["p_y"] = lambda x, y: np.vstack(
                [R @ dense(c.p_y(X @ x, Y @ y), (k, old.m)) @ Y, np.zeros((0, old.m)) if extra is None else extra[None]]
            )
        if c.q is not None:
            rows["q"] = lambda x, y: S @ c.q(X @ x, Y @ y)
            rows["q_x"] = lambda x, y: S @ dense(c.q_x(X @ x, Y @ y), (len(S), old.n)) @ X
            rows["q_y"] = lambda x, y: S @ dense(c.q_y(X @ x, Y @ y), (len(S), old.m)) @ Y
        if not c.linear and c.lagrangian_yy is not None:
            shapes = {"lagrangian_yy": (Y, Y), "lagrangian_xy": (X, Y), "lagrangian_xx": (X, X)}
            for name, (left, right) in shapes.items():
                rows[name] = self._curvature(getattr(c, name), left, right)
        return Constraints(**rows, linear=c.linear)

    def _curvature(self, oracle, left, right):
        shape = (len(left), len(right))
        return oracle and (
            lambda x, y, mu, nu: left.T @ dense(oracle(self.X @ x, self.Y @ y, self.R.T @ mu[: len(self.R)], self.S.T @ nu), shape) @ right
        )

    def _functions(self, old):
        if old is None:
            return None

        def moved(call, scale):
            return call and (lambda x, y: scale * call(constant(self.X, x) @ x, constant(self.Y, y) @ y))

        def rows(call, matrix, extra):
            def value(x, y):
                new = constant(matrix, y) @ call(constant(self.X, x) @ x, constant(self.Y, y) @ y)
                if extra is None:
                    return new
                return namespace(x, y).concat([new, (constant(extra, y) @ y - self.offset).reshape(1)])

            return value if call else None

        return Functions(moved(old.f, self.a), moved(old.g, self.b), rows(old.p, self.R, self.row), rows(old.q, self.S, None))


def _mixing(size):
    """Integer matrix that turns pairs of coordinates by 45 degrees (and stretches by sqrt 2); [2] for one coordinate."""
    matrix = 2.0 * np.eye(size)
    for i in range(0, size - 1, 2):
        matrix[i : i + 2, i : i + 2] = [[1, 1], [-1, 1]]
    return matrix


def _shear(size):
    """Upper triangular: unit diagonal with halves beside it, the first coordinate doubled."""
    matrix = np.eye(size) + 0.5 * np.eye(size, k=1)
    matrix[0] *= 2
    return matrix


def scale_upper(case):
    """f -> f / 2^20: a small loss must not lose digits."""
    return Change(a=2.0**-20)(case, "scale_upper")


def scale_lower(case):
    """g -> 64 g: the hypergradient does not change."""
    return Change(b=64.0)(case, "scale_lower")


def rotate_x(case):
    """x = X x': the gradient is X' times the old one."""
    return Change(X=_mixing(case.problem.n))(case, "rotate_x")


def reparametrise_y(case):
    """y = Y y': the hypergradient does not change."""
    return Change(Y=_shear(case.problem.m))(case, "reparametrise_y")


def scale_rows(case):
    """Each row of p (by a positive number) and of q is scaled: the hypergradient does not change."""
    R, S = (np.diag(2.0 ** (np.arange(k) % 5 - 2)) for k in (case.mu.size, case.nu.size))
    return Change(R=R, S=-S)(case, "scale_rows")


def reverse_rows(case):
    """The rows in reverse order: the hypergradient does not change."""
    return Change(R=np.eye(case.mu.size)[::-1], S=np.eye(case.nu.size)[::-1])(case, "reverse_rows")


def redundant_row(case):
    """One more inequality, far from active: the hypergradient does not change."""
    row = np.ones(case.problem.m)
    return Change(row=row, offset=float(row @ case.y) + 4.0 * (1 + np.abs(case.y).sum()))(case, "redundant_row")


def _with_upper(case, name, oracles, function, **fields):
    problem = replace(case.problem, f_xx=None, f_xy=None, f_yy=None, **oracles)
    functions = case.functions and replace(case.functions, f=function)
    return replace(case, id=f"{case.id}+{name}", problem=problem, functions=functions, **fields)


def upper_without_y(case):
    """f' = x'x/2 + sum x: no implicit term, exactly, and no division by zero."""

    def f(x, y):
        return (x * x).sum() / 2 + x.sum() + 0.0 * y.sum()

    gradient, m = case.x + 1.0, case.problem.m
    oracles = {"f": f, "f_x": lambda x, y: x + 1.0, "f_y": lambda x, y: np.zeros(m)}
    return _with_upper(case, "upper_without_y", oracles, f, reference=gradient, direct=gradient, indirect_scale=0.0, attainable_digits=15.0)


def upper_without_x(case):
    """f'(x, y) = f(x0, y), x0 fixed: the implicit term alone."""
    x0, n, old = case.x.copy(), case.problem.n, case.problem

    def function(x, y):
        return case.functions.f(constant(x0, x) + 0.0 * x, y)

    oracles = {"f": lambda x, y: old.f(x0, y), "f_x": lambda x, y: np.zeros(n), "f_y": lambda x, y: old.f_y(x0, y)}
    reference = case.reference - case.direct
    lost = np.log10(max(case.indirect_scale, 1e-300) / max(np.linalg.norm(reference), 1e-300))
    attainable = 15.95 - np.log10(case.condition) - max(lost, 0.0)
    return _with_upper(case, "upper_without_x", oracles, function, reference=reference, direct=np.zeros(n), attainable_digits=attainable)


def plus_linear(case):
    """Three cases with the upper objectives f, h and f + h, h = (sum x + sum y) |f_y|: their gradients add up."""
    n, m, old = case.problem.n, case.problem.m, case.problem
    w = float(np.linalg.norm(old.f_y(case.x, case.y))) or 1.0

    def h(x, y):
        return w * (x.sum() + y.sum())

    alone = {"f": h, "f_x": lambda x, y: np.full(n, w), "f_y": lambda x, y: np.full(m, w)}
    both = {"f": lambda x, y: old.f(x, y) + h(x, y), "f_x": lambda x, y: old.f_x(x, y) + w, "f_y": lambda x, y: old.f_y(x, y) + w}
    return case, _with_upper(case, "h", alone, h), _with_upper(case, "f_plus_h", both, lambda x, y: case.functions.f(x, y) + h(x, y))


ANY = {t.__name__: t for t in (scale_upper, scale_lower, rotate_x, reparametrise_y, upper_without_y, upper_without_x)}
ROWS = {t.__name__: t for t in (scale_rows, reverse_rows)}
INEQUALITIES = {"redundant_row": redundant_row}


def transforms(case):
    """The changes {name: function} that apply to a case; none where it has no unique gradient or no lower objective."""
    if case.reference is None or not case.problem.has("g_yy", "g_xy", "f_x", "f_y"):
        return {}
    rows = case.problem.constraints
    found = dict(ANY)
    if rows is not None:
        found |= ROWS | (INEQUALITIES if rows.p is not None else {})
    return found

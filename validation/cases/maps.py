r"""Lower levels that are not a smooth minimisation in y: the layer (a solved bilevel program) and the finite choice.

LayerMap. Input z, output w = (x, y) with g_y(x, y, z) = 0 and f_x - g_xy v = 0, g_yy v = f_y: a stationary point u = (x, y, v) of

    F(x, y, z) - v . g_y(x, y, z),

whose Hessian K in u is symmetric; dw/dz = -(K^-1 N)_w with N = its second derivatives in (u, z). Third derivatives of g enter through
v . g_y; the terms allowed in a layer are quadratic ones and losses, for which they are closed forms.

ChoiceMap. y = the cheapest of finitely many points; dy/dx = 0 wherever the choice is unique.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from ...problem import BilevelProblem
from ...results import LowerSolution, Status
from ..arrays import namespace
from .build import oracles, total
from .record import Functions
from .terms import Loss


class LayerMap:
    """(x*(z), y*(z)) by Newton's method on the stationarity system, and its derivative."""

    def __init__(self, spec):
        inner = spec["layer"]
        self.k, self.n, self.m = spec["n"], inner["n"], inner["m"]
        self.upper, self.lower = (total(inner[name], self.k + self.n, self.m) for name in ("upper", "lower"))
        self.start = [float(v) for v in spec["start"]]

    def _system(self, z, u):
        """(residual (n + 2m,), K (n + 2m, n + 2m), N (n + 2m, k)) at u = (x, y, v)."""
        s, y, v = np.concatenate([z, u[: self.n]]), u[self.n : self.n + self.m], u[self.n + self.m :]
        F, g, k = self.upper, self.lower, self.k
        g_sy, g_yy = g.d_xy(s, y), g.d_yy(s, y)
        T = directional(g, s, y, v)  # second derivatives of v . g_y in (s, y)
        H = np.block([[F.d_xx(s, y), F.d_xy(s, y)], [F.d_xy(s, y).T, F.d_yy(s, y)]]) - T
        rows = np.hstack([-g_sy.T, -g_yy])
        full = np.block([[H, rows.T], [rows, np.zeros((self.m, self.m))]])
        residual = np.concatenate([F.d_x(s, y) - g_sy @ v, F.d_y(s, y) - g_yy @ v, -g.d_y(s, y)])
        return residual[k:], full[k:, k:], full[k:, :k]

    def solve(self, z, y0=None, tol=None):
        """The layer's output; Newton from the recorded neighbourhood, until the residual stops falling."""
        z = np.asarray(z, float)
        kept = u = np.array(self.start)
        best = np.inf
        for iteration in range(50):
            residual, K, _ = self._system(z, u)
            size = float(np.linalg.norm(residual))
            if not size < best:
                break
            best, kept = size, u
            u = u - np.linalg.solve(K, residual)
        scale = 1.0 + float(np.linalg.norm(kept)) * float(np.linalg.norm(K, 2))
        status = Status.CONVERGED if best <= max(tol or 0.0, 1e-12 * scale) else Status.LOWER_STALLED
        return LowerSolution(y=kept[: self.n + self.m], residual=best, iterations=iteration, status=status, method="newton", factor=kept)

    def _derivative(self, z, lower):
        _, K, N = self._system(np.asarray(z, float), lower.factor if lower.factor is not None else self.solve(z).factor)
        return K, N

    def vjp(self, z, lower, y_bar):
        K, N = self._derivative(z, lower)
        return -N.T @ np.linalg.solve(K, np.concatenate([y_bar, np.zeros(self.m)]))

    def jvp(self, z, lower, dz):
        K, N = self._derivative(z, lower)
        return -np.linalg.solve(K, N @ dz)[: self.n + self.m]


def directional(g, s, y, v):
    """Second derivatives in (s, y) of v . g_y: zero for quadratic terms; for a loss, (B A)' diag(phi''' A v) (B A)."""
    size = s.size + y.size
    result = np.zeros((size, size))
    for term in g.terms:
        if isinstance(term, Loss):
            both = np.hstack([term.B, term.A])
            r = both @ np.concatenate([s, y]) + term.c
            result += both.T @ ((term.scale * THIRD[term.loss](r) * (term.A @ v))[:, None] * both)
    return result


def _logistic_third(r):
    t = np.tanh(0.5 * r)
    return -0.25 * t * (1.0 - t * t)


#: phi''' by name
THIRD = {"square": np.zeros_like, "quartic": lambda r: 6.0 * r, "exponential": np.exp, "logistic": _logistic_third}


class ChoiceMap:
    """The cheapest of finitely many points, g(x, y) linear in y; a tie has the status nonunique."""

    def __init__(self, spec):
        self.points = np.array(spec["feasible"], float)
        self.g = total(spec["g"], spec["n"], spec["m"])

    def costs(self, x):
        return np.array([self.g.value(np.asarray(x, float), y) for y in self.points])

    def solve(self, x, y0=None, tol=None):
        costs = self.costs(x)
        first, second = np.partition(costs, 1)[:2]
        status = Status.NONUNIQUE if first == second else Status.CONVERGED
        y = self.points[int(np.argmin(costs))]
        return LowerSolution(y=y, residual=0.0, margin=float(second - first), status=status, method="enumeration")

    def vjp(self, x, lower, y_bar):
        return np.zeros(np.size(x))

    def jvp(self, x, lower, dx):
        return np.zeros(self.points.shape[1])


def layer_problem(spec):
    """(BilevelProblem, Functions) of the class layer: x of the problem is the layer's input z, y its output (x, y)."""
    n, m = spec["n"], spec["m"]
    solution_map, f = LayerMap(spec), total(spec["f"], n, m)
    problem = BilevelProblem(n=n, m=m, **oracles("f", f), solution_map=solution_map, name=spec["id"])

    inner = {name: partial(_inner, getattr(solution_map, name)) for name in ("upper", "lower")}
    return problem, Functions(f.value, **inner)


def _inner(function, x, y, z):
    """An objective of the layer in its own order of arguments."""
    return function.value(namespace(x, y, z).concat([z, x]), y)


def choice_problem(spec):
    """(BilevelProblem, Functions) of the class combinatorial."""
    n, m = spec["n"], spec["m"]
    solution_map, f = ChoiceMap(spec), total(spec["f"], n, m)
    g = solution_map.g
    problem = BilevelProblem(n=n, m=m, **oracles("f", f), g=g.value, g_x=g.d_x, g_y=g.d_y, solution_map=solution_map, name=spec["id"])
    return problem, Functions(f.value, g.value)

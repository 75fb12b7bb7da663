"""The lower level as a map x -> y*(x) with exact derivatives: parameters, cone program, solver, polish, adjoint.

    x -> u = (leaves, h(x)) -> theta -> (P, q, A, b) -> (x_c, z) -> y = selection of x_c,

each arrow with its transpose; the only implicit one is the cone program's (refbilevel.conic). Error law: exact where the adjoint
system is consistent (its residual is reported) and the margin is above rounding level; otherwise the status says what fails.
Nothing of one solve is kept for the next; a `LowerSolution` carries what its adjoint reuses in `.factor`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ... import conic
from ...errors import unknown
from ...results import LinearSolution, LowerSolution, Status
from . import solvers
from .parametric import violation

#: |F| / size of the data that counts as solved when no tol is given
SOLVED = 1e-9
#: a margin below this times the size of the data is weakly active
WEAK = 1e-11
#: step into the interior of a declared sign for a one-sided derivative at its boundary
INSIDE = 1e-7
#: weakly active rows up to which all branches of the Clarke set are listed
BRANCHES = 6


@dataclass(frozen=True, eq=False)
class State:
    """What a solve leaves for its adjoint: the x it belongs to, the point, and the factored system (made again after pickling)."""

    owner: Any
    x: np.ndarray
    point: Any
    system: Any

    def __getstate__(self):
        return {"owner": self.owner, "x": self.x, "point": self.point, "system": None}

    def __setstate__(self, state):
        self.__dict__.update(state)


class SolutionMap:
    """The lower level of a `from_cvxpy` problem.

    Methods: `solve(x, y0, tol) -> LowerSolution`, `vjp(x, lower, y_bar) -> (n,)`, `jvp(x, lower, dx) -> (m,)`,
    `adjoint(x, lower, y_bar) -> ((n,), LinearSolution)`; `upper` and `lower` are the layouts of x and y. Pickles (the factors of
    a solution are made again), and may be used from several threads: solving touches no CVXPY object.
    """

    def __init__(self, upper, lower, sources, canonical, solver):
        self.upper, self.lower, self.solver = upper, lower, solver
        self._sources, self._canonical = sources, canonical

    def solve(self, x, y0=None, tol=None):
        """y*(x). `residual` is |F|_inf of the cone program's optimality conditions, `residual_before` that of the solver's own answer."""
        u = [source.value(self.upper.unpack(x)) for source in self._sources]
        u, outside = self._admissible(u)
        if not all(np.isfinite(value).all() for value in u):
            return self._nothing(Status.NONFINITE, "A parameter of the lower level is not finite at this x.", "")
        program = self._canonical.program(self._theta(u))
        goal = SOLVED * program.scale if tol is None else tol
        answer = solvers.solve(program, self.solver)
        point, system = self._polished(program, answer)
        if point is None or point.residual > goal:
            return self._explained(x, program, answer, point)
        if outside:
            detail = f"At this x the lower level leaves what it was declared for ({outside}), so it is not known to be convex."
            return self._solution(x, point, system, answer, Status.NOT_A_MINIMUM, detail)
        return self._solution(x, point, system, answer, Status.CONVERGED, "")

    def vjp(self, x, lower, y_bar, linear="auto"):
        """(dy/dx)' y_bar, shape (n,)."""
        return self.adjoint(x, lower, y_bar, linear)[0]

    def adjoint(self, x, lower, y_bar, linear="auto"):
        """((dy/dx)' y_bar (n,), LinearSolution): the record has the adjoint residual, and the status that residual and margin give."""
        state, lower = self._state(x, lower)
        if state is None:
            nothing = LinearSolution(x=np.zeros(0), residual=np.nan, status=lower.status, detail=lower.detail, method="cone")
            return np.full(self.upper.size, np.nan), nothing
        system = self._system(state, linear)
        x_bar = self._y_transpose(y_bar)
        w, record = system.checked_adjoint(x_bar)
        record = self._judged(x, state.point, system, record)
        if record.status is Status.DEGENERATE and state.point.margin > self._weak(state.point.program):
            inside = self._inside(x)
            if not np.array_equal(inside, x):
                return self._one_sided(inside, y_bar, linear, record)
        return self._pull_back(x, state.point, w), record

    def jvp(self, x, lower, dx, linear="auto"):
        """(dy/dx) dx, shape (m,); NaN where the lower level has no solution."""
        state, _ = self._state(x, lower)
        if state is None:
            return np.full(self.lower.size, np.nan)
        dx_c, _ = self._system(state, linear).tangent(*self._direction(x, state.point, dx))
        return self._y(dx_c)

    def corrected(self, x, lower):
        """The LowerSolution one Newton step on; None where that step leads to no finite point."""
        if not isinstance(lower.factor, State) or not np.array_equal(lower.factor.x, x):
            return None
        state = lower.factor
        point = conic.newton_step(state.point, self._system(state, "auto"))
        if not np.isfinite(point.residual):
            return None
        return replace(lower, y=self._y(point.x), residual=point.residual, factor=State(self, state.x, point, None))

    def branches(self, x, lower, y_bar):
        """(2^w, n): (dy/dx)' y_bar for every choice at the w weakly active rows; None for w > BRANCHES or a cone at a kink."""
        state, _ = self._state(x, lower)
        weak = np.flatnonzero(state.point.margins <= self._weak(state.point.program))
        if not 0 < weak.size <= BRANCHES or state.point.at.cone_margin <= self._weak(state.point.program):
            return None
        x_bar, found = self._y_transpose(y_bar), []
        for choice in np.ndindex(*[2] * weak.size):
            at = state.point.at.held(weak, np.array(choice, float))
            w, record = conic.system(state.point.program, at).checked_adjoint(x_bar)
            if record.success:
                found.append(self._pull_back(x, state.point, w))
        return np.array(found)

    def _theta(self, u):
        flat = np.concatenate([np.ravel(value, order="F") for value in u]) if u else np.zeros(0)
        return flat[self._canonical.theta_index]

    def _y(self, x_c):
        return x_c[self._canonical.y_index] * self._canonical.y_present

    def _y_transpose(self, y_bar):
        x_bar = np.zeros(self._canonical.program.n)
        np.add.at(x_bar, self._canonical.y_index, self._canonical.y_present * y_bar)
        return x_bar

    def _weak(self, program):
        return WEAK * program.scale

    def _admissible(self, u):
        """(u moved onto what its parameters were declared to be where rounding put it outside, names of those truly outside)."""
        outside, kept = [], []
        for source, value in zip(self._sources, u):
            gap = violation(source.parameter, value) if np.isfinite(value).all() else 0.0
            if gap > 1e-12 * (1.0 + np.abs(value).max(initial=0.0)):
                outside.append(source.parameter.name())
            elif gap > 0.0 and source.parameter.is_nonneg():
                value = np.maximum(value, 0.0)
            elif gap > 0.0 and source.parameter.is_nonpos():
                value = np.minimum(value, 0.0)
            kept.append(value)
        return kept, ", ".join(outside)

    def _polished(self, program, answer):
        if not (np.isfinite(answer.x).all() and np.isfinite(answer.z).all()):
            return None, None
        with np.errstate(all="ignore"):
            point, system = conic.polish(program, answer.x, answer.z)
        return (point, system) if np.isfinite(point.residual) else (None, None)

    def _solution(self, x, point, system, answer, status, detail):
        c = self._canonical
        system = conic.system(point.program, point.at) if system is None else system
        z, s = point.z, point.s
        mu = z[c.mu_index] * c.mu_sign
        solution = LowerSolution(
            y=self._y(point.x), mu=mu, nu=z[c.nu_index] * c.nu_sign, residual=point.residual, active=mu > s[c.mu_index],
            margin=point.margin, iterations=answer.iterations + point.steps, status=status, detail=detail, method="cvxpy",
            residual_before=point.residual_before, factor=State(self, np.array(x), point, system), solvers=(answer.solver, "polish"),
        )  # fmt: skip
        direction = self._flat_direction(point, system) if status.success else None
        if direction is None:
            return solution
        text = "Along the certificate's direction y moves at no cost."
        return replace(solution, status=Status.NONUNIQUE, certificate=direction, detail=text)

    def _flat_direction(self, point, system):
        """A unit direction in y along which the lower solution can move, or None."""
        if point.margin <= self._weak(point.program) or system.null_space is None:
            return None
        moves = self._y_of_columns(system.null_space)
        norms = np.linalg.norm(moves, axis=0)
        if not (norms > 1e-7).any():
            return None
        column = moves[:, int(np.argmax(norms))]
        return column / np.linalg.norm(column)

    def _y_of_columns(self, columns):
        return columns[self._canonical.y_index] * self._canonical.y_present[:, None]

    def _explained(self, x, program, answer, point):
        """No KKT point: a certificate of infeasibility or unboundedness that we can verify, or the honest residual."""
        ray = conic.infeasibility(program, answer.z)
        if ray is not None:
            return self._nothing(Status.LOWER_INFEASIBLE, f"{answer.solver}: {answer.word}.", answer.solver, self._farkas(ray))
        ray = conic.recession(program, answer.x)
        if ray is not None:
            return self._nothing(Status.LOWER_UNBOUNDED, f"{answer.solver}: {answer.word}.", answer.solver, self._y(ray))
        if point is None:
            return self._nothing(Status.LOWER_STALLED, f"{answer.solver}: {answer.word}; no finite point.", answer.solver)
        detail = f"{answer.solver}: {answer.word}; the residual after the polish is {point.residual:.1e}."
        return self._solution(x, point, None, answer, Status.LOWER_STALLED, detail)

    def _farkas(self, ray):
        """(mu, nu) of the user's inequality and equality constraints, with b'z = -1 over all rows."""
        c = self._canonical
        return ray[c.mu_index] * c.mu_sign, ray[c.nu_index] * c.nu_sign

    def _nothing(self, status, detail, solver, certificate=None):
        y = np.full(self.lower.size, np.nan)
        return LowerSolution(
            y=y, residual=np.inf, margin=np.nan, status=status, detail=detail, method="cvxpy", certificate=certificate, solvers=(solver,)
        )

    def _state(self, x, lower):
        """(state, lower): that of `lower` if it was solved here at this x, else of a new solve; None where there is no solution."""
        state = lower.factor if lower is not None else None
        if isinstance(state, State) and np.array_equal(state.x, x) and (state.owner is self or state.system is None):
            return state, lower
        lower = self.solve(np.asarray(x, float))
        return lower.factor, lower

    def _system(self, state, linear):
        linear = "auto" if linear is None else linear
        if linear not in conic.METHODS:
            raise unknown("linear method of a cone program", linear, conic.METHODS)
        if linear == "auto" and state.system is not None:
            return state.system
        return conic.system(state.point.program, state.point.at, linear)

    def _judged(self, x, point, system, record):
        """The record with the status that residual, null space and margin give together."""
        if not record.success:
            if self._flat_direction(point, system) is not None:
                return replace(record, status=Status.NONUNIQUE)
            return record
        if point.margin <= self._weak(point.program):
            detail = f"The margin is {point.margin:.1e}."
            return replace(record, status=Status.DEGENERATE, detail=detail)
        if system.factor.singular and not self._follows(x, point, system):
            detail = "Dependent constraints move apart with x, or an epigraph is slack, so y* has only one-sided derivatives."
            return replace(record, status=Status.DEGENERATE, detail=detail)
        return record

    def _inside(self, x):
        """x with entries of sign-declared leaves at zero moved INSIDE into the interior of what was declared."""
        arrays, step = self.upper.unpack(x), INSIDE * (1.0 + np.abs(x).max())
        for source in self._sources:
            if source.walk is None and (source.parameter.is_nonneg() or source.parameter.is_nonpos()):
                value, side = arrays[source.leaf.id], 1.0 if source.parameter.is_nonneg() else -1.0
                arrays[source.leaf.id] = np.where(side * value < 0.5 * step, side * step, value)
        return self.upper.pack(arrays)

    def _one_sided(self, inside, y_bar, linear, record):
        """The gradient just inside: a Clarke element to O(INSIDE), where a zero penalty leaves its epigraph slack."""
        x_bar, there = self.adjoint(inside, None, y_bar, linear)
        detail = f"{record.detail} The element given is the one-sided derivative, to {INSIDE:.0e}."
        return x_bar, replace(record, detail=detail if there.success else record.detail)

    def _follows(self, x, point, system):
        """True if the solution can follow x in a random direction; certain only with probability one."""
        dx = np.cos(np.arange(self.upper.size) + 1.0)
        return system.solvable(*self._direction(x, point, dx))

    def _direction(self, x, point, dx):
        """The right-hand side of the tangent system for a direction dx (n,)."""
        arrays, direction = self.upper.unpack(x), self.upper.unpack(dx)
        du = [self._push(source, arrays, direction) for source in self._sources]
        return self._canonical.program.push_forward(point, self._theta(du))

    def _pull_back(self, x, point, w):
        """x_bar (n,) from the cone program's adjoint."""
        theta_bar = self._canonical.program.pull_back(point, *w)
        flat = np.zeros(sum(source.parameter.size for source in self._sources))
        np.add.at(flat, self._canonical.theta_index, theta_bar)
        arrays, bars, start = None, {}, 0
        for source in self._sources:
            stop = start + source.parameter.size
            bar = flat[start:stop].reshape(source.parameter.shape, order="F")
            start = stop
            if source.walk is None:
                bars[source.leaf.id] = bars.get(source.leaf.id, 0.0) + bar
                continue
            arrays = self.upper.unpack(x) if arrays is None else arrays
            for key, part in source.walk.gradient(arrays, bar).items():
                bars[key] = bars.get(key, 0.0) + part
        return self.upper.pack(bars)

    def _push(self, source, arrays, direction):
        """du of one parameter along a direction of the leaves."""
        if source.walk is None:
            return direction[source.leaf.id]
        flat = source.walk.jacobian(arrays, self.upper) @ self.upper.pack(direction)
        return flat.reshape(source.parameter.shape, order="F")



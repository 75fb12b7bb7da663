"""Any installed CVXPY solver on a cone program already in our rows: Clarabel directly, the others through a CVXPY problem in x."""

from __future__ import annotations

import warnings

import cvxpy as cp
import numpy as np

from ... import conic
from ...errors import ArgumentError
from . import internals


def check(solver):
    """The solver's name in capitals; an error listing the installed ones where it is not."""
    name = str(solver).upper()
    installed = internals.installed_solvers()
    if name not in installed:
        raise ArgumentError(f"solver {solver!r} is not installed; installed are {', '.join(installed)}")
    return name


def solve(program, solver):
    """The solver's `Answer`; what it says is only a start for the polish."""
    if solver == internals.CANONICAL_SOLVER:
        return conic.clarabel(program)
    x, constraints = _problem(program)
    quadratic = 0.5 * cp.quad_form(x, cp.psd_wrap(program.P)) if program.P.nnz else 0.0
    problem = cp.Problem(cp.Minimize(quadratic + program.q @ x), constraints)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            problem.solve(solver=solver)
        except cp.error.SolverError as error:
            problem = None
            word = str(error)
    if problem is None or x.value is None:
        word = word if problem is None else problem.status
        fallback = conic.clarabel(program)  # for a certificate, or a second opinion
        return conic.Answer(fallback.x, fallback.z, f"{word}, then {fallback.word}", fallback.iterations, f"{solver}, CLARABEL")
    return conic.Answer(np.array(x.value), _multipliers(program.cones, constraints), problem.status, 0, solver)


def _problem(program):
    """x and the constraints b - A x in K, cone by cone."""
    cones = program.cones
    x = cp.Variable(program.q.size)
    s = program.b - program.A @ x
    constraints, start = [], 0
    for kind, size, data in _cones(cones):
        rows = s[start : start + size]
        start += size
        constraints.append(_member(kind, rows, data))
    return x, constraints


def _cones(cones):
    """(kind, rows, data) cone by cone in row order."""
    found = [("zero", cones.zero, None)] * bool(cones.zero) + [("nonneg", cones.nonneg, None)] * bool(cones.nonneg)
    found += [("soc", k, None) for k in cones.soc] + [("psd", k * (k + 1) // 2, k) for k in cones.psd]
    found += [("exp", 3, None)] * cones.exp + [("power", len(a) + 1, a) for a in cones.power]
    return found


def _member(kind, rows, data):
    if kind == "zero":
        return cp.Zero(rows)
    if kind == "nonneg":
        return cp.NonNeg(rows)
    if kind == "soc":
        return cp.SOC(rows[0], rows[1:]) if rows.size > 1 else cp.NonNeg(rows)
    if kind == "psd":
        return cp.PSD(cp.reshape(_smat(data) @ rows, (data, data), order="F"))
    if kind == "exp":
        return cp.ExpCone(rows[0], rows[1], rows[2])
    if len(data) == 2:
        return cp.PowCone3D(rows[0], rows[1], rows[2], data[0])
    return cp.PowConeND(rows[:-1], rows[-1], np.array(data))


def _smat(order):
    """(order^2, order(order+1)/2): svec coordinates to the full matrix, column-major."""
    M = np.zeros((order * order, order * (order + 1) // 2))
    for j in range(order):
        for i in range(j + 1):
            column = j * (j + 1) // 2 + i
            M[i + order * j, column] = M[j + order * i, column] = 1.0 if i == j else np.sqrt(0.5)
    return M


def _multipliers(cones, constraints):
    """z (k,) in our rows from CVXPY's dual values; zeros where a solver gives none."""
    parts = []
    for (kind, size, data), constraint in zip(_cones(cones), constraints):
        parts.append(_dual(kind, size, data, constraint))
    return np.concatenate(parts) if parts else np.zeros(0)


def _dual(kind, size, data, constraint):
    values = [variable.value for variable in constraint.dual_variables]
    if any(value is None for value in values):
        return np.zeros(size)
    if kind == "psd":
        return _smat(data).T @ np.ravel(np.asarray(values[0]), order="F")
    flat = np.concatenate([np.ravel(np.asarray(value, float), order="F") for value in values])
    return -flat if kind == "zero" else flat

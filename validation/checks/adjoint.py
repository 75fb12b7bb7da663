"""Level 3: identities between answers. Pull-back against push-forward, the chain rule, and the symmetry of second derivatives."""

from __future__ import annotations

import numpy as np

from ..failure import Measured
from ..oracle import jacobian, moved
from .contract import answered, fail
from .record import check, regular
from .verdict import EPS, LIMIT


def _vectors(case):
    """Two fixed integer directions, (n,) and (m,)."""
    rng = np.random.default_rng(7)
    return rng.integers(-3, 4, case.problem.n) + 0.5, rng.integers(-3, 4, case.problem.m) + 0.5


def _pulled(name, implementation, case, y_bar):
    answer = implementation.run("vjp", case, case.x, y_bar)
    if answer.error is not None:
        fail(name, implementation, case, f"raised {type(answer.error).__name__}: {answer.error}")
    if np.shape(answer.vector) != case.x.shape:
        fail(name, implementation, case, f"vjp returned shape {np.shape(answer.vector)}; (n,) = {case.x.shape} is due")
    return np.asarray(answer.vector, float)


def _tolerance(implementation, case):
    line = 10 * LIMIT * case.condition * EPS
    return line if implementation.required is None else max(line, 10.0**-implementation.required)


@check(3, applies=regular, protocols=("vjp",))
def adjoint_identity(implementation, case):
    """<u, J v> = <J'u, v>, J = dy/dx."""
    dx, y_bar = _vectors(case)
    J = jacobian(case)
    left, right = y_bar @ (J @ dx), _pulled("adjoint_identity", implementation, case, y_bar) @ dx
    size = np.linalg.norm(J, 2) + np.linalg.norm(case.y) / max(1.0, np.linalg.norm(case.x))  # of dy/dx, and of what rounding of y adds
    scale = np.linalg.norm(y_bar) * size * np.linalg.norm(dx) or 1.0
    if not abs(left - right) <= _tolerance(implementation, case) * scale:
        fail("adjoint_identity", implementation, case, f"<u, Jv> = {left:.12g} but <J'u, v> = {right:.12g}")
    return Measured(min(15.95, -np.log10(max(abs(left - right) / scale, 1e-16))), case.attainable_digits)


@check(3, applies=regular, protocols=("vjp",))
def chain_rule(implementation, case):
    """The hypergradient is f_x plus the pull-back of f_y."""
    f_y = np.asarray(case.problem.f_y(case.x, case.y), float)
    pulled = case.direct + _pulled("chain_rule", implementation, case, f_y)
    whole = answered("chain_rule", implementation, case).vector
    scale = np.linalg.norm(case.direct) + case.indirect_scale
    error = np.linalg.norm(whole - pulled) / scale
    if not error <= _tolerance(implementation, case):
        fail("chain_rule", implementation, case, f"hypergradient and f_x + vjp(f_y) differ by {error:.1e} (relative)")
    return Measured(min(15.95, -np.log10(max(error, 1e-16))), case.attainable_digits)


@check(3, applies=regular, protocols=("vjp",), sample="class")
def linear_pullback(implementation, case):
    """The pull-back is linear: vjp(2u) = 2 vjp(u), vjp(0) = 0."""
    _, y_bar = _vectors(case)
    once, twice, zero = (_pulled("linear_pullback", implementation, case, k * y_bar) for k in (1.0, 2.0, 0.0))
    if not np.linalg.norm(twice - 2 * once) <= _tolerance(implementation, case) * max(np.linalg.norm(once), 1e-300):
        fail("linear_pullback", implementation, case, "vjp(2u) is not 2 vjp(u): a tolerance or a start depends on the scale of u")
    if not (np.isfinite(zero).all() and np.abs(zero).max() <= EPS * np.linalg.norm(once)):
        fail("linear_pullback", implementation, case, f"vjp(0) is {zero} where zero is due; guard the division by |u|")
    return Measured()


def _curl_applies(case):
    return regular(case) and case.problem.n > 1


@check(3, applies=_curl_applies, sample="class")
def curl(implementation, case):
    """The Jacobian of a gradient is symmetric: d'(dG/de) = e'(dG/dd), by central differences."""
    h = 1e-4 * max(1.0, np.linalg.norm(case.x))
    d, e = _plane(case)
    if any(moved(case, case.x + s * h * u) is None for s in (1, -1) for u in (d, e)):
        return Measured()
    along = {name: _difference(implementation, case, u, h) for name, u in (("d", d), ("e", e))}
    left, right = d @ along["e"], e @ along["d"]
    size = max(np.linalg.norm(along["d"]), np.linalg.norm(along["e"]))
    noise = 1e4 * case.condition * EPS * (np.linalg.norm(case.direct) + case.indirect_scale) / h
    if not abs(left - right) <= 1e-4 * size + noise:
        fail("curl", implementation, case, f"the answers are not the gradient of any function: {left:.6g} against {right:.6g}")
    return Measured()


def _plane(case):
    """Two orthonormal directions."""
    rng = np.random.default_rng(3)
    return np.linalg.qr(rng.normal(size=(case.problem.n, 2)))[0].T


def _difference(implementation, case, direction, h):
    ends = [answered("curl", implementation, case, case.x + s * h * direction).vector for s in (1, -1)]
    return (ends[0] - ends[1]) / (2 * h)


CHECKS = [adjoint_identity, chain_rule, linear_pullback, curl]

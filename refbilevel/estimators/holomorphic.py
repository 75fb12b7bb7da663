"""Holomorphic equilibrium propagation: equilibria at N complex nudges on a circle.

    beta_k = beta exp(2 pi i k / N),     gradient = Re (1/N) sum_k t(beta_k) / beta_k,     t = g_x + beta f_x at y_beta.

The mean is exact for the Taylor coefficients of t up to the N-th, so the error is O(beta^N); N = 2 is the symmetric difference.
beta need not be small: rounding enters as delta / beta, hence the automatic beta ~ delta^(1/(N+1)).
Assumes f and g analytic in y, with oracles that accept complex y (no abs, conj, vdot or norms: sum(y * y) instead); the
Cauchy-Riemann equations are tested first, and an oracle that fails them is named in an ArgumentError. The complex equilibria
solve g_y + beta f_y = 0 by the chord Newton method with g_yy at the real y*, whose rate is O(beta); Status NUDGE_TOO_LARGE
where it does not contract.

Laborieux & Zenke, Holomorphic equilibrium propagation computes exact gradients through finite size oscillations, NeurIPS 2022.
"""

from __future__ import annotations

import warnings

import numpy as np

from ..errors import ArgumentError
from ..linear import solve
from ..results import Estimate, Status
from .protocol import Estimator

EPS = np.finfo(float).eps


def _complex(oracle, x, y):
    """The oracle behind its checks (which insist on real numbers), at a complex y."""
    call = getattr(oracle, "call", oracle)
    if hasattr(oracle, "counts"):
        oracle.counts[oracle.name] += 1
    try:
        return np.asarray(call(x, y), complex)
    except (TypeError, np.exceptions.ComplexWarning) as error:
        name = getattr(oracle, "name", "an oracle")
        raise ArgumentError(f"{name} does not accept complex y ({error}); use method='equilibrium'") from error


def _refuse_nonanalytic(problem, x, y):
    """Cauchy-Riemann along one direction d: the derivative along i d is i times the derivative along d."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", np.exceptions.ComplexWarning)
        for name in ("g_y", "f_y", "g_x", "f_x"):
            _refuse(problem, name, x, y)


def _refuse(problem, name, x, y):
    d, h = np.cos(1.0 + np.arange(y.size)), 1e-6 * (1.0 + np.linalg.norm(y))
    oracle = getattr(problem, name)
    oracle(x, y)  # a real call, whose shape is checked
    along = _complex(oracle, x, y + h * d + 0j) - _complex(oracle, x, y - h * d + 0j)
    across = _complex(oracle, x, y + 1j * h * d) - _complex(oracle, x, y - 1j * h * d)
    mismatch = np.linalg.norm(across - 1j * along)
    if mismatch > 1e-4 * np.linalg.norm(along) + 1e3 * EPS * (1.0 + np.linalg.norm(_complex(oracle, x, y + 0j))):
        raise ArgumentError(
            f"{name} is not analytic in y (it fails the Cauchy-Riemann equations; abs, conj, vdot, norm and real do); "
            "write it analytically, or use method='equilibrium'"
        )


def _equilibrium(problem, x, y, beta, H, linear, maxiter):
    """(y_beta complex, Status): y <- y - H^{-1} (g_y + beta f_y) until rounding stops the progress.

    A linear solve that fails is forgiven as long as the residual halves; where it does not, its status is the answer.
    """
    y, best = y + 0j, (np.inf, y + 0j)
    stalled, solved = 0, Status.CONVERGED
    for _ in range(maxiter):
        r = _complex(problem.g_y, x, y) + beta * _complex(problem.f_y, x, y)
        size = np.linalg.norm(r)
        if not np.isfinite(size) or size > 1e3 * best[0]:
            return best[1], Status.NUDGE_TOO_LARGE
        stalled = stalled + 1 if size >= 0.5 * best[0] else 0
        if size < best[0]:
            best = (size, y)
        scale = np.linalg.norm(_complex(problem.g_y, x, y)) + np.linalg.norm(H @ np.abs(y))
        if size <= 4 * EPS * scale or (stalled >= 3 and size <= 1e3 * EPS * scale):
            return best[1], Status.CONVERGED
        if stalled and not solved.success:
            return best[1], solved
        step = solve(H, np.column_stack([r.real, r.imag]), linear)
        solved = step.status
        y = y - (step.x[:, 0] + 1j * step.x[:, 1])
    return best[1], Status.NUDGE_TOO_LARGE


def _compute(problem, x, lower, *, N=4, beta=None, linear="auto", maxiter=200):
    if isinstance(N, bool) or not isinstance(N, (int, np.integer)) or N < 1:
        raise ArgumentError(f"N must be an integer of at least 1, got {N!r}")
    if beta is not None and not (np.isfinite(beta) and beta > 0):
        raise ArgumentError(f"beta must be positive, got {beta!r}")
    y = lower.y
    _refuse_nonanalytic(problem, x, y)
    beta = EPS ** (1 / (N + 1)) if beta is None else float(beta)
    H, total, status = problem.g_yy(x, y), np.zeros(problem.n, complex), Status.CONVERGED
    for k in range(N):
        beta_k = beta * np.exp(2j * np.pi * k / N)
        with np.errstate(over="ignore", invalid="ignore"):  # a chord that runs away ends as NUDGE_TOO_LARGE
            y_k, found = _equilibrium(problem, x, y, beta_k, H, linear, maxiter)
        status = status if found.success else found
        total += (_complex(problem.g_x, x, y_k) + beta_k * _complex(problem.f_x, x, y_k)) / (N * beta_k)
    if N == 1:
        total -= _complex(problem.g_x, x, y + 0j) / beta  # one phase alone does not cancel t(0)
    extra = {"beta": beta, "imaginary": float(np.linalg.norm(total.imag))}
    return Estimate(gradient=total.real.copy(), direct=problem.f_x(x, y), status=status, extra=extra)


holomorphic_equilibrium = Estimator(
    name="holomorphic_equilibrium",
    family="equilibrium",
    compute=_compute,
    requires=("f_x", "f_y", "g_x", "g_y", "g_yy"),
    error="O(beta^N)",
    reference="Laborieux & Zenke 2022",
)

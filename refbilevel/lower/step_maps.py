"""One step of a lower dynamics, y <- T(x, y), with its derivatives: what unrolling and fixed-point adjoints differentiate.

The state z stacks y and, for methods with momentum, the iterate before it (`copies` = 2); y is its first m entries.

    gradient descent   T = y - s g_y(y)
    heavy ball         T = (y - s g_y(y) + b (y - y'), y)                                 (Polyak 1964)
    nesterov           T = (w - s g_y(w), y),  w = y + b (y - y')                         (Nesterov 2004, constant b)
    newton             T = y - g_yy(y)^{-1} g_y(y), derivatives as at a solution: T_y = 0, T_x = -g_yy^{-1} g_xy^T

A map of your own is a `StepMap(T=..., vjp_y=..., vjp_x=...)`; it need not be a gradient step, nor T_y symmetric.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..errors import ArgumentError, DtypeError, unknown
from ..linear import solve
from .gradient import default_step


@dataclass(frozen=True)
class StepMap:
    """z_{k+1} = T(x, z_k), z of shape (copies m,).

    T : callable (x, z) -> z
    vjp_y : callable (x, z, u) -> T_z^T u, shape of z
    vjp_x : callable (x, z, u) -> T_x^T u, shape (n,)
    jvp : callable (x, z, dX, dZ) -> T_x dX + T_z dZ for dX (n, k), dZ (copies m, k); forward mode only
    copies : int
    symmetric : bool
        T_z is symmetric, so a growing power of it proves divergence.
    scale : float, optional
        s of a gradient step: the adjoint v of g_yy v = f_y is s u. None where that makes no sense.
    """

    T: Callable
    vjp_y: Callable
    vjp_x: Callable
    jvp: Callable | None = None
    copies: int = 1
    symmetric: bool = False
    scale: float | None = None
    name: str = "user"

    def start(self, y):
        return np.tile(y, self.copies)


def _along(g_xy, dX):
    """g_xy' dX (m, k); for the identity, all directions at once, an array's transpose is that, without n^2 m operations."""
    if isinstance(g_xy, np.ndarray) and len(dX) > 1 and np.array_equal(dX, np.eye(len(dX))):
        return g_xy.T
    return g_xy.T @ dX


def gradient_descent(problem, s):
    """T = y - s g_y."""
    return StepMap(
        T=lambda x, y: y - s * problem.g_y(x, y),
        vjp_y=lambda x, y, u: u - s * (problem.g_yy(x, y) @ u),
        vjp_x=lambda x, y, u: -s * (problem.g_xy(x, y) @ u),
        jvp=lambda x, y, dX, dY: dY - s * (problem.g_yy(x, y) @ dY + _along(problem.g_xy(x, y), dX)),
        symmetric=True,
        scale=s,
        name="gradient_descent",
    )


def heavy_ball(problem, s, b):
    """T = (y - s g_y(y) + b (y - y'), y)."""
    m = problem.m

    def T(x, z):
        y, before = z[:m], z[m:]
        return np.concatenate([y - s * problem.g_y(x, y) + b * (y - before), y])

    def vjp_y(x, z, u):
        return np.concatenate([(1 + b) * u[:m] - s * (problem.g_yy(x, z[:m]) @ u[:m]) + u[m:], -b * u[:m]])

    def vjp_x(x, z, u):
        return -s * (problem.g_xy(x, z[:m]) @ u[:m])

    def jvp(x, z, dX, dZ):
        y, dY = z[:m], dZ[:m]
        return np.concatenate([(1 + b) * dY - b * dZ[m:] - s * (problem.g_yy(x, y) @ dY + _along(problem.g_xy(x, y), dX)), dY])

    return StepMap(T, vjp_y, vjp_x, jvp, copies=2, name="heavy_ball")


def nesterov(problem, s, b):
    """T = (w - s g_y(w), y), w = y + b (y - y')."""
    m = problem.m

    def ahead(z):
        return z[:m] + b * (z[:m] - z[m:])

    def T(x, z):
        w = ahead(z)
        return np.concatenate([w - s * problem.g_y(x, w), z[:m]])

    def vjp_y(x, z, u):
        a = u[:m] - s * (problem.g_yy(x, ahead(z)) @ u[:m])
        return np.concatenate([(1 + b) * a + u[m:], -b * a])

    def vjp_x(x, z, u):
        return -s * (problem.g_xy(x, ahead(z)) @ u[:m])

    def jvp(x, z, dX, dZ):
        w, dW = ahead(z), ahead(dZ)
        return np.concatenate([dW - s * (problem.g_yy(x, w) @ dW + _along(problem.g_xy(x, w), dX)), dZ[:m]])

    return StepMap(T, vjp_y, vjp_x, jvp, copies=2, name="nesterov")


def newton(problem):
    """T = y - g_yy^{-1} g_y; its derivatives are those at a solution, where the step forgets y."""

    def inverse(x, y, b):
        return solve(problem.g_yy(x, y), b).x

    return StepMap(
        T=lambda x, y: y - inverse(x, y, problem.g_y(x, y)),
        vjp_y=lambda x, y, u: np.zeros_like(u),
        vjp_x=lambda x, y, u: -(problem.g_xy(x, y) @ inverse(x, y, u)),
        jvp=lambda x, y, dX, dY: -inverse(x, y, _along(problem.g_xy(x, y), dX)),
        symmetric=True,
        name="newton",
    )


MAPS = ("gradient_descent", "heavy_ball", "nesterov", "newton")


def step_map(problem, x, y, choice, step, momentum):
    """The StepMap meant by a name or given as such; step defaults to 1/L, momentum to 0.5 (heavy ball) or 0.9 (nesterov)."""
    if isinstance(choice, StepMap):
        if step is not None or momentum is not None:
            raise ArgumentError("step and momentum belong to the named step maps; a StepMap of your own has its own")
        return choice
    if not isinstance(choice, str):
        raise DtypeError(f"step_map must be a StepMap or one of {', '.join(MAPS)}, got {type(choice).__name__}")
    if choice not in MAPS:
        raise unknown("step map", choice, MAPS)
    if step is not None and not (np.isfinite(step) and step > 0):
        raise ArgumentError(f"step must be positive, got {step!r}")
    if momentum is not None and (choice not in ("heavy_ball", "nesterov") or not 0 <= momentum < 1):
        raise ArgumentError(f"momentum must lie in [0, 1) and goes with heavy_ball or nesterov, got {momentum!r} for {choice}")
    problem.needs("g_y", "g_yy", "g_xy", purpose=f"the step map {choice!r}")
    if choice == "newton":
        return newton(problem)
    s = default_step(problem, x, y) if step is None else float(step)
    if choice == "gradient_descent":
        return gradient_descent(problem, s)
    if choice == "heavy_ball":
        return heavy_ball(problem, s, 0.5 if momentum is None else momentum)
    return nesterov(problem, s, 0.9 if momentum is None else momentum)

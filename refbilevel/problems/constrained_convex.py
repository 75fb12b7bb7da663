"""Convex lower levels beyond quadratics, with closed forms through Lambert's W.

    exponential_lambertw   g = sum e^{y_i} - x_i y_i  (x > 0)                     y* = log x
    logit_pricing          g = sum y_i log y_i + (c + x)'y_{1:}, sum y = 1       y* = softmax(0, -(c + x)), y_0 the outside option

Their optima: x* = W(rho e^d) / rho (unique stationary point), and the equal markup x_i* = 1 + W(sum e^{-c_i - 1}).
References: Corless et al., Adv. Comput. Math. 5 (1996) 329-359; Fisk, Transp. Res. B 14 (1980) 243-255 (logit assignment as a program).
"""

from __future__ import annotations

import numpy as np
from scipy.special import lambertw, softmax

from ..problem import Constraints
from .closed_forms import ClosedForm, KnownProblem
from .constrained_quadratic import _vector


def exponential_lambertw(d, rho):
    """Unconstrained lower level sum e^{y_i} - x_i y_i; upper 1/2 |y - d|^2 + rho'x. d, rho (n,), rho > 0; n = m."""
    d = _vector(d, "d")
    n = d.size
    rho = _vector(rho, "rho", n)

    def optimum():
        x = lambertw(rho * np.exp(d)).real / rho
        return x, 0.5 * float(np.sum((np.log(x) - d) ** 2)) + float(rho @ x)

    return KnownProblem(
        closed_form=ClosedForm(np.log, lambda x: np.diag(1 / x), optimum), n=n, m=n, name="exponential_lambertw", bounds=(1e-2, np.inf),
        f=lambda x, y: 0.5 * (y - d) @ (y - d) + rho @ x, f_x=lambda x, y: rho.copy(), f_y=lambda x, y: y - d,
        f_xx=lambda x, y: np.zeros((n, n)), f_xy=lambda x, y: np.zeros((n, n)), f_yy=lambda x, y: np.eye(n),
        g=lambda x, y: np.exp(y).sum() - x @ y, g_x=lambda x, y: -y, g_y=lambda x, y: np.exp(y) - x,
        g_xx=lambda x, y: np.zeros((n, n)), g_xy=lambda x, y: -np.eye(n), g_yy=lambda x, y: np.diag(np.exp(y)),
    )  # fmt: skip


def logit_pricing(c):
    """Prices x (n,) above costs of utility c (n,); demand y (n + 1,) is logit with an outside option y[0]; the leader maximises x'y[1:].

    The entropy is its own barrier: y >= 0 is stated as rows that are never active.
    """
    c = _vector(c, "c")
    n = c.size
    m = n + 1
    E = np.eye(n, m, 1)

    def y(x):
        return softmax(np.append(0.0, -(c + x)))

    def dy_dx(x):
        s = y(x)
        return -(np.diag(s) - np.outer(s, s)) @ E.T

    def optimum():
        W = lambertw(np.exp(-c - 1).sum()).real
        return np.full(n, 1 + W), -float(W)

    def entropy(y):
        return float(np.sum(y * np.log(y))) if (y > 0).all() else np.inf

    def slope(y):
        return np.log(y) + 1 if (y > 0).all() else np.full(m, np.nan)

    return KnownProblem(
        closed_form=ClosedForm(y, dy_dx, optimum), n=n, m=m, name="logit_pricing",
        f=lambda x, y: -x @ y[1:], f_x=lambda x, y: -y[1:], f_y=lambda x, y: -E.T @ x,
        f_xx=lambda x, y: np.zeros((n, n)), f_xy=lambda x, y: -E, f_yy=lambda x, y: np.zeros((m, m)),
        g=lambda x, y: entropy(y) + (c + x) @ y[1:], g_x=lambda x, y: y[1:].copy(), g_y=lambda x, y: slope(y) + E.T @ (c + x),
        g_xx=lambda x, y: np.zeros((n, n)), g_xy=lambda x, y: E, g_yy=lambda x, y: np.diag(1 / y),
        constraints=Constraints(
            p=lambda x, y: -y, p_x=lambda x, y: np.zeros((m, n)), p_y=lambda x, y: -np.eye(m),
            q=lambda x, y: np.array([y.sum() - 1]), q_x=lambda x, y: np.zeros((1, n)), q_y=lambda x, y: np.ones((1, m)), linear=True,
        ),
    )  # fmt: skip

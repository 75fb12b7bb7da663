"""P1: projections of 10 000 numbers and their VJP: simplex and l1 ball, the second-order cone, a 50 x 50 PSD matrix."""

from __future__ import annotations

import numpy as np
from timing import OURS, Case

import refbilevel as rb


def sorted_simplex(x, bar):
    """The floor: a sort, and the VJP on the support."""

    def call():
        u = np.sort(x)[::-1]
        css = (np.cumsum(u) - 1.0) / np.arange(1, x.size + 1)
        y = np.maximum(x - css[np.flatnonzero(u > css)[-1]], 0.0)
        S = y > 0
        return np.where(S, bar - bar[S].mean(), 0.0)

    return call


def jaxopt_vjp(name, x, bar, *parameters):
    import jax
    from jaxopt import projection

    jax.config.update("jax_enable_x64", True)
    project = getattr(projection, name)

    def vjp(x, bar):
        return jax.vjp(lambda x: project(x, *parameters), x)[1](bar)[0]

    call = jax.jit(vjp)
    return lambda: np.asarray(call(x, bar))


def spectral(X, bar):
    """The floor of the PSD cone: one eigendecomposition, divided differences, four products."""

    def call():
        d, Q = np.linalg.eigh(X)
        up = np.maximum(d, 0.0)
        gap = d[:, None] - d
        D = np.where(np.abs(gap) > 1e-14, (up[:, None] - up) / np.where(gap == 0, 1.0, gap), (d > 0)[:, None] * 1.0)
        return (Q @ (D * (Q.T @ bar @ Q)) @ Q.T).ravel()

    return call


def cone(x, bar):
    """The floor of the second-order cone x = (t, u), |u| > |t|: closed form."""

    def call():
        t, u, length = x[0], x[1:], np.linalg.norm(x[1:])
        a, w = 0.5 * (1 + t / length), u / length
        along = w @ bar[1:]
        return np.concatenate([[0.5 * (bar[0] + along)], 0.5 * bar[0] * w + a * bar[1:] + (0.5 - a) * along * w])

    return call


def cases(size=10_000, order=50):
    rng = np.random.default_rng(0)
    x, bar = rng.standard_normal(size), rng.standard_normal(size)
    x[0] = 3.0
    M = rng.standard_normal((2, order, order))
    X, bar_X = M[0] + M[0].T, M[1] + M[1].T
    p = rb.projections
    for title, ours, others, floor in (
        ("simplex", lambda: p.simplex(x).vjp(bar), {"jaxopt": lambda: jaxopt_vjp("projection_simplex", x, bar)}, sorted_simplex(x, bar)),
        ("l1 ball", lambda: p.l1_ball(x).vjp(bar), {"jaxopt": lambda: jaxopt_vjp("projection_l1_ball", x, bar)}, None),
        ("second-order cone", lambda: p.second_order_cone(x).vjp(bar), {}, cone(x, bar)),
        (f"PSD cone {order} x {order}", lambda: p.psd_cone(X).vjp(bar_X).ravel(), {}, spectral(X, bar_X)),
    ):
        make = {OURS: lambda ours=ours: ours, **others, **({"floor": lambda floor=floor: floor} if floor else {})}
        yield Case("P1", f"{title}, projection and VJP", make, floor() if floor else None, floor="floor" if floor else "")

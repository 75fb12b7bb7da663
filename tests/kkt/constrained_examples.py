"""Random constrained lower levels whose solution, multipliers, active set and margin are chosen first.

    g = 1/2 y'Py + x'By + c'y + 1/40 sum_k (u_k.x + w_k.y)^4,    p_i = 1/2 y'S_i y + x'R_i y + a_i.y + e_i.x + 1/2 (d_i.x)^2 - b_i,
    q = A y + E x - b,    f = sum cosh((y - t)/2) + x'Cy + s.x

At x0 the solution is y0: c makes L_y vanish, b puts each row at its slack. P is full with the given condition number.
"""

from dataclasses import dataclass

import numpy as np
from examples import Opaque, spd
from scipy import sparse

import refbilevel as rb

KINDS = ("inequality", "equality", "box", "curved", "mixed")


@dataclass(frozen=True)
class Example:
    problem: object
    x: np.ndarray
    y: np.ndarray
    mu: np.ndarray
    nu: np.ndarray
    active: np.ndarray


def constrained(kind="mixed", n=3, m=5, seed=0, margin=0.1, condition=10.0, container="dense", quartic=True, held=None):
    """An `Example` of the kind; `margin` is the smallest multiplier and the smallest slack."""
    rng = np.random.default_rng(seed)
    wrap = {"dense": np.asarray, "sparse": sparse.csr_array, "operator": Opaque}[container]
    P, B = m * spd(m, condition, seed), rng.standard_normal((n, m))
    U, W = rng.standard_normal((2, n)), rng.standard_normal((2, m))
    weight = 0.1 if quartic else 0.0
    x0, y0 = rng.standard_normal(n), rng.standard_normal(m)
    l = {"equality": max(1, m // 2), "mixed": m // 3}.get(kind, 0)
    k = 0 if kind == "equality" else 2 * m if kind == "box" else m + 2
    most = max(1, m - l - 1) if m > 1 else 1
    J = min(most if held is None else held, k) if m - l > 0 else 0
    a = np.vstack([np.eye(m), -np.eye(m)]) if kind == "box" else rng.standard_normal((k, m))
    e = rng.standard_normal((k, n))
    curved = kind in ("curved", "mixed")
    S = np.array([0.3 * spd(m, 4.0, seed + i) if curved else np.zeros((m, m)) for i in range(k)]).reshape(k, m, m)
    R = 0.3 * rng.standard_normal((k, n, m)) if curved else np.zeros((k, n, m))
    D = 0.3 * rng.standard_normal((k, n)) if curved else np.zeros((k, n))
    A, E = rng.standard_normal((l, m)), rng.standard_normal((l, n))
    active = np.zeros(k, bool)
    active[:J] = True
    mu = np.where(active, margin + rng.random(k), 0.0)
    nu = rng.standard_normal(l)
    if J:
        mu[0] = margin
    slack = np.where(active, 0.0, margin + rng.random(k))
    if k > J:
        slack[J] = margin

    def rows(x, y):
        return 0.5 * np.einsum("kij,i,j->k", S, y, y) + np.einsum("kij,i,j->k", R, x, y) + a @ y + e @ x + 0.5 * (D @ x) ** 2

    def rows_y(x, y):
        return np.einsum("kij,j->ki", S, y) + np.einsum("kij,i->kj", R, x) + a

    def rows_x(x, y):
        return np.einsum("kij,j->ki", R, y) + e + (D @ x)[:, None] * D

    b, d = rows(x0, y0) + slack, A @ y0 + E @ x0
    z = U @ x0 + W @ y0
    c = -(P @ y0 + B.T @ x0 + weight * W.T @ z**3 + rows_y(x0, y0).T @ mu + A.T @ nu)
    t, C, s = rng.standard_normal(m), rng.standard_normal((n, m)), rng.standard_normal(n)

    def z3(x, y):
        return weight * (U @ x + W @ y) ** 3

    def bend(x, y):
        return 3 * weight * (U @ x + W @ y) ** 2

    inequality = dict(p=lambda x, y: rows(x, y) - b, p_x=rows_x, p_y=rows_y) if k else {}
    equality = dict(q=lambda x, y: A @ y + E @ x - d, q_x=lambda x, y: E, q_y=lambda x, y: A) if l else {}
    curvature = dict(
        lagrangian_yy=lambda x, y, mu, nu: np.einsum("k,kij->ij", mu, S), lagrangian_xy=lambda x, y, mu, nu: np.einsum("k,kij->ij", mu, R)
    ) if curved else dict(linear=True)  # fmt: skip
    problem = rb.BilevelProblem(
        n=n, m=m,
        f=lambda x, y: np.cosh((y - t) / 2).sum() + x @ C @ y + s @ x, f_x=lambda x, y: C @ y + s,
        f_y=lambda x, y: 0.5 * np.sinh((y - t) / 2) + C.T @ x, f_yy=lambda x, y: np.diag(0.25 * np.cosh((y - t) / 2)),
        g=lambda x, y: 0.5 * y @ P @ y + x @ B @ y + c @ y + 0.25 * weight * np.sum((U @ x + W @ y) ** 4),
        g_x=lambda x, y: B @ y + U.T @ z3(x, y), g_y=lambda x, y: P @ y + B.T @ x + c + W.T @ z3(x, y),
        g_yy=lambda x, y: wrap(P + (W.T * bend(x, y)) @ W), g_xy=lambda x, y: wrap(B + (U.T * bend(x, y)) @ W),
        constraints=rb.Constraints(**inequality, **equality, **curvature),
    )  # fmt: skip
    return Example(problem, x0, y0, mu, nu, active)


def difference(problem, x, of=None, h=2e-4, y0=None):
    """Fourth-order central differences along each axis of `of(x, lower)` (default f), the lower level solved anew."""
    of = of or (lambda x, s: np.atleast_1d(problem.f(x, s.y)))

    def value(x):
        solution = rb.solve_lower(problem, x, y0=y0)
        assert solution.success, solution.message
        return np.asarray(of(x, solution))

    columns = []
    for axis in np.eye(x.size):
        v = {j: value(x + j * h * axis) for j in (-2, -1, 1, 2)}
        columns.append((8 * (v[1] - v[-1]) - (v[2] - v[-2])) / (12 * h))
    return np.stack(columns, axis=-1)


def affine(n, m, P, c, B, G, h, Gx, A=None, b=None, Ax=None, f=None, f_x=None, f_y=None):
    """g = 1/2 y'Py + y'(c + B'x), G y <= h + Gx x, A y = b + Ax x, B (n, m); f = 1/2 |y - 1|^2 unless given."""
    P, c, B, G, h, Gx = (np.asarray(v, float) for v in (P, c, B, G, h, Gx))
    rows = dict(p=lambda x, y: G @ y - h - Gx @ x, p_x=lambda x, y: -Gx, p_y=lambda x, y: G)
    if A is not None:
        A, b, Ax = (np.asarray(v, float) for v in (A, b, Ax))
        rows |= dict(q=lambda x, y: A @ y - b - Ax @ x, q_x=lambda x, y: -Ax, q_y=lambda x, y: A)
    return rb.BilevelProblem(
        n=n, m=m, f=f or (lambda x, y: 0.5 * (y - 1) @ (y - 1)), f_x=f_x or (lambda x, y: np.zeros(n)), f_y=f_y or (lambda x, y: y - 1),
        f_yy=(lambda x, y: np.eye(m)) if f is None else None,
        g=lambda x, y: 0.5 * y @ P @ y + y @ (c + x @ B), g_x=lambda x, y: B @ y, g_y=lambda x, y: P @ y + c + x @ B,
        g_yy=lambda x, y: P, g_xy=lambda x, y: B, constraints=rb.Constraints(**rows, linear=True),
    )  # fmt: skip


def kink(a=3.0, b=-1.0):
    """y* = max(x, 0), f = a y + b x: F = (a + b) max(x, 0) - b max(-x, 0)."""
    return affine(
        1, 1, [[1.0]], [0.0], [[-1.0]], [[-1.0]], [0.0], [[0.0]],
        f=lambda x, y: a * y[0] + b * x[0], f_x=lambda x, y: np.array([b]), f_y=lambda x, y: np.array([a]),
    )  # fmt: skip

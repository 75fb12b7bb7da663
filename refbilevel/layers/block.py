"""The optimality system of the layer as it stands, not reduced to x: unknowns (x, s), s = (y, mu_J, nu) the lower level's.

    F(x, s, z) = f_x - N' K^{-1} (f_y; 0; 0) = 0,    G(x, s, z) = (L_y; p_J; q) = 0        (F at any s, not only at the solution)
    [F_x' G_x'; F_s' G_s'] (b_F; b_G) = (x_bar; y_bar),    z_bar = -F_z' b_F - G_z' b_G,      G_s = K, [G_x G_z] = N.

F' b_F is psi of curvature.py for d = (b_F, 0), so a product with the whole matrix costs one solve with K, and GMRES needs nothing
else; the matrix is not symmetric, so neither CG nor MINRES will do. Its Schur complement F_x - F_s K^{-1} G_x is the Hessian of
x -> f(x, y*(x)), which the Schur form of continuous.py uses at once. Upper rows in force: b_F in the null space of C_x.

Alesiani, Implicit bilevel optimization, AAAI 2023, eq. 4-6.
"""

from __future__ import annotations

import numpy as np
from scipy.sparse.linalg import LinearOperator

from ..linear import solve

RTOL = 1e-12


def operator(problem, s, curvature):
    """The transposed block matrix on (t, b_G), b_F = Z t with Z the basis of the null space of C_x, as a LinearOperator."""
    n, k, Z, S = problem.n, problem.k, s.basis, curvature.system
    size = Z.shape[1] + S.m + S.A.shape[0]

    def product(u):
        t, b_G = np.split(np.ravel(u), [Z.shape[1]])
        psi_X, psi_s, _ = curvature.partials(np.concatenate([Z @ t, np.zeros(k)]))
        return np.concatenate([Z.T @ (psi_X + S.N_transpose(b_G))[:n], psi_s + S.operator() @ b_G])

    return LinearOperator((size, size), matvec=product, dtype=float)


def block_vjp(problem, s, curvature, x_bar, y_bar, method):
    """(z_bar (k,), error estimate, status, detail) by one solve of the whole system: `method` "lu" forms it, "gmres" does not."""
    n, k, Z, S = problem.n, problem.k, s.basis, curvature.system
    A = operator(problem, s, curvature)
    right = np.concatenate([Z.T @ x_bar, S.rhs(y_bar)])
    solution = solve(A if method == "gmres" else A @ np.eye(A.shape[0]), right, method, rtol=RTOL)
    if not solution.success:
        return np.full(k, np.nan), np.nan, solution.status, solution.detail
    t, b_G = np.split(solution.x, [Z.shape[1]])
    psi_X, _, error = curvature.partials(np.concatenate([Z @ t, np.zeros(k)]))
    product = psi_X + S.N_transpose(b_G)
    c = s.rows.pseudo_transpose(x_bar - product[:n])
    return -product[n:] - s.rows.C[:, n:].T @ c, float(error), s.status, ""

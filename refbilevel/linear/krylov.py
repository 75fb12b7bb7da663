"""Krylov methods, each one run from zero: A d = r to |r - A d| <= goal by its own recurrence. `system.solve` judges and restarts.

CG and MINRES are ours, because their coefficients tell what no return code does: the curvature p'Ap along every direction, and
through the Lanczos matrix the extreme Ritz values, hence a condition number. SciPy supplies GMRES, BiCGSTAB and LSMR.
Letters: Hestenes & Stiefel 1952 (3:1) for CG, Paige & Saunders 1975 section 4 for MINRES.
"""

from __future__ import annotations

import numpy as np
from scipy import linalg, sparse

from .operators import NonFinite
from .preconditioners import Jacobi
from .run import Run, apply
from .scipy_krylov import run_bicgstab, run_gmres, run_lsmr

EPS = np.finfo(float).eps
#: a dense product above this size is BLAS's business
DENSE_KERNEL = 256
#: the Lanczos matrix is looked at up to this order
RITZ_LIMIT = 600


def cg(A, b, goal, maxiter, M):
    """Conjugate gradients, p'Ap > 0 watched; with M preconditioned. The last iterate is the one returned.

    Explicit matrices (dense ones up to DENSE_KERNEL) with a diagonal preconditioner or none run as one kernel, the rest here.
    """
    if (M is None or isinstance(M, Jacobi)) and (sparse.issparse(A.A) or isinstance(A.A, np.ndarray) and b.size <= DENSE_KERNEL):
        return _cg_kernel(A, b, goal, maxiter, M)
    x, r = np.zeros_like(b), b
    z = r if M is None else M(r)
    p, rho = z, r @ z
    alphas, betas = [], []
    flaw, negative = "", False
    while np.sqrt(r @ r) > goal and len(alphas) < maxiter:
        if not rho > 0:
            flaw = "The preconditioner is not positive definite"
            break
        q = A @ p
        curvature = p @ q
        if curvature <= EPS * A.norm * (p @ p):
            # A >= 0 would give |A p|^2 <= |A| p'A p: no curvature with A p = 0 is a singular A, with A p != 0 an indefinite one
            negative = curvature < -EPS * A.norm * (p @ p) or q @ q > 1e4 * EPS * A.norm**2 * (p @ p)
            flaw = "" if negative else "A direction without curvature was met: A is singular"
            break
        alpha = rho / curvature
        x = x + alpha * p
        r = r - alpha * q
        z = r if M is None else M(r)
        rho, rho_old = r @ z, rho
        beta = rho / rho_old
        p = z + beta * p
        alphas.append(alpha)
        betas.append(beta)
    condition = np.inf if "singular" in flaw else _cg_condition(alphas, betas)
    return Run(x, len(alphas), np.sqrt(r @ r) <= goal, condition, negative, flaw)


def _cg_kernel(A, b, goal, maxiter, M):
    """The same, with nothing of Python between the iterations."""
    from ..kernels import krylov as kernels  # here, so that only those who iterate load Numba

    csr = sparse.csr_array(A.A) if sparse.issparse(A.A) else sparse.csr_array((1, 1))
    dense = np.empty((0, 0)) if sparse.issparse(A.A) else np.ascontiguousarray(A.A)
    inverse = np.ones(b.size) if M is None else M.inverse
    arrays = dense, csr.data, csr.indices.astype(np.int32, copy=False), csr.indptr.astype(np.int32, copy=False)
    x, alphas, betas, state, A.norm, smallest = kernels.cg(*arrays, b, inverse, goal, min(maxiter, 10**6), A.norm)
    A.matvecs, A.smallest = A.matvecs + len(alphas), min(A.smallest, smallest)
    if state == kernels.NONFINITE:
        raise NonFinite("a product with A is not finite")
    flaw = "A direction without curvature was met: A is singular" if state == kernels.SINGULAR else ""
    condition = np.inf if flaw else _cg_condition(alphas, betas)
    return Run(x, len(alphas), state == kernels.MET, condition, state == kernels.NEGATIVE, flaw)


def _cg_condition(alphas, betas):
    """Extreme eigenvalues of the Lanczos matrix T: diagonal 1/alpha_k + beta_{k-1}/alpha_{k-1}, off-diagonal sqrt(beta_k)/alpha_k."""
    if len(alphas) == 0:
        return np.nan
    a, b = np.array(alphas[:RITZ_LIMIT]), np.array(betas[:RITZ_LIMIT])
    d = 1.0 / a
    d[1:] += b[:-1] / a[:-1]
    e = np.sqrt(b[:-1]) / a[:-1]
    theta = linalg.eigvalsh_tridiagonal(d, e) if len(d) > 1 else d
    return float(theta[-1] / theta[0]) if theta[0] > 0 else np.inf


def minres(A, b, goal, maxiter, M):
    """MINRES for symmetric, possibly indefinite A; M, if given, must be positive definite."""
    x, v, v_old = np.zeros_like(b), b.copy(), np.zeros_like(b)
    z = v if M is None else M(v)
    beta = np.sqrt(max(v @ z, 0.0))
    phi, beta_old, c, s, delta, epsilon = beta, 1.0, -1.0, 0.0, 0.0, 0.0
    w, w_old = np.zeros_like(b), np.zeros_like(b)
    scale = np.sqrt(b @ b) / beta if beta > 0 else 0.0
    diagonal, off = [], []
    while phi * scale > goal and len(diagonal) < maxiter and beta > 0:
        u = z / beta
        v_new = A @ u
        alpha = u @ v_new
        v_new = v_new - (alpha / beta) * v - ((beta / beta_old) * v_old if diagonal else 0.0)
        v_old, v = v, v_new
        z = v if M is None else M(v)
        beta_old, beta = beta, np.sqrt(max(v @ z, 0.0))
        diagonal.append(alpha)
        off.append(beta)
        # the new column of T, turned by the last two Givens rotations
        epsilon_old, delta_bar = epsilon, delta
        delta, gamma_bar = c * delta_bar + s * alpha, s * delta_bar - c * alpha
        epsilon, delta_next = s * beta, -c * beta
        gamma = np.hypot(gamma_bar, beta)
        if gamma == 0.0:
            return Run(x, len(diagonal), False, np.inf, False, "A is singular on the Krylov space")
        c, s = gamma_bar / gamma, beta / gamma
        w_old, w = w, (u - epsilon_old * w_old - delta * w) / gamma
        x = x + (c * phi) * w
        phi *= s
        delta = delta_next
    condition, negative = _lanczos_condition(diagonal, off)
    return Run(x, len(diagonal), phi * scale <= goal, condition, negative)


def _lanczos_condition(diagonal, off):
    """(sigma_max / sigma_min of the (k+1, k) Lanczos matrix, True if a Ritz value is negative); never above cond(A)."""
    k = min(len(diagonal), RITZ_LIMIT)
    if k == 0:
        return np.nan, False
    d, e = np.array(diagonal[:k]), np.array(off[:k])
    T = np.zeros((k + 1, k))
    T[np.arange(k), np.arange(k)], T[np.arange(1, k + 1), np.arange(k)] = d, e
    T[np.arange(k - 1), np.arange(1, k)] = e[:-1]
    sigma = linalg.svdvals(T)
    theta = linalg.eigvalsh_tridiagonal(d, e[:-1]) if k > 1 else d
    return (float(sigma[0] / sigma[-1]) if sigma[-1] > 0 else np.inf), bool(theta[0] < -1e-12 * abs(theta).max())


def cg_normal(A, b, goal, maxiter, M):
    """CG on (A M)'(A M) y = (A M)'b in the residual form CGLS: |b - A x| is carried, A'A never formed."""
    x, r = np.zeros_like(b), b
    s = apply(M, A.rmatvec(r))
    p, rho = s, s @ s
    alphas, betas = [], []
    while np.sqrt(r @ r) > goal and len(alphas) < maxiter and rho > 0:
        direction = apply(M, p)
        q = A @ direction
        curvature = q @ q
        if not curvature > 0:
            return Run(x, len(alphas), False, np.inf, flaw="A is singular")
        alpha = rho / curvature
        x = x + alpha * direction
        r = r - alpha * q
        s = apply(M, A.rmatvec(r))
        rho, rho_old = s @ s, rho
        beta = rho / rho_old
        p = s + beta * p
        alphas.append(alpha)
        betas.append(beta)
    return Run(x, len(alphas), np.sqrt(r @ r) <= goal, np.sqrt(_cg_condition(alphas, betas)))


RUNS = {"cg": cg, "minres": minres, "gmres": run_gmres, "bicgstab": run_bicgstab, "lsmr": run_lsmr, "cg_normal": cg_normal}


def guarded(run, A, b, goal, maxiter, M):
    """`run(...)` with NaN from the preconditioner caught as NaN from A is; overflow ends as one or the other."""
    if M is not None and not isinstance(M, Jacobi):
        inner = M

        def M(r):
            z = inner(r)
            if not np.isfinite(z).all():
                raise NonFinite("the preconditioner returned NaN or infinity")
            return z

    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        return run(A, b, goal, maxiter, M)

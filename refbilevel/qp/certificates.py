"""Proofs that a program has no solution: Farkas ray, direction of recession, direction of negative curvature.

Each is found by a linear program or an eigenvector and then verified in the caller's own data; unverified ones are not
returned. Rays are over N = [A; G] in the order (nu, mu).
"""

from __future__ import annotations

import warnings

import numpy as np
from scipy import linalg, sparse
from scipy.linalg import lapack
from scipy.optimize import linprog
from scipy.sparse.linalg import eigsh, splu


def is_farkas(data, ray):
    """True if ray proves infeasibility: ray'N = 0 and ray'r < 0 beyond rounding, ray_i >= 0 on inequalities.

    No y with |y| <= |ray'r| / |ray'N| is feasible; that radius must exceed a million times the data's own length.
    """
    N, r, p = data.N, data.r, data.b.size
    if not (np.isfinite(ray).all() and ray.any() and (ray[p:] >= 0).all()):
        return False
    rows = np.maximum(_lengths(N), 1e-300)
    length = max(1e-300, (abs(r) / np.where(rows > 1e-300, rows, np.inf)).max())
    value = ray @ r
    return bool(-value > 1e6 * np.linalg.norm(N.T @ ray) * length and -value > 1e-13 * (abs(ray) @ abs(r)))


def sharpen(data, ray):
    """The ray scaled to max 1, corrected by least squares on its own rows so that N'ray vanishes to rounding."""
    ray = ray / (abs(ray).max() or 1.0)
    S = np.flatnonzero(ray)
    if not data.sparse and S.size and np.isfinite(ray).all():
        N = data.N[S]
        ray[S] -= np.linalg.lstsq(N.T, N.T @ ray[S], rcond=1e-9)[0]
    p = data.b.size
    ray[p:] = np.maximum(ray[p:], 0.0)
    return ray


def farkas(data):
    """(nu, mu) proving that Gy <= h, Ay = b has no solution, or None: min r'z, N'z = 0, |z| <= 1, mu >= 0."""
    N, r, p = data.N, data.r, data.b.size
    rows = _lengths(N)
    rows[rows == 0.0] = 1.0
    scaled = sparse.diags_array(1.0 / rows) @ N
    z = _linear_program(r / rows, None, scaled.T, [(-1, 1)] * p + [(0, 1)] * data.h.size)
    if z is None:
        return None
    ray = sharpen(data, z / rows)
    return ray if is_farkas(data, ray) else None


def recession(data):
    """d with Pd = 0, Ad = 0, Gd <= 0, q'd < 0 (unbounded below along it if feasible), or None."""
    equal = sparse.vstack([sparse.csr_array(data.P), sparse.csr_array(data.A)])
    d = _linear_program(data.q, data.G if data.h.size else None, equal, [(-1, 1)] * data.n)
    if d is None or not d.any():
        return None
    size = np.linalg.norm(d)
    flat = abs(data.P @ d).max() <= 1e-9 * size * max(abs(data.P).max(), 1e-300)
    down = data.q @ d < -1e-9 * size * np.linalg.norm(data.q)
    held = all(_violation(M, d, equality) <= 1e-9 * size for M, equality in ((data.A, True), (data.G, False)))
    return d if flat and down and held else None


def _violation(M, d, equality):
    if not M.shape[0]:
        return 0.0
    rows = _lengths(M)
    value = (M @ d) / np.where(rows > 0, rows, 1.0)
    return float((abs(value) if equality else value).max())


def negative_curvature(data):
    """(d, rho): d in null(A) with d'Pd < 0, or None; rho > 0 if P + rho A'A is needed to be positive (semi)definite."""
    if data.sparse:
        if _sparse_semidefinite(data.P):
            return None, 0.0
        if data.n > 3000 and not data.b.size:
            return eigsh(data.P, 1, which="SA")[1][:, 0], 0.0
    P, A = (M.toarray() if sparse.issparse(M) else M for M in (data.P, data.A))
    if not data.sparse and lapack.dpotrf(P + 1e-12 * max(abs(P).max(), 1e-300) * np.eye(data.n))[1] == 0:
        return None, 0.0
    values, vectors = linalg.eigh(P)
    if values[0] >= -1e-12 * max(abs(values).max(), 1e-300) * data.n:
        return None, 0.0
    if not data.b.size:
        return vectors[:, 0], 0.0
    Z = linalg.null_space(A)
    if Z.shape[1]:
        reduced, directions = linalg.eigh(Z.T @ P @ Z)
        if reduced[0] <= 1e-12 * abs(values).max() * data.n:
            return Z @ directions[:, 0], 0.0
    return None, _convexifier(P, A, values)


def _convexifier(P, A, values):
    """rho with P + rho A'A positive definite (exists since P is positive definite on null(A)); found by doubling."""
    rho, AA = abs(values).max() / max(np.linalg.norm(A, 2) ** 2, 1e-300), A.T @ A
    for _ in range(60):
        if linalg.eigvalsh(P + rho * AA, subset_by_index=[0, 0])[0] > 1e-9 * abs(values).max():
            return rho
        rho *= 2.0
    return rho


def _sparse_semidefinite(P):
    """True if P + delta I = L D L' has D > 0 (SuperLU in symmetric mode; delta at rounding level)."""
    largest = abs(P).max()
    diagonal = P.diagonal()
    if P.nnz == np.count_nonzero(diagonal):
        return bool((diagonal >= 0).all())
    shifted = sparse.csc_matrix(P + 1e-11 * max(largest, 1e-300) * sparse.eye_array(P.shape[0]))
    try:
        lu = splu(shifted, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True})
    except RuntimeError:
        return False
    return bool((lu.perm_r == lu.perm_c).all() and (lu.U.diagonal() > 0).all())


def _lengths(N):
    return np.sqrt(_flat((N * N).sum(1) if not sparse.issparse(N) else N.multiply(N).sum(1)))


def _flat(column):
    return np.asarray(column, float).ravel()


def _linear_program(cost, G, A, bounds):
    """argmin cost'z with G z <= 0, A z = 0 within bounds, by HiGHS; None if it fails or the minimum is not negative."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        answer = linprog(
            cost, G, None if G is None else np.zeros(G.shape[0]), A, np.zeros(A.shape[0]), bounds=bounds, method="highs-ds",
            options={"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10},
        )  # fmt: skip
    return answer.x if answer.status == 0 and answer.fun < 0 else None

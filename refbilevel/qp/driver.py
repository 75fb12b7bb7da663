"""solve_qp: the dual active-set method where it applies, a library solver elsewhere, and always our own polish.

The order is: dense and strictly convex -> kernels.qp; otherwise (P singular, a linear program, large and sparse, or the
kernel's answer failed its audit) -> backends, then `general.finish`. No solver's word is taken: the residual decides.
"""

from __future__ import annotations

import numpy as np
from scipy.linalg import blas, lapack

from ..errors import unknown
from ..kernels import qp as kernel
from ..results import Status
from . import general
from .certificates import sharpen
from .classify import classify
from .data import QPData, read
from .factor import RangeFactor, factorize
from .gradient import expand
from .solution import QPSolution

METHODS = ("auto", "active_set", "clarabel", "osqp", "highs")
SMALL = 256  # above this size LAPACK prepares the active-set method
_NO_ROWS = np.zeros(0)


def solve_qp(P, q, G=None, h=None, A=None, b=None, *, method="auto", tol=1e-9):
    """min 1/2 y'Py + q'y subject to Gy <= h, Ay = b; differentiable in all six blocks.

    Parameters
    ----------
    P : (n, n) array or sparse array, symmetric; None or 0 for a linear program
    q : (n,) array
    G, h : (m, n), (m,), or both None. Rows with h = +inf are no constraints.
    A, b : (p, n), (p,), or both None
    method : "auto", "active_set" (dense strictly convex), "clarabel", "osqp", "highs" (linear programs)
    tol : float
        The relative KKT residual above which an answer is not a success (answers are at rounding level as a rule).

    Returns
    -------
    QPSolution
        With `.y .mu .nu .status .success .margin .active .residual .condition .certificate`, `.vjp` and `.jvp`.

    Notes
    -----
    `status` is `converged` at a regular point. `degenerate`: a row is weakly active, see `.one_sided` and `.branches()`.
    `licq_fails`: active rows are dependent; the multipliers are those of least norm, the derivatives of y along changes that
    keep the rows consistent do not depend on the choice. `nonunique`: y may move in a flat direction. `lower_infeasible`,
    `lower_unbounded`, `not_a_minimum`: no y (NaN), the proof in `.certificate`. `lower_stalled`, `ill_conditioned`: the digits
    are not there. P with negative curvature is accepted if Ay = b removes it.

    Raises
    ------
    ShapeError, ArgumentError, DtypeError
        Blocks that do not fit together, NaN or infinite data, P not symmetric, h = -inf.
    UnknownOption
        An unknown method.

    References
    ----------
    Goldfarb, Idnani, Math. Program. 27 (1983); Amos, Kolter, OptNet, ICML 2017.
    """
    if method not in METHODS:
        raise unknown("method", method, METHODS)
    if method == "auto" and _plain(P, q, G, h, A, b):
        solution = _small(P, q, G, h, A, b)
        if solution is not None:
            return solution
    data = read(P, q, G, h, A, b)
    tried = ()
    if method in ("auto", "active_set") and not data.sparse:
        solution, tried = _active_set(data)
        if solution is not None:
            return solution
    return general.solve(data, method, tol, tried)


def _plain(P, q, G, h, A, b):
    """True if the blocks present are float64 C-contiguous arrays of fitting shapes, small enough for one kernel call."""
    for block in (P, q, G, h, A, b):
        if block is not None:
            if type(block) is not np.ndarray or block.dtype != np.float64:
                return False
            flags = block.flags
            if not (flags.c_contiguous and flags.writeable and flags.aligned):
                return False
    if P is None or q is None or q.ndim != 1 or not 0 < q.size <= SMALL or P.shape != (q.size, q.size):
        return False
    return _fits(G, h, q.size) and _fits(A, b, q.size)


def _fits(matrix, vector, n):
    if matrix is None:
        return vector is None
    return vector is not None and vector.ndim == 1 and matrix.shape == (vector.size, n) and vector.size <= 2048


def _small(P, q, G, h, A, b):
    """One kernel call; None if anything is not plain sailing."""
    n, given = q.size, (True, G is not None, A is not None)
    if G is None:
        G, h = np.zeros((0, n)), _NO_ROWS
    if A is None:
        A, b = np.zeros((0, n)), _NO_ROWS
    code, *answer, ray, L = kernel.solve_dense(P, q, G, h, A, b)
    if code != kernel.OPTIMAL:
        return None
    data = QPData(P, q, G, h, A, b, given, h.size)
    return _answer(data, L, *answer)


def _active_set(data):
    """(solution or None, what was tried) by the dual active-set method."""
    prepared = _prepare(data)
    if prepared is None:
        return None, (("active_set", "P is not positive definite"),)
    L, M, S, sigma, d, size = prepared
    N, r, p = data.N, data.r, data.b.size
    code, *answer, ray = kernel.solve_factored(data.P, data.q, N, r, p, L, M, S, sigma, d, size)
    if code == kernel.OPTIMAL:
        return _answer(data, L, *answer), ()
    if code == kernel.INFEASIBLE and general.is_farkas(data, ray := sharpen(data, ray)):
        return general.infeasible(data, ray, "active_set", ()), ()
    return None, (("active_set", "the audit of its answer failed"),)


def _prepare(data):
    """(L, M, S, sigma, d, size) for the kernel, by LAPACK; None if P is not safely positive definite."""
    P, q, N, r = data.P, data.q, data.N, data.r
    U, info = lapack.dpotrf(P.T, lower=0, clean=1)
    if info != 0 or not U.diagonal().min() > 1e-6 * U.diagonal().max():
        return None
    L = np.ascontiguousarray(U.T)
    if not N.shape[0]:
        return L, N, np.zeros((0, 0)), _NO_ROWS, _NO_ROWS, _NO_ROWS
    M = np.ascontiguousarray(blas.dtrsm(1.0, U, N.T, trans_a=1).T)
    sigma = np.sqrt((M * M).sum(1))
    sigma[sigma == 0.0] = 1.0
    M /= sigma[:, None]
    S = M @ M.T if N.shape[0] <= 3 * data.n else np.zeros((0, 0))
    d, size = kernel.shift(L, q, M, sigma, r)
    return L, M, S, sigma, d, size


def _answer(data, L, y, lam, active, residual, margin, weak, pivot, W, N, M, R, sigma):
    """QPSolution from the kernel's answer; anything degenerate or ill-conditioned is looked at closely."""
    p = data.b.size
    factor, status, detail = RangeFactor(data.P, N, L, M, R, sigma), Status.CONVERGED, ""
    if pivot < 1e-4:
        factor = factorize(data.P, N) or factor
        status, detail = general.judge(factor, residual, 1e-9)
    if weak:
        return classify(data, y, lam, W, "active_set", ())
    return QPSolution(
        y, expand(lam[p:], data, 0.0), lam[:p], expand(active, data, False), margin, residual, status, detail,
        "active_set", data=data, factor=factor, W=W, multipliers=lam,
    )  # fmt: skip

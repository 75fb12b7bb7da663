"""solve(A, b): run the method, recompute the true residual, run it again on that residual until it no longer falls.

Restarting on r = b - A x is iterative refinement (Wilkinson 1963; Higham 2002, chapter 12) for the factorisations and removes
the drift of the recurrences for the Krylov methods. By default it goes on to rounding level: the solve counts as converged when
    |b - A x| <= rtol |b|   or   |b - A x| <= c eps (|A| |x| + |b|),   c = 10 sqrt(N)
(the second is Rigal & Gaches' backward error: no double x does essentially better); |A| is the largest |A v| / |v| met.
"""

from __future__ import annotations

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import LinearOperator

from ..errors import ArgumentError, DtypeError, ShapeError
from ..results import LinearSolution, Status
from .factors import factorize
from .krylov import RUNS, guarded
from .methods import method_named
from .operators import ASYMMETRY_LIMIT, NonFinite, Watched, asymmetry, checked, explicit, preconditioner_of

EPS = np.finfo(float).eps
#: restarts at most; one run reduces the residual by at most REDUCTION, so a few are enough
CYCLES = 12
REDUCTION = 1e-13


def solve(A, b, method="auto", *, rtol=None, maxiter=None, x0=None, preconditioner=None, factor=None):
    """Solve A x = b.

    Parameters
    ----------
    A : ndarray, sparse array or LinearOperator, (N, N)
        A LinearOperator needs only `matvec` (`rmatvec` for lsmr and cg_normal unless symmetric); its `toarray` is never used.
    b : (N,) or (N, k)
    method : str
        A name in METHODS, or "auto": dense -> Cholesky, LDL where it is indefinite, LU where not symmetric; sparse -> sparse_lu;
        LinearOperator -> cg, then minres if it meets negative curvature, gmres where not symmetric.
    rtol : float, optional
        Bound on |b - A x| / |b|. Default: as small as rounding allows.
    maxiter : int, optional
        Iterations in all restarts together, for each column of b. Default min(100 N + 1000, 50 000).
    x0 : (N,) or (N, k), optional
    preconditioner : optional
        Approximate inverse of A: matrix, LinearOperator, callable, object with `.solve`, or "jacobi". Symmetric positive
        definite for cg and minres. Direct methods ignore it.
    factor : Factor, optional
        Factorisation of A or of a nearby matrix; used instead of `method` as long as refinement with it converges.

    Returns
    -------
    LinearSolution
        `.residual` is max over the columns of |b - A x| / |b|; `.condition` the factorisation's estimate, or for CG and MINRES the
        ratio of extreme Ritz values (of the preconditioned operator, if that is larger than what the products showed);
        `.negative` counts negative eigenvalues if known (Krylov: 1 means at least one).

    Raises
    ------
    ShapeError, DtypeError, ArgumentError, UnknownOption
        For arguments that cannot be used; numerical trouble is a status.
    """
    if method != "auto":
        method_named(method)
    A = checked(A)
    b, columns = _right_hand_side(b, A.shape[0])
    x0 = _start(x0, b)
    rtol, maxiter = _limits(rtol, maxiter, A.shape[0])
    task = _Task(A, columns, x0, rtol, maxiter, preconditioner)
    try:
        return _shaped(_dispatch(task, method, factor), b.shape)
    except NonFinite as error:
        return LinearSolution(np.full(b.shape, np.nan), np.nan, matvecs=task.A.matvecs, status=Status.NONFINITE, detail=f"{error}.", method=method)


class _Task:
    """What is to be solved, as columns, with what has been seen of A so far."""

    def __init__(self, A, B, X0, rtol, maxiter, preconditioner):
        self.A, self.B, self.X0, self.rtol, self.maxiter = Watched(A), B, X0, rtol, maxiter
        self.preconditioner = preconditioner
        self.norms = np.linalg.norm(B, axis=0)


def _dispatch(task, method, factor):
    A = task.A.A
    if not np.isfinite(task.norms).all():
        raise NonFinite("the right-hand side is not finite")
    if not task.norms.any():
        return LinearSolution(np.zeros_like(task.B), 0.0, method=method)
    if A.shape[0] == 1:
        return _scalar(task, method)
    if factor is not None:
        solution = _direct(task, factor)
        if solution.success:
            return solution
    if method == "auto":
        if isinstance(A, LinearOperator):
            return _automatic(task)
        return _direct(task, _factor(A, "auto"))
    if method_named(method).direct:
        return _direct(task, _factor(A, method), expected=method)
    return _iterative(task, method)


def _scalar(task, method):
    a = float((task.A @ np.ones(1))[0])
    if a == 0.0:
        return LinearSolution(np.full_like(task.B, np.nan), np.nan, 0, 1, np.inf, Status.ILL_CONDITIONED, "A is zero.", method, negative=0)
    X = task.B / a
    definite = method != "auto" and method_named(method).definite
    status = Status.NOT_A_MINIMUM if a < 0 and definite else Status.CONVERGED
    return LinearSolution(X, _residual(task, X)[0], 0, task.A.matvecs, 1.0, status, method=method, negative=int(a < 0))


def _automatic(task):
    """CG where the operator is symmetric, MINRES once it shows negative curvature, GMRES where it is not symmetric."""
    skew = asymmetry(task.A.A)
    task.A.matvecs += 2
    if skew > ASYMMETRY_LIMIT:
        return _iterative(task, "gmres", skew)
    solution = _iterative(task, "cg", skew)
    if solution.status is not Status.NOT_A_MINIMUM:
        return solution
    return _iterative(task, "minres", skew, negative=True)


def _factor(A, method):
    matrix = explicit(A)
    if not np.isfinite(matrix.data if sparse.issparse(matrix) else matrix).all():
        raise NonFinite("A has entries that are not finite")
    return factorize(matrix, method)


def _direct(task, factor, expected=None):
    if factor.shape != task.A.shape:
        raise ShapeError(f"factor must be of shape {task.A.shape}, got {factor.shape}")
    if factor.singular:
        return LinearSolution(
            np.full_like(task.B, np.nan), np.nan, 0, 0, np.inf, Status.ILL_CONDITIONED, "A is singular.", factor.method, factor, factor.negative
        )
    X, _ = _refine(task, lambda R, goals, active: factor.solve(R))
    status = detail = None
    if expected == "cholesky" and factor.negative:
        status, detail = Status.NOT_A_MINIMUM, f"It has {factor.negative} negative eigenvalue(s); solved with LDL instead of Cholesky."
    elif factor.condition > 1.0 / EPS:
        status, detail = Status.ILL_CONDITIONED, f"Condition number about {factor.condition:.1e}."
    return _judged(task, X, factor.method, 0, factor.condition, status, detail, factor.negative, factor.asymmetry, factor)


def _iterative(task, method, skew=None, negative=None):
    """One Krylov method, restarted on the true residual."""
    data = method_named(method)
    if skew is None:
        skew = asymmetry(task.A.A) if data.symmetric else 0.0
        task.A.matvecs += 2 * (data.symmetric and isinstance(task.A.A, LinearOperator))
    M = preconditioner_of(task.preconditioner, task.A.A)
    used, runs = np.zeros(task.B.shape[1], int), []

    def correct(R, goals, active):
        D = np.zeros_like(R)
        for j, column in enumerate(active):
            left = task.maxiter - used[column]
            if left > 0:
                run = guarded(RUNS[method], task.A, np.ascontiguousarray(R[:, j]), goals[j], left, M)
                used[column] += run.iterations
                runs.append(run)
                D[:, j] = run.d
        return D

    X, _ = _refine(task, correct, watch=lambda: any(run.negative and data.definite or run.flaw for run in runs))
    curved = any(run.negative for run in runs)
    negative = 1 if negative or curved else 0 if data.symmetric else None
    status, detail = None, next((run.flaw + "." for run in runs if run.flaw), "")
    if curved and data.definite:
        status, detail = Status.NOT_A_MINIMUM, "A direction with p'Ap <= 0 was met; x is the iterate reached before it."
    condition = np.nanmax([run.condition for run in runs] + [task.A.norm / task.A.smallest])
    hit = bool((used >= task.maxiter).any())
    return _judged(task, X, method, int(used.sum()), float(condition), status, detail, negative, skew, hit=hit)


def _refine(task, correct, watch=lambda: False):
    """X and its residual norms: X += correct(B - A X) while a column's residual at least halves and is above its goal."""
    X = np.zeros_like(task.B) if task.X0 is None else np.where(task.norms > 0, task.X0, 0.0)
    R = task.B.copy() if task.X0 is None else task.B - task.A @ X
    norms = np.linalg.norm(R, axis=0)
    active = np.flatnonzero(norms > _goal(task, X))
    for _ in range(CYCLES):
        if active.size == 0 or watch():
            break
        goals = np.maximum(0.3 * _goal(task, X[:, active], active), REDUCTION * norms[active])
        D = correct(R[:, active], goals, active)
        trial = X[:, active] + D
        R_trial = task.B[:, active] - task.A @ trial
        after = np.linalg.norm(R_trial, axis=0)
        better, fell = after < norms[active], after < 0.5 * norms[active]
        X[:, active[better]], R[:, active[better]] = trial[:, better], R_trial[:, better]
        norms[active[better]] = after[better]
        active = active[fell]
        active = active[norms[active] > _goal(task, X[:, active], active)]
    return X, norms


def _goal(task, X, columns=slice(None)):
    """The residual below which a column is done: its tolerance, or one unit of backward error."""
    return np.maximum(task.rtol * task.norms[columns], EPS * (task.A.norm * np.linalg.norm(X, axis=0) + task.norms[columns]))


def _residual(task, X):
    """(max |b - A x| / |b|, max backward error) over the columns, recomputed."""
    norms = np.linalg.norm(task.B - task.A @ X, axis=0)
    live = task.norms > 0
    relative = np.max(norms[live] / task.norms[live])
    backward = np.max(norms / (task.A.norm * np.linalg.norm(X, axis=0) + np.where(live, task.norms, 1.0)))
    return float(relative), float(backward)


def _judged(task, X, method, iterations, condition, status, detail, negative, skew, factor=None, hit=False):
    """The LinearSolution; without a `status` from the method, the recomputed residual decides."""
    residual, backward = _residual(task, X)
    met = residual <= task.rtol or backward <= 10.0 * EPS * np.sqrt(X.shape[0])
    if status is None and not met:
        asymmetric = method_named(method).symmetric and skew > ASYMMETRY_LIMIT
        status = Status.NONSYMMETRIC if asymmetric else Status.LINEAR_MAXITER if hit else Status.LINEAR_BREAKDOWN
        detail = f"Relative residual {residual:.1e} after {iterations} iterations. {detail or ''}".strip()
    if skew > ASYMMETRY_LIMIT:
        detail = f"{detail or ''} A is not symmetric (|A - A'| = {skew:.1e} |A|).".strip()
    return LinearSolution(
        X, residual, iterations, task.A.matvecs, condition, status or Status.CONVERGED, detail or "", method, factor, negative
    )


def _shaped(solution, shape):
    object.__setattr__(solution, "x", np.ascontiguousarray(solution.x.reshape(shape)))
    return solution


def _right_hand_side(b, size):
    b = np.asarray(b)
    if b.dtype.kind not in "fiub":
        raise DtypeError(f"b must be real, got dtype {b.dtype}")
    if b.ndim not in (1, 2) or b.shape[0] != size:
        raise ShapeError(f"b must have shape ({size},) or ({size}, k) to match A, got {b.shape}")
    b = b.astype(np.float64)
    return b, b.reshape(size, -1)


def _start(x0, b):
    if x0 is None:
        return None
    x0 = np.asarray(x0, np.float64)
    if x0.shape != b.shape:
        raise ShapeError(f"x0 must have the shape of b, {b.shape}, got {x0.shape}")
    if not np.isfinite(x0).all():
        raise ArgumentError("x0 must be finite; leave it out to start from zero")
    return x0.reshape(b.shape[0], -1)


def _limits(rtol, maxiter, size):
    if rtol is not None and not 0.0 <= rtol < 1.0:
        raise ArgumentError(f"rtol must lie in [0, 1), got {rtol}")
    if maxiter is not None and (isinstance(maxiter, bool) or int(maxiter) != maxiter or maxiter < 1):
        raise ArgumentError(f"maxiter must be an integer of at least 1, got {maxiter}")
    return rtol or 0.0, min(100 * size + 1000, 50_000) if maxiter is None else int(maxiter)

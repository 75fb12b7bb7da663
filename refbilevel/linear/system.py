"""solve(A, b): choose the method, run it, refine on the true residual (refinement.py), and say honestly what came of it."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import LinearOperator

from ..errors import ArgumentError, DtypeError, ShapeError
from ..results import LinearSolution, Status
from .factors import factorize
from .krylov import RUNS, guarded
from .methods import method_named
from .operators import ASYMMETRY_LIMIT, NonFinite, all_finite, asymmetry, checked, explicit
from .preconditioners import preconditioner_of
from .refinement import EPS, Task, judged, recomputed, refine, refine_column


def solve(A, b, method="auto", *, rtol=None, maxiter=None, x0=None, preconditioner=None, factor=None):
    """Solve A x = b.

    Parameters
    ----------
    A : ndarray, sparse array or LinearOperator, (N, N)
        A LinearOperator needs only `matvec` (`rmatvec` for lsmr and cg_normal unless symmetric); its `toarray` is never used.
    b : (N,) or (N, k)
    method : str
        A name in METHODS, or "auto": dense -> Cholesky, LDL where it is indefinite, LU where not symmetric; sparse -> sparse_lu;
        LinearOperator -> its own `.preconditioned()` (a Factor) where it has one, else cg, then minres if it meets negative
        curvature, gmres where not symmetric.
    rtol : float, optional
        Bound on |b - A x| / |b|. Default: as small as rounding allows.
    maxiter : int, optional
        Iterations in all restarts together, for each column of b. Default min(100 N + 1000, 50 000).
    x0 : (N,) or (N, k), optional
    preconditioner : optional
        Approximate inverse of A: matrix, LinearOperator, callable, object with `.solve`, "jacobi" or "nystrom". Symmetric
        positive definite for cg and minres. Direct methods ignore it.
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
    x0 = None if x0 is None else _start(x0, b)
    rtol, maxiter = _limits(rtol, maxiter, A.shape[0])
    task = Task(A, columns, x0, rtol, maxiter, preconditioner)
    try:
        return _shaped(_dispatch(task, method, factor), b.shape)
    except NonFinite as error:
        return LinearSolution(
            np.full(b.shape, np.nan), np.nan, 0, task.A.matvecs, status=Status.NONFINITE, detail=f"{error}.", method=method
        )


def _dispatch(task, method, factor):
    A = task.A.A
    if not 0.0 < sum(task.norms.tolist()) < math.inf:
        return _extreme(task, method, factor)
    if A.shape[0] == 1:
        return _scalar(task, method)
    if factor is None and method == "auto" and task.preconditioner is None:
        factor = getattr(A, "preconditioned", lambda: None)()  # a model's Hessian brings its own solver
    if factor is not None:
        solution = _direct(task, factor)
        if solution.success:
            return solution
    if method == "auto":
        if isinstance(A, LinearOperator):
            return _automatic(task)
        return _direct(task, _factor(task, "auto"))
    if method_named(method).direct:
        return _direct(task, _factor(task, method), expected=method)
    return _iterative(task, method)


def _extreme(task, method, factor):
    """A right-hand side that is zero, not finite, or so large or small that its squares are: that one is solved in other units."""
    size = np.abs(task.B).max(initial=0.0)
    if not np.isfinite(size):
        raise NonFinite("the right-hand side is not finite")
    if size == 0.0:
        return LinearSolution(np.zeros_like(task.B), 0.0, method=method)
    exponent = int(np.frexp(size)[1])
    X0 = None if task.X0 is None else np.ldexp(task.X0, -exponent)
    inner = Task(task.A.A, np.ldexp(task.B, -exponent), X0, task.rtol, task.maxiter, task.preconditioner)
    solution = _dispatch(inner, method, factor)
    return replace(solution, x=np.ldexp(solution.x, exponent))


def _scalar(task, method):
    a = float((task.A @ np.ones(1))[0])
    if a == 0.0:
        return LinearSolution(np.full_like(task.B, np.nan), np.nan, 0, 1, np.inf, Status.ILL_CONDITIONED, "A is zero.", method, negative=0)
    X = task.B / a
    definite = method != "auto" and method_named(method).definite
    status = Status.NOT_A_MINIMUM if a < 0 and definite else Status.CONVERGED
    return LinearSolution(X, recomputed(task, X)[0], 0, task.A.matvecs, 1.0, status, method=method, negative=int(a < 0))


def _automatic(task):
    """CG where the operator is symmetric, MINRES once it shows negative curvature, GMRES where it is not symmetric."""
    skew = asymmetry(task.A.A)
    task.A.matvecs += 2
    if skew > ASYMMETRY_LIMIT:
        return _iterative(task, "gmres", skew)
    solution = _iterative(task, "cg", skew)
    if solution.status in (Status.CONVERGED, Status.LINEAR_MAXITER, Status.ILL_CONDITIONED):
        return solution
    return _iterative(task, "minres", skew, negative=solution.status is Status.NOT_A_MINIMUM)


def _factor(task, method):
    matrix = explicit(task.A.A)
    if not all_finite(matrix):
        raise NonFinite("A has entries that are not finite")
    return factorize(matrix, method)


def _direct(task, factor, expected=None):
    if factor.shape != task.A.shape:
        raise ShapeError(f"factor must be of shape {task.A.shape}, got {factor.shape}")
    if factor.singular:
        X = np.full_like(task.B, np.nan)
        return LinearSolution(X, np.nan, 0, 0, np.inf, Status.ILL_CONDITIONED, "A is singular.", factor.method, factor, factor.negative)
    within = getattr(factor, "solve_within", None)  # a factor that iterates is told how far
    task.A.measure(factor)
    seen = None
    if within is None and task.B.shape[1] == 1:
        X, seen = refine_column(task, factor.solve)
    else:
        X = refine(task, lambda R, goals, active: within(R, goals) if within else factor.solve(R))
    status = detail = None
    if expected == "cholesky" and factor.negative:
        status, detail = Status.NOT_A_MINIMUM, f"It has {factor.negative} negative eigenvalue(s); solved with LDL instead of Cholesky."
    elif factor.condition > 1.0 / EPS:
        status, detail = Status.ILL_CONDITIONED, f"Condition number about {factor.condition:.1e}."
    return judged(task, X, factor.method, 0, factor.condition, status, detail, factor.negative, factor.asymmetry, factor, seen=seen)


def _iterative(task, method, skew=None, negative=None):
    """One Krylov method, restarted on the true residual."""
    data = method_named(method)
    if skew is None:
        skew = asymmetry(task.A.A) if data.symmetric else 0.0
        task.A.matvecs += 2 * (data.symmetric and isinstance(task.A.A, LinearOperator))
    task.A.measure()
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

    X = refine(task, correct, watch=lambda: any(run.negative and data.definite or run.flaw for run in runs))
    curved = any(run.negative for run in runs)
    negative = 1 if negative or curved else 0 if data.symmetric else None
    status, detail = None, next((run.flaw + "." for run in runs if run.flaw), "")
    if curved and data.definite:
        status, detail = Status.NOT_A_MINIMUM, "A direction with p'Ap <= 0 was met; x is the iterate reached before it."
    condition = np.nanmax([run.condition for run in runs] + [task.A.norm / max(task.A.smallest, np.finfo(float).tiny)])
    if status is None and condition > 1.0 / EPS:
        status, detail = Status.ILL_CONDITIONED, f"Condition number at least {condition:.1e}. {detail}".strip()
    hit = bool((used >= task.maxiter).any())
    return judged(task, X, method, int(used.sum()), float(condition), status, detail, negative, skew, hit=hit)


def _shaped(solution, shape):
    if solution.x.shape != shape:
        object.__setattr__(solution, "x", np.ascontiguousarray(solution.x.reshape(shape)))
    return solution


def _right_hand_side(b, size):
    if b.__class__ is np.ndarray and b.dtype == np.float64 and b.shape == (size,):
        return b, b[:, None]
    b = np.asarray(b)
    if b.dtype.kind not in "fiub":
        raise DtypeError(f"b must be real, got dtype {b.dtype}")
    if b.ndim not in (1, 2) or b.shape[0] != size:
        raise ShapeError(f"b must have shape ({size},) or ({size}, k) to match A, got {b.shape}")
    b = b.astype(np.float64)
    return b, b.reshape(size, -1)


def _start(x0, b):
    x0 = np.asarray(x0, np.float64)
    if x0.shape != b.shape:
        raise ShapeError(f"x0 must have the shape of b, {b.shape}, got {x0.shape}")
    if not all_finite(x0):
        raise ArgumentError("x0 must be finite; leave it out to start from zero")
    return x0.reshape(b.shape[0], -1)


def _limits(rtol, maxiter, size):
    if rtol is None and maxiter is None:
        return 0.0, min(100 * size + 1000, 50_000)
    if rtol is not None and not 0.0 <= rtol < 1.0:
        raise ArgumentError(f"rtol must lie in [0, 1), got {rtol}")
    if maxiter is not None and (isinstance(maxiter, bool) or int(maxiter) != maxiter or maxiter < 1):
        raise ArgumentError(f"maxiter must be an integer of at least 1, got {maxiter}")
    return rtol or 0.0, min(100 * size + 1000, 50_000) if maxiter is None else int(maxiter)

"""Points where the derivative needs care: weakly active rows, dependent rows, implied equalities, non-unique solutions.

T are the rows that hold with equality (the equalities among them), J+ those with positive multipliers.
- Rows of T dependent: multipliers are not unique; the least-norm ones are taken, y's derivatives do not depend on it.
- A row outside J+ that the critical cone {d : N_J+ d = 0, N_T d <= 0} forces to equality is not weak but implied; it is
  held in force unless J+ spans it already.
- What remains is weak: the solution map has a kink there, the derivative is that of the branch without the weak rows.
- P singular on null(N_J): not unique, unless the weak rows close the cone of flat directions (a degenerate vertex).
"""

from __future__ import annotations

import numpy as np
from scipy import linalg, sparse
from scipy.optimize import linprog, nnls

from ..kernels import qp as kernel
from ..kernels.qp import WEAK
from ..results import Status
from .factor import factorize, pseudo
from .general import Gauge, judge
from .gradient import expand
from .solution import QPSolution

RANK = 1e-9  # rows of length one are dependent below this singular value
LARGEST = 3000  # beyond this size rows are not decomposed


def classify(data, y, lam, W, method, tried):
    """QPSolution with the status that the active rows deserve."""
    gauge, p = Gauge(data), data.b.size
    N, point = gauge.N, gauge.measure(y, lam)
    tight = np.concatenate([np.ones(p, bool), (point.relative_slack[p:] <= WEAK) | np.isin(np.arange(p, lam.size), W)])
    T = np.flatnonzero(tight)
    if data.n > LARGEST:
        weak = np.setdiff1d(T, np.flatnonzero(point.relative_lam > WEAK))
        factor = factorize(data.P, N[W]) or pseudo(data.P, N[W])
        return _answer(data, point, W, factor, weak[weak >= p], Status.DEGENERATE, "Too large to analyse its active rows.", method, tried)
    rows = _unit(N[T])
    dependent = np.linalg.matrix_rank(rows, tol=RANK) < T.size if T.size else False
    if dependent:
        lam = np.zeros(lam.size)
        lam[T] = _least_norm(data, y, N[T], T >= p)
        point = gauge.measure(y, lam)
    strong = (T < p) | (point.relative_lam[T] > WEAK)
    implied, weak = _implied(rows, strong)
    J = T[strong | implied]
    factor, J, status, detail = _flat_directions(data, N, J, T[weak])
    weak = T[weak]
    if status is None:
        status, detail = _status(dependent, weak, factor, point.residual, p)
    return _answer(data, point, J, factor, weak, status, detail, method, tried)


def _status(dependent, weak, factor, residual, p):
    if not residual <= 1e-9:
        return judge(factor, residual, 1e-9)
    if weak.size:
        also = " The active rows are dependent too." if dependent else ""
        return Status.DEGENERATE, f"Weakly active rows of G: {(weak - p).tolist()}; see one_sided and branches.{also}"
    if dependent:
        return Status.LICQ_FAILS, "The least-norm multipliers are given; the derivatives of y do not depend on the choice."
    return judge(factor, residual, 1e-9)


def _unit(rows):
    rows = rows.toarray() if sparse.issparse(rows) else rows
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(length > 0, length, 1.0)


def _least_norm(data, y, N, inequality):
    """argmin |lam| with N'lam = -(Py + q), lam >= 0 on the inequalities (in the range of N', so that rows are independent)."""
    N = N.toarray() if sparse.issparse(N) else N
    U, s, Vt = linalg.svd(N.T, full_matrices=False)
    rank = int((s > RANK * s[0]).sum())
    A = np.ascontiguousarray(s[:rank, None] * Vt[:rank])
    b = -U[:, :rank].T @ (data.P @ y + data.q)
    k = N.shape[0]
    G = np.ascontiguousarray(-np.eye(k)[inequality])
    return kernel.solve_dense(np.eye(k), np.zeros(k), G, np.zeros(G.shape[0]), A, np.ascontiguousarray(b))[1]


def _implied(rows, strong):
    """(implied, weak) masks over the tight rows: implied ones are forced to equality and not yet spanned by the strong."""
    Z = linalg.null_space(rows[strong], rcond=RANK) if strong.any() else np.eye(rows.shape[1])
    implied, weak = np.zeros(strong.size, bool), np.zeros(strong.size, bool)
    V = rows @ Z
    candidates = [i for i in np.flatnonzero(~strong) if np.linalg.norm(V[i]) > RANK]
    for i in candidates:
        others = [j for j in candidates if j != i]
        gap = nnls(V[others].T, -V[i])[1] if others else np.linalg.norm(V[i])
        implied[i], weak[i] = gap <= RANK, gap > RANK
    return implied, weak


def _flat_directions(data, N, J, weak):
    """(factor, J, status, detail): status NONUNIQUE if y may move along a flat direction, None if it may not.

    Flat: d = Z w, Z = null(N_J), P d = 0. The weak rows may still pin y (a degenerate vertex); then they are held in force.
    """
    factor = factorize(data.P, N[J])
    if factor is not None:
        return factor, J, None, ""
    P = data.P.toarray() if sparse.issparse(data.P) else data.P
    Z = linalg.null_space(_unit(N[J]), rcond=RANK) if J.size else np.eye(data.n)
    flat = Z
    if Z.shape[1]:
        values, vectors = linalg.eigh(Z.T @ P @ Z)
        flat = Z @ vectors[:, values <= 1e-11 * max(abs(P).max(), 1e-300) * data.n]
    if flat.shape[1]:
        if not _pinned(flat, _unit(N[weak])):
            return pseudo(data.P, N[J]), J, Status.NONUNIQUE, f"y may move in {flat.shape[1]} flat direction(s)."
        J = np.sort(np.concatenate([J, weak]))
        factor = factorize(data.P, N[J])
    return factor or pseudo(data.P, N[J]), J, None, ""


def _pinned(flat, weak):
    """True if weak (flat w) <= 0 only for w = 0: full column rank, and max of -sum over the unit box is zero."""
    V = weak @ flat
    if V.shape[0] == 0 or np.linalg.matrix_rank(V, tol=RANK) < V.shape[1]:
        return False
    answer = linprog(V.sum(0), V, np.zeros(V.shape[0]), bounds=(-1, 1), method="highs")
    return bool(answer.status == 0 and answer.fun > -RANK)


def _answer(data, point, W, factor, weak, status, detail, method, tried):
    p = data.b.size
    active = np.zeros(data.h.size, bool)
    active[W[W >= p] - p] = True
    weak = weak - p
    return QPSolution(
        point.y, expand(point.lam[p:], data, 0.0), point.lam[:p], expand(active, data, False), point.margin, point.residual, status, detail,
        method, None, tried, tuple(int(i) for i in (weak if data.kept is None else data.kept[weak])), data=data, factor=factor, W=W,
        multipliers=point.lam,
    )  # fmt: skip

"""SciPy's GMRES, BiCGSTAB and LSMR behind the signature of krylov.py: (A, b, goal, maxiter, M) -> Run."""

from __future__ import annotations

import numpy as np
from scipy.sparse.linalg import LinearOperator, bicgstab, gmres, lsmr

from .run import Run, apply


def _operator(M, shape):
    return None if M is None else LinearOperator(shape, matvec=lambda r: M(r.ravel()), dtype=float)


def run_gmres(A, b, goal, maxiter, M):
    """SciPy's GMRES, restarted after at most 200 vectors."""
    steps = []
    restart = int(min(b.size, 200, maxiter))
    x, info = gmres(
        A.operator(), b, rtol=goal / np.linalg.norm(b), restart=restart, maxiter=max(1, maxiter // restart),
        M=_operator(M, A.shape), callback=steps.append, callback_type="pr_norm",
    )  # fmt: skip
    return Run(x, len(steps), info == 0)


def run_bicgstab(A, b, goal, maxiter, M):
    """SciPy's BiCGSTAB."""
    steps = []
    x, info = bicgstab(
        A.operator(), b, rtol=goal / np.linalg.norm(b), maxiter=maxiter, M=_operator(M, A.shape), callback=lambda _: steps.append(0)
    )
    return Run(x, len(steps), info == 0, flaw="BiCGSTAB broke down" if info < 0 else "")


def run_lsmr(A, b, goal, maxiter, M):
    """SciPy's LSMR on A M y = b, x = M y (M counts as symmetric)."""
    product = LinearOperator(
        A.shape, matvec=lambda y: A @ apply(M, y.ravel()), rmatvec=lambda u: apply(M, A.rmatvec(u.ravel())), dtype=float
    )
    rtol = goal / np.linalg.norm(b)
    y, stop, iterations, _, _, _, condition, _ = lsmr(product, b, atol=0.0, btol=rtol, conlim=0, maxiter=maxiter)
    return Run(apply(M, y), int(iterations), stop in (0, 1, 4), float(condition))

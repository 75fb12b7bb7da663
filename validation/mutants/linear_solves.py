"""Faults of the linear solve: conjugate gradients gone wrong, series cut short, damping never removed.

The loops restate what the named code does; each differs from a correct method by one line, marked `<- the fault`.
"""

from __future__ import annotations

import numpy as np

from .record import mutant
from .system import largest, solve, system

TINY = 1e-300


def cg_iterates(K, b, steps, tol, first=1.0, old_residual=False, scale=1.0):
    """Iterates of conjugate gradients, the starting zero included; stops at an absolute |r| <= tol.

    first: factor on the first direction; old_residual: the new direction is made of the old residual;
    scale: the step is computed for scale * K, the residual updated with K.
    """
    x, r = np.zeros_like(b), b.copy()
    p = first * r
    yield x
    for _ in range(steps):
        Kp = K @ p
        alpha = (r @ r) / (scale * (p @ Kp) or TINY)
        x, r_new = x + alpha * p, r - alpha * Kp
        yield x
        if not np.isfinite(r_new).all() or np.linalg.norm(r_new) <= tol:
            return
        beta = (r_new @ r_new) / (r @ r or TINY)
        p = (r if old_residual else r_new) + beta * p
        r = r_new


def last(iterates):
    return list(iterates)[-1]


@mutant(
    "CG returns the previous iterate when it converges, so one step is always lost",
    where="lower",
    source="hypertorch CG_torch.py (and RBP, PBGD, BOAT cg_step, which copy it)",
    tol=(1e-5, 1e-10, 1e-8),
)
def previous_iterate_cg(problem, x, y, mu, nu, tol):
    s = system(problem, x, y, mu, nu)
    iterates = list(cg_iterates(s.K, s.r, 100, tol))
    return s.with_adjoint(iterates[-2] if 1 < len(iterates) <= 100 else iterates[-1])  # <- the fault


@mutant("CG stops after K steps", where="lower", K=(1, 2, 3, 5))
def stopped_cg(problem, x, y, mu, nu, K):
    s = system(problem, x, y, mu, nu)
    return s.with_adjoint(last(cg_iterates(s.K, s.r, K, 0.0)))


@mutant("CG builds the new direction of the old residual", where="lower", source="moskomule CG; Betty before its fix #15", K=(10, 5, 20, 3))
def old_residual_cg(problem, x, y, mu, nu, K):
    s = system(problem, x, y, mu, nu)
    return s.with_adjoint(last(cg_iterates(s.K, s.r, K, 1e-10, old_residual=True)))  # <- the fault


@mutant(
    "CG starts from a first direction 1.5 r, which breaks conjugacy", where="lower", source="sl-BAMM, MEHA, LwCL CG_torch.py", K=(10, 5, 20)
)
def broken_start_cg(problem, x, y, mu, nu, K):
    s = system(problem, x, y, mu, nu)
    return s.with_adjoint(last(cg_iterates(s.K, s.r, K, 1e-10, first=1.5)))  # <- the fault


@mutant(
    "CG steps for the scaled operator a H but updates the residual with H",
    where="lower",
    source="Betty cg (cg_alpha)",
    a=(0.1, 0.5),
    K=(3, 5, 1),
)
def unscaled_residual_cg(problem, x, y, mu, nu, a, K):
    s = system(problem, x, y, mu, nu)
    return s.with_adjoint(a * last(cg_iterates(s.K, s.r, K, 1e-10, scale=a)))  # <- the fault


@mutant("CG runs on the indefinite KKT matrix, where it has no theory", where="constrained", source="Xu & Zhu example.py", K=(5, 10, 3))
def cg_on_saddle(problem, x, y, mu, nu, K):
    s = system(problem, x, y, mu, nu)
    return s.with_adjoint(last(cg_iterates(s.K, s.r, K, 0.0)))


@mutant(
    "the linear solve stops at an absolute tolerance, so small right-hand sides are not solved at all",
    where="lower",
    tol=(1e-5, 1e-3, 1e-2, 1e-8),
)
def absolute_tolerance(problem, x, y, mu, nu, tol):
    s = system(problem, x, y, mu, nu)
    if np.linalg.norm(s.r) <= tol:
        return s.f_x
    return s.with_adjoint(last(cg_iterates(s.K.T @ s.K, s.K @ s.r, 1000, tol)))


@mutant(
    "CG on the normal equations stopped at a loose tolerance (the condition number is squared)",
    where="lower",
    source="jaxopt's default solve_normal_cg, tol 1e-5",
    tol=(1e-3, 1e-2, 1e-5),
)
def loose_normal_cg(problem, x, y, mu, nu, tol):
    s = system(problem, x, y, mu, nu)
    rhs = s.K @ s.r
    return s.with_adjoint(last(cg_iterates(s.K.T @ s.K, rhs, 1000, tol * np.linalg.norm(rhs))))


@mutant("CG started from ones returns that start when the right-hand side is zero", where="lower", source="MAID.py CG")
def start_for_zero_rhs(problem, x, y, mu, nu):
    s = system(problem, x, y, mu, nu)
    return s.with_adjoint(solve(s.K.T, s.r) if np.linalg.norm(s.r) > 1e-14 else np.ones(len(s.r)))


@mutant(
    "damping rho is added to the Hessian and never removed",
    where="lower",
    source="moskomule nystrom; iMAML's regularised solve",
    rho=(1e-2, 1e-1, 1.0, 1e-3, 1e-4),
)
def damped_hessian(problem, x, y, mu, nu, rho):
    s = system(problem, x, y, mu, nu)
    return s.but(hessian=s.hessian + rho * np.eye(problem.m)).gradient()


@mutant("Nystrom sketch of half the rank: the rest of the Hessian is taken as rho I", where="smooth", rho=(1.0, 1e-1, 1e-2))
def half_rank_nystrom(problem, x, y, mu, nu, rho):
    s = system(problem, x, y, mu, nu)
    columns = s.hessian[:, : max(1, problem.m // 2)]
    core = columns[: columns.shape[1]]
    sketch = columns @ np.linalg.pinv(core) @ columns.T
    return s.with_adjoint(solve(sketch + rho * np.eye(problem.m), s.r))


def neumann_sum(H, b, terms, step):
    """sum_{k < terms} (I - step H)^k b, without the factor step."""
    total, term = np.zeros_like(b), b.copy()
    for _ in range(terms):
        total, term = total + term, term - step * (H @ term)
    return total


@mutant(
    "Neumann series cut after a few terms (step 1/L)",
    where="smooth",
    source="TorchOpt ns defaults; JFB; truncated reverse mode",
    K=(10, 1, 2, 3, 5, 20),
)
def truncated_neumann(problem, x, y, mu, nu, K):
    s = system(problem, x, y, mu, nu)
    step = 1 / largest(s.hessian)
    return s.with_adjoint(step * neumann_sum(s.hessian, s.r, K, step))


@mutant(
    "Neumann series with step 1, whatever the curvature: it diverges when the largest eigenvalue exceeds 2",
    where="smooth",
    source="TorchOpt ns and Betty neumann/darts defaults (alpha = 1)",
    K=(10, 2, 3, 5, 20),
)
def unit_step_neumann(problem, x, y, mu, nu, K):
    s = system(problem, x, y, mu, nu)
    return s.with_adjoint(neumann_sum(s.hessian, s.r, K, 1.0))


@mutant("the Neumann sum lacks its factor, the step length", where="smooth", step=(None, 0.1, 0.01))
def unscaled_step(problem, x, y, mu, nu, step):
    s = system(problem, x, y, mu, nu)
    step = step or 1 / largest(s.hessian)
    return s.with_adjoint(solve(s.hessian, s.r) / step)


@mutant(
    "the Neumann sum is step * last term + the other terms unscaled, its first term dropped",
    where="smooth",
    source="stocBiO.py",
    K=(10, 3, 5, 20),
)
def step_on_last_term_only(problem, x, y, mu, nu, K):
    s = system(problem, x, y, mu, nu)
    step = 1 / largest(s.hessian)
    sums = [neumann_sum(s.hessian, s.r, terms, step) for terms in (1, K, K + 1)]
    return s.with_adjoint(step * (sums[2] - sums[1]) + sums[2] - sums[0])  # <- the fault

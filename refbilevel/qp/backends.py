"""Library solvers for what the active-set kernel does not take: Clarabel, OSQP, HiGHS.

Each is `solve(data) -> (word, y, lam)` with word "solved", "infeasible", "unbounded" or the solver's own; lam = (nu, mu).
Their answers only start the polish. An exception inside a solver is its word, so that the next one is tried.
"""

from __future__ import annotations

import warnings

import numpy as np
from scipy import sparse
from scipy.optimize import linprog


def _columns(data):
    return sparse.csc_matrix(sparse.triu(data.P)), sparse.csc_matrix(data.N)


def clarabel(data):
    """Interior point (Goulart, Chen 2024), tolerances 1e-11."""
    import clarabel as library

    P, N = _columns(data)
    settings = library.DefaultSettings()
    settings.verbose = False
    settings.tol_gap_abs = settings.tol_gap_rel = settings.tol_feas = settings.tol_ktratio = 1e-11
    cones = [library.ZeroConeT(data.b.size), library.NonnegativeConeT(data.h.size)]
    cones = [cone for cone, size in zip(cones, (data.b.size, data.h.size)) if size]
    answer = library.DefaultSolver(P, data.q, N, data.r, cones, settings).solve()
    word = {"PrimalInfeasible": "infeasible", "DualInfeasible": "unbounded", "Solved": "solved"}.get(str(answer.status), str(answer.status))
    return word, np.array(answer.x), np.array(answer.z)


def osqp(data):
    """Operator splitting with polishing (Stellato et al. 2020), tolerances 1e-9."""
    import osqp as library

    P, N = _columns(data)
    low = np.concatenate([data.b, np.full(data.h.size, -np.inf)])
    problem = library.OSQP()
    problem.setup(P, data.q, N, low, data.r, verbose=False, polishing=True, eps_abs=1e-9, eps_rel=1e-9, max_iter=50_000)
    answer = problem.solve(raise_error=False)
    word = {"primal infeasible": "infeasible", "dual infeasible": "unbounded", "solved": "solved"}.get(answer.info.status, answer.info.status)
    return word, np.array(answer.x, float), np.array(answer.y, float)


def highs(data):
    """Dual simplex, for linear programs."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        answer = linprog(
            data.q, data.G if data.h.size else None, data.h if data.h.size else None, data.A if data.b.size else None,
            data.b if data.b.size else None, bounds=(None, None), method="highs-ds",
            options={"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10},
        )  # fmt: skip
    word = {0: "solved", 2: "infeasible", 3: "unbounded"}.get(answer.status, answer.message)
    if answer.x is None:
        return word, np.full(data.n, np.nan), np.full(data.r.size, np.nan)
    return word, answer.x, -np.concatenate([answer.eqlin.marginals, answer.ineqlin.marginals])


BACKENDS = {"clarabel": clarabel, "osqp": osqp, "highs": highs}


def attempt(name, data):
    """(word, y, lam) of one backend; its exception becomes the word."""
    try:
        return BACKENDS[name](data)
    except Exception as error:  # whatever a foreign solver raises is recorded in `solvers`, and the next one is tried
        return f"{type(error).__name__}: {error}", np.full(data.n, np.nan), np.full(data.r.size, np.nan)

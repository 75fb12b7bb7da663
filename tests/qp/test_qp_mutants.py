"""The checks see planted bugs: known defects of released software, put into this code, lose the digits that the tests ask for."""

import numpy as np
import pytest
from qp_truth import cotangents_of, error, gradients, problem, solve_mpmath

from refbilevel import solve_qp
from refbilevel.kernels import range_space as kernel
from refbilevel.qp import general, solution


def digits(margin=0.1, method="auto", seed=3):
    blocks, active = problem(10, seed=seed, m=8, margin=margin)
    bars = cotangents_of(blocks)
    truth, *_ = gradients(blocks, active, bars, solve_mpmath)
    return -np.log10(max(error(solve_qp(**blocks, method=method).vjp(*bars), truth), 1e-17))


def test_without_a_bug_every_digit_is_there():
    assert min(digits(margin, method) for margin in (1e-1, 1e-8) for method in ("auto", "clarabel")) > 12


def scaled_twice(gradient, at):
    """dG = diag(mu)(dmu y' + mu dy'), the misplaced parenthesis of OptNet's eq. (8) that a released solver has."""
    return gradient._replace(G=at.mu[:, None] * gradient.G)


RECORDS = {
    "multiplier scaled twice in G": scaled_twice,
    "sign of h": lambda g, at: g._replace(h=-g.h),
    "sign of b": lambda g, at: g._replace(b=-g.b),
    "P in the upper triangle": lambda g, at: g._replace(P=np.triu(g.P)),
    "P off-diagonals doubled": lambda g, at: g._replace(P=2 * g.P - np.diag(np.diag(g.P))),
    "P not symmetrised": lambda g, at: g._replace(P=np.multiply.outer(g.q, at.y)),
    "A without its second term": lambda g, at: g._replace(A=np.multiply.outer(at.nu, g.q)),
}


@pytest.mark.parametrize("name", RECORDS)
def test_wrong_formulas_are_seen(name, monkeypatch):
    right = solution.QPSolution.vjp
    monkeypatch.setattr(solution.QPSolution, "vjp", lambda self, *bars: RECORDS[name](right(self, *bars), self))
    assert digits() < 2


def test_an_absolute_activity_threshold_is_seen(monkeypatch):
    """Rows with mu < 1e-5 treated as inactive: right at a margin of 0.1, no digit at 1e-6 (dQP's eps_active)."""
    real = solution.QPSolution._rows

    def forgetful(self, *bars):
        keep = (self.W < self.nu.size) | (self.multipliers[self.W] > 1e-5)
        object.__setattr__(self, "W", self.W[keep])
        f = self.factor
        object.__setattr__(self, "factor", general.factorize(f.P, np.ascontiguousarray(f.N[keep])))
        return real(self, *bars)

    monkeypatch.setattr(solution.QPSolution, "_rows", forgetful)
    assert digits(0.1) > 12 and digits(1e-6) < 2


def test_trusting_the_interior_point_solver_is_seen(monkeypatch):
    monkeypatch.setattr(general, "_correct", lambda data, N, W, factor, y, lam: (y, lam))
    blocks, _ = problem(10, seed=3, m=8, margin=1e-6)
    assert not solve_qp(**blocks, method="clarabel").success or digits(1e-6, "clarabel") < 11


def test_a_solver_that_lies_is_not_believed(monkeypatch):
    """Infeasible reported for a feasible program, optimal for a wrong point: the residual and the certificates decide."""
    from refbilevel.qp import backends

    blocks, _ = problem(10, seed=3, m=8)
    truth = solve_qp(**blocks)
    for lie in ("infeasible", "unbounded", "solved", "RuntimeError"):
        monkeypatch.setitem(backends.BACKENDS, "clarabel", lambda data, lie=lie: (lie, np.ones(10), np.ones(10)))
        data = general_read(blocks)
        got = general.solve(data, "auto", 1e-9, ())
        assert got.success and got.solvers[0] == ("clarabel", lie)
        np.testing.assert_allclose(got.y, truth.y, atol=1e-12)

    def broken(data):
        raise RuntimeError("no licence")

    monkeypatch.setitem(backends.BACKENDS, "clarabel", broken)
    got = general.solve(general_read(blocks), "auto", 1e-9, ())
    assert got.success and got.method == "osqp" and "no licence" in got.solvers[0][1]


def general_read(blocks):
    from refbilevel.qp.data import read

    return read(*blocks.values())


def test_kernels_against_dense_oracles():
    rng = np.random.default_rng(0)
    blocks, active = problem(7, seed=1, m=6, p=2)
    P, G, A = blocks["P"], blocks["G"], blocks["A"]
    L, ok = kernel.cholesky(P)
    assert ok
    np.testing.assert_allclose(L, np.linalg.cholesky(P), atol=1e-14)
    assert not kernel.cholesky(-P)[1]
    R = np.tril(rng.standard_normal((5, 5))) + 3 * np.eye(5)
    keep = [0, 1, 3, 4]
    S, down = (R @ R.T)[np.ix_(keep, keep)], R.copy()
    kernel.remove_row(down, 5, 2)
    np.testing.assert_allclose(np.tril(down[:4, :4]) @ np.tril(down[:4, :4]).T, S, atol=1e-13)
    N = np.vstack([A, G[active]])
    a, c = rng.standard_normal(7), rng.standard_normal(len(N))
    M = np.ascontiguousarray(np.linalg.solve(L, N.T).T)
    sigma = np.linalg.norm(M, axis=1)
    M /= sigma[:, None]
    K = np.block([[P, N.T], [N, np.zeros((len(N),) * 2)]])
    w, u = kernel.refined_solve(P, N, L, M, np.linalg.cholesky(M @ M.T), sigma, a, c, 2)
    np.testing.assert_allclose(np.concatenate([w, u]), np.linalg.solve(K, np.concatenate([a, c])), rtol=1e-11)
    top, below = kernel.kkt_residual(P, N, w, u, a, c)
    wide = np.concatenate([a, c]) - K.astype(np.longdouble) @ np.concatenate([w, u]).astype(np.longdouble)
    np.testing.assert_allclose(np.concatenate([top, below]), wide.astype(float), rtol=1e-3, atol=1e-19)

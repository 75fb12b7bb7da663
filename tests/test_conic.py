"""Cone programs with known solutions: polish, adjoint, tangent, certificates, redundant rows, matrix-free solves."""

import numpy as np
import pytest
from scipy import sparse

from refbilevel import conic
from refbilevel.conic import ConeProgram, Cones, ParametricProgram
from refbilevel.results import Status


def planted(cones, n, seed, noise=0.0):
    """A program whose solution (x, z) is chosen first: z, s from the projection of a random u, then b and q follow."""
    r = np.random.default_rng(seed)
    k = cones.rows
    B, A, x, u = r.standard_normal((n, n)), r.standard_normal((k, n)), r.standard_normal(n), 2 * r.standard_normal(k)
    at = conic.project_dual(u, cones)
    P = B @ B.T / n + 0.1 * np.eye(n)
    q, b = -P @ x - A.T @ at.z, A @ x + at.z - u
    return ConeProgram(sparse.csc_array(P), q, sparse.csc_array(A), b, cones), x, at.z


KINDS = {
    "qp": Cones(zero=2, nonneg=6),
    "soc": Cones(zero=1, soc=(4, 3)),
    "psd": Cones(psd=(3,), nonneg=2),
    "exp": Cones(exp=3),
    "power": Cones(power=((0.3, 0.7), (0.2, 0.5, 0.3))),
    "mixed": Cones(zero=2, nonneg=3, soc=(3,), psd=(2,), exp=1, power=((0.6, 0.4),)),
}


@pytest.mark.parametrize("kind", KINDS)
def test_polish_reaches_the_planted_solution(kind):
    program, x, z = planted(KINDS[kind], 9, 0)
    answer = conic.clarabel(program)
    point, _ = conic.polish(program, answer.x, answer.z)
    assert point.residual <= 1e-13 * program.scale
    np.testing.assert_allclose(point.x, x, atol=1e-12)
    np.testing.assert_allclose(point.z, z, atol=1e-11)


@pytest.mark.parametrize("kind", KINDS)
def test_polish_converges_quadratically_from_a_coarse_point(kind):
    program, x, z = planted(KINDS[kind], 9, 1)
    point, _ = conic.polish(program, *(lambda a: (a.x, a.z))(conic.clarabel(program, tol=1e-4)))
    np.testing.assert_allclose(point.x, x, atol=1e-11)
    assert point.steps <= 6


@pytest.mark.parametrize("method", ["dense", "sparse", "minres", "gmres", "lsmr"])
@pytest.mark.parametrize("kind", KINDS)
def test_adjoint_and_tangent_solve_the_full_system(kind, method):
    """J and J' are applied as defined, not as eliminated; the independent dense J is formed from the definition."""
    program, x, z = planted(KINDS[kind], 9, 2)
    answer = conic.clarabel(program)
    point, _ = conic.polish(program, answer.x, answer.z)
    S = conic.system(program, point.at, method)
    r = np.random.default_rng(3)
    v, r_u = r.standard_normal(9), r.standard_normal(program.b.size)
    A, P = program.A.toarray(), program.P.toarray()
    D = np.array([point.at.derivative(row) for row in np.eye(program.b.size)])
    J = np.block([[P, A.T @ D], [A, D - np.eye(len(D))]])
    w, record = S.checked_adjoint(v)
    tol = 1e-11 * np.linalg.cond(J)
    np.testing.assert_allclose(J.T @ np.concatenate(w), np.concatenate([v, 0 * r_u]), atol=tol)
    np.testing.assert_allclose(J @ np.concatenate(S.tangent(v, r_u)), np.concatenate([v, r_u]), atol=tol)
    np.testing.assert_allclose(np.concatenate(S.apply(v, r_u)), J @ np.concatenate([v, r_u]), atol=1e-12)
    np.testing.assert_allclose(np.concatenate(S.apply_transpose(v, r_u)), J.T @ np.concatenate([v, r_u]), atol=1e-12)
    assert record.success and record.residual < 1e-9


def test_unknown_linear_method():
    program, _, _ = planted(KINDS["qp"], 4, 0)
    with pytest.raises(ValueError, match="did you mean 'dense'"):
        conic.system(program, conic.project_dual(program.b, program.cones), "dens")


def test_redundant_rows_leave_the_adjoint_as_it_is():
    """Every equality twice: J is singular, x is as unique as before, and so is its derivative."""
    program, x, _ = planted(Cones(zero=2), 5, 4)
    A2 = sparse.vstack([program.A, 2 * program.A], format="csc")
    twice = ConeProgram(program.P, program.q, A2, np.append(program.b, 2 * program.b), Cones(zero=4))
    at = conic.project_dual(np.ones(4), twice.cones)
    S = conic.system(twice, at)
    v = np.arange(1.0, 6)
    w, record = S.checked_adjoint(v)
    single = conic.system(program, conic.project_dual(np.ones(2), program.cones)).adjoint(v)
    assert record.success and S.factor.singular
    np.testing.assert_allclose(w[0], single[0], atol=1e-12)
    np.testing.assert_allclose(w[1][:2] + 2 * w[1][2:], single[1], atol=1e-12)
    assert np.abs(S.null_space).max() < 1e-12


def test_inconsistent_adjoint_is_told():
    """min 0 over x: the adjoint of any nonzero cotangent does not exist."""
    program = ConeProgram(sparse.csc_array((2, 2)), np.zeros(2), sparse.csc_array(np.eye(2)), np.ones(2), Cones(nonneg=2))
    S = conic.system(program, conic.project_dual(-np.ones(2), program.cones))
    _, record = S.checked_adjoint(np.array([1.0, 2.0]))
    assert record.status is Status.UNDEFINED and record.residual > 0.5
    assert S.null_space.shape == (2, 2)


def test_certificates():
    """x <= -1 and x >= 1; and min -x over x >= 0. A vector that is no ray is refused."""
    A = sparse.csc_array(np.array([[1.0], [-1.0]]))
    program = ConeProgram(sparse.csc_array((1, 1)), np.array([1.0]), A, np.array([-1.0, -1.0]), Cones(nonneg=2))
    z = conic.infeasibility(program, conic.clarabel(program).z)
    np.testing.assert_allclose(program.A.T @ z, 0, atol=1e-8)
    assert program.b @ z == pytest.approx(-1) and (z >= 0).all()
    assert conic.infeasibility(program, np.array([1.0, 0.2])) is None
    A = sparse.csc_array(np.array([[-1.0]]))
    program = ConeProgram(sparse.csc_array((1, 1)), np.array([-1.0]), A, np.zeros(1), Cones(nonneg=1))
    assert conic.recession(program, conic.clarabel(program).x) == pytest.approx([1.0])
    assert conic.recession(program, np.array([-1.0])) is None
    curved = ConeProgram(sparse.csc_array(np.eye(1)), np.array([-1.0]), A, np.zeros(1), Cones(nonneg=1))
    assert conic.recession(curved, np.array([1.0])) is None


@pytest.mark.parametrize("kind", ["qp", "mixed"])
def test_parametric_program(kind):
    """All of P, q, A, b move with theta: pull_back against differences of re-solves, push_forward against pull_back."""
    cones, n, p = KINDS[kind], 14, 3  # more variables than rows can hold, or x sits at a vertex that has no derivative
    base, x, _ = planted(cones, n, 5)
    k, r = cones.rows, np.random.default_rng(6)
    steps = [r.standard_normal((n, n)) for _ in range(p)]
    T_P = np.column_stack([np.ravel(s + s.T) * 0.05 for s in steps] + [np.ravel(base.P.toarray(), order="F")])
    T_q = np.vstack([np.column_stack([0.1 * r.standard_normal((n, p)), base.q]), np.zeros(p + 1)])
    stacked = np.append(np.ravel(-base.A.toarray(), order="F"), base.b)
    T_A = np.column_stack([0.1 * r.standard_normal((k * (n + 1), p)) * (r.random((k * (n + 1), p)) < 0.3), stacked])
    family = ParametricProgram.build(sparse.csr_array(T_q), sparse.csr_array(T_A), sparse.csr_array(T_P), n, k, cones)

    def solve(theta):
        program = family(theta)
        answer = conic.clarabel(program)
        return conic.polish(program, answer.x, answer.z)[0]

    theta, v = np.zeros(p), r.standard_normal(n)
    np.testing.assert_allclose(family(theta).A.toarray(), base.A.toarray(), atol=1e-15)
    point = solve(theta)
    S = conic.system(point.program, point.at)
    bar = family.pull_back(point, *S.adjoint(v))
    h = 1e-3
    for i, e in enumerate(np.eye(p)):
        value = [v @ solve(t * h * e).x for t in (-3, -2, -1, 1, 2, 3)]
        difference = (45 * (value[3] - value[2]) - 9 * (value[4] - value[1]) + (value[5] - value[0])) / (60 * h)
        assert bar[i] == pytest.approx(difference, abs=1e-9 * (1 + np.abs(bar).max()))
        dx, _ = S.tangent(*family.push_forward(point, e))
        assert v @ dx == pytest.approx(bar[i], abs=1e-11 * (1 + np.abs(bar).max()))


def test_large_sparse_program():
    """n = 3000, matrix-free and sparse LU agree; dense would be 100 times slower."""
    n = 3000
    r = np.random.default_rng(7)
    P = sparse.diags_array([np.full(n, 2.0), np.full(n - 1, -0.5), np.full(n - 1, -0.5)], offsets=[0, 1, -1], format="csc")
    u = r.standard_normal(n)
    program = ConeProgram(P, r.standard_normal(n), sparse.eye_array(n, format="csc"), np.ones(n), Cones(nonneg=n))
    at, v = conic.project_dual(u, program.cones), r.standard_normal(n)
    direct = conic.system(program, at, "sparse").checked_adjoint(v)
    for method in ("minres", "gmres"):
        other = conic.system(program, at, method).checked_adjoint(v)
        assert other[1].success
        np.testing.assert_allclose(other[0][0], direct[0][0], atol=1e-9)


@pytest.mark.parametrize("scale", [1.0, 1e-6, 1e6])
def test_margin_does_not_depend_on_the_scale_of_a_row(scale):
    """min (x - 1)^2 / 2 s.t. scale x >= 0: slack 1 in x, multiplier 0; and s.t. scale x <= scale / 2: multiplier 1/2 on x."""
    A = sparse.csc_array([[-scale], [scale]])
    program = ConeProgram(sparse.csc_array(np.eye(1)), -np.ones(1), A, np.array([0.0, 0.5 * scale]), Cones(nonneg=2))
    answer = conic.clarabel(program)
    point, _ = conic.polish(program, answer.x, answer.z)
    assert point.margin == pytest.approx(0.5, rel=1e-9)

"""Classical slips: sign, missing term, factor, transposition, half a Hessian."""

from __future__ import annotations

import numpy as np

from .record import mutant
from .system import dense, solve, system


@mutant("the implicit term has the wrong sign: f_x + g_xy v")
def implicit_sign(problem, x, y, mu, nu):
    s = system(problem, x, y, mu, nu)
    return s.with_adjoint(-solve(s.K.T, s.r))


@mutant("the whole gradient has the wrong sign (ascent for descent)")
def gradient_sign(problem, x, y, mu, nu):
    return -system(problem, x, y, mu, nu).gradient()


@mutant("the direct term f_x is missing", source="HOAG hoag.py")
def direct_missing(problem, x, y, mu, nu):
    s = system(problem, x, y, mu, nu)
    return s.gradient() - s.f_x


@mutant(
    "only the direct term f_x: y* was treated as a constant (detached)",
    source="Mehra & Hamm's reverse loop at T = 1; BOAT's detached gradient-norm penalty",
)
def direct_only(problem, x, y, mu, nu):
    return system(problem, x, y, mu, nu).f_x


@mutant("the direct term has the wrong sign: -f_x - g_xy v")
def direct_sign(problem, x, y, mu, nu):
    s = system(problem, x, y, mu, nu)
    return s.gradient() - 2 * s.f_x


@mutant("the direct term is counted twice")
def direct_twice(problem, x, y, mu, nu):
    s = system(problem, x, y, mu, nu)
    return s.gradient() + s.f_x


@mutant("the implicit term is half of what it should be", source="benchmark_bilevel simulated.py (cross term times 0.5)")
def half_implicit(problem, x, y, mu, nu):
    s = system(problem, x, y, mu, nu)
    return (s.gradient() + s.f_x) / 2


@mutant("the implicit term is twice what it should be (the 1/2 of a squared loss forgotten)")
def double_implicit(problem, x, y, mu, nu):
    s = system(problem, x, y, mu, nu)
    return 2 * s.gradient() - s.f_x


@mutant("the implicit term is divided by m: the mean was taken where the sum was meant")
def mean_for_sum(problem, x, y, mu, nu):
    s = system(problem, x, y, mu, nu)
    return s.f_x + (s.gradient() - s.f_x) / problem.m


@mutant("the cross term is transposed: the entries of g_xy (n, m) were read in the order (m, n)")
def transposed_cross(problem, x, y, mu, nu):
    s = system(problem, x, y, mu, nu)
    return s.but(cross=s.cross.T.reshape(s.cross.shape)).gradient()


@mutant("the Hessian is replaced by the identity", source="T1-T2, DARTS first order", where="lower")
def identity_hessian(problem, x, y, mu, nu):
    s = system(problem, x, y, mu, nu)
    return s.but(hessian=np.eye(problem.m)).gradient()


@mutant("only the diagonal of the Hessian is inverted", where="lower")
def diagonal_hessian(problem, x, y, mu, nu):
    s = system(problem, x, y, mu, nu)
    return s.but(hessian=np.diag(np.diag(s.hessian))).gradient()


@mutant("only the lower triangle of the Hessian is used (half Hessian)", where="lower")
def lower_triangle(problem, x, y, mu, nu):
    s = system(problem, x, y, mu, nu)
    return s.but(hessian=np.tril(s.hessian)).gradient()


@mutant("only the upper triangle of a symmetric matrix is used", source="cvxpylayers' convention for symmetric parameters", where="lower")
def upper_triangle(problem, x, y, mu, nu):
    s = system(problem, x, y, mu, nu)
    return s.but(hessian=np.triu(s.hessian)).gradient()


@mutant(
    "off-diagonal entries of a symmetric matrix are counted twice",
    source="cvxpy's problem.backward for symmetric parameters",
    where="lower",
)
def doubled_off_diagonals(problem, x, y, mu, nu):
    s = system(problem, x, y, mu, nu)
    return s.but(hessian=2 * s.hessian - np.diag(np.diag(s.hessian))).gradient()


@mutant("multiplied by the Hessian instead of its inverse", where="lower")
def hessian_not_inverted(problem, x, y, mu, nu):
    s = system(problem, x, y, mu, nu)
    return s.with_adjoint(s.K @ s.r)


@mutant("the Hessian is inverted twice", where="lower")
def hessian_inverted_twice(problem, x, y, mu, nu):
    s = system(problem, x, y, mu, nu)
    return s.with_adjoint(solve(s.K.T, solve(s.K.T, s.r)))


@mutant(
    "the system is solved with K where its transpose is meant (a non-symmetric Jacobian treated as symmetric)",
    source="equilibrium propagation's vector-field estimate; CG on a non-symmetric fixed-point map",
    where="lower",
)
def jacobian_not_transposed(problem, x, y, mu, nu):
    s = system(problem, x, y, mu, nu)
    K = np.block([[s.hessian, s.rows_y.T], [-s.rows_y, np.zeros((len(s.rows_y),) * 2)]])  # the usual non-symmetric form
    C = np.hstack([s.cross, -s.rows_x.T])
    return s.f_x - C @ solve(K, s.r)


@mutant("the Hessian of the upper objective, f_yy, is inverted instead of g_yy", where="lower")
def upper_hessian(problem, x, y, mu, nu):
    s = system(problem, x, y, mu, nu)
    if problem.f_yy is None:
        return np.full(problem.n, np.nan)
    return s.but(hessian=dense(problem.f_yy(x, y), s.hessian.shape)).gradient()


@mutant("the lower gradient g_y is put in the place of f_y (right-hand side of the wrong level)", where="lower")
def lower_gradient_as_rhs(problem, x, y, mu, nu):
    s = system(problem, x, y, mu, nu)
    return s.but(f_y=np.asarray(problem.g_y(x, y), float)).gradient()


@mutant(
    "derivatives of the last half of y are dropped (frozen or unused parameters set to zero)",
    source="BOAT grad_unused_zero; Betty cg: parameters() against trainable_parameters()",
)
def unused_zeroed(problem, x, y, mu, nu):
    s = system(problem, x, y, mu, nu)
    keep = np.arange(problem.m) < max(1, problem.m // 2)
    return s.but(f_y=np.where(keep, s.f_y, 0.0)).gradient()


@mutant("zero is returned for the implicit term when y is a scalar", source="TorchOpt linear_solve.cg with a 0-d right-hand side")
def zero_for_scalar(problem, x, y, mu, nu):
    s = system(problem, x, y, mu, nu)
    return s.f_x if problem.m == 1 else s.gradient()


@mutant("the adjoint is rescaled by the sum of its entries' norms instead of their joint norm", source="BOAT list_tensor_norm")
def sum_of_norms(problem, x, y, mu, nu):
    s = system(problem, x, y, mu, nu)
    v = solve(s.K.T, s.r)
    scale = np.abs(v).sum() / np.linalg.norm(v) if v.any() else 1.0
    return s.with_adjoint(scale * v)


@mutant("the gradient is divided by its norm (a direction, not a gradient)")
def normalised(problem, x, y, mu, nu):
    gradient = system(problem, x, y, mu, nu).gradient()
    return gradient / (np.linalg.norm(gradient) or 1.0)


@mutant("computed in single precision", source="JAX without jax_enable_x64")
def single_precision(problem, x, y, mu, nu):
    s = system(problem, x, y, mu, nu)
    pieces = [piece.astype(np.float32) for piece in (s.f_x, s.C, s.K, s.r)]
    v = np.linalg.lstsq(pieces[2].T, pieces[3], rcond=None)[0]
    return pieces[0] - pieces[1] @ v

"""The quadratic program as a differentiable primitive.

    min 1/2 y'Py + q'y   subject to  Gy <= h,  Ay = b;      L = 1/2 y'Py + q'y + mu'(Gy - h) + nu'(Ay - b),  mu >= 0.

Every answer ends with a polish: with J = {i : mu_i > slack_i} and K = [P G_J' A'; G_J 0 0; A 0 0], the point is Newton-
corrected on K (y, mu_J, nu) = (-q, h_J, b), and that factor serves the derivatives. J is exact as soon as the solver's
error is below the complementarity margin min_i max(mu_i, slack_i); then so are the derivatives, to cond(K) eps.
Reference: Amos, Kolter, OptNet, ICML 2017, eq. (6)-(8) (with the parenthesis of dG put right: mu w' + w_mu y').
"""

from .batch import QPBatchSolution, solve_qp_batch
from .driver import solve_qp
from .gradient import QPGradient
from .solution import QPSolution

__all__ = ["QPBatchSolution", "QPGradient", "QPSolution", "solve_qp", "solve_qp_batch"]

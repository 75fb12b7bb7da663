"""Models written in CVXPY that a reader would recognise, each `() -> (problem, x)` with x where the lower solution is regular."""

import cvxpy as cp
import numpy as np

from refbilevel.frontends.cvxpy_ import from_cvxpy


def elastic_net(rows=60, columns=30, seed=0):
    """One penalty a feature and one ridge; validation loss above."""
    r = np.random.default_rng(seed)
    X, V = r.standard_normal((rows, columns)), r.standard_normal((rows, columns))
    t, s = r.standard_normal(rows), r.standard_normal(rows)
    w, lam, rho = cp.Variable(columns, name="w"), cp.Variable(columns, nonneg=True, name="lam"), cp.Variable(nonneg=True, name="rho")
    lower = cp.Problem(cp.Minimize(0.5 * cp.sum_squares(X @ w - t) + cp.sum(cp.multiply(lam, cp.abs(w))) + 0.5 * rho * cp.sum_squares(w)))
    upper = cp.Problem(cp.Minimize(0.5 * cp.sum_squares(V @ w - s) / rows + 0.01 * cp.sum(lam)))
    problem = from_cvxpy(upper=upper, lower=lower, lower_variables=[w], upper_variables=[lam, rho])
    return problem, np.append(np.full(columns, 4.0), 1.5)


def portfolio(assets=30, factors=6, seed=1):
    """Factor exposures and the position cap are learned; the Sharpe ratio, a quotient, above."""
    r = np.random.default_rng(seed)
    F0, returns = r.standard_normal((factors, assets)) / 3, 0.3 * r.standard_normal(assets)
    w, F, cap = cp.Variable(assets, name="w"), cp.Variable((factors, assets), name="F"), cp.Variable(nonneg=True, name="cap")
    lower = cp.Problem(
        cp.Minimize(0.5 * cp.sum_squares(F @ w) + 0.05 * cp.sum_squares(w) - returns @ w), [cp.sum(w) == 1, w >= 0, w <= cap]
    )
    realised = r.standard_normal(assets)
    upper = cp.Problem(cp.Minimize(-(realised @ w) / cp.sqrt(0.3 + cp.sum_squares(w))))
    problem = from_cvxpy(upper=upper, lower=lower, lower_variables=[w], upper_variables=[F, cap])
    return problem, np.append(np.ravel(F0, order="F"), 0.21)


def svm(rows=60, columns=12, seed=3):
    """One cost C_i a sample (hinge loss, with an intercept)."""
    r = np.random.default_rng(seed)
    X = r.standard_normal((rows, columns))
    t = np.sign(X @ r.standard_normal(columns) + 0.7 * r.standard_normal(rows))
    w, b, C = cp.Variable(columns, name="w"), cp.Variable(name="b"), cp.Variable(rows, nonneg=True, name="C")
    lower = cp.Problem(cp.Minimize(0.5 * cp.sum_squares(w) + C @ cp.pos(1 - cp.multiply(t, X @ w + b))))
    upper = cp.Problem(cp.Minimize(cp.sum_squares(w - 0.1) + cp.square(b)))
    problem = from_cvxpy(upper=upper, lower=lower, lower_variables=[w, b], upper_variables=[C])
    return problem, 0.02 * (1 + 0.3 * r.random(rows))


def robust_least_squares(rows=25, columns=6, seed=4):
    """Second-order cones: |Aw - t| + penalty |w| + quadratic."""
    r = np.random.default_rng(seed)
    A = r.standard_normal((rows, columns))
    w, t, penalty = cp.Variable(columns), cp.Variable(rows), cp.Variable(nonneg=True)
    lower = cp.Problem(
        cp.Minimize(cp.norm(A @ w - t, 2) + penalty * cp.norm(w, 2) + 0.1 * cp.sum_squares(w)), [cp.sum(w) >= 0.1]
    )
    upper = cp.Problem(cp.Minimize(cp.sum_squares(w - 1) + 0.1 * cp.sum_squares(t) + cp.square(penalty)))
    problem = from_cvxpy(upper=upper, lower=lower, lower_variables=[w], upper_variables=[t, penalty])
    return problem, np.append(r.standard_normal(rows), 0.4)


def l1_logistic(rows=30, columns=6, seed=5):
    """Exponential cones: logistic loss with an l1 penalty a feature."""
    r = np.random.default_rng(seed)
    X = r.standard_normal((rows, columns))
    t = np.sign(X @ r.standard_normal(columns) + 0.5 * r.standard_normal(rows))
    w, lam = cp.Variable(columns), cp.Variable(columns, nonneg=True)
    lower = cp.Problem(cp.Minimize(cp.sum(cp.logistic(-cp.multiply(t, X @ w))) + lam @ cp.abs(w)))
    upper = cp.Problem(cp.Minimize(cp.sum_squares(w - 0.3)))
    problem = from_cvxpy(upper=upper, lower=lower, lower_variables=[w], upper_variables=[lam])
    return problem, np.full(columns, 1.3)


def entropy():
    """max .6 y1 + b y2 - .01 sum y log y on the simplex: y1 = 1 / (1 + e^{100 (b - .6)}), dy1/db = -100 y1 y2."""
    y, b = cp.Variable(2), cp.Variable()
    lower = cp.Problem(cp.Maximize(0.6 * y[0] + b * y[1] + 0.01 * cp.sum(cp.entr(y))), [cp.sum(y) == 1])
    upper = cp.Problem(cp.Minimize(y[0] + 0 * b))
    problem = from_cvxpy(upper=upper, lower=lower, lower_variables=[y], upper_variables=[b])
    return problem, np.array([0.58])


def semidefinite(order=3, seed=6):
    """Projection of a symmetric upper variable on the PSD cone of trace 1."""
    r = np.random.default_rng(seed)
    B = r.standard_normal((order, order))
    Y, S = cp.Variable((order, order), PSD=True), cp.Variable((order, order), symmetric=True)
    lower = cp.Problem(cp.Minimize(cp.sum_squares(Y - S)), [cp.trace(Y) == 1])
    C = r.standard_normal((order, order))
    upper = cp.Problem(cp.Minimize(cp.sum(cp.multiply(C, Y)) + 0.1 * cp.sum_squares(S)))
    problem = from_cvxpy(upper=upper, lower=lower, lower_variables=[Y], upper_variables=[S])
    return problem, np.ravel(B + B.T, order="F")


def power(seed=7):
    """Power cones: a penalty |y|^1.7 and a budget on a Cobb-Douglas output of two goods, exponents exact."""
    y, c, k = cp.Variable(3), cp.Variable(3), cp.Variable(nonneg=True)
    output = cp.geo_mean(cp.hstack([y[0], y[1]]), [0.3, 0.7], approx=False)
    lower = cp.Problem(
        cp.Minimize(cp.sum_squares(y - c) + cp.sum(cp.power(cp.abs(y[2:]), 1.7, approx=False))), [output >= k, y[:2] <= 3]
    )
    upper = cp.Problem(cp.Minimize(cp.sum_squares(y - 1) + k))
    problem = from_cvxpy(upper=upper, lower=lower, lower_variables=[y], upper_variables=[c, k])
    return problem, np.array([0.5, 0.4, 1.1, 1.2])


def stackelberg(cap=10.0):
    """Prices x, demands y: optimum x = y = a/2, value -|a|^2/4 = -13.75 while cap > 7.5."""
    a = np.arange(1.0, 6.0)
    x, y = cp.Variable(5), cp.Variable(5)
    follower = cp.Problem(cp.Minimize(cp.sum_squares(y - a) / 2 + x @ y), [cp.sum(y) <= cap, y >= 0])
    leader = cp.Problem(cp.Minimize(-x @ y), [x >= 0, x <= 10])
    return from_cvxpy(upper=leader, lower=follower, lower_variables=[y]), np.array([0.3, 0.9, 1.1, 1.7, 2.0])


def group_penalty(seed=8):
    """A norm per group, interior of one second-order cone's dual (that group is zero)."""
    r = np.random.default_rng(seed)
    A, t = r.standard_normal((12, 6)), r.standard_normal(12)
    w, lam = cp.Variable((2, 3)), cp.Variable(2, nonneg=True)
    flat = cp.reshape(w, (6,), order="C")
    lower = cp.Problem(
        cp.Minimize(0.5 * cp.sum_squares(A @ flat - t) + lam[0] * cp.norm(w[0], 2) + lam[1] * cp.norm(w[1], 2))
    )
    upper = cp.Problem(cp.Minimize(cp.sum(cp.square(w - 0.2)) + cp.max(w)))
    return from_cvxpy(upper=upper, lower=lower, lower_variables=[w], upper_variables=[lam]), np.array([0.5, 20.0])


def divergence():
    """kl_div and exp with a nonlinear y-free factor: a parameter of its own for exp(x)."""
    y, x = cp.Variable(3), cp.Variable(3)
    prior = np.array([0.2, 0.3, 0.5])
    lower = cp.Problem(cp.Minimize(cp.sum(cp.kl_div(y, prior)) + cp.exp(x) @ y + cp.sum(cp.exp(y - x[0]))), [cp.sum(y) == 1])
    upper = cp.Problem(cp.Minimize(cp.log_sum_exp(y) + cp.sum_squares(x) + cp.sum(cp.power(cp.multiply(x, y), 3))))
    return from_cvxpy(upper=upper, lower=lower, lower_variables=[y], upper_variables=[x]), np.array([0.1, -0.4, 0.3])


def products():
    """x0 x1 y0, y / x and quad_over_lin(y, x + 1): own parameters for products and quotients, a copy for the jointly convex atom."""
    y, x = cp.Variable(2), cp.Variable(2)
    lower = cp.Problem(
        cp.Minimize(cp.sum_squares(y) + x[0] * x[1] * y[0] + y[1] / x[0] + cp.quad_over_lin(y, x[1] + 1)), [y >= -0.4, x[1] >= 0]
    )
    upper = cp.Problem(cp.Minimize(cp.square(y[0] + 1) + cp.power(y[1], 3) + cp.sum(x) / (1 + cp.sum_squares(y))), [x >= 0])
    return from_cvxpy(upper=upper, lower=lower, lower_variables=[y], upper_variables=[x]), np.array([0.7, 0.6])


def transport(seed=9):
    """Entropic optimal transport with learned costs."""
    r = np.random.default_rng(seed)
    T, C = cp.Variable((3, 4)), cp.Variable((3, 4))
    a, b = np.array([0.5, 0.3, 0.2]), np.array([0.1, 0.2, 0.3, 0.4])
    lower = cp.Problem(cp.Minimize(cp.sum(cp.multiply(C, T)) - 0.2 * cp.sum(cp.entr(T))), [cp.sum(T, axis=1) == a, cp.sum(T, axis=0) == b])
    upper = cp.Problem(cp.Minimize(cp.sum_squares(T - np.outer(a, b) * r.random((3, 4)))))
    return from_cvxpy(upper=upper, lower=lower, lower_variables=[T], upper_variables=[C]), np.ravel(r.random((3, 4)))


def quadratic_form(order=6, seed=10):
    """A parametric matrix in quad_form, following the upper variable."""
    r = np.random.default_rng(seed)
    B = r.standard_normal((order, order))
    y, S, S_x = cp.Variable(order), cp.Parameter((order, order), PSD=True), cp.Variable((order, order), PSD=True)
    c = r.standard_normal(order)
    lower = cp.Problem(cp.Minimize(0.5 * cp.quad_form(y, S) - c @ y), [cp.sum(y) == 1, y >= 0])
    upper = cp.Problem(cp.Minimize(cp.sum_squares(y - 0.5) + cp.log_det(S_x)))
    problem = from_cvxpy(upper=upper, lower=lower, lower_variables=[y], parameters={S: S_x})
    return problem, np.ravel(B @ B.T / order + 0.2 * np.eye(order), order="F")


MODELS = (
    elastic_net, portfolio, svm, robust_least_squares, l1_logistic, entropy, semidefinite, power, stackelberg, group_penalty,
    divergence, products, transport, quadratic_form,
)  # fmt: skip

"""Rows 35-55: lower levels without a solution, without a unique one, without a regular one; and what solvers say about them."""

import numpy as np
import pytest
from scipy import sparse

import refbilevel as rb
from refbilevel.errors import ArgumentError, MissingDependency

from examples import quadratic, spd

from .record import row
from .rows_arguments import X3

Y5 = 0.5 + 0.25 * np.cos(np.arange(5))


def smooth(H, c, B=None, d=None, **more):
    """g = y'Hy/2 - y'(Bx + c), f = d.y + |y|^2/2 for square H (m, m), B (m, n)."""
    m = len(H)
    B = np.ones((m, 1)) if B is None else B
    d = np.zeros(m) if d is None else d
    return rb.BilevelProblem(
        n=B.shape[1], m=m, f=lambda x, y: d @ y + 0.5 * y @ y, f_x=lambda x, y: np.zeros(B.shape[1]), f_y=lambda x, y: d + y,
        g=lambda x, y: 0.5 * y @ H @ y - y @ (B @ x + c), g_x=lambda x, y: -B.T @ y, g_y=lambda x, y: H @ y - B @ x - c,
        g_yy=lambda x, y: H, g_xy=lambda x, y: -B.T, **more,
    )  # fmt: skip


def under(G, h, S=None, A=None, b=None, H=None, B=None, T=None):
    """min y'Hy/2 - y'(Bx) s.t. G y <= h + S x, A y = b + T x; f = |y - 1|^2 / 2."""
    m = G.shape[1] if G is not None else A.shape[1]
    S = np.zeros((len(h), 1)) if G is not None and S is None else S
    n = S.shape[1] if S is not None else 1
    T = np.zeros((len(b), n)) if A is not None and T is None else T
    rows = dict(p=lambda x, y: G @ y - h - S @ x, p_x=lambda x, y: -S, p_y=lambda x, y: G) if G is not None else {}
    rows |= dict(q=lambda x, y: A @ y - b - T @ x, q_x=lambda x, y: -T, q_y=lambda x, y: A) if A is not None else {}
    problem = smooth(np.eye(m) if H is None else H, np.zeros(m), np.ones((m, n)) if B is None else B, -np.ones(m))
    return rb.problem.replace(problem, constraints=rb.Constraints(**rows, linear=True))


@row(35, "no feasible y")
def _():
    h = rb.hypergradient(under(np.array([[1.0, 0.0], [-1.0, 0.0]]), np.array([0.0, -1.0])), [0.3])
    assert h.status == "lower_infeasible" and np.isnan(h.gradient).all() and "No y satisfies" in h.message
    ray = h.lower.certificate
    assert (ray.mu >= 0).all() and abs(ray.mu @ [1.0, -1.0]) < 1e-9 and ray.mu @ [0.0, -1.0] < 0 < ray.gap


@row(36, "a lower objective without a bound")
def _():
    h = rb.hypergradient(smooth(np.diag([1.0, 0.0]), np.array([0.0, 1.0])), [0.3])
    assert h.status == "lower_unbounded" and np.isnan(h.gradient).all()
    assert abs(h.lower.certificate @ [0, 1]) > 0.99
    boxed = under(np.array([[1.0, 0.0]]), np.ones(1), H=np.diag([1.0, 0.0]))
    assert rb.hypergradient(boxed, [0.3]).status == "lower_unbounded"


@row(37, "negative curvature at y")
def _():
    for kind in (np.asarray, sparse.csr_array, sparse.linalg.aslinearoperator):
        H = np.diag([1.0, -0.5, 2.0])
        problem = rb.problem.replace(smooth(H, np.zeros(3), np.zeros((3, 1))), g_yy=lambda x, y: kind(H), g=None)
        h = rb.hypergradient(problem, [0.3])
        assert h.status == "not_a_minimum" and not h.success and "negative curvature" in h.message


@row(38, "a saddle that its solver calls optimal")
def _():
    H = np.diag([1.0, -0.5, 2.0])
    saddle = lambda x, y0, tol: np.linalg.solve(H, np.ones(3) * x[0] + 0.1)  # noqa: E731
    h = rb.hypergradient(smooth(H, 0.1 * np.ones(3), np.ones((3, 1)), lower_solver=saddle), [0.3])
    assert h.lower.success and h.status == "not_a_minimum"
    G = np.array([[0.0, 0.0, 1.0]])
    claimed = rb.problem.replace(under(G, np.ones(1), H=H), lower_solver=lambda x, y0, tol: np.linalg.solve(H, np.ones(3) * x[0]))
    assert rb.hypergradient(claimed, [0.3]).status == "not_a_minimum"


@row(39, "a singular Hessian, f_y and g_xy in its range")
def _():
    H, B = np.diag([2.0, 0.0]), np.array([[1.0], [0.0]])
    problem = rb.problem.replace(smooth(H, np.zeros(2), B), f_y=lambda x, y: np.array([y[0], 0.0]))
    h = rb.hypergradient(problem, [0.8])
    assert h.status == "minimum_norm" and not h.success and "not unique" in h.message
    np.testing.assert_allclose(h.gradient, [0.2], rtol=1e-12)  # F = (x/2)^2 / 2


@row(40, "a singular Hessian, f_y out of its range")
def _():
    h = rb.hypergradient(smooth(np.diag([2.0, 0.0]), np.zeros(2), np.array([[1.0], [0.0]]), np.array([0.0, 1.0])), [0.8])
    assert h.status == "undefined" and not h.success


@row(41, "a condition number beyond 1/sqrt(eps)")
def _():
    problem, exact = quadratic(condition=1e10)
    h = rb.hypergradient(problem, X3)
    assert h.success and "condition estimate" in h.message and 2 < h.attainable_digits < 7
    error = np.linalg.norm(h.gradient - rb.reference(problem, X3).gradient) / np.linalg.norm(h.gradient)
    assert error < 10 * 10**-h.attainable_digits


@row(42, "a condition number beyond 1/eps")
def _():
    h = rb.hypergradient(smooth(spd(5, 1e18), np.ones(5), np.ones((5, 1))), [0.5])
    assert not h.success
    h = rb.hypergradient(smooth(np.diag([1.0, 1e-15, 2e-16]), np.zeros(3), np.ones((3, 1)), np.ones(3)), [0.5], lower=np.zeros(3))
    assert h.status in ("ill_conditioned", "undefined") and not h.success


@row(43, "a lower solution that is not unique")
def _():
    box = np.vstack([np.eye(2), -np.eye(2)])
    face = under(box, np.ones(4), H=np.zeros((2, 2)), B=np.array([[1.0], [0.0]]))  # min -x y_0 on the box: a face
    h = rb.hypergradient(face, [0.3])
    assert h.status == "nonunique" and not h.success and "not unique" in h.message


@row(44, "the iteration limit of the lower solve")
def _():
    problem, exact = quadratic(condition=100)
    h = rb.hypergradient(problem, X3, lower=rb.solve_lower(problem, X3, "gradient_descent", maxiter=30))
    assert h.status == "lower_maxiter" and not h.success
    np.testing.assert_allclose(h.error_estimate, np.linalg.norm(h.gradient - exact(X3)), rtol=1e-6)


@row(45, "a solver whose word is not to be trusted")
def _():
    problem, exact = quadratic()
    y = rb.solve_lower(problem, X3).y
    near = rb.problem.replace(problem, lower_solver=lambda x, y0, tol: y + 1e-3)  # "optimal"
    h = rb.hypergradient(near, X3)
    assert h.status == "lower_stalled" and h.residual > 1e-4 and h.error_estimate > 1e-4
    told = rb.LowerSolution(y=y + 1e-3, residual=0.0, method="own")
    lying = rb.problem.replace(problem, lower_solver=lambda x, y0, tol: told)
    h = rb.hypergradient(lying, X3)
    assert h.status == "lower_stalled" and h.residual > 1e-4 and "claims" in h.message
    assert rb.hypergradient(rb.problem.replace(problem, lower_solver=lambda x, y0, tol: y), X3).success


@row(46, "a solver that fails hands over to the next")
def _():
    problem, exact = quadratic()

    def broken(x, y0, tol):
        raise RuntimeError("no licence")

    h = rb.hypergradient(rb.problem.replace(problem, lower_solver=broken), X3)
    assert h.success and any("RuntimeError: no licence" in s for s in h.lower.solvers) and "newton" in h.lower.solvers
    np.testing.assert_allclose(h.gradient, exact(X3), rtol=1e-12)
    qp = rb.solve_qp(np.zeros((2, 2)), np.array([1.0, 0.0]), np.vstack([np.eye(2), -np.eye(2)]), np.ones(4))
    assert len(qp.solvers) >= 1


@row(47, "a solver that is not installed")
def _():
    cp = pytest.importorskip("cvxpy")
    x, y = cp.Variable(1), cp.Variable(2)
    with pytest.raises((ArgumentError, MissingDependency)) as caught:
        rb.from_cvxpy(
            upper=cp.Problem(cp.Minimize(cp.sum_squares(y) + cp.sum_squares(x))), lower=cp.Problem(cp.Minimize(cp.sum_squares(y - x[0]))),
            lower_variables=[y], solver="NOSUCHSOLVER",
        )  # fmt: skip
    assert "NOSUCHSOLVER" in str(caught.value) and "CLARABEL" in str(caught.value)


@row(48, "a weakly active row")
def _():
    kink = under(np.array([[-1.0]]), np.zeros(1))  # y = max(x, 0)
    h = rb.hypergradient(kink, [0.0])
    assert h.status == "degenerate" and not h.success and "not unique" in h.message
    np.testing.assert_allclose(sorted(h.extra["generators"].ravel()), [-1.0, 0.0], atol=1e-12)
    assert "one_sided" in h.extra
    assert rb.hypergradient(kink, [1e-6]).success and rb.hypergradient(kink, [-1e-6]).success


@row(49, "a row twice")
def _():
    twice = under(np.array([[1.0, 0.0], [1.0, 0.0]]), np.zeros(2))
    once = under(np.array([[1.0, 0.0]]), np.zeros(1))
    h = rb.hypergradient(twice, [0.5])
    assert h.status == "licq_fails" and not h.success
    np.testing.assert_allclose(h.gradient, rb.hypergradient(once, [0.5]).gradient, rtol=1e-12)


@row(50, "no strictly feasible point")
def _():
    flat = under(np.array([[1.0, 0.0], [-1.0, 0.0]]), np.zeros(2))  # y_0 <= 0 <= y_0
    equal = under(None, None, A=np.array([[1.0, 0.0]]), b=np.zeros(1))
    h = rb.hypergradient(flat, [0.5])
    assert h.status == "licq_fails" and not h.success
    np.testing.assert_allclose(h.gradient, rb.hypergradient(equal, [0.5]).gradient, rtol=1e-12)


@row(51, "no row active: the unconstrained answer, bit for bit")
def _():
    problem, exact = quadratic()
    far = rb.Constraints(p=lambda x, y: y - 1e3, p_x=lambda x, y: np.zeros((5, 3)), p_y=lambda x, y: np.eye(5), linear=True)
    y = rb.solve_lower(problem, X3)
    held = rb.hypergradient(rb.problem.replace(problem, constraints=far), X3, lower=rb.LowerSolution(y=y.y, mu=np.zeros(5), active=np.zeros(5, bool)))
    np.testing.assert_array_equal(held.gradient, rb.hypergradient(problem, X3, lower=y, method="implicit").gradient)
    np.testing.assert_allclose(rb.hypergradient(rb.problem.replace(problem, constraints=far), X3).gradient, exact(X3), rtol=1e-12)


@row(52, "a vertex: the Hessian plays no part")
def _():
    S = np.array([[1.0], [2.0]])
    gradients = []
    for H in (np.eye(2), 7 * spd(2, 5.0)):
        h = rb.hypergradient(under(np.eye(2), -5 * np.ones(2), S, H=H), [0.1])
        assert h.success and h.lower.active.all()
        gradients.append(h.gradient)
    np.testing.assert_allclose(gradients[0], gradients[1], rtol=1e-12)
    np.testing.assert_allclose(gradients[0], [(0.1 - 6) + 2 * (0.2 - 6)], rtol=1e-12)


@row(53, "x at the kink of a bound")
def _():
    edge = under(np.array([[1.0], [1.0]]), -np.ones(2), np.array([[1.0], [-1.0]]))  # y <= min(x, -x) - 1
    h = rb.hypergradient(edge, [0.0])
    assert h.status == "degenerate" and not h.success
    low, high = rb.hypergradient(edge, [-1e-3]), rb.hypergradient(edge, [1e-3])
    assert low.success and high.success and low.gradient * high.gradient < 0


@row(54, "equalities inconsistent by 1e-7")
def _():
    A = np.array([[1.0, 1.0], [1.0, 1.0]])
    h = rb.hypergradient(under(None, None, A=A, b=np.array([1.0, 1.0 + 1e-7])), [0.3])
    assert not h.success and not h.lower.success and (h.status == "lower_infeasible" or h.residual > 1e-8)


@row(55, "infinite bounds are no rows")
def _():
    G = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
    bounds = np.array([0.2, np.inf, np.inf])
    solution = rb.solve_qp(np.eye(2), -np.ones(2), G, bounds)
    assert solution.success and solution.mu.shape == (3,)
    np.testing.assert_allclose(solution.y, [0.2, 1.0], atol=1e-12)
    h = rb.hypergradient(under(G, bounds), [1.0])
    assert h.success
    np.testing.assert_allclose(h.gradient, rb.hypergradient(under(G[:1], bounds[:1]), [1.0]).gradient, rtol=1e-12)

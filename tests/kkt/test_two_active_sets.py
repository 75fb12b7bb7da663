"""One parametric program, two active sets: min |y|^2, 6 y_1 + 3 y_2 + 2 y_3 = p_1, p_2 y_1 + y_2 - y_3 = 1, y >= 0.

At p = (4.5, 1) the bound y_3 >= 0 is in force and the two equations fix y_1 = (p_1 - 3)/(6 - 3 p_2), y_2 = 1 - p_2 y_1. At p = (5, 1) no
bound is, and y is the least-norm solution (31, 19, 1)/49. (Ganesh & Biegler 1987.)
"""

import numpy as np
import pytest

import refbilevel as rb


def program():
    """x = p; the row coefficient p_2 makes the constraints bilinear in (x, y)."""

    def q(x, y):
        return np.array([6 * y[0] + 3 * y[1] + 2 * y[2] - x[0], x[1] * y[0] + y[1] - y[2] - 1])

    return rb.BilevelProblem(
        n=2, m=3, f=lambda x, y: y @ [1.0, 2.0, 3.0], f_x=lambda x, y: np.zeros(2), f_y=lambda x, y: np.array([1.0, 2.0, 3.0]),
        g=lambda x, y: y @ y, g_x=lambda x, y: np.zeros(2), g_y=lambda x, y: 2 * y, g_yy=lambda x, y: 2 * np.eye(3), g_xy=lambda x, y: np.zeros((2, 3)),
        constraints=rb.Constraints(
            p=lambda x, y: -y, p_x=lambda x, y: np.zeros((3, 2)), p_y=lambda x, y: -np.eye(3),
            q=q, q_x=lambda x, y: np.array([[-1.0, 0.0], [0.0, y[0]]]), q_y=lambda x, y: np.array([[6.0, 3, 2], [x[1], 1, -1]]),
            lagrangian_yy=lambda x, y, mu, nu: np.zeros((3, 3)), lagrangian_xy=lambda x, y, mu, nu: np.array([[0.0, 0, 0], [nu[1], 0, 0]]),
        ),
    )  # fmt: skip


def least_norm(p):
    A, b = np.array([[6.0, 3, 2], [p[1], 1, -1]]), np.array([p[0], 1.0])
    return A.T @ np.linalg.solve(A @ A.T, b)


def on_the_bound(p):
    y1 = (p[0] - 3) / (6 - 3 * p[1])
    return np.array([y1, 1 - p[1] * y1, 0 * y1])


def complex_jacobian(y, p):
    return np.array([np.imag(y(np.asarray(p, complex) + 1e-100j * e)) / 1e-100 for e in np.eye(2)]).T


@pytest.mark.parametrize("p,closed,active", [((4.5, 1.0), on_the_bound, [False, False, True]), ((5.0, 1.0), least_norm, [False] * 3)])
def test_values_and_derivatives_on_both_sides(p, closed, active):
    problem = program()
    s = rb.sensitivity(problem, p)
    np.testing.assert_allclose(s.lower.y, closed(np.array(p)), atol=1e-13)
    np.testing.assert_array_equal(s.lower.active, active)
    exact = complex_jacobian(closed, p)
    np.testing.assert_allclose(s.dy_dx, exact, atol=1e-12)
    np.testing.assert_allclose(rb.hypergradient(problem, p).gradient, exact.T @ [1, 2, 3], atol=1e-12)


def test_the_known_point():
    np.testing.assert_allclose(rb.solve_lower(program(), (5.0, 1.0)).y, np.array([31.0, 19.0, 1.0]) / 49, atol=1e-14)

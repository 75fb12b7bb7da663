"""Small problems with known answers, shared by the tests; built from plain NumPy, not from the library's families."""

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import LinearOperator

import refbilevel as rb


def spd(m, condition=10.0, seed=0):
    """A full symmetric positive definite (m, m) matrix with the given condition number."""
    rng = np.random.default_rng(seed)
    Q, _ = np.linalg.qr(rng.standard_normal((m, m)))
    return (Q * np.geomspace(1.0, 1.0 / condition, m)) @ Q.T


class Opaque(LinearOperator):
    """A matrix behind a LinearOperator whose toarray raises."""

    def __init__(self, A):
        super().__init__(np.float64, A.shape)
        self.A = A

    def _matvec(self, v):
        return self.A @ v

    def _rmatvec(self, v):
        return self.A.T @ v

    def toarray(self):
        raise AssertionError("the matrix-free path must not form the matrix")

    todense = toarray


WRAP = {"dense": np.asarray, "sparse": sparse.csr_array, "operator": Opaque}


def quadratic(n=3, m=5, condition=10.0, seed=0, kind="dense"):
    """g = y'Hy/2 - y'(Bx + c), f = |y - d|^2/2 + a'x + x'y[:n]-like coupling; y* = H^-1 (Bx + c). Returns (problem, exact gradient)."""
    rng = np.random.default_rng(seed + 1)
    H, B, C = spd(m, condition, seed), rng.standard_normal((m, n)), rng.standard_normal((n, m))
    c, d, a = rng.standard_normal(m), rng.standard_normal(m), rng.standard_normal(n)
    wrap = WRAP[kind]
    problem = rb.BilevelProblem(
        n=n, m=m,
        f=lambda x, y: 0.5 * (y - d) @ (y - d) + a @ x + x @ C @ y,
        f_x=lambda x, y: a + C @ y,
        f_y=lambda x, y: y - d + C.T @ x,
        g=lambda x, y: 0.5 * y @ H @ y - y @ (B @ x + c),
        g_x=lambda x, y: -B.T @ y,
        g_y=lambda x, y: H @ y - B @ x - c,
        g_yy=lambda x, y: wrap(H),
        g_xy=lambda x, y: wrap(-B.T),
    )  # fmt: skip

    def gradient(x):
        y = np.linalg.solve(H, B @ x + c)
        return a + C @ y + B.T @ np.linalg.solve(H, y - d + C.T @ x)

    return problem, gradient


def quartic(n=2, m=4, seed=0, kind="dense"):
    """g = y'Hy/2 + sum y^4/12 + sum_i exp(x_0/2) y_i^2/2 - y'Bx, f = sum sin(y) + y'Dy/2 + cos(sum x): second derivatives vary."""
    rng = np.random.default_rng(seed)
    H, B, D = spd(m, 5.0, seed), rng.standard_normal((m, n)), spd(m, 3.0, seed + 7)
    wrap = WRAP[kind]
    e0 = np.eye(n)[0]
    return rb.BilevelProblem(
        n=n, m=m,
        f=lambda x, y: np.sin(y).sum() + 0.5 * y @ D @ y + np.cos(x.sum()),
        f_x=lambda x, y: -np.sin(x.sum()) * np.ones(n),
        f_y=lambda x, y: np.cos(y) + D @ y,
        g=lambda x, y: 0.5 * y @ H @ y + (y**4).sum() / 12 + 0.5 * np.exp(x[0] / 2) * y @ y - y @ B @ x,
        g_x=lambda x, y: 0.25 * np.exp(x[0] / 2) * (y @ y) * e0 - B.T @ y,
        g_y=lambda x, y: H @ y + y**3 / 3 + np.exp(x[0] / 2) * y - B @ x,
        g_yy=lambda x, y: wrap(H + np.diag(y**2 + np.exp(x[0] / 2))),
        g_xy=lambda x, y: wrap(0.5 * np.exp(x[0] / 2) * np.outer(e0, y) - B.T),
    )  # fmt: skip


def solved(problem, x):
    """F(x), by Newton to rounding."""
    return problem.f(x, rb.solve_lower(problem, x).y)


def difference(F, x, h=2e-2):
    """Sixth-order central differences of F at x, (n,)."""

    def slope(e):
        def phi(j):
            return F(x + j * h * e)

        return (45 * (phi(1) - phi(-1)) - 9 * (phi(2) - phi(-2)) + (phi(3) - phi(-3))) / (60 * h)

    return np.array([slope(e) for e in np.eye(len(x))])

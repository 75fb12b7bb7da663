"""The KKT system of a case file in mpmath numbers, Newton's method on it, and solves with singular matrices."""

from __future__ import annotations

from mpmath import mp, mpf

from .formulas import rows, total, value
from .jets import variables

ZERO = mpf(10) ** -40  # of quantities computed with 60 digits


class CertificationError(AssertionError):
    """What a case file claims does not hold."""


class Point:
    """Everything the KKT system needs at (x, y, mu, nu), as mpmath matrices."""

    def __init__(self, spec, y, mu, nu):
        n, m = self.n, self.m = spec["n"], spec["m"]
        X, Y = variables([mpf(a) for a in spec["x"]], y)
        self.f = value(spec["f"], X, Y)
        self.p = rows(spec["p"], X, Y) if "p" in spec else []
        self.q = rows(spec["q"], X, Y) if "q" in spec else []
        weighted = [row * w for row, w in zip([*self.p, *self.q], [*mu, *nu])]
        self.lagrangian = total([value(spec["g"], X, Y), *weighted])

    def gradient(self, jet, block):
        first, size = (0, self.n) if block == "x" else (self.n, self.m)
        return mp.matrix([jet.gradient.get(first + i, mpf(0)) for i in range(size)])

    def hessian(self, jet, left):
        """The block (left, y) of a jet's Hessian."""
        first, size = (0, self.n) if left == "x" else (self.n, self.m)
        H = mp.zeros(size, self.m)
        for i in range(size):
            for j in range(self.m):
                a, b = first + i, self.n + j
                H[i, j] = jet.hessian.get((min(a, b), max(a, b)), mpf(0))
        return H

    def kkt(self, active):
        """(K, N, right side (f_y, 0), residual) with the rows `active` of p and all of q."""
        chosen = [self.p[i] for i in active] + self.q
        size = self.m + len(chosen)
        K, N = mp.zeros(size, size), mp.zeros(size, self.n)
        L_yy, L_xy = self.hessian(self.lagrangian, "y"), self.hessian(self.lagrangian, "x")
        for i in range(self.m):
            for j in range(self.m):
                K[i, j] = L_yy[i, j]
            for j in range(self.n):
                N[i, j] = L_xy[j, i]
        residual = list(self.gradient(self.lagrangian, "y"))
        for k, row in enumerate(chosen):
            a, b = self.gradient(row, "y"), self.gradient(row, "x")
            residual.append(row.value)
            for j in range(self.m):
                K[self.m + k, j] = K[j, self.m + k] = a[j]
            for j in range(self.n):
                N[self.m + k, j] = b[j]
        right = mp.matrix([*self.gradient(self.f, "y"), *[mpf(0)] * len(chosen)])
        return K, N, right, mp.matrix(residual)


def newton(spec, y, mu, nu, active):
    """Newton's method on the KKT system from a start good to a few digits; (y, mu, nu, point)."""
    for _ in range(60):
        point = Point(spec, y, mu, nu)
        K, _, _, residual = point.kkt(active)
        if mp.norm(residual, mp.inf) < ZERO * mpf(10) ** -5:
            return y, mu, nu, point
        step = solve(K, residual)
        y = [a - b for a, b in zip(y, step[: spec["m"]])]
        for k, i in enumerate(active):
            mu[i] -= step[spec["m"] + k]
        nu = [a - b for a, b in zip(nu, step[spec["m"] + len(active) :])]
    raise CertificationError(f"{spec['id']}: Newton's method did not reach {mp.nstr(ZERO, 2)}: {mp.nstr(mp.norm(residual, mp.inf), 3)}")


def null_space(K):
    """(eigenvalues, eigenvectors, indices of the zero ones) of a symmetric matrix."""
    values, vectors = mp.eigsy(K)
    scale = max(abs(v) for v in values)
    return values, vectors, [i for i, v in enumerate(values) if abs(v) <= ZERO * scale]


def solve(K, b):
    """K^-1 b, or the minimum-norm solution where K is singular and b in its range."""
    try:
        return list(mp.lu_solve(K, b))
    except ZeroDivisionError:
        return list(pseudo(K, b))


def pseudo(K, b):
    values, vectors, null = null_space(K)
    result = mp.zeros(K.rows, 1)
    for i, lam in enumerate(values):
        if i not in null:
            result += vectors[:, i] * ((vectors[:, i].T * b)[0] / lam)
    return result



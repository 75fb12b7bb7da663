"""`BilevelLayer`: z -> (x*(z), y*(z)), differentiated through the solved bilevel program.

With F(x, z) = f(x, y*(x, z), z), its stationarity grad_x F = 0 (the hypergradient, not f_x alone) and the implicit function theorem,

    dx/dz = -S^{-1} F_xz,    dy/dz = y_z + y_x dx/dz,    S = F_xx,
    vjp:  b = S^{-1} (x_bar + y_x' y_bar),    z_bar = y_z' y_bar - F_xz' b.

S is the Schur complement F_x - F_y G_y^{-1} G_x of the optimality system F = 0, G = 0 (block.py solves that system as it stands).
Upper constraints in force (bounds, rows of G, rows of H) with total derivatives C = [C_x C_z] and multipliers lambda enter as
upper KKT rows: F becomes F + lambda.G, and the systems are solved in the null space of C_x. Lower constraints enter through
y*'s KKT system, as everywhere. F_xx d and F_xz' b are products with the Hessian of F in X = (x, z), exact where the problem has its
`adjoint_hvp`, else with differenced third derivatives and an error estimate (curvature.py). Assumes a strict minimum (S positive
definite on the null space) and active sets that do not change; else the status says so.

Alesiani, Implicit bilevel optimization: differentiating through bilevel optimization programming, AAAI 2023, th. 1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..driver import hypergradient
from ..errors import ArgumentError, DtypeError, StatusError
from ..outer.minimize_ import minimize
from ..problem import as_vector
from ..results import LowerSolution, Status, _Outcome
from .block import block_vjp
from .curvature import Curvature
from .problem import LayerProblem
from .rows import upper_rows

NULL = 1e-9  # relative size below which an eigenvalue of S or a multiplier counts as zero
LINEAR = ("schur", "cg", "block", "gmres")


@dataclass(frozen=True, eq=False)
class LayerSolution(_Outcome):
    """The solved program at z: x (n,), y (m,), the lower solution, upper rows in force and their multipliers.

    `residual` is |grad_x (F + lambda.G)| on the free variables; `curvature` the smallest eigenvalue of S on the null space.
    """

    z: np.ndarray
    x: np.ndarray
    y: np.ndarray
    objective: float
    lower: LowerSolution
    rows: object
    multipliers: np.ndarray
    residual: float
    curvature: float
    hessian: np.ndarray
    basis: np.ndarray
    status: Status
    detail: str = ""


@dataclass(frozen=True, eq=False)
class LayerGradient(_Outcome):
    """z_bar (k,) with its error estimate and status."""

    z_bar: np.ndarray
    error_estimate: float
    status: Status
    detail: str = ""


class BilevelLayer:
    """The layer of a `LayerProblem`.

    Parameters
    ----------
    problem : LayerProblem
    x0 : (n,) array_like, optional
        Start of the forward solve; zeros by default, projected on the bounds.
    method, tol, options : the method of `minimize`, its tolerance, its options.
    linear : "schur" | "cg" | "block" | "gmres"
        How `vjp` solves: the Schur complement S formed (default) or not (conjugate gradients), the whole block system formed or
        not (GMRES). `jvp` uses S.

    Raises
    ------
    ArgumentError
        For an unknown `linear`.

    Examples
    --------
    f = (x - z)^2/2 + y^2/2 with y*(x, z) = x/2 + z: x* = 0.4 z, y* = 1.2 z.

    >>> import numpy as np
    >>> import refbilevel as rb
    >>> problem = rb.LayerProblem(
    ...     n=1, m=1, k=1, f=lambda x, y, z: 0.5 * (x - z) @ (x - z) + 0.5 * y @ y, f_x=lambda x, y, z: x - z, f_y=lambda x, y, z: y.copy(),
    ...     g=lambda x, y, z: 0.5 * (y - x / 2 - z) @ (y - x / 2 - z), g_y=lambda x, y, z: y - x / 2 - z, g_yy=lambda x, y, z: np.eye(1),
    ...     g_xy=lambda x, y, z: np.array([[-0.5]]))
    >>> layer = rb.BilevelLayer(problem)
    >>> x, y = layer.solve([1.0])
    >>> x.round(12), y.round(12)
    (array([0.4]), array([1.2]))
    >>> layer.vjp([1.0], x_bar=[1.0], y_bar=[2.0]).round(9)    # 0.4 + 2 * 1.2
    array([2.8])
    """

    def __init__(self, problem, *, x0=None, method="auto", tol=1e-9, linear="schur", options=None):
        if linear not in LINEAR:
            raise ArgumentError(f"linear must be one of {', '.join(map(repr, LINEAR))}, got {linear!r}")
        if not isinstance(problem, LayerProblem):
            raise DtypeError(
                f"BilevelLayer: problem must be a LayerProblem, whose oracles take (x, y, z), got {type(problem).__name__}; without "
                "an input z there is nothing to differentiate by: use hypergradient or minimize"
            )
        self.problem, self.method, self.tol, self.linear = problem, method, tol, linear
        self.x0 = np.zeros(problem.n) if x0 is None else as_vector(x0, problem.n, "x0")
        self.options = dict(options or {})
        self.joint = problem.joint()

    # forward

    def solve(self, z):
        """(x*(z) (n,), y*(z) (m,)). Raises StatusError where the program has no proper solution; see `solution`."""
        solution = self.solution(z)
        if solution.status in (Status.DEGENERATE, Status.NOT_STRICT):  # the point is right, only its derivative is not
            return solution.x, solution.y
        solution.raise_for_status()
        return solution.x, solution.y

    def solution(self, z):
        """The `LayerSolution` at z, with its status; never raises for numerical trouble."""
        z = as_vector(z, self.problem.k, "z")
        start = minimize(self.problem.at(z), self.x0, self.method, tol=self.tol, **self.options)
        return self._polished(z, start)

    def _polished(self, z, start):
        """Newton on the upper KKT system from the minimiser's point until rounding, with S of that point kept (chord steps);
        S is that of the last point in the end."""
        point = self._point(z, start.x, start)
        best = point
        while np.isfinite(best.residual) and best.residual > 0 and point.curvature > 0:
            moved = self._point(z, best.x + self._newton_step(best, point), start, point)
            if not moved.residual < 0.5 * best.residual:
                break
            best = moved
        return best if best is point else self._point(z, best.x, start)

    def _point(self, z, x, start, old=None):
        """The LayerSolution at x; its Hessian is that of `old` where given."""
        X = np.concatenate([x, z])
        h = hypergradient(self.joint, X, y0=start.y if np.isfinite(start.y).all() else None, diagnostics=False)
        n = self.problem.n
        rows = upper_rows(self.problem, X, h, start)
        multipliers = rows.multipliers(h.gradient[:n])
        residual = float(np.linalg.norm(h.gradient[:n] + rows.C[:, :n].T @ multipliers))
        if old is not None and len(old.rows.c) == len(rows.c):
            S, basis, curvature = old.hessian, old.basis, old.curvature
        else:
            S, basis, curvature = self._curvatures(h, X, rows, multipliers)
        status, detail = self._judge(h, start, rows, multipliers, residual, curvature, S)
        return LayerSolution(
            z=z, x=x, y=h.lower.y, objective=h.objective, lower=h.lower, rows=rows, multipliers=multipliers, residual=residual,
            curvature=curvature, hessian=S, basis=basis, status=status, detail=detail,
        )  # fmt: skip

    def _curvatures(self, h, X, rows, multipliers):
        """(S, basis of the null space of C_x, smallest eigenvalue of S on it)."""
        n, basis = self.problem.n, rows.null_space()
        if not (h.success or h.status is Status.DEGENERATE):
            return np.full((n, n), np.nan), basis, np.nan
        S = self._hessian(self._curvature(X, h.lower, rows, multipliers))
        reduced = basis.T @ S @ basis
        if not basis.shape[1] or not np.isfinite(S).all():
            return S, basis, 1.0 if np.isfinite(S).all() else np.nan
        return S, basis, float(np.linalg.eigvalsh(0.5 * (reduced + reduced.T))[0])

    def _judge(self, h, start, rows, multipliers, residual, curvature, S):
        if not h.success:
            return h.status, h.detail
        scale = np.linalg.norm(h.direct) + np.linalg.norm(h.indirect)
        if residual > max(self.tol, 1e-7 * scale):
            return (start.status if not start.success else Status.STALLED), f"Upper residual {residual:.1e}."
        if not curvature > NULL * max(np.abs(S).max(initial=0.0), np.finfo(float).tiny):
            return Status.NOT_STRICT, f"The smallest eigenvalue of the reduced Hessian is {curvature:.1e}."
        lower_weak = h.extra.get("weak", ())  # F may be differentiable all the same, where f_y does not see the rows; y* is not
        if len(lower_weak):
            return Status.DEGENERATE, f"Lower rows {list(map(int, lower_weak))} are weakly active."
        weak = rows.weak(multipliers, scale)
        if weak:
            return Status.DEGENERATE, f"Upper constraint {weak[0]} is weakly active."
        return Status.CONVERGED, ""

    def _newton_step(self, point, old):
        """dx of [S C'; C 0] (dx; dlambda) = -(grad_x L; c), in the null space of C; S and its basis are those of `old`."""
        n = self.problem.n
        gradient = point.rows.gradient + point.rows.C[:, :n].T @ point.multipliers
        particular = point.rows.restore()
        Z, S = old.basis, old.hessian
        return particular + Z @ np.linalg.solve(Z.T @ S @ Z, -Z.T @ (gradient + S @ particular))

    # derivatives

    def vjp(self, z, x_bar=None, y_bar=None, *, solution=None):
        """z_bar (k,) = (dx/dz)' x_bar + (dy/dz)' y_bar.

        Parameters
        ----------
        z : (k,) array_like
        x_bar, y_bar : (n,), (m,) array_like, optional
            Cotangents; None means zero.
        solution : LayerSolution, optional
            That at z, to save the forward solve.

        Raises
        ------
        StatusError
            Where the derivative is not defined (`differentiate` returns the status instead).
        """
        return self.differentiate(z, x_bar, y_bar, solution=solution).raise_for_status().z_bar

    def differentiate(self, z, x_bar=None, y_bar=None, *, solution=None):
        """As `vjp`, but a `LayerGradient` with status and error estimate; z_bar is nan where it is not defined."""
        n, m, k = self.problem.n, self.problem.m, self.problem.k
        x_bar = np.zeros(n) if x_bar is None else as_vector(x_bar, n, "x_bar")
        y_bar = np.zeros(m) if y_bar is None else as_vector(y_bar, m, "y_bar")
        s = self.solution(z) if solution is None else solution
        if not s.success:
            return LayerGradient(np.full(k, np.nan), np.nan, s.status, s.detail)
        curvature = self._curvature_at(s)
        if self.linear in ("block", "gmres"):
            return LayerGradient(*block_vjp(self.problem, s, curvature, x_bar, y_bar, "lu" if self.linear == "block" else "gmres"))
        from_y = curvature.cotangent(y_bar)
        load = x_bar + from_y[:n]
        b = self._solve(s, curvature, load)
        product, error = curvature.product(np.concatenate([b, np.zeros(k)]))
        c = s.rows.pseudo_transpose(load - product[:n])
        z_bar = from_y[n:] - product[n:] - s.rows.C[:, n:].T @ c
        return LayerGradient(z_bar, float(error), s.status)

    def jvp(self, z, dz, *, solution=None):
        """(dx (n,), dy (m,)) along dz (k,). Raises StatusError where the derivative is not defined."""
        n = self.problem.n
        dz = as_vector(dz, self.problem.k, "dz")
        s = (self.solution(z) if solution is None else solution).raise_for_status()
        curvature = self._curvature_at(s)
        particular = -s.rows.pseudo(s.rows.C[:, n:] @ dz)
        product, _ = curvature.product(np.concatenate([particular, dz]))
        dx = particular - self._solve(s, curvature, product[:n])
        return dx, curvature.tangent(np.concatenate([dx, dz]))[0]

    def jacobian(self, z, *, solution=None):
        """(dx/dz (n, k), dy/dz (m, k)), by k jvps."""
        s = self.solution(z) if solution is None else solution
        columns = [self.jvp(z, e, solution=s) for e in np.eye(self.problem.k)]
        return tuple(np.array(c).T for c in zip(*columns))

    def batch_solve(self, Z):
        """(X (B, n), Y (B, m)) of the rows of Z (B, k)."""
        pairs = [self.solve(z) for z in np.atleast_2d(Z)]
        return tuple(np.array(c) for c in zip(*pairs))

    def batch_vjp(self, Z, X_bar=None, Y_bar=None):
        """(B, k), row by row."""
        Z = np.atleast_2d(Z)
        none = [None] * len(Z)
        return np.array([self.vjp(*row) for row in zip(Z, none if X_bar is None else X_bar, none if Y_bar is None else Y_bar)])

    # the pieces

    def _curvature(self, X, lower, rows, multipliers):
        return Curvature(self.problem, self.joint, X, lower, rows.terms(multipliers))

    def _curvature_at(self, s):
        return self._curvature(np.concatenate([s.x, s.z]), s.lower, s.rows, s.multipliers)

    def _hessian(self, curvature):
        """S = F_xx by n products, symmetrised."""
        n, k = self.problem.n, self.problem.k
        S = np.array([curvature.product(np.concatenate([e, np.zeros(k)]))[0][:n] for e in np.eye(n)])
        return 0.5 * (S + S.T)

    def _solve(self, s, curvature, load):
        """b with P (S b - load) = 0, C b = 0."""
        if self.linear == "cg":
            return self._krylov(s, curvature, load)
        return s.basis @ np.linalg.solve(s.basis.T @ s.hessian @ s.basis, s.basis.T @ load)

    def _krylov(self, s, curvature, load):
        from scipy.sparse.linalg import LinearOperator

        from ..linear import solve

        k, n, Z = self.problem.k, self.problem.n, s.basis

        def product(t):
            return Z.T @ curvature.product(np.concatenate([Z @ t.ravel(), np.zeros(k)]))[0][:n]

        S = LinearOperator((Z.shape[1],) * 2, matvec=product, rmatvec=product, dtype=float)
        solution = solve(S, Z.T @ load, "cg", rtol=1e-11)
        if solution.status is Status.NOT_A_MINIMUM:
            raise StatusError(solution)
        return Z @ solution.x

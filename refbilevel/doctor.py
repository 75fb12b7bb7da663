"""`refbilevel doctor`: versions, BLAS, threads, Numba's state, and a self-check of a few seconds with digits."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import time

import numpy as np

PACKAGES = ("numpy", "scipy", "numba", "cvxpy", "clarabel", "threadpoolctl", "torch", "jax", "scikit-learn", "matplotlib", "pyscipopt", "mpmath")


def doctor():
    """Print the state of this installation; returns 0 if every self-check reaches its digits."""
    from . import __version__

    print(f"refbilevel {__version__}, Python {platform.python_version()}, {platform.machine()}, {os.cpu_count()} cores")
    print("packages   " + ", ".join(f"{name} {_version(name)}" for name in PACKAGES))
    for line in _blas():
        print(f"BLAS       {line}")
    print(f"Numba      {_numba()}")
    print("\nself-check                                  digits  required   seconds")
    good = [_row(*check) for check in CHECKS]
    print("\nAll checks pass." if all(good) else "\nSome checks FAIL: the digits above are below what double precision allows here.")
    return 0 if all(good) else 1


def _version(name):
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "absent"


def _blas():
    from threadpoolctl import threadpool_info

    np.linalg.inv(np.eye(2))
    pools = threadpool_info()
    return [f"{p['internal_api']} {p.get('version')}, {p['num_threads']} threads ({p.get('architecture', p['prefix'])})" for p in pools] or ["no thread pool found"]


def _numba():
    try:
        import numba
    except ImportError:
        return "not installed: kernels run as Python, slowly and with the same digits"
    if numba.config.DISABLE_JIT:
        return "disabled by NUMBA_DISABLE_JIT: kernels run as Python, slowly and with the same digits"
    return f"{numba.__version__}, {numba.config.NUMBA_NUM_THREADS} threads, layer {numba.config.THREADING_LAYER}"


def _row(name, check, required):
    start = time.perf_counter()
    try:
        digits, note = check(), ""
    except Exception as error:  # a broken installation fails in its own ways; the doctor reports them all
        digits, note = np.nan, f"  {type(error).__name__}: {error}"
    good = digits >= required
    print(f"{name:42s} {digits:7.1f}  {required:8.1f}  {time.perf_counter() - start:8.2f}{'' if good else '  FAIL'}{note}")
    return good


def _digits(a, reference):
    error = np.linalg.norm(np.asarray(a) - reference) / np.linalg.norm(reference)
    return float(min(15.95, -np.log10(max(error, 1e-16))))


def _ridge(linear):
    """Ridge against its closed form dF/dx = -exp(x) y'(A'A/N + exp(x) I)^{-1} f_y."""
    from . import problems
    from .driver import hypergradient

    rng = np.random.default_rng(0)
    A, B = rng.standard_normal((40, 5)), rng.standard_normal((20, 5))
    t, s = rng.standard_normal(40), rng.standard_normal(20)
    x = np.array([-1.0])
    H = A.T @ A / 40 + np.exp(x) * np.eye(5)
    y = np.linalg.solve(H, A.T @ t / 40)
    exact = -np.exp(x) * (y @ np.linalg.solve(H, B.T @ (B @ y - s) / 20))
    return _digits(hypergradient(problems.ridge(A, t, B, s), x, linear=linear).gradient, exact)


def _logistic():
    """Logistic regression against the finite-difference referee."""
    from . import problems
    from .driver import hypergradient

    rng = np.random.default_rng(1)
    A, B, w = rng.standard_normal((60, 4)), rng.standard_normal((30, 4)), np.array([1.0, -1.0, 0.5, 0.2])
    problem = problems.logistic(A, np.sign(A @ w + rng.standard_normal(60)), B, np.sign(B @ w), penalties="per-feature")
    x = np.full(4, -2.0)
    return _digits(hypergradient(problem, x).gradient, hypergradient(problem, x, method="finite_difference").gradient)


def _qp():
    """min |y|^2/2 - q.y, y_0 + y_1 <= 1: the projection of q; dy_0/dh = 1/2."""
    from . import solve_qp

    solution = solve_qp(np.eye(2), np.array([-1.0, -2.0]), np.array([[1.0, 1.0]]), np.array([1.0]))
    return min(_digits(solution.y, np.array([0.0, 1.0])), _digits(solution.vjp(np.array([1.0, 0.0])).h, np.array([0.5])))


def _conic():
    """Entropy maximisation by CVXPY: dx_1/db = -10.499358540350636 at b = 0.58."""
    import cvxpy as cp

    from . import from_cvxpy
    from .driver import hypergradient

    b, y = cp.Variable(), cp.Variable(2)
    lower = cp.Problem(cp.Maximize(0.6 * y[0] + b * y[1] + 0.01 * cp.sum(cp.entr(y))), [cp.sum(y) == 1])
    problem = from_cvxpy(upper=cp.Problem(cp.Minimize(y[0])), lower=lower, lower_variables=[y], upper_variables=[b])
    return _digits(hypergradient(problem, [0.58]).gradient, np.array([-10.499358540350636]))


CHECKS = (
    ("ridge, Cholesky, closed form", lambda: _ridge("cholesky"), 13.0),
    ("ridge, conjugate gradients, closed form", lambda: _ridge("cg"), 13.0),
    ("logistic, finite-difference referee", _logistic, 8.0),
    ("quadratic program, closed form", _qp, 14.0),
    ("exponential cone through CVXPY, closed form", _conic, 9.0),
)

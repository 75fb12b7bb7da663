"""The sweep kernels against the recursions in dense NumPy, and inside `reverse` against the step-by-step path."""

import numpy as np
import pytest
from scipy import sparse

import refbilevel as rb
from refbilevel import problems
from refbilevel.kernels import unroll
from refbilevel.problem import replace

rng = np.random.default_rng(0)
M, N, K, S = 4, 7, 6, 0.07
X = rng.standard_normal((N, M)) * (rng.uniform(size=(N, M)) < 0.8)
CSR = sparse.csr_array(X)
TRIPLE = (CSR.data, CSR.indices.astype(np.uint32), CSR.indptr.astype(np.int32))
T, W, C = np.sign(rng.standard_normal(N)), rng.uniform(0.5, 1.5, N), rng.uniform(0.1, 1.0, M)
Y0, A0 = rng.standard_normal((2, M))


def slope_and_hessian(kind, y):
    """g_y and g_yy of sum w l(x_i'y, t_i) + c y^2 / 2."""
    z = X @ y
    if kind == 0:
        r, d = z - T, np.ones(N)
    else:
        sigma = 1 / (1 + np.exp(T * z))
        r, d = -T * sigma, sigma * (1 - sigma)
    return X.T @ (W * r) + C * y, X.T @ np.diag(W * d) @ X + np.diag(C)


def oracle(kind):
    path = [Y0]
    for _ in range(K):
        path.append(path[-1] - S * slope_and_hessian(kind, path[-1])[0])
    a, total = A0, np.zeros(M)
    for y in path[-2::-1]:
        total, a = total + y * a, a - S * slope_and_hessian(kind, y)[1] @ a
    return np.array(path), total


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize("kind", [0, 1])
@pytest.mark.parametrize("data, name", [((X,), "dense"), (TRIPLE, "sparse")])
def test_linear_model_sweeps(data, name, kind, compiled):
    forward, reverse = (getattr(unroll, f"{name}_{part}") for part in ("path", "adjoint"))
    if not compiled:
        forward, reverse = getattr(forward, "py_func", forward), getattr(reverse, "py_func", reverse)
    path, total = oracle(kind)
    np.testing.assert_allclose(forward(*data, T, W, C, kind, Y0, S, K), path, rtol=1e-13)
    np.testing.assert_allclose(reverse(*data, T, W, C, kind, path, A0, S), total, rtol=1e-12)


@pytest.mark.parametrize("compiled", [True, False])
def test_quadratic_sweeps(compiled):
    A, b = X.T @ X + np.eye(M), rng.standard_normal(M)
    path, a, total = [Y0], A0, np.zeros(M)
    for _ in range(K):
        path.append(path[-1] - S * (A @ path[-1] - b))
        total, a = total + a, a - S * A @ a
    forward, reverse = (k if compiled else getattr(k, "py_func", k) for k in (unroll.quadratic_path, unroll.quadratic_adjoint))
    np.testing.assert_allclose(forward(A, b, Y0, S, K), path, rtol=1e-12)
    np.testing.assert_allclose(reverse(A, A0, S, K), total, rtol=1e-12)


def families():
    V, s = rng.standard_normal((5, M)), np.sign(rng.standard_normal(5))
    for design in (X, CSR):
        for penalties in ("one", "per-feature"):
            yield problems.ridge(design, T, V, s, penalties=penalties)
            yield problems.logistic(design, T, V, s, penalties=penalties)
    yield problems.random_quadratic(3, M, rng=0)


@pytest.mark.parametrize("problem", families(), ids=lambda p: f"{p.name}-{p.n}")
@pytest.mark.parametrize("K", [0, 1, 9])
def test_the_kernel_path_of_reverse_is_the_plain_one(problem, K):
    """The same oracles behind plain functions take the Python path: same gradient, same counts."""
    plain = replace(problem, g_y=lambda x, y: problem.g_y(x, y))
    x = 0.1 * np.cos(np.arange(problem.n))
    fused, stepped = (rb.hypergradient(p, x, "reverse", y0=Y0, K=K, step=0.05, diagnostics=False) for p in (problem, plain))
    np.testing.assert_allclose(fused.gradient, stepped.gradient, rtol=1e-11)
    np.testing.assert_allclose(fused.lower.y, stepped.lower.y, rtol=1e-12)
    assert fused.cost == stepped.cost


def test_a_quartic_takes_no_quadratic_kernel():
    problem = problems.random_quartic(2, 3, rng=0)
    checkpointed, reverse = (
        rb.hypergradient(problem, np.array([0.2, 0.1]), m, K=8, step=0.02, diagnostics=False).gradient for m in ("checkpointed", "reverse")
    )
    np.testing.assert_allclose(reverse, checkpointed, rtol=1e-13)

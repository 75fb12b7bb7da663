"""Conjugate gradients on fused products, float32 factors: against dense NumPy and LAPACK."""

import numpy as np
import pytest
from scipy import sparse

from refbilevel.kernels import glm_newton


def case(kind, N=40, d=9, k=3, seed=0):
    """(weights, c, explicit H) of a dense, CSR or softmax Hessian."""
    rng = np.random.default_rng(seed)
    A, w = rng.standard_normal((N, d)) * (rng.random((N, d)) < 0.7), rng.random(N)
    if kind == "softmax":
        P = rng.random((N, k))
        P /= P.sum(axis=1, keepdims=True)
        L_yy = np.einsum("i,ikl,ia,ib->kalb", w, np.einsum("ik,kl->ikl", P, np.eye(k)) - np.einsum("ik,il->ikl", P, P), A, A)
        L_yy, weights = L_yy.reshape(k * d, k * d), (A, P, w)
    else:
        csr = sparse.csr_array(A)
        L_yy = A.T @ (w[:, None] * A)
        weights = (A, w) if kind == "dense" else (csr.data, csr.indices.view(np.uint32), csr.indptr.view(np.uint32), w)
    c = 10.0 ** rng.uniform(-3, 0, len(L_yy))
    return weights, c, L_yy + np.diag(c)


NO_FACTOR = np.zeros((0, 0), np.float32)
KINDS = ["dense", "csr", "softmax"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("threads", [1, 2])
def test_product(kind, threads):
    weights, c, H = case(kind)
    v = np.random.default_rng(1).standard_normal(len(c))
    for product in (glm_newton.hessian_product,):
        np.testing.assert_allclose(product(weights, v, threads) + c * v, H @ v, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("compiled", [True, False], ids=["njit", "py_func"])
def test_pcg_reaches_its_goal(kind, compiled):
    weights, c, H = case(kind)
    pcg = glm_newton.pcg if compiled else getattr(glm_newton.pcg, "py_func", glm_newton.pcg)
    b = np.random.default_rng(2).standard_normal(len(c))
    goal = 1e-12 * np.linalg.norm(b)
    x, iterations, norm, high, low = pcg(weights, c, b, 1 / np.diag(H), NO_FACTOR, goal, 500, 1)
    assert norm <= goal and 0 < iterations < 200
    np.testing.assert_allclose(H @ x, b, atol=1e-11 * np.linalg.norm(b))
    eigenvalues = np.linalg.eigvalsh(H)
    assert eigenvalues[0] * (1 - 1e-12) <= low <= high <= eigenvalues[-1] * (1 + 1e-12)


@pytest.mark.parametrize("kind", ["dense", "csr"])
def test_float32_factor_makes_three_iterations_enough(kind):
    weights, c, H = case(kind)
    L = np.linalg.cholesky(H).astype(np.float32)
    b = np.random.default_rng(2).standard_normal(len(c))
    x, iterations, *_ = glm_newton.pcg(weights, c, b, c, L, 1e-13 * np.linalg.norm(b), 500, 1)
    assert iterations <= 4
    np.testing.assert_allclose(H @ x, b, atol=1e-12 * np.linalg.norm(b))


def test_one_factor_serves_every_class():
    weights, c, H = case("softmax")
    c = np.full(len(c), 0.1)
    A, P, w = weights
    weights = (A, np.full_like(P, 1 / 3), w)
    one = A.T @ (w[:, None] * A) / 3 + 0.1 * np.eye(A.shape[1])
    b = np.random.default_rng(3).standard_normal((3, A.shape[1]))
    b -= b.mean(axis=0)  # uniform probabilities: the Hessian is (1/3) (A'wA) on such b, so that the factor is exact
    for threads in (1, 2):
        x, iterations, *_ = glm_newton.pcg(
            weights, c, b.ravel(), c, np.linalg.cholesky(one).astype(np.float32), 1e-12 * np.linalg.norm(b), 500, threads
        )
        assert iterations <= 3
        np.testing.assert_allclose(x.reshape(3, -1), np.linalg.solve(one, b.T).T, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("scale", [1e-60, 1.0, 1e60])
def test_triangular_solves_keep_the_scale(scale):
    H = case("dense")[2]
    L = np.linalg.cholesky(H).astype(np.float32)
    r, z = scale * np.random.default_rng(4).standard_normal(len(H)), np.empty(len(H))
    glm_newton.triangular_solves(L, r, z)
    truth = np.linalg.solve(H, r)
    assert np.linalg.norm(z - truth) <= 1e-5 * np.linalg.cond(H) * np.linalg.norm(truth)
    glm_newton.triangular_solves(L, 0 * r, z)
    assert not z.any()


@pytest.mark.parametrize("k", [2, 3, 4, 5, 8, 10])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_blocks_of_classes_are_solved_as_one_by_one(k, dtype):
    H = case("dense")[2]
    q, L, c = len(H), np.linalg.cholesky(H).astype(np.float32), 0.3
    R = np.random.default_rng(k).standard_normal((k, q)) * np.logspace(-20, 20, k)[:, None] ** (dtype == np.float64)
    R[-1] = 0.0
    shared = R.mean(axis=0)
    Z = np.linalg.solve(H, (R - shared).T).T
    truth = Z - Z.mean(axis=0) + shared / c
    z = np.empty(k * q, dtype)
    glm_newton.block_solves(L, R.astype(dtype).ravel(), c, z)
    assert np.linalg.norm(z.reshape(k, q) - truth) <= 1e-5 * np.linalg.cond(H) * np.linalg.norm(truth)


def test_four_solves_are_four_single_ones():
    H = case("dense")[2]
    L, R, z = np.linalg.cholesky(H).astype(np.float32), np.random.default_rng(0).standard_normal((4, len(H))), np.empty(len(H))
    R *= np.array([[1e-60], [1.0], [0.0], [1e60]])
    Z = np.empty_like(R)
    glm_newton.four_solves(L, R, Z)
    for r, found in zip(R, Z):
        glm_newton.triangular_solves(L, r, z)
        np.testing.assert_allclose(found, z, rtol=1e-4, atol=1e-5 * np.abs(z).max())


@pytest.mark.parametrize("kind", ["dense", "sparse", "softmax"])
@pytest.mark.parametrize("threads", [1, 2])
def test_products_in_float32(kind, threads):
    weights, c, H = case(kind)
    single = tuple(w.astype(np.float32) if w.dtype == np.float64 else w for w in weights)
    v = np.random.default_rng(6).standard_normal(len(c))
    product = glm_newton.hessian_product(single, v.astype(np.float32), threads)
    assert product.dtype == np.float32, "a float64 inside would make it slow"
    truth = H @ v - c * v
    assert 1e-12 * np.linalg.norm(truth) < np.linalg.norm(product - truth) <= 1e-5 * np.linalg.norm(truth)


@pytest.mark.parametrize("m", [1, 7, 128, 150])
@pytest.mark.parametrize("threads", [1, 2])
def test_gram_in_float32_and_its_diagonal(m, threads):
    rng = np.random.default_rng(5)
    A, d = rng.standard_normal((33, m)), rng.random(33)
    truth = A.T @ (d[:, None] * A)
    gram = glm_newton.gram_float32(A, d, threads)
    assert gram.dtype == np.float32 and np.abs(np.tril(gram - truth)).max() <= 1e-5 * np.abs(truth).max()
    np.testing.assert_allclose(glm_newton.dense_gram_diagonal(A, d, threads), np.diag(truth), rtol=1e-13)
    csr = sparse.csr_array(A)
    diagonal = glm_newton.sparse_gram_diagonal(csr.data, csr.indices.view(np.uint32), csr.indptr.view(np.uint32), d, m, threads)
    np.testing.assert_allclose(diagonal, np.diag(truth), rtol=1e-13)


def test_negative_curvature_stops_and_shows():
    A = np.eye(3)
    *_, low = glm_newton.pcg((A, np.array([1.0, -2.0, 1.0])), np.zeros(3), np.ones(3), np.ones(3), NO_FACTOR, 1e-12, 100, 1)
    assert low <= 0.0

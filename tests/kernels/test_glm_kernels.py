"""Fused kernels of linear models against plain NumPy."""

import numpy as np
import pytest
from scipy import sparse

from refbilevel.kernels import glm

SHAPES = [(1, 1), (3, 2), (4, 7), (6, 5), (57, 33)]


def oracle(A, t, w, y, kind):
    """Loss, gradient and curvature from the textbook formulas, unfused."""
    z = A @ y
    if kind == 0:
        return w @ (0.5 * (z - t) ** 2), A.T @ (w * (z - t)), w
    s = 1 / (1 + np.exp(-t * z))
    return w @ np.logaddexp(0, -t * z), A.T @ (-w * t * (1 - s)), w * s * (1 - s)


def data(shape, seed=0):
    rng = np.random.default_rng(seed)
    A = rng.standard_normal(shape) * (rng.random(shape) < 0.6)
    csr = sparse.csr_array(A)
    N, m = shape
    t = np.where(rng.random(N) < 0.5, -1.0, 1.0)
    return A, (csr.data, csr.indices.view(np.uint32), csr.indptr.view(np.uint32)), t, rng.random(N), rng.standard_normal(m)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", [0, 1])
@pytest.mark.parametrize("threads", [1, 2])
def test_loss_gradient_curvature(shape, kind, threads):
    A, csr, t, w, y = data(shape)
    expected = oracle(A, t, w, y, kind)
    for got in (glm.dense_loss(A, t, w, y, kind, threads), glm.sparse_loss(*csr, t, w, y, kind, threads)):
        for value, truth in zip(got, expected):
            np.testing.assert_allclose(value, truth, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("threads", [1, 2, 5])
def test_product_and_gram(shape, threads):
    A, csr, _, d, v = data(shape)
    truth = A.T @ (d * (A @ v))
    np.testing.assert_allclose(glm.dense_product(A, d, v, threads), truth, rtol=1e-13, atol=1e-13)
    np.testing.assert_allclose(glm.sparse_product(*csr, d, v, threads), truth, rtol=1e-13, atol=1e-13)
    np.testing.assert_allclose(glm.dense_gram(A, d), A.T @ np.diag(d) @ A, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("shape", SHAPES[:4])
def test_uncompiled_twins_agree(shape):
    A, csr, t, w, y = data(shape)
    for kernel, args in (
        (glm.dense_loss, (A, t, w, y, 1, 2)),
        (glm.sparse_loss, (*csr, t, w, y, 1, 2)),
        (glm.dense_product, (A, w, y, 2)),
        (glm.sparse_product, (*csr, w, y, 2)),
    ):
        got, twin = kernel(*args), getattr(kernel, "py_func", kernel)(*args)
        for value, truth in zip(got, twin) if isinstance(got, tuple) else [(got, twin)]:
            np.testing.assert_allclose(value, truth, rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize("z", [-800.0, -40.0, -1e-9, 0.0, 1e-9, 40.0, 800.0])
def test_logistic_loss_neither_overflows_nor_cancels(z):
    import mpmath

    with mpmath.workdps(40):
        e = mpmath.exp(-mpmath.mpf(z))
        exact = mpmath.log(1 + e), -e / (1 + e), e / (1 + e) ** 2
    for value, truth in zip(glm.pointwise(1, z, 1.0), exact):
        assert abs(value - float(truth)) <= 1e-15 * abs(float(truth))

"""Fused softmax kernels against plain NumPy."""

import mpmath
import numpy as np
import pytest

from refbilevel.kernels import softmax

SHAPES = [(1, 1, 2), (3, 2, 3), (4, 5, 2), (9, 7, 4), (30, 12, 10)]


def data(N, d, k, seed=0):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((N, d)), rng.integers(0, k, N), rng.random(N), rng.standard_normal((2, k, d))


def oracle(A, labels, w, Y, V):
    Z = A @ Y.T
    P = np.exp(Z - Z.max(1, keepdims=True))
    P /= P.sum(1, keepdims=True)
    losses = -np.log(P[np.arange(len(A)), labels])
    E = np.eye(len(Y))[labels]
    H = np.einsum("i,ikl,ia,ib->kalb", w, np.einsum("ik,kl->ikl", P, np.eye(len(Y))) - np.einsum("ik,il->ikl", P, P), A, A)
    return losses, (w[:, None] * (P - E)).T @ A, P, np.einsum("kalb,lb->ka", H, V)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("compiled", [True, False], ids=["njit", "py_func"])
def test_against_numpy(shape, threads, compiled):
    A, labels, w, (Y, V) = data(*shape)
    loss, product = softmax.softmax_loss, softmax.softmax_product
    if not compiled:
        loss, product = getattr(loss, "py_func", loss), getattr(product, "py_func", product)
    losses, gradient, P, Hv = oracle(A, labels, w, Y, V)
    got = loss(A, labels, w, Y, threads)
    for value, truth in zip(got, (losses, gradient, P)):
        np.testing.assert_allclose(value, truth, rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(product(A, P, w, V, threads), Hv, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("scale", [1e-12, 1.0, 40.0, 900.0])
def test_confident_predictions_keep_their_digits(scale):
    A, Y = np.array([[1.0]]), scale * np.array([[1.0], [0.25], [-0.5]])
    for label in range(3):
        losses, gradient, _ = softmax.softmax_loss(A, np.array([label]), np.ones(1), Y, 1)
        with mpmath.workdps(1000):
            e = [mpmath.exp(mpmath.mpf(v)) for v in Y.ravel().tolist()]
            p = [v / sum(e) for v in e]
            p[label] = -sum(v for c, v in enumerate(p) if c != label)
            loss = mpmath.log(sum(e)) - mpmath.log(e[label])
            truth = np.array([float(v) for v in p])
        assert abs(losses[0] - float(loss)) <= 4e-16 * max(abs(float(loss)), 1e-300)
        np.testing.assert_allclose(gradient.ravel(), truth, rtol=4e-16 * max(1, 2 * scale), atol=1e-300)

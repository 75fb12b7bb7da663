"""The log relative error, and the array namespaces."""

import doctest
import math
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import refbilevel as rb
from refbilevel.validation import arrays, digits, lre


def test_the_same_function_everywhere():
    assert rb.digits is digits is lre.digits
    found = doctest.testmod(lre)
    assert found.attempted and not found.failed


@pytest.mark.parametrize(
    "a, ref, expected",
    [
        ([1.0, 2.0], [1.0, 2.0], 15.95),
        ([0.0, 0.0], [0.0, 0.0], 15.95),
        (1e-7, 0.0, 7.0),
        ([0.0, 1e-30], [0.0, 0.0], 15.95),
        ([10.0], [1.0], -math.log10(9)),
        ([-3.0, -4.0], [3.0, 4.0], -math.log10(2)),
        (3.0, [3.0], 15.95),
        ([3.0], 3.0, 15.95),
        ([1], [1.0], 15.95),
        ([0.0], [5.0], 0.0),
    ],
)
def test_values(a, ref, expected):
    assert digits(a, ref) == pytest.approx(expected)


@pytest.mark.parametrize(
    "a",
    [[np.nan, 1.0], [np.inf, 1.0], [1.0], [[1.0, 2.0]], [1.0, 2.0, 3.0], "text", None, [1.0, 2.0j], [[1.0], [2.0, 3.0]], np.array([1.0 + 0j, 2.0])],
)
def test_no_digits_at_all(a):
    assert digits(a, [1.0, 2.0]) == -math.inf


@given(st.integers(-300, 290), st.lists(st.integers(-9, 9), min_size=1, max_size=5), st.integers(1, 14))
def test_free_of_scale(exponent, entries, k):
    """A relative perturbation of 10^-k has k digits at every scale: no absolute tolerance hides in it."""
    ref = np.array([1.0, *entries])
    assert digits(ref * (1 + 10.0**-k) * 10.0**exponent, ref * 10.0**exponent) == pytest.approx(k, abs=0.06)


def test_a_flipped_sign_of_a_tiny_gradient_has_no_digits():
    """gradcheck's absolute tolerance 1e-5 lets this pass."""
    assert digits(np.full(4, 2e-8), np.full(4, -2e-8)) == pytest.approx(-math.log10(2))


def test_namespaces_need_no_framework():
    assert arrays.namespace(np.ones(2), 1.0) is np and arrays.namespace(1.0) is np
    assert arrays.framework([1.0]) == "numpy"
    code = "import refbilevel.validation.cases, sys; print({'torch', 'jax', 'cvxpy', 'numba'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.strip() == "set()"


@pytest.mark.torch
def test_torch_namespace_and_constants():
    torch = pytest.importorskip("torch")
    x = torch.ones(2, dtype=torch.float64, requires_grad=True)
    assert arrays.namespace(np.ones(2), x) is torch and arrays.framework(x) == "torch"
    assert arrays.constant(np.eye(2), x).dtype == torch.float64
    assert digits(x, [1.0, 1.0]) == 15.95
    frozen = np.eye(2)
    frozen.setflags(write=False)
    arrays.constant(frozen, x)[0, 0] = 5.0
    assert frozen[0, 0] == 1.0, "constants are copied"


@pytest.mark.jax
def test_jax_namespace_and_constants():
    jax = pytest.importorskip("jax")
    with jax.enable_x64(True):
        x = jax.numpy.ones(2)
        assert arrays.namespace(1.0, x).__name__ == "jax.numpy" and arrays.framework(x) == "jax"
        assert arrays.constant(np.eye(2), x).dtype == jax.numpy.float64
        assert jax.jit(lambda x: arrays.namespace(x).sum(arrays.constant(np.eye(2), x) @ x))(x) == 2.0

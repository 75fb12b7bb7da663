"""Rows 1-16 and 30: what may be passed as x."""

import warnings

import numpy as np
import pytest
from scipy import sparse

import refbilevel as rb
from refbilevel.errors import ArgumentError, DtypeError, PrecisionWarning, ShapeError

from examples import quadratic

from .record import row

X3 = np.array([0.3, -0.7, 1.1])


def refused(x, error, *words, problem=None):
    """hypergradient raises `error` naming x and the words, before any oracle is called."""
    problem = problem or quadratic()[0]
    calls = []
    watched = rb.problem.replace(problem, g_y=lambda x, y: calls.append(1) or problem.g_y(x, y))
    with pytest.raises(error) as caught:
        rb.hypergradient(watched, x)
    assert not calls
    for word in ("x", *words):
        assert word in str(caught.value), (word, str(caught.value))


def accepted(x, like=None, problem=None):
    """hypergradient(x) is that of the plain float array; every oracle sees float64 of shape (n,)."""
    problem = problem or quadratic()[0]
    like = np.array(x, float) if like is None else like
    seen = []
    watched = rb.problem.replace(problem, f_y=lambda x, y: seen.append(x) or problem.f_y(x, y))
    result = rb.hypergradient(watched, x)
    assert result.success and result.gradient.dtype == np.float64
    np.testing.assert_array_equal(result.gradient, rb.hypergradient(problem, like).gradient)
    assert all(type(s) is np.ndarray and s.dtype == np.float64 and s.shape == like.shape and s.flags.c_contiguous for s in seen)
    return result


@row(1, "x of the wrong length")
def _():
    refused(np.ones(2), ShapeError, "(3,)", "(2,)")
    refused(np.ones(4), ShapeError, "(3,)", "(4,)")


@row(2, "x in two dimensions")
def _():
    refused(X3[None], ShapeError, "(1, 3)")
    refused(X3[:, None], ShapeError, "(3, 1)")


@row(3, "a scalar for n = 1")
def _():
    problem, _ = quadratic(1, 4)
    accepted(0.7, np.array([0.7]), problem)
    refused(0.7, ShapeError, "()")


@row(4, "lists and tuples")
def _():
    accepted([0.5, 1.0, 2.0])
    accepted((0.5, 1.0, 2.0))
    refused([1.0, [2.0]], ShapeError, "ragged")


@row(5, "integers")
def _():
    accepted(np.array([1, 2, 3]))
    accepted(np.array([True, False, True]))


@row(6, "objects and strings")
def _():
    refused(np.array(["1", "2", "3"]), DtypeError, "dtype")
    refused(np.array([1.0, None, 2.0], dtype=object), DtypeError, "object")


@row(7, "complex x")
def _():
    refused(X3 + 1e-20j, DtypeError, "real", "holomorphic_equilibrium")


@row(8, "float32")
def _():
    accepted(X3.astype(np.float32))


@row(9, "longdouble is rounded, with a warning")
def _():
    with pytest.warns(PrecisionWarning, match="x.*float64"):
        result = rb.hypergradient(quadratic()[0], X3.astype(np.longdouble))
    np.testing.assert_array_equal(result.gradient, rb.hypergradient(quadratic()[0], X3).gradient)


@row(10, "read-only, strided, reversed")
def _():
    frozen = X3.copy()
    frozen.flags.writeable = False
    accepted(frozen)
    accepted(np.repeat(X3, 2)[::2])
    accepted(X3[::-1])
    column = np.asfortranarray(np.arange(12.0).reshape(3, 4))[:, 1]
    before = column.copy()
    accepted(column)
    np.testing.assert_array_equal(column, before)


@row(11, "no upper variables")
def _():
    with pytest.raises(ArgumentError, match="n must be an integer of at least 1"):
        rb.BilevelProblem(n=0, m=2)
    refused(np.zeros(0), ShapeError, "(0,)")


@row(12, "a single lower variable")
def _():
    for kind in ("dense", "sparse", "operator"):
        unit, exact = quadratic(3, 1, kind=kind)  # g_yy = 1
        scaled = {name: lambda x, y, o=getattr(unit, name): 3.0 * o(x, y) for name in ("g", "g_x", "g_y", "g_yy", "g_xy")}
        problem = rb.problem.replace(unit, **scaled)
        for method in ("implicit", "reverse", "neumann", "value_function", "kkt"):
            if method == "kkt" and kind == "operator":
                continue
            options = {"step": 0.3} if method == "reverse" else {}
            h = rb.hypergradient(problem, X3, method=method, **options)
            assert np.linalg.norm(h.gradient - exact(X3)) <= 1e-5 * np.linalg.norm(exact(X3)), (kind, method)


@row(13, "masked arrays and Series")
def _():
    refused(np.ma.masked_array(X3, [False, True, False]), DtypeError, "masked")
    accepted(np.ma.masked_array(X3, [False, False, False]), X3)

    class Series:
        def __array__(self, dtype=None, copy=None):
            return X3.copy()

    accepted(Series(), X3)


@row(14, "sparse Jacobians of every kind")
def _():
    problem, exact = quadratic()
    for kind in (sparse.csr_array, sparse.csc_array, sparse.coo_array, sparse.csr_matrix, sparse.dia_array, sparse.lil_array):
        H, B = kind(problem.g_yy(X3, np.zeros(5))), kind(problem.g_xy(X3, np.zeros(5)))
        h = rb.hypergradient(rb.problem.replace(problem, g_yy=lambda x, y, H=H: H, g_xy=lambda x, y, B=B: B), X3)
        assert h.success and h.gradient.shape == (3,)
        np.testing.assert_allclose(h.gradient, exact(X3), rtol=1e-12)


@row(15, "numpy.matrix")
def _():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PendingDeprecationWarning)
        refused(np.matrix(X3), DtypeError, "matrix", "ravel")


@row(16, "tensors of another framework")
def _():
    Tensor = type("Tensor", (), {"__module__": "torch", "__array__": lambda self, dtype=None, copy=None: X3})
    refused(Tensor(), DtypeError, "torch", "from_torch")


@row(30, "NaN and infinity in x")
def _():
    for bad in (np.nan, np.inf, -np.inf):
        refused(np.array([0.0, bad, 1.0]), ArgumentError, "finite", "x[1]")

"""The CG kernel against NumPy's solve and against the recurrence of linear/krylov.py on the same operator."""

import numpy as np
import pytest
from scipy import sparse
from scipy.sparse.linalg import aslinearoperator

from refbilevel.kernels import krylov as kernels
from refbilevel.linear import krylov
from refbilevel.linear.operators import Watched
from refbilevel.linear.preconditioners import Jacobi

rng = np.random.default_rng(0)
B = rng.standard_normal((9, 9))
SPD = B @ B.T + np.diag(np.logspace(0, 2, 9))
b = rng.standard_normal(9)
EMPTY = sparse.csr_array((1, 1))


def arrays(A):
    if sparse.issparse(A):
        return np.empty((0, 0)), A.data, A.indices, A.indptr
    return A, EMPTY.data, EMPTY.indices, EMPTY.indptr


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize("A", [SPD, sparse.csr_array(SPD)], ids=["dense", "csr"])
@pytest.mark.parametrize("inverse", [np.ones(9), 1 / np.diag(SPD)], ids=["plain", "jacobi"])
def test_solves(A, inverse, compiled):
    kernel = kernels.cg if compiled else getattr(kernels.cg, "py_func", kernels.cg)
    x, alphas, betas, state, norm, smallest = kernel(*arrays(A), b, inverse, 1e-12, 200, 0.0)
    np.testing.assert_allclose(x, np.linalg.solve(SPD, b), rtol=1e-9)
    assert state == kernels.MET and len(alphas) == len(betas)
    singular = np.linalg.svd(SPD, compute_uv=False)
    assert singular[-1] <= smallest <= norm <= singular[0] * (1 + 1e-14)


@pytest.mark.parametrize("M", [None, Jacobi(1 / np.diag(SPD))], ids=["plain", "jacobi"])
def test_is_the_recurrence_in_python(M):
    for maxiter in (1, 2, 5):
        fused = krylov.cg(Watched(SPD), b, 1e-12, maxiter, M)
        plain = krylov.cg(Watched(aslinearoperator(SPD)), b, 1e-12, maxiter, M)
        np.testing.assert_allclose(fused.d, plain.d, rtol=1e-11)
        assert fused.iterations == plain.iterations == maxiter and fused.met == plain.met
        assert fused.condition == pytest.approx(plain.condition, rel=1e-9)


@pytest.mark.parametrize("A, rhs, state", [
    (np.diag([1.0, -2.0]), [1.0, 1.0], kernels.NEGATIVE), (np.array([[0.0, 1.0], [1.0, 0.0]]), [1.0, 0.0], kernels.NEGATIVE),
    (np.diag([1.0, 0.0]), [0.0, 1.0], kernels.SINGULAR), (np.diag([1.0, np.nan]), [1.0, 1.0], kernels.NONFINITE),
    (np.diag([1.0, 2.0, 3.0]), [1.0, 1.0, 1.0], kernels.LIMIT),
])  # fmt: skip
def test_states(A, rhs, state):
    for form in (A, sparse.csr_array(A)):
        assert kernels.cg(*arrays(form), np.array(rhs), np.ones(len(rhs)), 1e-15, 1, 1.0 if state == kernels.SINGULAR else 0.0)[3] == state

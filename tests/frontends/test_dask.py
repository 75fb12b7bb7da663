"""Data in Dask arrays: the digits of the families in memory, one reduction a product; skipped without Dask."""

import pickle

import numpy as np
import pytest

import refbilevel as rb
from refbilevel.errors import ArgumentError

dask = pytest.importorskip("dask", reason="needs dask")
da = pytest.importorskip("dask.array", reason="needs dask")

FAMILIES = {"ridge": rb.problems.ridge, "logistic": rb.problems.logistic}


def pair(family, m=7, chunks=(11, -1), **options):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((84, m)) * rng.uniform(0.3, 3.0, m)
    X[:, 0] += X[:, -1]
    t = X @ rng.standard_normal(m) + 0.5 * rng.standard_normal(84)
    t = np.sign(t) if family == "logistic" else t
    plain = FAMILIES[family](X[:53], t[:53], X[53:], t[53:], **options)
    train, val = (rb.from_dask(da.from_array(A, chunks=chunks)) for A in (X[:53], X[53:]))
    return plain, FAMILIES[family](train, t[:53], val, t[53:], **options)


def agree(plain, blocks, x, digits=11, **options):
    a, b = rb.hypergradient(plain, x, **options), rb.hypergradient(blocks, x, **options)
    assert a.success and b.success, b.message
    assert options or b.lower.method == "newton_pcg"  # not a fallback after its failure
    assert rb.digits(b.objective, a.objective) > digits
    assert np.linalg.norm(a.gradient - b.gradient) < 10.0**-digits * np.linalg.norm(a.gradient)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("m,hessian,chunks", [(7, "auto", (11, -1)), (7, "operator", (11, 3)), (1, "auto", (53, -1)), (7, "auto", (3, -1))])
def test_a_cluster_has_the_digits_of_memory(family, m, hessian, chunks):
    plain, blocks = pair(family, m, chunks, penalties="per-feature", hessian=hessian, prior=(0.1, -1.0))
    agree(plain, blocks, np.random.default_rng(1).uniform(-3, 0, m))


@pytest.mark.parametrize("family", FAMILIES)
def test_wide_data_take_one_reduction_a_product(family, monkeypatch):
    from refbilevel.frontends.dask import DaskRows

    monkeypatch.setattr(DaskRows, "explicit_up_to", 3)
    plain, blocks = pair(family, penalties="per-feature")
    x = np.random.default_rng(1).uniform(-3, 0, 7)
    agree(plain, blocks, x, digits=10)
    y = rb.solve_lower(blocks, x).y
    H, V = blocks.g_yy(x, y), np.random.default_rng(2).standard_normal((7, 5))
    assert np.allclose(H @ V, plain.g_yy(x, y) @ V, rtol=1e-11)
    computed = []
    with dask.callbacks.Callback(start=lambda graph: computed.append(len(graph))):
        H @ V
    assert len(computed) == 1  # five right-hand sides, one graph


def test_weights_of_the_samples_stay_with_the_workers():
    _, blocks = pair("logistic", penalties="per-feature", hessian="operator")
    d = blocks.g_yy(np.zeros(7), np.ones(7)).d
    assert isinstance(d, tuple) and len(d) == 5 and all(dask.is_dask_collection(part) for part in d)


def test_a_whole_search():
    plain, blocks = pair("ridge", prior=(0.1, -1.0))
    a, b = (rb.minimize(p, [-1.0], tol=1e-6) for p in (plain, blocks))
    assert b.success and np.allclose(a.x, b.x, atol=1e-8)


def test_problems_pickle_and_run_under_joblib():
    joblib = pytest.importorskip("joblib")
    _, blocks = pair("ridge", prior=(0.1, 0.0))
    agree(blocks, pickle.loads(pickle.dumps(blocks)), [-1.0], digits=13)
    problems = [pair("ridge", prior=(0.1, center))[0] for center in (-1.0, 0.0, 1.0)]
    together = joblib.Parallel(n_jobs=2, backend="threading")(joblib.delayed(rb.minimize)(p, [0.0]) for p in problems)
    assert all(np.array_equal(r.x, rb.minimize(p, [0.0]).x) for r, p in zip(together, problems))


@pytest.mark.slow
def test_a_distributed_client_answers_the_same():
    distributed = pytest.importorskip("distributed")
    plain, blocks = pair("logistic", penalties="per-feature", prior=(0.1, -1.0))
    with distributed.Client(n_workers=2, threads_per_worker=1, dashboard_address=None):
        agree(plain, blocks, np.full(7, -1.0))


def test_what_it_cannot_read_is_an_error():
    with pytest.raises(ArgumentError, match="problems.chunked"):
        rb.from_dask(np.ones((3, 2)))
    with pytest.raises(ArgumentError, match="finite"):
        rb.from_dask(da.from_array(np.array([[1.0], [np.nan]])))
    ragged = da.from_array(np.arange(12.0).reshape(6, 2), chunks=(2, 2))
    with pytest.raises(ArgumentError, match="compute_chunk_sizes"):
        rb.from_dask(ragged[ragged[:, 0] > 3])

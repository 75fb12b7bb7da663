"""Blocks of rows: the digits of the families in memory, from files that are never read whole."""

import doctest
import pickle

import numpy as np
import pytest

import refbilevel as rb
from refbilevel.errors import ArgumentError, DtypeError, ShapeError
from refbilevel.problems import row_blocks
from refbilevel.problems.hessian_factor import HessianFactor

FAMILIES = {"ridge": rb.problems.ridge, "logistic": rb.problems.logistic}


def data(m=7, N=53, M=31, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((N + M, m)) * rng.uniform(0.3, 3.0, m)
    X[:, 0] += X[:, -1]
    t = X @ rng.standard_normal(m) + 0.5 * rng.standard_normal(N + M)
    return X[:N], t[:N], X[N:], t[N:]


def pair(family, wrap, m=7, **options):
    X, t, X_val, t_val = data(m)
    if family == "logistic":
        t, t_val = np.sign(t), np.sign(t_val)
    build = FAMILIES[family]
    return build(X, t, X_val, t_val, **options), build(wrap(X), t, wrap(X_val), t_val, **options)


def on_disk(folder, order="C", dtype=np.float64):
    def wrap(X):
        path = folder / f"{len(X)}.dat"
        stored = np.memmap(path, dtype=dtype, mode="w+", shape=X.shape, order=order)
        stored[:] = X
        stored.flush()
        return rb.problems.chunked(np.memmap(path, dtype=dtype, mode="r", shape=X.shape, order=order), rows=10)

    return wrap


def agree(plain, blocks, x, digits=11, **options):
    """Objective, solution, gradient and oracles of both problems."""
    a, b = rb.hypergradient(plain, x, **options), rb.hypergradient(blocks, x, **options)
    assert a.success and b.success, b.message
    assert options or b.lower.method == "newton_pcg"  # not a fallback after its failure
    assert rb.digits(b.objective, a.objective) > digits
    for u, v in ((a.lower.y, b.lower.y), (a.gradient, b.gradient)):
        assert np.linalg.norm(u - v) < 10.0**-digits * np.linalg.norm(u)


def same_oracles(plain, blocks, x):
    y = np.random.default_rng(3).standard_normal(plain.m)
    V = np.random.default_rng(4).standard_normal((plain.m, 3))
    for name in ("f", "f_x", "f_y", "g", "g_x", "g_y"):
        assert np.allclose(getattr(blocks, name)(x, y), getattr(plain, name)(x, y), rtol=1e-12, atol=1e-13), name
    for name in ("f_yy", "g_yy"):
        assert np.allclose(getattr(blocks, name)(x, y) @ V, getattr(plain, name)(x, y) @ V, rtol=1e-11, atol=1e-12), name


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("m,penalties", [(7, "per-feature"), (7, "one"), (1, "one")])
@pytest.mark.parametrize("hessian", ["auto", "operator"])
def test_memmap_has_the_digits_of_memory(family, m, penalties, hessian, tmp_path):
    plain, blocks = pair(family, on_disk(tmp_path), m, penalties=penalties, hessian=hessian, prior=(0.1, -1.0))
    x = np.random.default_rng(1).uniform(-3, 0, plain.n)
    same_oracles(plain, blocks, x)
    agree(plain, blocks, x)
    agree(plain, blocks, x, method="reverse", K=20, step=0.01)


@pytest.mark.parametrize("order,dtype", [("F", np.float64), ("C", np.float32)])
def test_other_layouts_are_converted_block_by_block(order, dtype, tmp_path):
    X, t, X_val, t_val = data()
    wrap = on_disk(tmp_path, order, dtype)
    plain = rb.problems.ridge(X.astype(dtype), t, X_val.astype(dtype), t_val)
    agree(plain, rb.problems.ridge(wrap(X), t, wrap(X_val), t_val), [-1.0])


@pytest.mark.parametrize("family", FAMILIES)
def test_wide_data_take_conjugate_gradients(family, monkeypatch, tmp_path):
    monkeypatch.setattr(row_blocks.RowBlocks, "explicit_up_to", 3)
    plain, blocks = pair(family, on_disk(tmp_path), penalties="per-feature")
    x = np.random.default_rng(1).uniform(-3, 0, 7)
    assert isinstance(rb.solve_lower(blocks, x).factor, HessianFactor)
    agree(plain, blocks, x, digits=10)
    monkeypatch.setattr(row_blocks.RowBlocks, "gram", None)  # no Hessian is formed on this road
    agree(plain, blocks, x, digits=10, linear="cg")


def test_sums_over_the_samples():
    X, t, _, _ = data()
    design, d = rb.problems.chunked(X, rows=10), np.random.default_rng(6).uniform(0.1, 2.0, len(X))
    H = X.T @ np.diag(d) @ X
    assert np.allclose(design.gram(d), H, rtol=1e-13) and np.allclose(design.gram_diagonal(d), np.diag(H), rtol=1e-13)
    assert np.allclose(design.row_norms(), np.linalg.norm(X, axis=1), rtol=1e-14)
    assert np.linalg.eigvalsh(H)[-1] <= design.spectral_bound(d) <= len(H) * np.linalg.eigvalsh(H)[-1]


def test_right_hand_sides_share_their_passes(monkeypatch, tmp_path):
    monkeypatch.setattr(row_blocks.RowBlocks, "explicit_up_to", 3)
    _, blocks = pair("logistic", on_disk(tmp_path), penalties="per-feature")
    x = np.full(7, -2.0)
    lower = rb.solve_lower(blocks, x)
    passes = []
    product = row_blocks.RowBlocks.product
    monkeypatch.setattr(row_blocks.RowBlocks, "product", lambda self, d, V: passes.append(V.shape) or product(self, d, V))
    B = np.random.default_rng(5).standard_normal((7, 4))
    X = lower.factor.solve(B)
    assert 1 <= len(passes) <= 12 and all(shape == (7, 4) for shape in passes)
    assert np.allclose(blocks.g_yy(x, lower.y).todense() @ X, B, atol=1e-7)


def test_a_whole_search_runs_from_disk(tmp_path):
    plain, blocks = pair("logistic", on_disk(tmp_path), penalties="per-feature", prior=(0.1, -1.0))
    a, b = (rb.minimize(p, np.full(7, -1.0), tol=1e-9) for p in (plain, blocks))
    assert a.success and b.success and np.allclose(a.x, b.x, atol=1e-8)


def test_blocks_pickle():
    X, t, X_val, t_val = data()
    problem = rb.problems.ridge(rb.problems.chunked(X, rows=9), t, rb.problems.chunked(X_val), t_val)
    agree(problem, pickle.loads(pickle.dumps(problem)), [-1.0], digits=15)


def test_only_one_block_is_read_at_a_time():
    class Rows:
        """An array that can be read by rows alone, and only so many."""

        def __init__(self, X):
            self.X, self.shape, self.dtype, self.most = X, X.shape, X.dtype, 0

        def __getitem__(self, rows):
            part = self.X[rows]
            self.most = max(self.most, len(part))
            return part

    X, t, X_val, t_val = data()
    rows = Rows(X)
    problem = rb.problems.logistic(rb.problems.chunked(rows, rows=6), np.sign(t), X_val, np.sign(t_val))
    assert rb.hypergradient(problem, [-1.0]).success and rows.most == 6


@pytest.mark.parametrize(
    "A,error,words",
    [
        (np.ones(3), ShapeError, "samples, features"),
        (np.ones((3, 0)), ShapeError, "samples, features"),
        (np.ones((3, 2), complex), DtypeError, "float64"),
        (np.array([[1.0, np.nan]]), ArgumentError, "finite"),
    ],
)
def test_data_that_cannot_be_used(A, error, words):
    with pytest.raises(error, match=words):
        rb.problems.chunked(A)


def test_other_families_say_that_they_want_an_array():
    X, t, X_val, t_val = data()
    with pytest.raises(ArgumentError, match="only ridge and logistic"):
        rb.problems.lasso(rb.problems.chunked(X), t, X_val, t_val)
    with pytest.raises(ArgumentError, match="rows must be"):
        rb.problems.chunked(X, rows=0)


def test_docstring():
    found = doctest.testmod(row_blocks)
    assert found.attempted and not found.failed

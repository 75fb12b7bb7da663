"""One owner of the cores at a time, and answers that do not depend on how many there are."""

import ast
import inspect
import textwrap

import numpy as np
import pytest
from scipy import sparse
from threadpoolctl import threadpool_info, threadpool_limits

import refbilevel as rb
from refbilevel import threads
from refbilevel.kernels import glm, glm_newton, softmax
from refbilevel.problems import design, softmax_operators
from refbilevel.threads import numba_owns_threads


def blas():
    return [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]


def test_blas_has_one_thread_while_numba_owns_the_cores():
    np.ones((2, 2)) @ np.ones((2, 2))
    with threadpool_limits(2, user_api="blas"):
        before = blas()
        with numba_owns_threads():
            assert set(blas()) == {1}
        assert blas() == before


def test_the_last_owner_to_leave_gives_the_threads_back():
    with threadpool_limits(2, user_api="blas"):
        before, first, second = blas(), numba_owns_threads(), numba_owns_threads()
        first.__enter__()
        second.__enter__()
        first.__exit__(None, None, None)  # two Python threads leave in the order in which they came
        assert set(blas()) == {1}
        second.__exit__(None, None, None)
        assert blas() == before


def test_owners_of_different_libraries_may_leave_in_any_order():
    """One Python thread holds SciPy's BLAS, another both; the first leaves first."""
    with threadpool_limits(2, user_api="blas"):
        before, scipy_only, both = blas(), threads._SCIPY, threads._ALL
        scipy_only.__enter__()
        both.__enter__()
        scipy_only.__exit__(None, None, None)
        assert set(blas()) == {1}, "the second still works"
        both.__exit__(None, None, None)
        assert blas() == before and not threads._HELD


def test_scipy_s_blas_keeps_to_one_thread_for_small_factorisations():
    """The two BLAS libraries would fight; NumPy's is left to the oracles."""
    seen, m = [], 100

    def g_yy(x, y):
        seen.append({pool["filepath"]: pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"})
        return np.eye(m)

    problem = rb.BilevelProblem(
        n=1, m=m, f_x=lambda x, y: 0 * x, f_y=lambda x, y: y, g_y=lambda x, y: y - x, g_yy=g_yy, g_xy=lambda x, y: -np.ones((1, m))
    )
    rb.hypergradient(problem, [1.0])
    with threadpool_limits(2, user_api="blas"):
        before, seen[:] = blas(), []
        rb.hypergradient(problem, [1.0])
        assert blas() == before
    own = {path: number for pools in seen for path, number in pools.items()}
    if len(own) > 1:  # NumPy and SciPy each with its own
        assert all(number == 1 for path, number in own.items() if "scipy.libs" in path)
        assert all(number == 2 for path, number in own.items() if "numpy.libs" in path)


@pytest.mark.parametrize("work", [rb.hypergradient, rb.solve_lower, lambda problem, x: rb.minimize(problem, x, maxiter=1)])
def test_the_blas_has_one_thread_while_parallel_oracles_work(work):
    problem, seen = logistic(np.asarray), []
    watched = rb.problem.replace(problem, threads="numba", g_y=lambda x, y: seen.extend(blas()) or problem.g_y(x, y), lower_solver=None)
    np.ones((2, 2)) @ np.ones((2, 2))
    with threadpool_limits(2, user_api="blas"):
        before = blas()
        work(watched, np.zeros(problem.n))
        assert set(seen) == {1} and max(before) == 2 and blas() == before


def test_large_models_say_that_their_oracles_are_parallel(monkeypatch):
    monkeypatch.setattr(design, "SERIAL", 10_000)
    monkeypatch.setattr(design, "get_num_threads", lambda: 2)
    assert logistic(np.asarray).threads == cleaning(None).threads == "numba"
    monkeypatch.setattr(design, "get_num_threads", lambda: 1)
    assert cleaning(None).threads == "blas"


def logistic(container):
    rng = np.random.default_rng(0)
    X, Z, w = rng.standard_normal((400, 250)), rng.standard_normal((100, 250)), rng.standard_normal(250)
    X[np.abs(X) < 0.5] = 0.0
    return rb.problems.logistic(container(X), np.sign(X @ w), container(Z), np.sign(Z @ w), penalties="per-feature")


def cleaning(_):
    rng = np.random.default_rng(0)
    A, B = rng.standard_normal((300, 150)), rng.standard_normal((50, 150))
    return rb.problems.softmax(A, rng.integers(4, size=300), B, rng.integers(4, size=50))


@pytest.mark.parametrize("make, container", [(logistic, np.asarray), (logistic, sparse.csr_array), (cleaning, None)])
def test_one_and_two_threads_give_equal_digits(make, container, monkeypatch):
    monkeypatch.setattr(design, "SERIAL", 10_000)
    problem, answers = make(container), []
    for threads in (1, 2):
        monkeypatch.setattr(design, "get_num_threads", lambda threads=threads: threads)
        blocks = design.threads_for(design.SERIAL)
        assert blocks == threads == softmax_operators.threads_for(design.SERIAL)
        answers.append(rb.hypergradient(problem, np.full(problem.n, -3.0)).gradient)
    assert np.linalg.norm(answers[1] - answers[0]) <= 1e-12 * np.linalg.norm(answers[0])
    assert not np.array_equal(*answers), "the sums were not reordered: this ran the same kernel twice"


def serial_branches(kernel):
    """What a kernel does where `threads == 1`, as syntax trees."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(getattr(kernel, "py_func", kernel))))
    return [node for node in ast.walk(tree) if isinstance(node, ast.If) and ast.unparse(node.test) == "threads == 1"]


@pytest.mark.parametrize("kernel", [
    glm.dense_product, glm.dense_loss, glm.sparse_product, glm.sparse_loss, softmax.softmax_product, softmax.softmax_loss,
    glm_newton.dense_gram_diagonal, glm_newton.sparse_gram_diagonal,
], ids=lambda kernel: kernel.__name__)  # fmt: skip
def test_one_thread_wakes_no_other(kernel):
    """In a parallel kernel Numba runs every NumPy call of its own, np.zeros too, on all threads: one thread alone may call none."""
    branches = serial_branches(kernel)
    assert len(branches) == 1
    called = [ast.unparse(node.func) for node in ast.walk(ast.Module(branches[0].body, [])) if isinstance(node, ast.Call)]
    assert called and not [name for name in called if "." in name]

"""Numerics under stress: condition 1 to 1e16, scales 1e-150 to 1e150, sizes 1 to 5000, inputs of every kind, threads, interrupts, no compiler."""

import os
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

import refbilevel as rb
from refbilevel.errors import ArgumentError
from refbilevel.problem import replace

from examples import quadratic, quartic

X3 = np.array([0.3, -0.7, 1.1])
ROOT = Path(__file__).parents[1]


def off(h, truth):
    return np.linalg.norm(h.gradient - truth) / np.linalg.norm(truth)


@pytest.mark.parametrize("exponent", range(17))
def test_condition_numbers(exponent):
    """Right to ten times what it states, or a status."""
    problem, _ = quadratic(condition=10.0**exponent, seed=exponent)
    truth = rb.reference(problem, X3, lower=rb.LowerSolution(y=np.zeros(5), residual=1.0)).gradient
    for linear in ("auto", "cholesky", "lu", "ldl", "cg", "minres", "gmres"):
        h = rb.hypergradient(problem, X3, linear=linear)
        assert not h.success or off(h, truth) <= 10 * 10**-h.attainable_digits + 1e-13, (linear, h.status, off(h, truth), h.attainable_digits)
        assert h.success or exponent >= 7, (linear, h.message)


@pytest.mark.parametrize("of", ["g", "f", "x", "y"])
@pytest.mark.parametrize("exponent", [-150, -80, -20, -5, 5, 20, 80, 150])
def test_scales(of, exponent):
    """g, f or the unknowns in other units: the same answer in those units, or a status."""
    s, (problem, exact) = 10.0**exponent, quadratic()
    at, truth = X3, exact(X3)
    if of in "gf":
        names = [name for name in ("f", "f_x", "f_y", "g", "g_x", "g_y", "g_yy", "g_xy") if name[0] == of]
        problem = replace(problem, **{name: (lambda x, y, o=getattr(problem, name): s * o(x, y)) for name in names})
        truth = truth * (s if of == "f" else 1.0)
    else:
        old, a, b = problem, *((s, 1.0) if of == "x" else (1.0, s))  # x = a x', y = b y'
        weight = {"f": 1.0, "f_x": a, "f_y": b, "g": 1.0, "g_x": a, "g_y": b, "g_yy": b * b, "g_xy": a * b}
        scaled = {name: (lambda x, y, o=getattr(old, name), w=w: w * o(a * x, b * y)) for name, w in weight.items()}
        problem, at, truth = replace(old, **scaled), X3 / a, truth * a
    with np.errstate(all="ignore"):
        h = rb.hypergradient(problem, at)
        assert not h.success or np.abs(h.gradient - truth).max() <= 1e-10 * np.abs(truth).max(), (h.status, h.gradient, truth)
    assert h.success or abs(exponent) > 20 or of == "y", h.message


@pytest.mark.parametrize("m", [1, 2, 5000])
def test_sizes(m):
    d = 1.0 + np.arange(m) / m
    B = np.cos(np.outer(np.arange(m), [1.0, 2.0]))
    H = sparse.diags_array([np.full(m - 1, 0.1), d, np.full(m - 1, 0.1)], offsets=[-1, 0, 1]).tocsr() if m > 1 else sparse.csr_array([[1.0]])
    problem = rb.BilevelProblem(
        n=2, m=m, f=lambda x, y: 0.5 * y @ y, f_x=lambda x, y: np.zeros(2), f_y=lambda x, y: y, g=lambda x, y: 0.5 * y @ (H @ y) - y @ B @ x,
        g_y=lambda x, y: H @ y - B @ x, g_yy=lambda x, y: H, g_xy=lambda x, y: -B.T,
    )  # fmt: skip
    x = np.array([0.5, -1.0])
    y = sparse.linalg.spsolve(H.tocsc(), B @ x) if m > 1 else B @ x
    truth = B.T @ (sparse.linalg.spsolve(H.tocsc(), y) if m > 1 else y)
    for linear in ("auto", "cg", "sparse_lu"):
        h = rb.hypergradient(problem, x, linear=linear)
        assert h.success and off(h, truth) < 1e-12
    with pytest.raises(ArgumentError):
        rb.BilevelProblem(n=2, m=0)


@pytest.mark.parametrize("rows", ["inequalities", "equalities", "both"])
def test_constraints_without_rows(rows):
    problem, exact = quadratic()
    blocks = {}
    for letter in {"inequalities": "p", "equalities": "q", "both": "pq"}[rows]:
        blocks |= {letter: lambda x, y: np.zeros(0), letter + "_x": lambda x, y: np.zeros((0, 3)), letter + "_y": lambda x, y: np.zeros((0, 5))}
    h = rb.hypergradient(replace(problem, constraints=rb.Constraints(**blocks, linear=True)), X3)
    assert h.success and off(h, exact(X3)) < 1e-12


def test_oracles_that_answer_read_only_strided_or_single_arrays():
    problem, exact = quadratic()

    def frozen(oracle):
        def call(x, y):
            value = np.asfortranarray(np.repeat(oracle(x, y), 2, axis=-1))[..., ::2]
            value.flags.writeable = False
            return value

        return call

    names = ("f_x", "f_y", "g_x", "g_y", "g_yy", "g_xy")
    for method in ("implicit", "reverse", "neumann", "equilibrium", "value_function", "penalty"):
        a = rb.hypergradient(problem, X3, method=method)
        b = rb.hypergradient(replace(problem, **{name: frozen(getattr(problem, name)) for name in names}), X3, method=method)
        np.testing.assert_allclose(a.gradient, b.gradient, rtol=1e-8)
    single = {name: (lambda x, y, o=getattr(problem, name): o(x, y).astype(np.float32)) for name in names}
    h = rb.hypergradient(replace(problem, **single), X3)
    assert h.gradient.dtype == np.float64 and off(h, exact(X3)) < 1e-4
    with pytest.raises(rb.errors.DtypeError, match="real"):
        rb.hypergradient(replace(problem, f_y=lambda x, y: problem.f_y(x, y) + 0j), X3)


def test_two_threads_give_the_digits_of_one():
    problems = [rb.problems.random_quadratic(3, 6, rng=seed) for seed in range(8)]
    points = [np.cos(np.arange(3.0) + k) for k in range(8)]
    alone = [rb.hypergradient(p, x).gradient for p, x in zip(problems, points)]
    with ThreadPoolExecutor(2) as pool:
        together = list(pool.map(lambda job: rb.hypergradient(*job).gradient, [*zip(problems, points)] * 4))
    for a, b in zip(alone * 4, together):
        np.testing.assert_array_equal(a, b)


def test_results_travel():
    for method in ("implicit", "reverse", "equilibrium"):
        h = rb.hypergradient(rb.problems.random_quadratic(3, 5, condition=10, rng=1), X3, method=method)
        again = pickle.loads(pickle.dumps(h))
        np.testing.assert_array_equal(again.gradient, h.gradient)
        assert again.explain() == h.explain() and again.cost == h.cost


def test_an_interrupt_of_minimize_keeps_the_best_point():
    calls = [0]
    base = quartic()


    class Once:
        """Interrupts once, as a key press does."""

        def __init__(self):
            self.done = False

        def __call__(self, x, y):
            calls[0] += 1
            if calls[0] > 12 and not self.done:
                self.done = True
                raise KeyboardInterrupt
            return base.f_y(x, y)

    result = rb.minimize(replace(base, f_y=Once()), [1.5, -1.0], "lbfgs")
    assert result.status == "stopped" and not result.success
    assert np.isfinite(result.x).all() and result.history and result.fun <= result.history[0].fun


@pytest.mark.slow
def test_the_kernels_pass_their_tests_uncompiled():
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "tests/kernels"]
    out = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert out.returncode == 0, out.stdout[-2000:]

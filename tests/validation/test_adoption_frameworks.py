"""Adoption by torch and JAX functions, from an empty folder, right and wrong; and the gradient check that a wrong one passes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TORCH = """
import torch

def derivatives(problem, x, y):
    g_y, = torch.autograd.grad(problem.g(x, y), y, create_graph=True)
    return g_y, torch.stack([torch.autograd.grad(row, y, retain_graph=True)[0] for row in g_y])

def hypergradient(problem, x, sign=1.0):
    y = problem.y0.clone().requires_grad_()
    for _ in range(60):
        g_y, H = derivatives(problem, x, y)
        step = torch.linalg.solve(H, g_y).detach()
        y = (y - step).detach().requires_grad_()
        if step.norm() <= 1e-15 * (1 + y.norm()):
            break
    f_x, f_y = torch.autograd.grad(problem.f(x, y), (x, y), materialize_grads=True, allow_unused=True)
    g_y, H = derivatives(problem, x, y)
    cross, = torch.autograd.grad(g_y @ torch.linalg.solve(H, f_y), x, materialize_grads=True, allow_unused=True)
    return f_x - sign * cross

def wrong(problem, x):
    return hypergradient(problem, x, -1.0)
"""
JAX = """
import jax
import jax.numpy as jnp

def hypergradient(problem, x, sign=1.0):
    g_y, H = jax.grad(problem.g, 1), jax.hessian(problem.g, 1)

    @jax.jit
    def gradient(x):
        y = problem.y0
        for _ in range(3):
            y = y - jnp.linalg.solve(H(x, y), g_y(x, y))
        f_x, f_y = jax.grad(problem.f, (0, 1))(x, y)
        v = jnp.linalg.solve(H(x, y), f_y)
        return f_x - sign * jax.grad(lambda x: g_y(x, y) @ v)(x)

    return gradient(x)

def wrong(problem, x):
    return hypergradient(problem, x, -1.0)
"""
FRAMEWORKS = [pytest.param("torch", TORCH, marks=pytest.mark.torch), pytest.param("jax", JAX, marks=[pytest.mark.jax, pytest.mark.slow])]


def run(folder, adapter, source, name):
    (folder / "mylib.py").write_text(source)
    (folder / "test_conformance.py").write_text(
        "from refbilevel.validation import parametrize_with_checks\n\n"
        f'@parametrize_with_checks("mylib:{name}", adapter="{adapter}", classes=["quadratic"], difficulty="lower", '
        'checks=["shape", "value", "taylor"])\n'
        "def test_conformance(check): check()\n"
    )
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=600,
    )


@pytest.mark.parametrize("adapter,source", FRAMEWORKS)
def test_a_correct_function_passes(tmp_path, adapter, source):
    pytest.importorskip(adapter)
    done = run(tmp_path, adapter, source, "hypergradient")
    assert done.returncode == 0 and " passed" in done.stdout, done.stdout + done.stderr


@pytest.mark.parametrize("adapter,source", FRAMEWORKS)
def test_a_wrong_function_is_named(tmp_path, adapter, source):
    pytest.importorskip(adapter)
    done = run(tmp_path, adapter, source, "wrong")
    assert done.returncode == 1 and "matches mutant 'implicit_sign'" in done.stdout, done.stdout + done.stderr
    assert f"--adapter {adapter}" in done.stdout


@pytest.mark.torch
def test_gradcheck_passes_and_the_kit_does_not():
    pytest.importorskip("torch")
    from refbilevel.validation import check_implementation
    from refbilevel.validation.experiments.gradcheck_passes import CASE, gradcheck, unrolled

    verdicts, correct = zip(*(gradcheck(K) for K in (5, 50, 500)))
    assert all(verdicts) and 0 <= correct[0] < 0.1 and correct[0] < correct[1] < correct[2] < 2
    report = check_implementation(unrolled, adapter="torch", classes=["ridge"], checks="value")
    mine = next(o for o in report.failures if o.case == CASE)
    assert (
        "unconverged inner solve" in mine.diagnosis
        and "through 5 gradient steps" in mine.diagnosis
        and mine.diagnosis_name == "unconverged_unrolling"
    )


@pytest.mark.torch
def test_torch_faults_are_reported_not_raised():
    torch = pytest.importorskip("torch")
    from refbilevel.validation import check_implementation

    def single(problem, x):
        return torch.zeros(problem.n, dtype=torch.float32)

    def forgets(problem, x):
        return torch.autograd.grad(problem.f(x, problem.y0), problem.y0)[0]

    assert "at most 7 digits" in check_implementation(single, adapter="torch", classes=["ridge"], checks="shape").failures[0].message
    failed = check_implementation(forgets, adapter="torch", classes=["ridge"], checks="value").failures
    assert len(failed) == 10 and "raised RuntimeError" in failed[0].message

"""Large lower levels in bounded memory: each case runs in a process of its own, which reports its peak and its error."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
GIB = 2**30

PREAMBLE = '''
import json, resource, sys
import numpy as np
from scipy import sparse
from scipy.sparse.linalg import LinearOperator, spsolve
import refbilevel as rb

def report(result, truth):
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    error = float(np.linalg.norm(result.gradient - truth) / np.linalg.norm(truth))
    print(json.dumps({"peak": peak, "error": error, "status": str(result.status), "matvecs": result.cost.get("matvecs", 0)}))
'''

#: m = 100 000 unknowns on a chain: H = Laplacian + I, dy/dx = H^{-1} B
SPARSE = '''
m, n = 100_000, 5
rng = np.random.default_rng(0)
H = sparse.diags_array([np.full(m - 1, -1.0), np.full(m, 3.0), np.full(m - 1, -1.0)], offsets=[-1, 0, 1], format="csr")
B, d = rng.standard_normal((m, n)), rng.standard_normal(m)
x = np.arange(1.0, n + 1)
problem = rb.BilevelProblem(
    n=n, m=m, f=lambda x, y: 0.5 * (y - d) @ (y - d), f_x=lambda x, y: np.zeros(n), f_y=lambda x, y: y - d,
    g=lambda x, y: 0.5 * y @ (H @ y) - y @ (B @ x), g_x=lambda x, y: -B.T @ y, g_y=lambda x, y: H @ y - B @ x,
    g_yy=lambda x, y: WRAP(H), g_xy=lambda x, y: -B.T)
y = spsolve(H.tocsc(), B @ x)
truth = B.T @ spsolve(H.tocsc(), y - d)
'''

#: a generalised linear model with m = 20 000 sparse features
GLM = '''
from refbilevel import problems
m = 20_000
rng = np.random.default_rng(0)
A, V = (sparse.random_array((rows, m), density=1e-3, rng=rng, format="csr") for rows in (4000, 2000))
t, s = np.sign(rng.standard_normal(4000)), np.sign(rng.standard_normal(2000))
problem = problems.logistic(A, t, V, s)
x = np.array([-5.0])
def F(x):
    return problem.f(x, rb.solve_lower(problem, x).y)
truth = np.array([(8 * (F(x + h) - F(x - h)) - F(x + 2 * h) + F(x - 2 * h)) / (12 * h) for h in (1e-2,)])
'''


def run(script):
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run([sys.executable, "-c", PREAMBLE + script], capture_output=True, text=True, env=env, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("wrap, options", [
    ("lambda A: A", "{}"),
    pytest.param("lambda A: A", "{'linear': 'cg'}", marks=pytest.mark.slow),
    ("lambda A: LinearOperator(A.shape, matvec=lambda v: A @ v, dtype=float)", "{}"),
    pytest.param("lambda A: LinearOperator(A.shape, matvec=lambda v: A @ v, dtype=float)", "{'linear': 'minres'}", marks=pytest.mark.slow),
])  # fmt: skip
def test_a_hundred_thousand_sparse_unknowns(wrap, options):
    found = run(f"WRAP = {wrap}\n" + SPARSE + f"report(rb.hypergradient(problem, x, **{options}), truth)")
    assert found["status"] == "converged" and found["error"] < 1e-12 and found["peak"] < GIB, found


@pytest.mark.slow
@pytest.mark.parametrize("method, options", [("reverse", "{'K': 60, 'step': 0.25}"), ("neumann", "{}"), ("equilibrium", "{}")])
def test_other_estimators_at_that_size(method, options):
    found = run("WRAP = lambda A: A\n" + SPARSE + f"report(rb.hypergradient(problem, x, '{method}', **{options}), truth)")
    assert found["status"] == "converged" and found["error"] < 1e-6 and found["peak"] < GIB, found


def test_a_generalised_linear_model_with_twenty_thousand_features():
    found = run(GLM + "report(rb.hypergradient(problem, x), truth)")
    assert found["status"] == "converged" and found["error"] < 1e-7 and found["peak"] < GIB, found

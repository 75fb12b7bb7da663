"""betty's Neumann series on a Hessian with an eigenvalue above 2: defaults, and many iterations."""

import importlib

from betty.problems import Problem  # noqa: F401  (the package imports)
from betty.configs import Config
from betty_problem import EXPECTED, implicit_term
from verdict import relative, report

neumann, default = importlib.import_module("betty.hypergradient.neumann").neumann, Config()
settings = (default.neumann_iterations, 100)
errors = {
    K: relative(implicit_term(neumann, 5.0, neumann_iterations=K, neumann_alpha=default.neumann_alpha), EXPECTED / 5) for K in settings
}
report(
    package="betty-ml", also=("torch", "numpy"), source="read in betty/hypergradient/neumann.py: no test of convergence",
    expected="an answer, or a word that the series diverges",
    got="relative error " + ", ".join(f"{e:.1e} ({K} iterations)" for K, e in errors.items()), present=errors[100] > 1e6,
    note=f"defaults: neumann_iterations={default.neumann_iterations}, neumann_alpha={default.neumann_alpha}; H has an eigenvalue of 10.8",
)  # fmt: skip

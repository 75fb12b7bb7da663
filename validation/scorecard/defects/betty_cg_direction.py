"""betty's conjugate gradients with cg_alpha=1: three iterations for three unknowns, which is exact in exact arithmetic.

The search direction is built from the old residual (p_new = r + beta p, not r_new + beta p).
"""

import importlib

from betty_problem import EXPECTED, implicit_term
from verdict import relative, report

cg = importlib.import_module("betty.hypergradient.cg").cg
errors = {K: relative(implicit_term(cg, cg_alpha=1.0, cg_iterations=K), EXPECTED) for K in (1, 3, 6, 20, 60)}
report(
    package="betty-ml", also=("torch", "numpy"), source="github.com/leopard-ai/betty issue 15",
    expected="relative error near 1e-16 after 3 iterations",
    got="relative error " + ", ".join(f"{e:.1e} ({K} iterations)" for K, e in errors.items()), present=not errors[3] < 1e-8,
)  # fmt: skip

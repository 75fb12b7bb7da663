"""betty's conjugate gradients with cg_alpha other than 1: the residual is updated with the unscaled product.

The scaled system (alpha H) v = c times alpha is the same answer for every alpha. Three unknowns; 3 and 200 iterations.
"""

import importlib

from betty_problem import EXPECTED, implicit_term
from verdict import relative, report

cg = importlib.import_module("betty.hypergradient.cg").cg
errors = {a: [relative(implicit_term(cg, cg_alpha=a, cg_iterations=K), EXPECTED) for K in (3, 20)] for a in (1.0, 0.5, 0.1)}
report(
    package="betty-ml", also=("torch", "numpy"), source="read in betty/hypergradient/cg.py",
    expected="the same answer for every cg_alpha",
    got="relative error " + ", ".join(f"{e[0]:.1e} and {e[1]:.1e} (cg_alpha={a})" for a, e in errors.items()),
    present=errors[0.1][0] > 10 * errors[1.0][0] and errors[0.1][0] > 1e-3, note="after 3 and 20 iterations",
)  # fmt: skip

"""An indefinite quadratic marked as convex (cp.psd_wrap) and given to Clarabel.

min y_1^2 - y_2^2 on the box -1 <= y <= 1 has the value -1.
"""

import cvxpy as cp
import numpy as np
from verdict import report

y = cp.Variable(2)
problem = cp.Problem(cp.Minimize(cp.quad_form(y, cp.psd_wrap(np.diag([1.0, -1.0])))), [y <= 1, y >= -1])
problem.solve(solver=cp.CLARABEL)
report(
    package="cvxpy", also=("clarabel", "numpy"), source="a saddle is reported as optimal",
    expected="value -1, or a status other than optimal", got=f"status {problem.status}, value {problem.value:.3g}, y = {y.value}",
    present=problem.status == "optimal" and problem.value > -0.5,
)  # fmt: skip

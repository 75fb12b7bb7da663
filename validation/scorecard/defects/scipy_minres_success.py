"""scipy.sparse.linalg.minres on a singular system whose right-hand side is out of range: info = 0 and the true residual."""

import numpy as np
from scipy.sparse.linalg import minres
from verdict import report

rng = np.random.default_rng(0)
Q = np.linalg.qr(rng.standard_normal((30, 30)))[0]
A = Q @ np.diag(np.r_[0.0, np.geomspace(1e-3, 1, 29)]) @ Q.T
b = A @ rng.standard_normal(30) + 0.1 * Q[:, 0]
x, info = minres((A + A.T) / 2, b, rtol=1e-10)
residual = np.linalg.norm(A @ x - b) / np.linalg.norm(b)
report(
    package="scipy", source="the stopping test of minres accepts a least-squares residual", expected="info > 0, or a residual of 1e-10",
    got=f"info = {info}, relative residual {residual:.1e}", present=info == 0 and residual > 1e-6,
)  # fmt: skip

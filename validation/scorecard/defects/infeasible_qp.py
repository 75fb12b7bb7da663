"""An infeasible QP, min 1/2 |y|^2 s.t. y_1 <= -1 and -y_1 <= h with h = -1 + 1.5: what is returned for dy/dh?

Constraints y_1 <= -1 and y_1 >= 1: no y satisfies both, so any finite derivative is a number without a meaning. Every package
installed among qpth, proxsuite, qpax and cvxpylayers is asked; one not installed is left out.
"""

import importlib.util
import sys
import warnings

import numpy as np
from verdict import report

G, H, W = np.array([[1.0, 0.0], [-1.0, 0.0]]), np.array([-1.0, -1.0]), np.array([1.0, 1.0])


def qpth():
    import torch
    from qpth.qp import QPFunction

    h = torch.tensor(H, requires_grad=True)
    none = torch.tensor([], dtype=torch.float64)
    y = QPFunction(verbose=-1)(torch.eye(2, dtype=torch.float64), torch.zeros(2, dtype=torch.float64), torch.tensor(G), h, none, none)
    (y.reshape(-1) @ torch.tensor(W)).backward()
    return h.grad.numpy()


def proxsuite():
    import torch
    from proxsuite.torch.qplayer import QPFunction

    h = torch.tensor(H, requires_grad=True)
    none = torch.tensor([], dtype=torch.float64)
    given = torch.eye(2, dtype=torch.float64), torch.zeros(2, dtype=torch.float64), none, none, torch.tensor(G), torch.full((2,), -1e20)
    y = QPFunction()(*given[:5], given[5].double(), h)[0]
    (y.reshape(-1) @ torch.tensor(W)).backward()
    return h.grad.numpy()


def qpax():
    import jax
    import qpax

    jax.config.update("jax_enable_x64", True)

    def loss(h):
        return W @ qpax.solve_qp_primal(np.eye(2), np.zeros(2), np.zeros((0, 2)), np.zeros(0), G, h)

    return np.asarray(jax.grad(loss)(H))


def cvxpylayers():
    import cvxpy as cp
    import torch
    from cvxpylayers.torch import CvxpyLayer

    y, h = cp.Variable(2), cp.Parameter(2)
    layer = CvxpyLayer(cp.Problem(cp.Minimize(cp.sum_squares(y)), [G @ y <= h]), parameters=[h], variables=[y])
    given = torch.tensor(H, requires_grad=True)
    (layer(given, solver_args={"solve_method": "CLARABEL"})[0] @ torch.tensor(W)).backward()
    return given.grad.numpy()


installed = [f for f in (qpth, proxsuite, qpax, cvxpylayers) if importlib.util.find_spec(f.__name__)]
asked = [f for f in installed if not sys.argv[1:] or f.__name__ in sys.argv[1:]]
for peer in asked:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            dh = peer()
            told = [w for w in caught if not issubclass(w.category, DeprecationWarning)]
            got, silent = f"dh = {dh}", bool(np.isfinite(dh).all()) and not told
        except Exception as error:
            told, silent = [], False
            got = f"raised {type(error).__name__}: {str(error).splitlines()[0][:80]}"
    report(
        package=peer.__name__, source="a finite derivative of a solution that does not exist",
        expected="an exception, NaN, or a warning", got=got + (f"; warned {told[0].message}" if told else ""), present=silent,
    )  # fmt: skip

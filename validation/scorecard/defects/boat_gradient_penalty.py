"""BOAT's PGDO with penalty="gradient": f + gamma |g_y|^2.

f = x^2 and g = 1/2 (y - 4x)^2 at x = 1, y = 0 with gamma = 2 and no lower steps: the derivative in x is
2 x + gamma * 2 (y - 4x)(-4) = 2 + 64 = 66 (times min(1/gamma, 1) = 1/2: 33); without the penalty 2 (times 1/2: 1).
"""

import torch
from boat_torch.fo_ol.pgdo import PGDO
from verdict import report


class Holder(torch.nn.Module):
    def __init__(self, value):
        super().__init__()
        self.value = torch.nn.Parameter(torch.tensor([value], dtype=torch.float64))


def lower(feed, upper_model, lower_model, params=None):
    return 0.5 * ((lower_model.value - 4 * upper_model.value) ** 2).sum()


def upper(feed, upper_model, lower_model, params=None):
    return (upper_model.value**2).sum() + 0 * lower_model.value.sum()


x, y, gamma = Holder(1.0), Holder(0.0), 2.0
config = {"lower_level_opt": torch.optim.SGD(y.parameters(), lr=0.0), "device": "cpu",
          "PGDO": {"y_hat_lr": 0.0, "gamma_init": gamma, "gamma_max": gamma, "gamma_argmax_step": 1, "update_y_ahead": False,
                   "penalty": "gradient"}}  # fmt: skip
solver = PGDO(ll_objective=lower, lower_loop=0, ul_model=x, ul_objective=upper, ll_model=y, ll_var=list(y.parameters()),
              ul_var=list(x.parameters()), solver_config=config)  # fmt: skip
solver.optimize({}, {}, 0)
got = x.value.grad.item()
report(
    package="boat-torch", also=("torch", "numpy"), source="read in boat_torch/fo_ol/pgdo.py: g_y is taken with create_graph=False",
    expected="33", got=f"{got:g}", present=abs(got - 1.0) < 1e-6, note="1 is the gradient without the penalty",
)  # fmt: skip

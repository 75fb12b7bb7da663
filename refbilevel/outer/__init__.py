"""Upper-level methods. `METHODS` maps a method's name to its `OuterMethod`, one line an entry."""

from .gam import gam
from .lbfgs import lbfgs
from .slsqp import slsqp

METHODS = {
    method.name: method
    for method in (
        lbfgs,
        gam,
        slsqp,
    )
}

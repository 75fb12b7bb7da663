"""Upper-level methods. `METHODS` maps a method's name to its `OuterMethod`, one line an entry."""

from .lbfgs import lbfgs

METHODS = {
    method.name: method
    for method in (
        lbfgs,
    )
}

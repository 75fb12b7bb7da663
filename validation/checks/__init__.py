"""The checks by level: contract (0), value (1), error law (2), adjoint (3), faults (4), cost (5)."""

from . import adjoint, contract, cost, faults, laws, values
from .record import LEVELS, Check

_CONTRACT = [value for value in vars(contract).values() if isinstance(value, Check)]

#: every check by name, in the order of the levels
CHECKS = {c.name: c for c in [*_CONTRACT, *values.CHECKS, *laws.CHECKS, *adjoint.CHECKS, *faults.CHECKS, *cost.CHECKS]}

__all__ = ["CHECKS", "LEVELS", "Check"]

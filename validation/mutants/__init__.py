"""Known-wrong formulas. They prove the checks (each must be caught) and they name faults (diagnosis.py).

`MUTANTS` maps names to `Mutant`s; where two agree on every instance at hand, the one that stands first gives the name.
"""

from . import constrained, linear_solves, maps, penalties, slips, unrolling
from .record import Mutant, mutant
from .system import System, reference_gradient, system

MUTANTS = {
    value.name: value
    for room in (slips, linear_solves, penalties, unrolling, constrained, maps)
    for value in vars(room).values()
    if isinstance(value, Mutant)
}

__all__ = ["MUTANTS", "Mutant", "System", "mutant", "reference_gradient", "system"]

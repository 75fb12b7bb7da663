"""The catalogue: `ESTIMATORS` maps a method's name to its `Estimator`, one line an entry."""

from .finite_difference import finite_difference
from .implicit import implicit
from .kkt import kkt
from .solution_map import solution_map
from .unrolled import reverse

ESTIMATORS = {
    e.name: e
    for e in (
        implicit,
        kkt,
        solution_map,
        reverse,
        finite_difference,
    )
}

"""The catalogue: `ESTIMATORS` maps a method's name to its `Estimator`, one line an entry."""

from .augmented_lagrangian import augmented_lagrangian
from .blocc import blocc
from .constrained_equilibrium import constrained_equilibrium
from .constrained_penalty import constrained_penalty
from .coordinate import coordinate_forward, coordinate_reverse, lasso_support
from .equilibrium import equilibrium
from .finite_difference import finite_difference
from .gam import gam
from .holomorphic import holomorphic_equilibrium
from .implicit import implicit
from .kkt import kkt
from .kornowski import kornowski_equality, kornowski_inequality
from .log_barrier import log_barrier
from .minimax import minimax
from .nystrom import nystrom
from .penalty import penalty
from .series import fixed_point, hia, neumann, one_step, t1_t2
from .solution_map import solution_map
from .unrolled import checkpointed, forward, reverse, truncated
from .value_function import value_function
from .zeroth_order import zeroth_order

ESTIMATORS = {
    e.name: e
    for e in (
        implicit,
        kkt,
        solution_map,
        lasso_support,
        fixed_point,
        neumann,
        one_step,
        t1_t2,
        nystrom,
        hia,
        reverse,
        forward,
        truncated,
        checkpointed,
        coordinate_forward,
        coordinate_reverse,
        equilibrium,
        holomorphic_equilibrium,
        value_function,
        minimax,
        penalty,
        augmented_lagrangian,
        gam,
        constrained_equilibrium,
        blocc,
        kornowski_equality,
        kornowski_inequality,
        constrained_penalty,
        log_barrier,
        finite_difference,
        zeroth_order,
    )
}

"""Upper-level methods. `METHODS` maps a method's name to its `OuterMethod`, one line an entry."""

from .bome import bome
from .f2sa import f2sa
from .gam import gam
from .hoag import hoag
from .lbfgs import lbfgs
from .maid import maid
from .mehra_hamm import augmented_lagrangian, penalty
from .minimax import minimax
from .mpcc import mpcc
from .newton import newton
from .oracle_descent import blocc, kornowski
from .pbgd import pbgd
from .sequential_qcqp import sequential_qcqp
from .slsqp import slsqp
from .stochastic import fsla, saba, soba, stocbio, ttsa
from .trust_constr import trust_constr

METHODS = {
    method.name: method
    for method in (
        lbfgs,
        gam,
        mpcc,
        slsqp,
        trust_constr,
        newton,
        hoag,
        maid,
        penalty,
        augmented_lagrangian,
        minimax,
        bome,
        f2sa,
        pbgd,
        blocc,
        kornowski,
        sequential_qcqp,
        soba,
        saba,
        fsla,
        stocbio,
        ttsa,
    )
}

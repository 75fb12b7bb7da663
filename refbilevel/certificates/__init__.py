"""What is known about the error of a hypergradient: an estimate, a rigorous bound, the digits that rounding leaves."""

from .active_set import ActiveSetCertificate, certify_active_set
from .bounds import LIPSCHITZ, constants_at, error_bound
from .estimate import DIGITS, NewtonDifference, attainable_digits, corrected_map_gradient, newton_difference, norm, seen_condition
from .extended import extended

__all__ = [
    "DIGITS", "LIPSCHITZ", "ActiveSetCertificate", "NewtonDifference", "attainable_digits", "certify_active_set", "constants_at", "corrected_map_gradient",
    "error_bound", "extended", "newton_difference", "norm", "seen_condition",
]  # fmt: skip

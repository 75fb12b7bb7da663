"""Linear systems A x = b: one `solve`, every method, and a residual that is always recomputed.

A is an ndarray, a sparse array or a LinearOperator, (N, N); b is (N,) or (N, k). Whatever the method says about itself, the answer
carries the true |b - A x| / |b|, a condition estimate, and a `Status` that is a success only if that residual is at its
tolerance (by default: at rounding level).
"""

from .factors import Factor, factorize
from .methods import METHODS, LinearMethod
from .system import solve

__all__ = ["METHODS", "Factor", "LinearMethod", "factorize", "solve"]

"""The linear methods as data: what each assumes of A, and the condition number it sees."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import unknown


@dataclass(frozen=True)
class LinearMethod:
    """One way to solve A x = b.

    direct : a factorisation of the explicit matrix, else an iteration on products A @ v
    symmetric, definite : what A must be (positive definite implies symmetric)
    squares_condition : True if it works on A'A, so that rounding and convergence see cond(A)^2
    """

    name: str
    direct: bool
    symmetric: bool = False
    definite: bool = False
    squares_condition: bool = False
    reference: str = ""


METHODS = {
    method.name: method
    for method in (
        LinearMethod("cholesky", True, True, True, reference="LAPACK potrf"),
        LinearMethod("lu", True, reference="LAPACK getrf"),
        LinearMethod("ldl", True, True, reference="LAPACK sytrf (Bunch-Kaufman)"),
        LinearMethod("sparse_lu", True, reference="SuperLU"),
        LinearMethod("cg", False, True, True, reference="Hestenes & Stiefel 1952"),
        LinearMethod("minres", False, True, reference="Paige & Saunders 1975"),
        LinearMethod("gmres", False, reference="Saad & Schultz 1986"),
        LinearMethod("bicgstab", False, reference="van der Vorst 1992"),
        LinearMethod("lsmr", False, reference="Fong & Saunders 2011"),
        LinearMethod("cg_normal", False, squares_condition=True, reference="Hestenes & Stiefel 1952, section 10 (CGLS)"),
    )
}


def method_named(name):
    """The LinearMethod called `name`, or UnknownOption with the close matches."""
    if name not in METHODS:
        raise unknown("linear method", name, ["auto", *METHODS])
    return METHODS[name]

"""From functions of (x, y, z) of an autodiff framework to a `LayerProblem`: what its `from_jax` and `from_torch` share.

A framework supplies `grad(phi, i)`, `jacobian(phi, i)` (derivatives with respect to the i-th argument, as functions of its arrays) and
`numpy(function, label)` (the same function, NumPy in float64 in and out). Second derivatives are explicit arrays. The third ones
come as products: with lambda = f - v.g_y, `adjoint_hvp` is the gradient of grad lambda . (dx, dy, dz), so the layer's derivative
involves no differences.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..layers.problem import LayerConstraints, LayerProblem, LayerUpperConstraints


@dataclass(frozen=True)
class Calculus:
    """A framework's derivatives."""

    grad: object
    jacobian: object
    numpy: object


def build(calculus, f, g, p, q, G, H, *, n, m, k, bounds):
    """The LayerProblem of scalar functions f, g and vector functions p, q, G, H (None where absent) of (x, y, z)."""
    grad, jacobian, numpy = calculus.grad, calculus.jacobian, calculus.numpy

    def scalar(phi, label):
        value = numpy(phi, label)
        return lambda x, y, z: float(value(x, y, z))

    wanted = [("f", f, i) for i in range(3)] + [("g", g, i) for i in range(2)]
    first = {f"{label}_{'xyz'[i]}": numpy(grad(phi, i), label) for label, phi, i in wanted}
    second = {f"g_{c}y": numpy(jacobian(grad(g, i), 1), "g") for i, c in enumerate("xyz")}
    return LayerProblem(
        n=n, m=m, k=k, f=scalar(f, "f"), g=scalar(g, "g"), **first, **second, bounds=bounds, adjoint_hvp=_adjoint_hvp(grad, numpy, f, g),
        constraints=_lower(calculus, p, q), upper_constraints=_upper(calculus, G, H),
    )  # fmt: skip


def _adjoint_hvp(grad, numpy, f, g):
    """(x, y, z, v, dx, dy, dz) -> Hessian of f - v.g_y times (dx, dy, dz)."""

    def adjoint(x, y, z, v):
        return f(x, y, z) - grad(g, 1)(x, y, z) @ v

    def slope(x, y, z, v, dx, dy, dz):
        return sum(grad(adjoint, i)(x, y, z, v) @ d for i, d in enumerate((dx, dy, dz)))

    parts = [numpy(grad(slope, i), "f - v.g_y") for i in range(3)]
    return lambda *arguments: tuple(part(*arguments) for part in parts)


def _rows(calculus, functions):
    """{"p": value, "p_x": ..., "p_y": ..., "p_z": ...} of each function that is there."""
    rows = {}
    for label, phi in functions.items():
        if phi is not None:
            rows[label] = calculus.numpy(phi, label)
            rows |= {f"{label}_{c}": calculus.numpy(calculus.jacobian(phi, i), label) for i, c in enumerate("xyz")}
    return rows


def _lower(calculus, p, q):
    if p is None and q is None:
        return None

    def weighted(x, y, z, mu, nu):
        return sum(phi(x, y, z) @ weights for phi, weights in ((p, mu), (q, nu)) if phi is not None)

    slopes = {f"lagrangian_{c}y": calculus.jacobian(calculus.grad(weighted, i), 1) for i, c in enumerate("xyz")}
    return LayerConstraints(**_rows(calculus, {"p": p, "q": q}), **{name: calculus.numpy(slope, "p, q") for name, slope in slopes.items()})


def _upper(calculus, G, H):
    return None if G is None and H is None else LayerUpperConstraints(**_rows(calculus, {"G": G, "H": H}))

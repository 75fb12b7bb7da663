"""JAX functions as NumPy oracles: `from_jax(f, g, p=None, q=None, n=, m=)`.

Every call runs in double precision (a scope of `jax.enable_x64`), whatever the session's setting: JAX would silently answer in
float32. Hessian-vector products are forward over reverse, cross products reverse over a directional derivative.
"""

from __future__ import annotations

import numpy as np

from ..errors import DtypeError, require
from .autodiff import Scalar, Vector, build


def from_jax(f, g, p=None, q=None, *, n, m, hessian="auto", bounds=None, jit=True, name=""):
    """A BilevelProblem from JAX functions of (x, y), x (n,), y (m,).

    Parameters
    ----------
    f, g : callables (x, y) -> scalar
    p, q : callables (x, y) -> (k,), (l,), optional
        Lower constraints p <= 0 and q = 0, with all their derivatives.
    n, m : int
    hessian : "auto", "dense" or "operator"
        Explicit second derivatives, or matrix-free ones; "auto" is explicit up to m = 200.
    bounds : (lo, hi), optional
    jit : bool
        Compile each derivative on first use.

    Raises
    ------
    MissingDependency
        Without JAX (the extra `jax`).
    DtypeError
        If a function does not return float64 for float64 input.
    """
    jax = require("jax", "jax", "from_jax")
    scope = _scope(jax)
    compiled = jax.jit if jit else (lambda function: function)
    scalars = [_scalar(jax, scope, compiled, phi, label) for phi, label in ((f, "f"), (g, "g"))]
    vectors = [None if phi is None else _vector(jax, scope, compiled, phi, label) for phi, label in ((p, "p"), (q, "q"))]
    return build(*scalars, *vectors, n=n, m=m, hessian=hessian, bounds=bounds, name=name)


def layer_problem(f, g, p=None, q=None, G=None, H=None, *, n, m, k, bounds=None, jit=True):
    """A LayerProblem from JAX functions of (x, y, z), with all derivatives up to the third; what `LayerProblem.from_jax` calls.

    Parameters
    ----------
    f, g : callables (x, y, z) -> scalar
    p, q : callables (x, y, z) -> (rows,), optional
        Lower constraints p <= 0, q = 0.
    G, H : callables (x, y, z) -> (rows,), optional
        Upper constraints G <= 0, H = 0.
    n, m, k : int
    bounds : (lo, hi), optional
        Of x.
    jit : bool
        Compile each derivative on first use.

    Raises
    ------
    MissingDependency, DtypeError
        As `from_jax`.
    """
    from .layer_problems import Calculus, build

    jax = require("jax", "jax", "LayerProblem.from_jax")
    scope = _scope(jax)
    compiled = jax.jit if jit else (lambda function: function)

    def numpy(function, label):
        return _numpy(jax, scope, compiled(lambda *arrays: jax.numpy.asarray(function(*arrays))), label)

    return build(Calculus(jax.grad, jax.jacrev, numpy), f, g, p, q, G, H, n=n, m=m, k=k, bounds=bounds)


def _scope(jax):
    """The context manager that switches double precision on."""
    if hasattr(jax, "enable_x64"):
        return lambda: jax.enable_x64(True)
    from jax.experimental import enable_x64

    return enable_x64


def _numpy(jax, scope, function, label):
    """`function` of JAX arrays as one of NumPy arrays, in float64."""

    def call(*arguments):
        with scope():
            value = np.asarray(function(*(jax.numpy.asarray(a, dtype="float64") for a in arguments)))
        if value.dtype != np.float64:
            raise DtypeError(f"{label} must return float64 for float64 input, got {value.dtype}; it casts somewhere inside")
        return value.copy()

    return call


def _scalar(jax, scope, compiled, phi, label):
    def call(function):
        return _numpy(jax, scope, compiled(function), label)

    grad_x, grad_y = jax.grad(phi, 0), jax.grad(phi, 1)
    value = call(lambda x, y: jax.numpy.asarray(phi(x, y)))
    return Scalar(
        value=lambda x, y: float(value(x, y)),
        grad_x=call(grad_x),
        grad_y=call(grad_y),
        hvp_yy=call(lambda x, y, v: jax.jvp(lambda y: grad_y(x, y), (y,), (v,))[1]),
        cross=call(lambda x, y, v: jax.jvp(lambda y: grad_x(x, y), (y,), (v,))[1]),
        cross_t=call(lambda x, y, u: jax.jvp(lambda x: grad_y(x, y), (x,), (u,))[1]),
    )


def _vector(jax, scope, compiled, phi, label):
    def call(function):
        return _numpy(jax, scope, compiled(function), label)

    def weighted(w):
        return _scalar(jax, scope, lambda function: function, lambda x, y: jax.numpy.asarray(w) @ phi(x, y), label)

    return Vector(call(phi), call(jax.jacfwd(phi, 0)), call(jax.jacfwd(phi, 1)), weighted)


def layer(target):
    """A refbilevel layer as a differentiable JAX function (`custom_vjp` over `pure_callback`).

    Parameters
    ----------
    target : BilevelLayer, CombinatorialLayer or BilevelProblem
        z -> (x, y) of a layer; c -> y of a combinatorial one; x -> y*(x) of a problem's lower level.

    Returns
    -------
    callable
        Of an array (k,); works under jit, grad and vmap (row by row). The host computes in float64; answers come in the dtype
        of the input, so switch `jax_enable_x64` on for more than seven digits. Reverse mode, once.
    """
    from .primitives import as_primitive

    primitive = as_primitive(target)
    bridge = _bridge(primitive)

    def call(z):
        outputs = bridge(z)
        return outputs if len(outputs) > 1 else outputs[0]

    return call


def solve_qp(P, q, G=None, h=None, A=None, b=None):
    """`refbilevel.solve_qp` on JAX arrays: (y, mu, nu), differentiable in all six blocks."""
    from .primitives import Primitive, qp_primitive

    full, present = qp_primitive(), [a is not None for a in (P, q, G, h, A, b)]

    def spread(arrays):
        rest = iter(arrays)
        return [next(rest) if here else None for here in present]

    def kept(values):
        return tuple(v for v, here in zip(values, present) if here)

    primitive = Primitive(
        lambda *arrays: full.forward(*spread(arrays)),
        lambda context, *bars: kept(full.backward(context, *bars)),
        kept(full.ndims),
        lambda *shapes: full.shapes(*spread(shapes)),
    )
    return _bridge(primitive)(*kept((P, q, G, h, A, b)))


def _bridge(primitive):
    """custom_vjp of a Primitive; backward solves again on the host, since a solution cannot travel through JAX."""
    jax = require("jax", "jax", "refbilevel.frontends.jax")

    def host(arrays):
        return [np.asarray(a, np.float64) for a in arrays]

    @jax.custom_vjp
    def call(*arrays):
        dtype = arrays[0].dtype
        shapes = primitive.shapes(*(a.shape for a in arrays))
        wanted = tuple(jax.ShapeDtypeStruct(s, dtype) for s in shapes)
        return jax.pure_callback(
            lambda *a: tuple(np.asarray(o, dtype) for o in primitive.run(host(a))[0]), wanted, *arrays, vmap_method="sequential"
        )

    def forward(*arrays):
        return call(*arrays), arrays

    def backward(arrays, bars):
        def pull(arrays, bars):
            given = host(arrays)
            _, contexts = primitive.run(given)
            return tuple(np.asarray(c, a.dtype) for c, a in zip(primitive.pull(given, contexts, host(bars)), arrays))

        wanted = tuple(jax.ShapeDtypeStruct(a.shape, a.dtype) for a in arrays)
        return jax.pure_callback(pull, wanted, arrays, bars, vmap_method="sequential")

    call.defvjp(forward, backward)
    return call

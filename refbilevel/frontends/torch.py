"""torch functions as NumPy oracles: `from_torch(f, g, p=None, q=None, n=, m=)`.

Every call runs in float64 on the CPU (or on `device`) with its own graph; nothing accumulates in `.grad`. Second derivatives are
reverse over reverse. A variable that a function does not use has derivative zero, as it should.
"""

from __future__ import annotations

import numpy as np

from ..errors import DtypeError, require
from .autodiff import Scalar, Vector, build


def from_torch(f, g, p=None, q=None, *, n, m, hessian="auto", bounds=None, device="cpu", name=""):
    """A BilevelProblem from torch functions of (x, y), x (n,), y (m,), float64 tensors.

    Parameters
    ----------
    f, g : callables (x, y) -> scalar tensor
    p, q : callables (x, y) -> (k,), (l,) tensors, optional
        Lower constraints p <= 0 and q = 0, with all their derivatives.
    n, m : int
    hessian : "auto", "dense" or "operator"
        Explicit second derivatives, or matrix-free ones; "auto" is explicit up to m = 200.
    bounds : (lo, hi), optional
    device : str
        Where the functions run; results come back as NumPy arrays.

    Raises
    ------
    MissingDependency
        Without torch (the extra `torch`).
    DtypeError
        If a function does not return float64 for float64 input.
    """
    torch = require("torch", "torch", "from_torch")
    tools = _Tools(torch, device)
    scalars = [tools.scalar(phi, label) for phi, label in ((f, "f"), (g, "g"))]
    vectors = [None if phi is None else tools.vector(phi, label) for phi, label in ((p, "p"), (q, "q"))]
    return build(*scalars, *vectors, n=n, m=m, hessian=hessian, bounds=bounds, name=name)


def layer_problem(f, g, p=None, q=None, G=None, H=None, *, n, m, k, bounds=None, device="cpu"):
    """A LayerProblem from torch functions of (x, y, z), with all derivatives up to the third; what `LayerProblem.from_torch` calls.

    Parameters
    ----------
    f, g : callables (x, y, z) -> scalar tensor
        Functions that torch.func can transform: no in-place changes of their arguments, no `.item()`.
    p, q : callables (x, y, z) -> (rows,) tensors, optional
        Lower constraints p <= 0, q = 0.
    G, H : callables (x, y, z) -> (rows,) tensors, optional
        Upper constraints G <= 0, H = 0.
    n, m, k : int
    bounds : (lo, hi), optional
        Of x.
    device : str

    Raises
    ------
    MissingDependency, DtypeError
        As `from_torch`.
    """
    from .layer_problems import Calculus, build

    torch = require("torch", "torch", "LayerProblem.from_torch")

    def numpy(function, label):
        def call(*arrays):
            value = function(*(torch.tensor(a, dtype=torch.float64, device=device) for a in arrays))
            if not torch.is_tensor(value) or value.dtype != torch.float64:
                raise DtypeError(f"{label} must return a float64 tensor for float64 input, got {getattr(value, 'dtype', type(value).__name__)}")
            return value.detach().cpu().numpy().copy()

        return call

    return build(Calculus(torch.func.grad, torch.func.jacrev, numpy), f, g, p, q, G, H, n=n, m=m, k=k, bounds=bounds)


class _Tools:
    """Derivatives of torch functions, NumPy in and out."""

    def __init__(self, torch, device):
        self.torch, self.device = torch, device

    def leaf(self, a):
        return self.torch.tensor(a, dtype=self.torch.float64, device=self.device, requires_grad=True)

    def evaluate(self, phi, x, y, label):
        x, y = self.leaf(x), self.leaf(y)
        value = phi(x, y)
        if not self.torch.is_tensor(value):
            raise DtypeError(f"{label}(x, y) must return a torch tensor, got {type(value).__name__}")
        if value.dtype != self.torch.float64:
            raise DtypeError(f"{label} must return float64 for float64 input, got {value.dtype}; it casts somewhere inside")
        return x, y, value

    def gradient(self, value, variable, create_graph=False):
        """d value / d variable as a tensor, zero where the variable is not used."""
        if not value.requires_grad:
            return self.torch.zeros_like(variable)
        answer = self.torch.autograd.grad(value, variable, create_graph=create_graph, allow_unused=True)[0]
        return self.torch.zeros_like(variable) if answer is None else answer

    def scalar(self, phi, label):
        def value(x, y):
            return float(self.evaluate(phi, x, y, label)[2].detach())

        def first(which):
            def call(x, y):
                *variables, value = self.evaluate(phi, x, y, label)
                return self.numpy(self.gradient(value, variables[which]))

            return call

        def second(inner, outer):
            def call(x, y, v):
                *variables, value = self.evaluate(phi, x, y, label)
                slope = self.gradient(value, variables[inner], create_graph=True) @ self.torch.as_tensor(
                    np.array(v, float), dtype=self.torch.float64, device=self.device
                )
                return self.numpy(self.gradient(slope, variables[outer]))

            return call

        return Scalar(value, first(0), first(1), hvp_yy=second(1, 1), cross=second(1, 0), cross_t=second(0, 1))

    def vector(self, phi, label):
        def value(x, y):
            return self.numpy(self.evaluate(phi, x, y, label)[2])

        def jacobian(which):
            def call(x, y):
                *variables, value = self.evaluate(phi, x, y, label)
                rows = [self.numpy(self.gradient(row, variables[which], create_graph=True)) for row in value]
                return np.array(rows).reshape(len(value), len(variables[which]))

            return call

        def weighted(w):
            weights = self.torch.as_tensor(np.array(w, float), dtype=self.torch.float64, device=self.device)
            return self.scalar(lambda x, y: weights @ phi(x, y), label)

        return Vector(value, jacobian(0), jacobian(1), weighted)

    def numpy(self, tensor):
        return tensor.detach().cpu().numpy().copy()


def layer(target):
    """A refbilevel layer as a differentiable torch function.

    Parameters
    ----------
    target : BilevelLayer, CombinatorialLayer or BilevelProblem
        z -> (x, y) of a layer; c -> y of a combinatorial one; x -> y*(x) of a problem's lower level.

    Returns
    -------
    callable
        Of a tensor (k,) or a batch (B, k). Computes in float64 on the CPU and answers in the dtype and on the device of its input.
        Backward raises StatusError where the derivative is not defined. Once differentiable.
    """
    from .primitives import as_primitive

    primitive = as_primitive(target)
    apply = _function(primitive)

    def call(z):
        outputs = apply(z)
        return outputs if len(outputs) > 1 else outputs[0]

    return call


def solve_qp(P, q, G=None, h=None, A=None, b=None):
    """`refbilevel.solve_qp` on tensors: (y, mu, nu), differentiable in all six blocks; a leading batch dimension on any of them."""
    from .primitives import qp_primitive

    return _function(qp_primitive())(P, q, G, h, A, b)


def _function(primitive):
    """torch.autograd.Function.apply of a Primitive."""
    torch = require("torch", "torch", "refbilevel.frontends.torch")

    class Bridge(torch.autograd.Function):
        @staticmethod
        def forward(ctx, *tensors):
            arrays = [None if t is None else np.ascontiguousarray(t.detach().cpu().numpy(), dtype=np.float64) for t in tensors]
            outputs, ctx.contexts = primitive.run(arrays)
            ctx.arrays, ctx.like = arrays, next(t for t in tensors if t is not None)
            ctx.tensors_like = [None if t is None else (t.dtype, t.device) for t in tensors]
            return tuple(torch.as_tensor(np.array(o), dtype=ctx.like.dtype, device=ctx.like.device) for o in outputs)

        @staticmethod
        @torch.autograd.function.once_differentiable
        def backward(ctx, *bars):
            cotangents = [np.ascontiguousarray(bar.detach().cpu().numpy(), dtype=np.float64) for bar in bars]
            pulled = primitive.pull(ctx.arrays, ctx.contexts, cotangents)
            return tuple(
                None if c is None or like is None else torch.as_tensor(np.array(c), dtype=like[0], device=like[1])
                for c, like in zip(pulled, ctx.tensors_like)
            )

    return Bridge.apply

"""One definition for NumPy, torch and JAX: the array namespace of an array, and constants beside it.

No framework is imported here. JAX and NumPy arrays know their namespace (`__array_namespace__`); torch tensors do not
and are recognised by the module of their type. Functions written with it keep to what the three share: `@`, arithmetic,
exp, tanh, logaddexp, sqrt, sum, stack, concat, zeros_like, and no item assignment, boolean masks or Python branches on values.
"""

from __future__ import annotations

import sys

import numpy as np


def framework(array):
    """"numpy", "torch" or "jax": the name of the package an array belongs to."""
    name = type(array).__module__.split(".")[0]
    return {"torch": "torch", "jax": "jax", "jaxlib": "jax"}.get(name, "numpy")


def namespace(*arrays):
    """The module of array functions shared by `arrays`: torch, jax.numpy or numpy.

    Python numbers and NumPy arrays give way to a framework's arrays.
    """
    for array in arrays:
        if framework(array) == "torch":
            return sys.modules["torch"]
        if framework(array) == "jax":
            return array.__array_namespace__()
    return np


def constant(value, like):
    """The NumPy array `value` as an array of the framework, dtype and device of `like`."""
    if framework(like) == "torch":
        return namespace(like).tensor(value, dtype=like.dtype, device=like.device)
    return namespace(like).asarray(value, dtype=like.dtype)

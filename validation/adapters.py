"""An implementation under test, and the adapters that hand it a problem of its own framework.

Protocols: `hypergradient(problem, x) -> (n,)` is required; `solve_lower(problem, x) -> (m,)`, `vjp(problem, x, y_bar) -> (n,)`
(y_bar pulled back through y*) and `step(problem, x, rate) -> (n,)` (one gradient step) are optional, and skipped if missing.

With adapter "numpy" the problem is a `BilevelProblem` of NumPy oracles. With "torch" and "jax" it is a `FrameworkProblem` whose
functions take and return arrays of that framework; x is a float64 leaf tensor with requires_grad, or a float64 JAX array.
Both come from one definition (cases/build.py), so what is differentiated are genuine operations of the framework.
The functions note every y at which the upper objective is evaluated: an inner solve that was stopped early shows there.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ..errors import ArgumentError, require, unknown
from ..problem import replace as replace_oracles
from .failure import Skip

PROTOCOLS = ("hypergradient", "solve_lower", "vjp", "step")
MOST_NOTED = 5000


@dataclass(frozen=True, eq=False)
class FrameworkProblem:
    """A problem for a torch or JAX implementation: minimise f(x, y), y = argmin_y g(x, y) s.t. p(x, y) <= 0, q(x, y) = 0.

    `y0` (m,) zeros is a start for the lower solver. p and q are None where absent. `fixed_point`, `upper`, `lower` as in
    `refbilevel.validation.cases.Functions`.
    """

    name: str
    n: int
    m: int
    f: Callable
    g: Callable | None
    p: Callable | None = None
    q: Callable | None = None
    y0: Any = None
    fixed_point: Callable | None = None
    upper: Callable | None = None
    lower: Callable | None = None


@dataclass(frozen=True, eq=False)
class Answer:
    """What an implementation did. gradient (or another vector) as a NumPy array, or the exception it raised.

    `visited` holds the y at which f was evaluated; `success` is None for implementations that report no status.
    """

    vector: np.ndarray | None = None
    raw: Any = None
    error: Exception | None = None
    warned: tuple[str, ...] = ()
    visited: tuple = ()
    success: bool | None = None
    status: str = ""
    calls: dict = field(default_factory=dict)

    @property
    def finite(self):
        return self.vector is not None and self.vector.dtype.kind == "f" and bool(np.isfinite(self.vector).all())

    def nearest(self, y):
        """The visited y nearest to `y`, or None if none of its shape was seen."""
        seen = [z for z in self.visited if z.shape == y.shape and np.isfinite(z).all()]
        return min(seen, key=lambda z: np.linalg.norm(z - y)) if seen else None


class Notes:
    """Counts calls of a problem's functions and notes the y given to f."""

    def __init__(self):
        self.visited, self.calls = [], {}

    def note(self, y):
        if len(self.visited) < MOST_NOTED:
            self.visited.append(np.array(y, float).reshape(-1))

    def watch(self, name, call, note):
        if call is None:
            return None

        def watched(x, y, *rest):
            self.calls[name] = self.calls.get(name, 0) + 1
            if name.startswith("f"):
                note(y)
            return call(x, y, *rest)

        return watched


class NumpyAdapter:
    """BilevelProblem in, anything that NumPy can read out."""

    name = "numpy"

    def problem(self, case, notes):
        oracles = ("f", "f_x", "f_y", "g", "g_x", "g_y", "g_yy", "g_xy")
        watched = {name: notes.watch(name, getattr(case.problem, name), notes.note) for name in oracles}
        return replace_oracles(case.problem, **{name: call for name, call in watched.items() if call})

    def array(self, value):
        return np.array(value)

    def to_numpy(self, value):
        return np.asarray(value)

    def running(self):
        return contextlib.nullcontext()


class _Framework:
    def problem(self, case, notes):
        functions = case.functions
        if functions is None:
            raise Skip(f"case {case.id} has no {self.name} form")
        calls = {name: notes.watch(name, getattr(functions, name), self.noting(notes)) for name in ("f", "g", "p", "q")}
        others = {name: getattr(functions, name) for name in ("fixed_point", "upper", "lower")}
        return FrameworkProblem(case.id, case.problem.n, case.problem.m, **calls, **others, y0=self.start(case.problem.m))


class TorchAdapter(_Framework):
    """Functions of torch tensors in, a tensor out."""

    name = "torch"

    def __init__(self):
        self.torch = require("torch", "torch", 'adapter="torch"')

    def start(self, m):
        return self.torch.zeros(m, dtype=self.torch.float64)

    def array(self, value):
        return self.torch.tensor(np.ascontiguousarray(value), requires_grad=np.asarray(value).dtype.kind == "f")

    def to_numpy(self, value):
        return value.detach().cpu().numpy() if isinstance(value, self.torch.Tensor) else np.asarray(value)

    def running(self):
        return contextlib.nullcontext()

    def noting(self, notes):
        def note(y):
            level = self.torch._C._functorch.maybe_get_level(y) if hasattr(self.torch._C, "_functorch") else -1
            while level is not None and level >= 0:
                y = self.torch._C._functorch.get_unwrapped(y)
                level = self.torch._C._functorch.maybe_get_level(y)
            notes.note(y.detach().cpu().numpy())

        return note


class JaxAdapter(_Framework):
    """Functions of JAX arrays in, a JAX array out; 64-bit within the call, whatever the session's setting."""

    name = "jax"

    def __init__(self):
        self.jax = require("jax", "jax", 'adapter="jax"')

    def start(self, m):
        return self.array(np.zeros(m))

    def array(self, value):
        with self.running():
            return self.jax.numpy.asarray(value)

    def to_numpy(self, value):
        return np.asarray(value)

    @contextlib.contextmanager
    def running(self):
        enable = self.jax.enable_x64 if hasattr(self.jax, "enable_x64") else importlib.import_module("jax.experimental").enable_x64
        with enable(True):
            yield
            self.jax.effects_barrier()

    def noting(self, notes):
        return lambda y: self.jax.debug.callback(notes.note, y)


ADAPTERS = {"numpy": NumpyAdapter, "torch": TorchAdapter, "jax": JaxAdapter}


@dataclass(eq=False)
class Implementation:
    """An implementation under test: its protocols, its adapter, and the answers it gave (each case is run once)."""

    name: str
    protocols: dict
    adapter: Any
    required: float | None = None
    laws: dict = field(default_factory=dict)
    options: dict = field(default_factory=dict)
    answers: dict = field(default_factory=dict, repr=False)
    diagnoses: dict = field(default_factory=dict, repr=False)

    def __getstate__(self):
        return {**vars(self), "answers": {}, "diagnoses": {}}

    def has(self, protocol):
        return self.protocols.get(protocol) is not None

    def answer(self, case):
        """The hypergradient at case.x, remembered under the case's id."""
        if case.id not in self.answers:
            self.answers[case.id] = self.run("hypergradient", case, case.x)
        return self.answers[case.id]

    def run(self, protocol, case, x, *arguments, as_is=False, **options):
        """Call one protocol on the case at x, warnings and exceptions noted. as_is: arrays are handed over unconverted."""
        if not self.has(protocol):
            raise Skip(f"{self.name} has no {protocol}")
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            answer = self.call(protocol, case, x, *arguments, as_is=as_is, **options)
        warned = tuple(f"{w.category.__name__}: {w.message}" for w in caught if not issubclass(w.category, DeprecationWarning))
        return replace(answer, warned=warned)

    def call(self, protocol, case, x, *arguments, as_is=False, **options):
        """`run` without touching the (global) warning filters, for use in threads."""
        notes = Notes()
        with self.adapter.running():
            problem = self.adapter.problem(case, notes)
            given = [self.adapter.array(a) if type(a) is np.ndarray and not as_is else a for a in (x, *arguments)]
            try:
                raw = self.protocols[protocol](problem, *given, **{**self.options, **options})
            except NotImplementedError as error:
                raise Skip(f"{self.name} declined {case.id}: {error}") from error
            except Exception as error:  # the exception is the answer: faults are meant to raise, other checks report it
                return Answer(error=error, visited=tuple(notes.visited), calls=notes.calls)
        return self.read(raw, notes, "y" if protocol == "solve_lower" else "gradient")

    def read(self, raw, notes, wanted):
        """An `Answer` from an array, or from a record with .gradient (or .y), .success, .status and .lower."""
        value = getattr(raw, wanted, raw)
        visited = list(notes.visited)
        lower = getattr(raw, "lower", None)
        if getattr(lower, "y", None) is not None:
            visited.append(np.array(lower.y, float).reshape(-1))
        try:
            vector = self.adapter.to_numpy(value)
        except (TypeError, ValueError, RuntimeError) as error:
            return Answer(raw=raw, error=error, visited=tuple(visited), calls=notes.calls)
        success = getattr(raw, "success", None)
        return Answer(
            vector, raw, None, (), tuple(visited), None if success is None else bool(success), str(getattr(raw, "status", "")), notes.calls
        )

    def with_options(self, **options):
        """The same implementation called with further keyword arguments (and a fresh memory)."""
        return replace(self, options={**self.options, **options}, answers={}, diagnoses={})


def implementation(target, adapter="numpy", required=None, **protocols):
    """The `Implementation` of a callable, of an object with the protocols as attributes, or of "pkg.module:name".

    Raises
    ------
    UnknownOption
        For an adapter or a protocol that does not exist.
    ArgumentError
        If the target cannot be imported, or has no hypergradient.
    """
    if isinstance(target, Implementation):
        return target
    if adapter not in ADAPTERS:
        raise unknown("adapter", adapter, ADAPTERS)
    for name in protocols:
        if name not in PROTOCOLS:
            raise unknown("protocol", name, PROTOCOLS)
    label = (
        target
        if isinstance(target, str)
        else f"{getattr(target, '__module__', '?')}:{getattr(target, '__qualname__', type(target).__name__)}"
    )
    found = resolve(target) if isinstance(target, str) else target
    offered = (
        {name: getattr(found, name, None) for name in PROTOCOLS}
        if not callable(found) or hasattr(found, "hypergradient")
        else {"hypergradient": found}
    )
    offered |= {name: resolve(p) if isinstance(p, str) else p for name, p in protocols.items() if p is not None}
    if not callable(offered.get("hypergradient")):
        raise ArgumentError(f"{label} must be a callable (problem, x) -> (n,), or have a method hypergradient")
    return Implementation(label, offered, ADAPTERS[adapter](), required)


def resolve(path):
    """The object named "pkg.module:name" (or "file.py:name"); the current directory is searched first."""
    module, colon, name = str(path).partition(":")
    if not colon or not name:
        raise ArgumentError(f"{path!r} must name an object as 'package.module:function'")
    if os.getcwd() not in sys.path and "" not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        found = importlib.import_module(module.removesuffix(".py").replace("/", "."))
        for part in name.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as error:
        raise ArgumentError(f"cannot import {path!r}: {error}") from error
    return found

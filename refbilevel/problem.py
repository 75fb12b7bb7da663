"""The problem: minimise f(x, y*(x)), y*(x) = argmin_y g(x, y) subject to p(x, y) <= 0, q(x, y) = 0.

x (n,) upper, y (m,) lower. Subscripts are derivatives and their order is the axis order: `g_xy` is (n, m).
A problem is plain data: callables of (x, y), nothing computed is stored on it. The library works on a *view* of it,
made by `counted(problem)`, whose oracles check what they return and count their calls.
"""

from __future__ import annotations

import copy
import warnings
import weakref
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import LinearOperator

from .errors import ArgumentError, DtypeError, MissingDerivative, PrecisionWarning, ShapeError, unknown

Oracle = Callable[..., Any]

#: shape of what each oracle returns, in the letters n, m, k (rows of p), l (rows of q)
SHAPES = {
    "f": "", "f_x": "n", "f_y": "m", "f_xx": "nn", "f_xy": "nm", "f_yy": "mm",
    "g": "", "g_x": "n", "g_y": "m", "g_xx": "nn", "g_xy": "nm", "g_yy": "mm",
}  # fmt: skip
CONSTRAINT_SHAPES = {
    "p": "k", "p_x": "kn", "p_y": "km", "q": "l", "q_x": "ln", "q_y": "lm",
    "lagrangian_yy": "mm", "lagrangian_xy": "nm", "lagrangian_xx": "nn",
}  # fmt: skip
UPPER_SHAPES = {"G": "k", "G_x": "kn", "G_y": "km", "H": "l", "H_x": "ln", "H_y": "lm"}


@dataclass(frozen=True, kw_only=True)
class Constraints:
    """Lower-level constraints p(x, y) <= 0 (k rows) and q(x, y) = 0 (l rows).

    `lagrangian_yy(x, y, mu, nu)` (m, m) and `lagrangian_xy` (n, m) are the multiplier-weighted second derivatives of
    the constraints alone. Leaving them out raises MissingDerivative when they are needed; `linear=True` says they vanish
    (p and q affine in y with x-independent row gradients; a product x*y in a row is not linear).
    """

    p: Oracle | None = None
    p_x: Oracle | None = None
    p_y: Oracle | None = None
    q: Oracle | None = None
    q_x: Oracle | None = None
    q_y: Oracle | None = None
    lagrangian_yy: Oracle | None = None
    lagrangian_xy: Oracle | None = None
    lagrangian_xx: Oracle | None = None
    linear: bool = False

    def __post_init__(self):
        for row in ("p", "q"):
            for derivative in ("_x", "_y"):
                if (getattr(self, row) is None) != (getattr(self, row + derivative) is None):
                    raise MissingDerivative(f"Constraints: give {row}, {row}_x and {row}_y together, or none of them")
        if self.p is None and self.q is None:
            raise ArgumentError("Constraints: give p (inequalities) or q (equalities), or leave constraints=None")


@dataclass(frozen=True, kw_only=True)
class UpperConstraints:
    """Upper-level constraints G(x, y) <= 0 and H(x, y) = 0; both may involve y (coupling constraints)."""

    G: Oracle | None = None
    G_x: Oracle | None = None
    G_y: Oracle | None = None
    H: Oracle | None = None
    H_x: Oracle | None = None
    H_y: Oracle | None = None

    def __post_init__(self):
        for row in ("G", "H"):
            if getattr(self, row) is not None and getattr(self, row + "_x") is None:
                raise MissingDerivative(f"UpperConstraints: {row} needs {row}_x (and {row}_y where it involves y)")


@dataclass(frozen=True, kw_only=True)
class BilevelProblem:
    """A bilevel problem as NumPy oracles.

    Parameters
    ----------
    n, m : int
        Sizes of x and y, at least 1.
    f, f_x, f_y : callables (x, y) -> float, (n,), (m,)
        Upper objective and its partial gradients.
    g, g_x, g_y : callables (x, y) -> float, (n,), (m,)
        Lower objective and its partial gradients.
    g_yy, g_xy : callables (x, y) -> (m, m), (n, m)
        Second derivatives as ndarray, sparse array or LinearOperator (g_xy needs `rmatvec`).
    f_xx, f_xy, f_yy, g_xx : callables, optional
        For second-order methods.
    constraints : Constraints, optional
        Lower-level constraints.
    bounds : (lo, hi), optional
        Upper bounds on x; scalars or (n,), +-inf allowed.
    upper_constraints : UpperConstraints, optional
    solution_map : object, optional
        Owns the lower level whole (CVXPY, layers): `solve(x, y0=None, tol=None) -> LowerSolution`,
        `vjp(x, lower, y_bar) -> (n,)` and `jvp(x, lower, dx) -> (m,)`.
    lower_solver : callable (x, y0, tol) -> y or LowerSolution, optional
        The lower solver to use by default (a closed form, say). With a method `resume(x, lower, tol)` it is given the LowerSolution at a
        nearby x where there is one.
    constants : dict, optional
        Constants for rigorous bounds: mu (strong convexity of g in y), L_f, L_fx, L_H, L_B (Lipschitz constants in y of f_y, f_x,
        g_yy, g_xy; under constraints, of the KKT matrix and its right-hand side) and norm_B (of g_xy); "at": x -> dict of those that
        depend on x. See `certificates.bounds`.
    name : str, optional
    completed : dict, optional
        {derivative: digits} of those that `refbilevel.complete` supplied by differences.
    threads : "blas" or "numba"
        Whose threads the oracles use. "numba", for parallel kernels, keeps the BLAS to one thread meanwhile: see `refbilevel.threads`.

    Raises
    ------
    ArgumentError
        A size below 1, an oracle that is not callable, bounds of the wrong shape or crossed.
    """

    n: int
    m: int
    f: Oracle | None = None
    f_x: Oracle | None = None
    f_y: Oracle | None = None
    g: Oracle | None = None
    g_x: Oracle | None = None
    g_y: Oracle | None = None
    g_yy: Oracle | None = None
    g_xy: Oracle | None = None
    f_xx: Oracle | None = None
    f_xy: Oracle | None = None
    f_yy: Oracle | None = None
    g_xx: Oracle | None = None
    constraints: Constraints | None = None
    bounds: tuple | None = None
    upper_constraints: UpperConstraints | None = None
    solution_map: Any = None
    lower_solver: Oracle | None = None
    constants: dict | None = None
    name: str = ""
    completed: dict | None = None
    threads: str = "blas"

    def __post_init__(self):
        if self.threads not in ("blas", "numba"):
            raise unknown("threads", self.threads, ("blas", "numba"))
        for size in ("n", "m"):
            value = getattr(self, size)
            if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
                raise ArgumentError(f"BilevelProblem: {size} must be an integer of at least 1, got {value!r}")
        for name in SHAPES:
            oracle = getattr(self, name)
            if oracle is not None and not callable(oracle):
                raise DtypeError(f"BilevelProblem: {name} must be a callable of (x, y), got {type(oracle).__name__}")
        if self.bounds is not None:
            object.__setattr__(self, "bounds", _bounds(self.bounds, self.n))

    def has(self, *names):
        """True if every oracle named is present."""
        return None not in [getattr(self, name) for name in names]

    def needs(self, *names, purpose=""):
        """Raise MissingDerivative naming the oracles that are absent."""
        missing = [name for name in names if getattr(self, name) is None]
        if missing:
            raise MissingDerivative(
                f"{purpose or 'this method'} needs {', '.join(missing)}; pass {'it' if len(missing) == 1 else 'them'} "
                "to BilevelProblem, or complete the problem with refbilevel.complete(problem)"
            )


def _bounds(bounds, n):
    try:
        lo, hi = bounds
    except (TypeError, ValueError):
        raise ArgumentError("bounds must be a pair (lo, hi) of scalars or arrays of shape (n,)") from None
    try:
        lo, hi = (np.broadcast_to(np.asarray(b, float), (n,)).copy() for b in (lo, hi))
    except (TypeError, ValueError):
        raise ShapeError(f"bounds must be a pair (lo, hi) of scalars or arrays of shape ({n},)") from None
    if not (lo <= hi).all():
        raise ArgumentError(f"bounds: lo must not exceed hi; it does at index {int(np.argmax(~(lo <= hi)))}")
    return lo, hi


def as_vector(value, size, name):
    """`value` as a fresh-or-same float64 C-contiguous (size,) array; a clear error otherwise.

    Accepts lists, integers, float32, read-only and strided arrays, and scalars where size is 1.
    """
    if _is_vector(value, size) and np.isfinite(value).all():
        return value
    if type(value).__module__.split(".")[0] in ("torch", "jax", "jaxlib"):
        raise DtypeError(
            f"{name} is a {type(value).__module__.split('.')[0]} array; pass numpy.asarray({name}), or use "
            "refbilevel.from_torch / from_jax to build the problem"
        )
    if isinstance(value, np.matrix) or sparse.issparse(value):
        raise DtypeError(f"{name} must be a plain 1-D array, got {type(value).__name__}; pass numpy.asarray({name}).ravel()")
    if isinstance(value, np.ma.MaskedArray) and np.ma.is_masked(value):
        raise DtypeError(f"{name} has masked entries; fill them first: {name}.filled(...)")
    try:
        array = np.asarray(value)
    except ValueError:
        raise ShapeError(f"{name} must have shape ({size},), got a ragged sequence") from None
    if array.dtype.kind == "c":
        raise DtypeError(f"{name} must be real, got {array.dtype}; for complex steps use holomorphic_equilibrium")
    if array.dtype.kind not in "fiub":
        raise DtypeError(f"{name} must be a real number array, got dtype {array.dtype}; convert it to float64")
    if array.dtype.kind == "f" and array.dtype.itemsize > 8:
        warnings.warn(f"{name} is {array.dtype} and is rounded to float64", PrecisionWarning, stacklevel=3)
    if array.ndim == 0 and size == 1:
        array = array.reshape(1)
    if array.shape != (size,):
        raise ShapeError(f"{name} must have shape ({size},), got {array.shape}")
    array = np.ascontiguousarray(array, np.float64)
    if not np.isfinite(array).all():
        raise ArgumentError(f"{name} must be finite, but {name}[{int(np.argmin(np.isfinite(array)))}] is {array[~np.isfinite(array)][0]}")
    return array


def _is_vector(value, size):
    """True for a plain array that needs no conversion."""
    return value.__class__ is np.ndarray and value.shape == (size,) and value.dtype == np.float64 and value.flags.c_contiguous


@dataclass(slots=True)
class Ledger:
    """What the oracles of one view know together.

    sizes : size of each letter of `SHAPES`, as met
    counts : Counter of calls by oracle
    answers : {(id(x), id(y)): {oracle: answer}} at the points of `keep_answers`
    digits : {oracle: digits} of those that answered in float32 or float16
    """

    sizes: dict
    counts: Counter
    answers: dict
    digits: dict


class CheckedOracle:
    """One oracle of a counted view: counts every call, checks shape and type of what it returns, and leaves its memory alone.

    An oracle may return the same buffer at every call and overwrite it, so vectors are copied; so are matrices, except by an oracle
    whose first answer was forgotten by everybody when the second was asked for (it makes fresh ones), or whose answers are read-only.
    """

    seen, first, keeps = False, None, True

    def __init__(self, call, name, shape, ledger):
        self.call, self.name, self.shape, self.ledger = call, name, shape, ledger

    @property
    def counts(self):
        return self.ledger.counts

    @property
    def sizes(self):
        return self.ledger.sizes

    def __call__(self, x, y, *multipliers):
        """The answer at (x, y), asked for once where the view keeps answers (see `keep_answers`)."""
        point = self.ledger.answers.get((id(x), id(y)))
        if point is None or multipliers:
            return self._ask(x, y, *multipliers)
        if self.name not in point:
            point[self.name] = self._ask(x, y)
        return point[self.name]

    def _ask(self, x, y, *multipliers):
        counts = self.ledger.counts
        counts[self.name] = counts.get(self.name, 0) + 1
        before = None if self.seen else (x.tobytes(), y.tobytes())
        if self.first is not None:
            self.keeps, self.first = self.first() is not None, None
        try:
            value = self.call(x, y, *multipliers)
        except Exception as error:
            error.add_note(f"raised by the oracle {self.name} at x = {np.array2string(x, threshold=6)}")
            raise
        except KeyboardInterrupt as stop:
            stop.partial = {"oracle": self.name, "x": x, "y": y}
            raise
        if before is not None and before != (x.tobytes(), y.tobytes()):
            raise ArgumentError(f"{self.name}(x, y) changes its argument in place; work on a copy inside the oracle")
        if len(self.shape) == 2:
            value = self._own(value)
        if not self.seen or not self.shape or type(value) is not np.ndarray:
            value = self._check(value)
            self.seen = True
        if value.__class__ is np.ndarray:
            if value.dtype != np.float64:
                return self._float(value)
            if len(self.shape) == 1:
                return value.copy()
        return value

    def on(self, x, y, indices):
        """A vector oracle's entries `indices` in a vector of zeros, which alone its `on(x, y, indices)` computes; all where it has none."""
        entries = getattr(self.call, "on", None)
        if indices is None or entries is None:
            return self(x, y)
        self.counts[self.name] += 1
        value = np.zeros(self.sizes[self.shape])
        value[indices] = entries(x, y, indices)
        return value

    def _own(self, value):
        """A matrix that no later call of the oracle overwrites."""
        plain = value.__class__ is np.ndarray
        if not (plain or sparse.issparse(value)):
            return value
        root = value if plain else getattr(value, "data", value)
        while isinstance(getattr(root, "base", None), np.ndarray):
            root = root.base
        if not self.seen:
            self.first = weakref.ref(root) if getattr(root, "base", None) is None else None
        frozen = isinstance(root, np.ndarray) and not root.flags.writeable and root.base is None
        if frozen or not self.keeps:
            return value
        return value.copy(order="K") if plain else value.copy()  # the layout decides the rounding of products

    def _check(self, value):
        if value.__class__ is np.ndarray and value.dtype == np.float64 and value.shape == tuple(map(self.sizes.get, self.shape)):
            return value if self.shape else float(value)
        if isinstance(value, float) and not self.shape:
            return float(value)
        if value is None:
            raise DtypeError(f"{self.name}(x, y) returned None; it must return {self._expected()} (is a return statement missing?)")
        if not self.shape:
            return self._scalar(value)
        if type(value).__module__.split(".")[0] in ("torch", "jax", "jaxlib"):
            raise DtypeError(f"{self.name}(x, y) must return a NumPy array, got a {type(value).__module__.split('.')[0]} array; use from_torch or from_jax")
        if not (isinstance(value, LinearOperator) or sparse.issparse(value)):
            value = self._float(np.asarray(value))
        elif value.dtype is not None:
            self._note(value.dtype)
        self._check_shape(value.shape)
        return value

    def _check_shape(self, got):
        if len(got) != len(self.shape):
            raise ShapeError(f"{self.name}(x, y) must be {self._expected()}, got {got}")
        for letter, size in zip(self.shape, got):
            if self.sizes.setdefault(letter, size) != size:
                hint = "; it looks transposed" if got == tuple(self.sizes.get(c) for c in reversed(self.shape)) else ""
                raise ShapeError(f"{self.name}(x, y) must be {self._expected()}, got {got}{hint}")

    def _scalar(self, value):
        array = np.asarray(value)
        self._note(array.dtype)
        if array.size != 1 or array.dtype.kind not in "fiub":
            raise ShapeError(f"{self.name}(x, y) must return a real scalar, got {'shape ' + str(array.shape) if array.size != 1 else 'dtype ' + str(array.dtype)}")
        return float(array.reshape(()))

    def _float(self, array):
        if array.dtype.kind not in "fiub":
            raise DtypeError(f"{self.name}(x, y) must return real numbers, got dtype {array.dtype}")
        self._note(array.dtype)
        return array.astype(np.float64)

    def _note(self, dtype):
        """Remember the digits of an answer in float32 or float16."""
        if np.dtype(dtype).kind == "f" and np.dtype(dtype).itemsize < 8:
            self.ledger.digits[self.name] = float(-np.log10(np.finfo(dtype).eps / 2))

    def _expected(self):
        if not self.shape:
            return "a real scalar"
        sizes = ", ".join(str(self.sizes.get(c, c)) for c in self.shape)
        return f"({', '.join(self.shape)}{',' * (len(self.shape) == 1)}) = ({sizes}{',' * (len(self.shape) == 1)})"


def _view(record, shapes, ledger):
    view = object.__new__(type(record))
    view.__dict__.update(record.__dict__, ledger=ledger)
    for name, shape in shapes.items():
        call = getattr(record, name)
        if call is not None:
            call = call.call if call.__class__ is CheckedOracle else call
            view.__dict__[name] = CheckedOracle(call, name, shape, ledger)
    return view


def counted(problem):
    """(view, counts): a view of `problem` whose oracles are checked and counted; `problem` itself is untouched.

    `counts` is a Counter of calls by oracle name. A view of a view starts its counts afresh.
    """
    ledger = Ledger({"n": problem.n, "m": problem.m}, Counter(), {}, {})
    view = _view(problem, SHAPES, ledger)
    if problem.constraints is not None:
        object.__setattr__(view, "constraints", _view(problem.constraints, CONSTRAINT_SHAPES, ledger))
    if problem.upper_constraints is not None:
        upper = Ledger({"n": problem.n, "m": problem.m}, ledger.counts, ledger.answers, {})
        object.__setattr__(view, "upper_constraints", _view(problem.upper_constraints, UPPER_SHAPES, upper))
    return view, ledger.counts


def keep_answers(view, x, y):
    """From now on each oracle of a counted view is asked once at this point, these very arrays, and its answer serves whoever comes back.

    For points that nobody changes any more: the lower solution, its Newton step. The answers live and die with the view.
    """
    if hasattr(view, "ledger"):
        view.ledger.answers.setdefault((id(x), id(y)), {"point": (x, y)})  # while the pair lives, its identities are not reused


def forget_answers(view):
    """Before another lower solution is found."""
    view.ledger.answers.clear()


def narrow(view):
    """{oracle: digits} of those of a counted view that answered in float32 or float16."""
    return view.ledger.digits


def replace(problem, **oracles):
    """A copy of `problem` (of its own class) with some oracles replaced; unlike dataclasses.replace, for subclasses too."""
    known = {f.name for f in fields(BilevelProblem)}
    copied = copy.copy(problem)
    for name, value in oracles.items():
        if name not in known:
            raise ArgumentError(f"replace: {name!r} is not a field of BilevelProblem")
        object.__setattr__(copied, name, value)
    return copied

"""`reference`: the hypergradient of a small problem to as many digits as asked, from the values of f, g, p, q alone.

No derivative that the problem supplies is used, and nothing of the solvers but their starting point. With W = 4 digits + 20 working
digits and steps h = 10^-digits, central differences of values are good to about 10^(-2 digits):

    phi_i ~ [phi(z + h e_i) - phi(z - h e_i)] / 2h,   phi_ij ~ [phi(++) - phi(+-) - phi(-+) + phi(--)] / 4h^2.

Newton's method on the KKT equations of the active set J from the double solution; then K w = (f_y; 0; 0), gradient = f_x - N'w.
J is that of the double solution, and must be confirmed: multipliers of J and slacks off J positive to the digits asked.

The functions are called with object arrays of `Number`, an mpmath number that refuses conversion to float: a function that rounds
to double on the way raises instead of returning sixteen digits for thirty.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .errors import ArgumentError, DtypeError, MissingDerivative, StatusError, require
from .lower.solve import solve_lower
from .problem import as_vector
from .results import Status, _Outcome

SIZE_LIMIT = 60


class Number:
    """A real mpmath number for NumPy object arrays: arithmetic, comparison, and the methods that NumPy's functions call."""

    __slots__ = ("value",)
    __array_priority__ = 1000

    def __init__(self, value):
        self.value = value.value if isinstance(value, Number) else _mp().mpf(value)

    def __float__(self):
        raise DtypeError("reference: a function converts its argument to float, which loses the digits; write it with NumPy operations")

    def __abs__(self):
        return Number(abs(self.value))

    def __neg__(self):
        return Number(-self.value)

    def __pos__(self):
        return self

    def __bool__(self):
        return bool(self.value)

    def __hash__(self):
        return hash(self.value)

    def __repr__(self):
        return f"Number({self.value})"

    def conjugate(self):
        return self

    real = property(lambda self: self)
    imag = property(lambda self: Number(0))


def _mp():
    return require("mpmath", "test", "refbilevel.reference").mp


def _plain(other):
    """`other` as mpmath takes it, or None."""
    if isinstance(other, Number):
        return other.value
    if isinstance(other, (int, float)):
        return other
    return other.item() if isinstance(other, np.number) and other.dtype.kind in "fiu" else None


def _binary(name):
    def operation(self, other):
        other = _plain(other)
        if other is None:
            return NotImplemented
        answer = getattr(self.value, name)(_mp().mpf(other) if not name.endswith("pow__") or name == "__rpow__" else other)
        return answer if name in _COMPARISONS or answer is NotImplemented else Number(answer)

    return operation


_COMPARISONS = ("__lt__", "__le__", "__gt__", "__ge__", "__eq__", "__ne__")
for _name in ("add", "radd", "sub", "rsub", "mul", "rmul", "truediv", "rtruediv", "pow", "rpow"):
    setattr(Number, f"__{_name}__", _binary(f"__{_name}__"))
for _name in _COMPARISONS:
    setattr(Number, _name, _binary(_name))


def _unary(function):
    return lambda self: Number(function(_mp())(self.value))


#: NumPy calls the method of this name for each element of an object array
_FUNCTIONS = {
    "arccos": "acos", "arccosh": "acosh", "arcsin": "asin", "arcsinh": "asinh", "arctan": "atan", "arctanh": "atanh",
    "cbrt": "cbrt", "ceil": "ceil", "cos": "cos", "cosh": "cosh", "exp": "exp", "expm1": "expm1", "floor": "floor",
    "log": "log", "log10": "log10", "log1p": "log1p", "sign": "sign", "sin": "sin", "sinh": "sinh", "sqrt": "sqrt", "tan": "tan", "tanh": "tanh",
}  # fmt: skip
for _name, _theirs in _FUNCTIONS.items():
    setattr(Number, _name, _unary(lambda mp, theirs=_theirs: getattr(mp, theirs)))
Number.square = lambda self: self * self
Number.exp2 = lambda self: Number(_mp().mpf(2) ** self.value)
Number.log2 = lambda self: Number(_mp().log(self.value, 2))


@dataclass(frozen=True, eq=False)
class Reference(_Outcome):
    """`gradient` (n,) float64, `text` the same as decimal strings, y, mu, nu, objective, and the rows `active`."""

    gradient: np.ndarray
    text: tuple
    y: np.ndarray
    mu: np.ndarray
    nu: np.ndarray
    objective: float
    digits: int
    active: np.ndarray
    status: Status = Status.CONVERGED
    detail: str = ""


def reference(problem, x, digits=30, *, y0=None, lower=None, f=None, g=None, p=None, q=None):
    """The hypergradient to `digits` digits, from values of f, g, p, q only.

    Parameters
    ----------
    problem : BilevelProblem
        Its own f, g and constraints.p, constraints.q are used where they accept object arrays of numbers.
    x : (n,) array_like
        Its doubles are taken as exact.
    digits : int
        Between 16 and 200.
    y0, lower : optional
        Start of the double lower solve, or its solution.
    f, g, p, q : callables (x, y), optional
        To be used instead of the problem's own, written in NumPy operations (+ - * / **, @, numpy.exp, ...).

    Returns
    -------
    Reference
        Status `degenerate` where the active set cannot be confirmed, `not_a_minimum` at a saddle; else `converged`.

    Raises
    ------
    DtypeError
        A function that rounds to float64 on the way (compiled kernels do): pass f=, g=, p=, q= in NumPy operations.
    StatusError
        Where the double lower solve finds no solution.
    MissingDerivative, ArgumentError
        No values of f or g; digits or sizes out of range (n + m at most 60).
    """
    mp, x = _mp(), as_vector(x, problem.n, "x")
    if isinstance(digits, bool) or not isinstance(digits, (int, np.integer)) or not 16 <= digits <= 200:
        raise ArgumentError(f"digits must be an integer between 16 and 200, got {digits!r}")
    if problem.n + problem.m > SIZE_LIMIT:
        raise ArgumentError(f"reference is for small problems, n + m <= {SIZE_LIMIT}; this one has {problem.n + problem.m}")
    functions = _functions(problem, f, g, p, q)
    lower = lower if lower is not None else solve_lower(problem, x, y0=y0)
    if not lower.success and lower.status not in (Status.LOWER_STALLED, Status.DEGENERATE, Status.LOWER_MAXITER):
        raise StatusError(lower)
    with mp.workdps(4 * digits + 20):
        try:
            return _refine(mp, functions, x, lower, int(digits))
        except ZeroDivisionError as error:  # a singular K, or a pole of the functions on the way
            nothing = np.full(x.size, np.nan)
            return Reference(
                nothing, ("nan",) * x.size, lower.y, lower.mu, lower.nu, np.nan, int(digits), lower.active, Status.UNDEFINED, f"{error}."
            )


def _functions(problem, f, g, p, q):
    c = problem.constraints
    found = {"f": f or problem.f, "g": g or problem.g, "p": p or (c and c.p), "q": q or (c and c.q)}
    for name in ("f", "g"):
        if found[name] is None:
            raise MissingDerivative(f"reference needs the values of {name}; pass {name}=a function of (x, y)")
    return {name: getattr(call, "call", call) for name, call in found.items() if call is not None}


class _Values:
    """Values and differences of one function of z = (x, y) at step h."""

    def __init__(self, mp, name, call, n, h):
        self.mp, self.name, self.call, self.n, self.h = mp, name, call, n, h

    def at(self, z):
        numbers = np.array([Number(v) for v in z], dtype=object)
        try:
            value = self.call(numbers[: self.n], numbers[self.n :])
        except TypeError as error:
            if isinstance(error, DtypeError):
                raise
            raise DtypeError(
                f"reference: {self.name} does not accept exact numbers ({error}); pass {self.name}= written in NumPy operations"
            ) from error
        entries = np.atleast_1d(np.asarray(value, dtype=object)).ravel()
        if any(isinstance(v, float) and self.name in "fg" for v in entries):
            raise DtypeError(f"reference: {self.name} answers in float; pass {self.name}= written in NumPy operations")
        return [_plain(v) if isinstance(v, Number) else self.mp.mpf(v) for v in entries]

    def _moved(self, z, *moves):
        z = list(z)
        for i, sign in moves:
            z[i] += sign * self.h
        return self.at(z)

    def slopes(self, z, indices):
        """[d value / d z_i for i in indices], each a list over the rows."""
        return [[(a - b) / (2 * self.h) for a, b in zip(self._moved(z, (i, 1)), self._moved(z, (i, -1)))] for i in indices]

    def bends(self, z, i, j):
        """Second derivatives in z_i, z_j, a list over the rows."""
        corners = [self._moved(z, (i, a), (j, b)) for a, b in ((1, 1), (1, -1), (-1, 1), (-1, -1))]
        return [(a - b - c + d) / (4 * self.h**2) for a, b, c, d in zip(*corners)]


def _refine(mp, functions, x, lower, digits):
    n, m, h = x.size, lower.y.size, mp.mpf(10) ** -digits
    values = {name: _Values(mp, name, call, n, h) for name, call in functions.items()}
    z = [mp.mpf(float(v)) for v in (*x, *lower.y)]
    J = [int(i) for i in np.flatnonzero(lower.active)]
    mu, nu = [mp.mpf(float(lower.mu[i])) for i in J], [mp.mpf(float(v)) for v in lower.nu]
    goal = mp.mpf(10) ** (-digits - 3)
    for _ in range(60):
        K, N, F, rows = _system(mp, values, z, mu, nu, J, n, m)
        step = mp.lu_solve(K, F)
        z[n:] = [a - b for a, b in zip(z[n:], step[:m])]
        mu = [a - b for a, b in zip(mu, step[m : m + len(J)])]
        nu = [a - b for a, b in zip(nu, step[m + len(J) :])]
        if mp.norm(step, mp.inf) <= goal * (1 + max(abs(v) for v in z)):
            break
    K, N, F, rows = _system(mp, values, z, mu, nu, J, n, m)
    slopes = [s[0] for s in values["f"].slopes(z, range(n + m))]
    w = mp.lu_solve(K, mp.matrix([*slopes[n:], *[mp.mpf(0)] * (K.rows - m)]))
    gradient = [slopes[i] - mp.fsum(N[k, i] * w[k] for k in range(K.rows)) for i in range(n)]
    status, detail = _judged(mp, K, mu, rows, J, m, digits, mp.norm(F, mp.inf))
    full = np.zeros(len(lower.mu))
    full[J] = [float(v) for v in mu]
    return Reference(
        np.array([float(v) for v in gradient]), tuple(mp.nstr(v, digits) for v in gradient), np.array([float(v) for v in z[n:]]), full,
        np.array([float(v) for v in nu]), float(values["f"].at(z)[0]), digits, np.isin(np.arange(len(lower.mu)), J), status, detail,
    )  # fmt: skip


def _system(mp, values, z, mu, nu, J, n, m):
    """(K, N, F, p): the KKT matrix of J, its right-hand side, the residual, the rows' values."""
    lagrangian = [(values["g"], {0: mp.mpf(1)})]
    if J:
        lagrangian.append((values["p"], dict(zip(J, mu))))
    if "q" in values:
        lagrangian.append((values["q"], dict(enumerate(nu))))
    size = m + len(J) + len(nu)
    K, N, F = mp.zeros(size, size), mp.zeros(size, n), mp.zeros(size, 1)
    for function, weights in lagrangian:
        slopes = function.slopes(z, range(n + m))
        for i in range(m):
            F[i] += mp.fsum(w * slopes[n + i][r] for r, w in weights.items())
            for j in range(n + i + 1):
                bend = function.bends(z, n + i, j)
                total = mp.fsum(w * bend[r] for r, w in weights.items())
                if j < n:
                    N[i, j] += total
                else:
                    K[i, j - n] += total
                    if j - n != i:
                        K[j - n, i] += total
    row = m
    for name, chosen in (("p", J), ("q", range(len(nu)))):
        if chosen:
            value, slopes = values[name].at(z), values[name].slopes(z, range(n + m))
            for r in chosen:
                F[row] = value[r]
                for j in range(n):
                    N[row, j] = slopes[j][r]
                for i in range(m):
                    K[row, i] = K[i, row] = slopes[n + i][r]
                row += 1
    return K, N, F, values["p"].at(z) if "p" in values else []


def _judged(mp, K, mu, rows, J, m, digits, residual):
    """(Status, detail): are the active set and the minimum confirmed?"""
    tolerance = mp.mpf(10) ** -digits
    if residual > tolerance * 1000:
        return Status.LOWER_STALLED, f"The KKT residual is {mp.nstr(residual, 3)}."
    slacks = [-v for i, v in enumerate(rows) if i not in J]
    if any(v <= tolerance for v in [*mu, *slacks]):
        return Status.DEGENERATE, "A multiplier or a slack is not positive to the digits asked."
    negative = sum(1 for v in mp.eigsy(K, eigvals_only=True) if v < 0)
    if negative != K.rows - m:
        return Status.NOT_A_MINIMUM, f"K has {negative} negative eigenvalues for {K.rows - m} rows."
    return Status.CONVERGED, ""

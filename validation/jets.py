r"""Second-order Taylor arithmetic at any precision: value, gradient and Hessian of a formula, for certification.

A `Jet` carries (a, a_i, a_ij) in the variables of the formula, sparse, in mpmath numbers; a `Dual` carries a + b t with b the
derivative in one direction. Both know + - * and the few functions that case files use, so one plain formula gives everything:
phi(a) -> (phi, phi' a_i, phi' a_ij + phi'' a_i a_j). Nothing of refbilevel is used: this is the independent witness.
"""

from __future__ import annotations

from mpmath import mp, mpf


class Jet:
    """a + sum a_i dz_i + 1/2 sum a_ij dz_i dz_j; `gradient` {i: a_i}, `hessian` {(i, j): a_ij} with i <= j."""

    __slots__ = ("value", "gradient", "hessian")

    def __init__(self, value, gradient=None, hessian=None):
        self.value, self.gradient, self.hessian = mpf(value), gradient or {}, hessian or {}

    def __add__(self, other):
        if not isinstance(other, Jet):
            return Jet(self.value + other, self.gradient, self.hessian) if not isinstance(other, Dual) else NotImplemented
        return Jet(self.value + other.value, _sum(self.gradient, other.gradient), _sum(self.hessian, other.hessian))

    def __mul__(self, other):
        if isinstance(other, Dual):
            return NotImplemented
        if not isinstance(other, Jet):
            other = mpf(other)
            return Jet(self.value * other, _scaled(self.gradient, other), _scaled(self.hessian, other)) if other else Jet(0)
        hessian = _sum(_scaled(self.hessian, other.value), _scaled(other.hessian, self.value))
        for i, a in self.gradient.items():
            for j, b in other.gradient.items():
                key = (i, j) if i <= j else (j, i)
                hessian[key] = hessian.get(key, 0) + (2 * a * b if i == j else a * b)
        gradient = _sum(_scaled(self.gradient, other.value), _scaled(other.gradient, self.value))
        return Jet(self.value * other.value, gradient, hessian)

    def apply(self, phi):
        """phi(self), given phi(a) -> (phi, phi', phi'')."""
        value, slope, curvature = phi(self.value)
        hessian = _scaled(self.hessian, slope)
        items = sorted(self.gradient.items())
        for k, (i, a) in enumerate(items):
            for j, b in items[k:]:
                hessian[i, j] = hessian.get((i, j), 0) + curvature * a * b
        return Jet(value, _scaled(self.gradient, slope), hessian)

    __radd__ = __add__
    __rmul__ = __mul__

    def __sub__(self, other):
        return self + other * -1

    def __rsub__(self, other):
        return self * -1 + other


class Dual:
    """a + b t with t^2 = 0; a and b are Jets, so b is a directional derivative that can be differentiated twice more."""

    __slots__ = ("a", "b")

    def __init__(self, a, b):
        self.a, self.b = a, b

    def __add__(self, other):
        return Dual(self.a + other.a, self.b + other.b) if isinstance(other, Dual) else Dual(self.a + other, self.b)

    def __mul__(self, other):
        if isinstance(other, Dual):
            return Dual(self.a * other.a, self.a * other.b + self.b * other.a)
        return Dual(self.a * other, self.b * other)

    __radd__ = __add__
    __rmul__ = __mul__

    def __sub__(self, other):
        return self + other * -1


def _sum(a, b):
    result = dict(a)
    for key, value in b.items():
        result[key] = result[key] + value if key in result else value
    return result


def _scaled(a, factor):
    return {key: factor * value for key, value in a.items()}


def variables(*blocks):
    """One list of jets for each block of values, numbered through."""
    count, result = 0, []
    for block in blocks:
        result.append([Jet(value, {count + i: mpf(1)}) for i, value in enumerate(block)])
        count += len(block)
    return result


def exp(a):
    e = mp.exp(a)
    return e, e, e


def tanh(a):
    t = mp.tanh(a)
    return t, 1 - t * t, -2 * t * (1 - t * t)


def softplus(a):
    s = 1 / (1 + mp.exp(-a))
    return mp.log1p(mp.exp(a)), s, s / (1 + mp.exp(a))


def log(a):
    return mp.log(a), 1 / a, -1 / a**2


def sqrt(a):
    s = mp.sqrt(a)
    return s, 1 / (2 * s), -1 / (4 * s**3)

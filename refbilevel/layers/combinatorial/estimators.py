"""Gradients through s(c) = argmin_{y in Y} c.y, whose true derivative is zero almost everywhere.

    blackbox     (s(c + tau y_bar) - s(c)) / tau: the derivative of the piecewise-linear interpolant
                 f_tau(c) = y_bar.s(c') - (c.s(c) - c.s(c')) / tau, c' = c + tau y_bar            (Vlastelica et al. 2020, alg. 1)
    identity     -P y_bar, P the projection that removes what the solver cannot see                (Sahoo et al. 2023, eq. 3)
    perturbed    y_eps(c) = E s(c - eps Z), its exact Jacobian  -E[s(c - eps Z) nu'(Z)'] / eps,
                 density of Z proportional to exp(-nu)                                            (Berthet et al. 2020, prop. 3.1)
    imle         E[s(c + tau y_bar - eps Z) - s(c - eps Z)], the same Z on both sides              (Niepert et al. 2021, alg. 1)
    score_function   E[(l(s(c - eps Z)) - l(s(c))) nu'(Z)] (-1/eps): the loss itself, no cotangent (baseline)

Error laws: blackbox is an interpolation, exact for f_tau; perturbed is unbiased for y_eps with Monte-Carlo error 1/sqrt(samples);
identity and imle are heuristics. Noise is reproducible: `rng` is a seed or a Generator, and a seed gives common random numbers.
imle is not divided by tau, as published; `scaled=True` divides.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...errors import ArgumentError, unknown


@dataclass(frozen=True)
class Noise:
    """`draw(rng, shape)` and `slope(Z)` = nu'(Z), for the density exp(-nu(Z))."""

    draw: object
    slope: object


def sum_of_gamma(rng, shape, k=10, terms=10):
    """(1/k) (sum_{i <= terms} Gamma(1/k, scale i-th k/i) - log terms): k of them add up to about a Gumbel (Niepert et al. 2021)."""
    total = sum(rng.gamma(1.0 / k, k / i, shape) for i in range(1, terms + 1))
    return (total - np.log(terms)) / k


NOISES = {
    "gaussian": Noise(lambda rng, shape: rng.standard_normal(shape), lambda Z: Z),
    "gumbel": Noise(lambda rng, shape: rng.gumbel(size=shape), lambda Z: 1.0 - np.exp(-Z)),
    "sum-of-gamma": Noise(sum_of_gamma, None),
}


def noise_named(name):
    if name not in NOISES:
        raise unknown("noise", name, NOISES)
    return NOISES[name]


def _positive(**values):
    for name, value in values.items():
        if not value > 0:
            raise ArgumentError(f"{name} must be positive, got {value!r}")


def blackbox(solver, c, y_bar, *, tau=1.0):
    """(s(c + tau y_bar) - s(c)) / tau; zero where the solution does not move."""
    _positive(tau=tau)
    return (solver(c + tau * y_bar) - solver(c)) / tau


def interpolant(solver, c, y_bar, tau=1.0):
    """f_tau(c), whose derivative `blackbox` is, for the linear loss y_bar.y."""
    s, s_moved = solver(c), solver(c + tau * y_bar)
    return float(y_bar @ s_moved - (c @ s - c @ s_moved) / tau)


def identity(solver, c, y_bar, *, projection="centre"):
    """-P y_bar. "centre" removes the mean (sum y is constant), "cost" the component along c (scale of c), "none" nothing."""
    known = {"centre": lambda v: v - v.mean(), "cost": lambda v: v - c * (c @ v) / max(c @ c, 1e-300), "none": lambda v: v}
    if projection not in known:
        raise unknown("projection", projection, known)
    return -known[projection](y_bar)


def _samples(solver, c, eps, samples, noise, rng, antithetic):
    """(Z (S, d), s(c - eps Z) (S, d)); antithetic pairs Z, -Z for symmetric noise."""
    _positive(eps=eps, samples=samples)
    rng = np.random.default_rng(rng)
    kind = noise_named(noise)
    if antithetic and noise != "gaussian":
        raise ArgumentError("antithetic=True needs noise='gaussian', which is symmetric")
    Z = kind.draw(rng, ((samples + 1) // 2 if antithetic else samples, c.size))
    Z = np.vstack([Z, -Z]) if antithetic else Z
    return Z, np.array([solver(c - eps * z) for z in Z])


def perturbed_solution(solver, c, *, eps=1.0, samples=100, noise="gaussian", rng=0, antithetic=False):
    """y_eps(c) = mean of s(c - eps Z), (d,)."""
    return _samples(solver, c, eps, samples, noise, rng, antithetic)[1].mean(axis=0)


def perturbed_jacobian(solver, c, *, eps=1.0, samples=100, noise="gaussian", rng=0, antithetic=False):
    """d y_eps / d c (d, d): symmetric and negative semidefinite in expectation (argmin; its negative is the argmax one)."""
    Z, Y = _samples(solver, c, eps, samples, noise, rng, antithetic)
    return -(Y - solver(c)).T @ _slope(noise)(Z) / (len(Z) * eps)  # s(c) is a control variate: nu'(Z) has mean zero


def _slope(noise):
    slope = noise_named(noise).slope
    if slope is None:
        raise ArgumentError(f"noise {noise!r} has no density in closed form; use 'gaussian' or 'gumbel'")
    return slope


def perturbed(solver, c, y_bar, *, eps=1.0, samples=100, noise="gaussian", rng=0, antithetic=False):
    """(d y_eps / d c)' y_bar."""
    Z, Y = _samples(solver, c, eps, samples, noise, rng, antithetic)
    weights = (Y - solver(c)) @ y_bar
    return -_slope(noise)(Z).T @ weights / (len(Z) * eps)


def fenchel_young(solver, c, target, *, eps=1.0, samples=100, noise="gaussian", rng=0, antithetic=False):
    """(loss, gradient in c) of the Fenchel-Young loss of y_eps: gradient = target - y_eps(c), convex in c.

    loss = E max_y (-c + eps Z).y + c.target (up to a constant of target); zero gradient exactly where y_eps(c) = target.
    """
    Z, Y = _samples(solver, c, eps, samples, noise, rng, antithetic)
    value = np.mean(np.sum((eps * Z - c) * Y, axis=1)) + c @ target
    return float(value), target - Y.mean(axis=0)


def imle(solver, c, y_bar, *, tau=1.0, eps=1.0, samples=10, noise="sum-of-gamma", rng=0, scaled=False):
    """mean of s(c + tau y_bar - eps Z) - s(c - eps Z), the same Z on both sides."""
    _positive(tau=tau, samples=samples)
    Z = noise_named(noise).draw(np.random.default_rng(rng), (samples, c.size))
    moved = np.mean([solver(c + tau * y_bar - eps * z) - solver(c - eps * z) for z in Z], axis=0)
    return moved / tau if scaled else moved


def score_function(solver, c, loss, *, eps=1.0, samples=100, noise="gaussian", rng=0, antithetic=False):
    """Gradient of E l(s(c - eps Z)) by the score; `loss` is a callable of y. High variance: the baseline."""
    Z, Y = _samples(solver, c, eps, samples, noise, rng, antithetic)
    values = np.array([loss(y) for y in Y]) - loss(solver(c))
    return -_slope(noise)(Z).T @ values / (len(Z) * eps)


METHODS = {"blackbox": blackbox, "identity": identity, "perturbed": perturbed, "imle": imle}

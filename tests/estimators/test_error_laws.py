"""Every estimator of the registry against the truth, by the error law it declares; exact ones against the closed form."""

import re

import numpy as np
import pytest
from error_laws import PowerLaw, check_power_law, errors, power_law
from examples import WRAP, difference, quadratic, quartic, solved, spd

import refbilevel as rb
from refbilevel.linear import METHODS

#: for lower levels without constraints; those made for constraints too are held to their laws where constraints are
SMOOTH = [e for e in rb.ESTIMATORS.values() if e.classes[0] == "smooth" or (e.exact and "smooth" in e.classes)]
EXACT = [e for e in SMOOTH if e.exact]
SHAPES = [(3, 4), (4, 3), (3, 3), (2, 1), (1, 1)]


def start(n):
    return 0.5 * np.cos(1.0 + np.arange(n))


def test_every_law_is_read_or_known():
    """A law that no check can read would go unproven."""
    known = {"one_step", "t1_t2", "hia", "finite_difference", "zeroth_order"}  # checked by name: fixed bias, random, referee
    geometric = re.compile(r"O\((K )?q\^")
    for e in SMOOTH:
        assert e.exact or power_law(e) or geometric.match(e.error) or e.name in known, (e.name, e.error)


@pytest.mark.parametrize("kind", WRAP)
@pytest.mark.parametrize("n, m", SHAPES)
@pytest.mark.parametrize("estimator", EXACT, ids=lambda e: e.name)
def test_exact_ones_equal_differences_of_the_resolved_objective(estimator, n, m, kind):
    problem, x = quartic(n, m, seed=m, kind=kind), start(n)
    truth = difference(lambda x: solved(problem, x), x, h=1e-2)
    result = rb.hypergradient(problem, x, estimator.name)
    assert result.success
    np.testing.assert_allclose(result.gradient, truth, rtol=0, atol=3e-9 * np.linalg.norm(truth))


@pytest.mark.parametrize("condition", [1e0, 1e3, 1e6, 1e8])
@pytest.mark.parametrize("n, m", [(2, 5), (5, 5), (7, 4), (3, 1)])
@pytest.mark.parametrize("estimator", EXACT, ids=lambda e: e.name)
def test_exact_ones_reach_the_attainable_digits(estimator, n, m, condition):
    problem, gradient = quadratic(n, m, condition)
    x = start(n)
    result = rb.hypergradient(problem, x, estimator.name)
    assert result.success
    assert lre(result.gradient, gradient(x)) >= min(result.attainable_digits, 12)


@pytest.mark.parametrize("linear", METHODS)
@pytest.mark.parametrize("condition", [1e0, 1e3, 1e6, 1e8])
def test_implicit_reaches_the_attainable_digits_with_every_linear_method(linear, condition):
    problem, gradient = quadratic(3, 6, condition, kind="operator")
    x = start(3)
    result = rb.hypergradient(problem, x, linear=linear)
    assert result.success, result.message
    assert lre(result.gradient, gradient(x)) >= min(result.attainable_digits, 12)


def lre(value, truth):
    return -np.log10(max(np.linalg.norm(value - truth) / np.linalg.norm(truth), 1e-16))


GENERIC, X = quartic(3, 4, seed=3), np.array([0.3, -0.4, 0.5])
TRUTH = rb.hypergradient(GENERIC, X).gradient
POWERS = [e for e in SMOOTH if power_law(e) and e.family not in ("referee", "baseline")]


@pytest.mark.parametrize("estimator", POWERS, ids=lambda e: e.name)
def test_declared_powers(estimator):
    check_power_law(estimator, GENERIC, X, TRUTH, **({"rank": 4} if estimator.name == "nystrom" else {}))


@pytest.mark.parametrize("phases, order", [("one_sided", 1), ("symmetric", 2), ("richardson", 4)])
def test_equilibrium_orders(phases, order):
    check_power_law(rb.ESTIMATORS["equilibrium"], GENERIC, X, TRUTH, PowerLaw("beta", order, False), phases=phases)


@pytest.mark.parametrize("N", [1, 2, 3, 4, 6])
def test_holomorphic_orders(N):
    check_power_law(rb.ESTIMATORS["holomorphic_equilibrium"], GENERIC, X, TRUTH, N=N)


def contraction(problem, x):
    """(step, q) of gradient descent at the solution."""
    eigenvalues = np.linalg.eigvalsh(problem.g_yy(x, rb.solve_lower(problem, x).y))
    return 0.3 / eigenvalues[-1], 1 - 0.3 * eigenvalues[0] / eigenvalues[-1]


@pytest.mark.parametrize("method, knob, options", [
    ("fixed_point", "K", {}), ("neumann", "K", {}), ("truncated", "window", {"K": 1500}),
])  # fmt: skip
def test_geometric_ratio(method, knob, options):
    step, q = contraction(GENERIC, X)
    K = np.arange(80, 120, 8)
    found = errors(GENERIC, X, TRUTH, method, knob, [int(k) for k in K], step=step, **options)
    ratio = np.exp(np.polyfit(K, np.log(found), 1)[0])
    assert abs(np.log(ratio) / np.log(q) - 1) < 0.05
    assert 1e-12 < found[-1] < found[0] < 1e-3


@pytest.mark.parametrize("method", ["reverse", "forward", "checkpointed"])
def test_unrolled_error_is_K_times_q_to_the_K(method):
    """On a problem with one slowest mode, log(error / K) has slope log q on the tail."""
    eigenvalues = np.array([0.05, 0.6, 0.8, 1.0])
    problem, x, q = slow_mode(eigenvalues), np.array([0.3, -0.4, 0.5]), 1 - 0.5 * eigenvalues[0]
    truth = rb.hypergradient(problem, x).gradient
    K = np.arange(500, 900, 50)
    found = errors(problem, x, truth, method, "K", [int(k) for k in K], step=0.5)
    law = np.polyfit(K, np.log(found / K), 1)[0]
    assert abs(law / np.log(q) - 1) < 0.05 and 1e-12 < found[-1]


def slow_mode(eigenvalues):
    """g = y' H(x) y / 2 - y'Bx with an H that depends on x, so that the dynamics and not only their end do: error K q^K."""
    m, n = len(eigenvalues), 3
    rng = np.random.default_rng(2)
    Q, _ = np.linalg.qr(rng.standard_normal((m, m)))
    H, B, D = (Q * eigenvalues) @ Q.T, rng.standard_normal((m, n)), spd(m, 3.0)
    e0 = np.eye(n)[0]
    return rb.BilevelProblem(
        n=n, m=m,
        f=lambda x, y: 0.5 * y @ D @ y + np.sin(y).sum(),
        f_x=lambda x, y: np.zeros(n),
        f_y=lambda x, y: D @ y + np.cos(y),
        g=lambda x, y: 0.5 * y @ H @ y + 0.005 * (np.sin(x[0]) - np.sin(0.3)) * y @ y - y @ B @ x,
        g_y=lambda x, y: H @ y + 0.01 * (np.sin(x[0]) - np.sin(0.3)) * y - B @ x,
        g_yy=lambda x, y: H + 0.01 * (np.sin(x[0]) - np.sin(0.3)) * np.eye(m),
        g_xy=lambda x, y: 0.01 * np.cos(x[0]) * np.outer(e0, y) - B.T,
    )  # fmt: skip


def test_augmented_lagrangian_converges_linearly_at_fixed_rho():
    lower = rb.solve_lower(GENERIC, X)
    w = -np.linalg.solve(GENERIC.g_yy(X, lower.y), GENERIC.f_y(X, lower.y))
    for rho in (2.0, 10.0):
        result = rb.hypergradient(GENERIC, X, "augmented_lagrangian", rho=rho)
        assert result.success
        np.testing.assert_allclose(-result.adjoint, w, atol=1e-12 * np.linalg.norm(w))
        np.testing.assert_allclose(result.gradient, TRUTH, atol=1e-12 * np.linalg.norm(TRUTH))
        moves = np.array(result.extra["moves"])
        tail = moves[(moves > 1e-10 * moves[0])][-4:]
        assert (tail[1:] / tail[:-1] < 0.5).all()
    fast, slow = (rb.hypergradient(GENERIC, X, "augmented_lagrangian", rho=r).extra["iterations"] for r in (20.0, 2.0))
    assert fast < slow


@pytest.mark.parametrize("estimator", SMOOTH, ids=lambda e: e.name)
def test_the_declared_error_covers_the_default_call(estimator):
    """Beyond its law: with default options nobody is wildly off without saying so."""
    bounds = {"one_step": 0.5, "t1_t2": 3.0, "hia": 10.0, "zeroth_order": 2.0, "nystrom": 0.05, "truncated": 1e-3}
    default = 1e-3 if power_law(estimator) else 1e-6
    result = rb.hypergradient(GENERIC, X, estimator.name, **({"rng": 0} if "rng" in estimator.options else {}))
    assert result.success, result.message
    assert np.linalg.norm(result.gradient - TRUTH) <= bounds.get(estimator.name, default) * np.linalg.norm(TRUTH)


@pytest.mark.parametrize("estimator", SMOOTH, ids=lambda e: e.name)
def test_explicit_and_matrix_free_agree(estimator):
    options = {"rng": 0} if "rng" in estimator.options else {}
    dense, sparse, operator = (
        rb.hypergradient(quartic(3, 4, seed=3, kind=kind), X, estimator.name, diagnostics=False, **options).gradient for kind in WRAP
    )
    tolerance = 1e-6 if estimator.error.startswith(("O(beta", "O(1/", "O(h")) else 1e-10
    np.testing.assert_allclose(sparse, dense, atol=tolerance * np.linalg.norm(dense))
    np.testing.assert_allclose(operator, dense, atol=tolerance * np.linalg.norm(dense))


# Planted bugs: the checks above must see them.


def test_a_false_law_is_seen():
    """Equilibrium propagation that forgets beta f_x, and one that calls the one-sided error quadratic."""
    with pytest.raises(AssertionError, match="slope"):
        check_power_law(rb.ESTIMATORS["equilibrium"], GENERIC, X, TRUTH, PowerLaw("beta", 2, False), phases="one_sided")
    with pytest.raises(AssertionError, match="slope"):
        check_power_law(rb.ESTIMATORS["value_function"], GENERIC, X, TRUTH + 1e-3)

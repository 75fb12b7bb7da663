"""What from_cvxpy accepts, refuses, reads from attributes and constraints, and leaves alone."""

import sys

import cvxpy as cp
import numpy as np
import pytest

import refbilevel as rb
from refbilevel.errors import ArgumentError, ConvexityError
from refbilevel.frontends.cvxpy_ import ForgottenVariable, conventions, internals
from refbilevel.frontends.cvxpy_ import doubled_off_diagonals, frobenius, upper_triangle_only


def make(lower_objective, constraints=(), upper=None, **options):
    x, y = cp.Variable(2, name="x", **options), cp.Variable(2, name="y")
    lower = cp.Problem(cp.Minimize(lower_objective(x, y)), [build(x, y) for build in constraints])
    objective = cp.Minimize(cp.sum_squares(y) + cp.sum(x))
    return rb.from_cvxpy(cp.Problem(objective, upper(x, y) if upper else []), lower, [y], upper_variables=[x])


def test_cvxpy_is_imported_only_when_asked():
    import subprocess

    code = "import refbilevel, sys; refbilevel.BilevelProblem; assert 'cvxpy' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


# -- what the upper problem says ------------------------------------------------------------------------------------


def test_bounds_from_constraints_and_attributes():
    problem = make(
        lambda x, y: cp.sum_squares(y - x), upper=lambda x, y: [x >= 0, 2 * x[1] <= 6, -x[0] >= -4], bounds=[-1, np.array([9.0, 9.0])]
    )
    np.testing.assert_allclose(problem.bounds, [[0, 0], [4, 3]])
    assert problem.upper_constraints is None


def test_coupling_constraints():
    """G <= 0 and H = 0 with their x and y derivatives; the total derivative against differences."""
    problem = make(
        lambda x, y: cp.sum_squares(y - x) + y[0] * x[1],
        upper=lambda x, y: [cp.sum_squares(x) + y[0] <= 3, x[0] + x[1] <= 1, x @ y == 1, cp.SOC(x[0] + 2, y)],
    )
    at, rows = np.array([0.4, 0.3]), problem.upper_constraints
    low = rb.solve_lower(problem, at)
    G = rows.G(at, low.y)
    np.testing.assert_allclose(G, [at @ at + low.y[0] - 3, at.sum() - 1, np.linalg.norm(low.y) - at[0] - 2], atol=1e-14)
    for value, value_x, value_y in ((rows.G, rows.G_x, rows.G_y), (rows.H, rows.H_x, rows.H_y)):
        h, total = 1e-5, []
        for e in np.eye(2):
            total.append([value(at + t * h * e, rb.solve_lower(problem, at + t * h * e).y) for t in (1, -1)])
        difference = np.array([(up - down) / (2 * h) for up, down in total]).T
        rows_y = value_y(at, low.y)
        indirect = np.array([problem.solution_map.vjp(at, low, row) for row in rows_y])
        np.testing.assert_allclose(value_x(at, low.y) + indirect, difference, atol=1e-8)


def test_minimize_under_a_coupling_constraint():
    """min (x - 1)^2 + y^2 with y = x and the coupling x + y >= 3: x = y = 3/2."""
    x, y = cp.Variable(), cp.Variable()
    upper = cp.Problem(cp.Minimize((x - 1) ** 2 + y**2), [x + y >= 3])
    problem = rb.from_cvxpy(upper, cp.Problem(cp.Minimize((y - x) ** 2)), [y], upper_variables=[x])
    result = rb.minimize(problem, x0=[3.0])
    assert result.success, result.message
    assert result.x == pytest.approx([1.5], abs=1e-7) and result.y == pytest.approx([1.5], abs=1e-7)


def test_documented_example():
    import doctest

    from refbilevel.frontends.cvxpy_ import assemble

    outcome = doctest.testmod(assemble)
    assert outcome.attempted >= 7 and outcome.failed == 0


def test_semidefinite_upper_variable_becomes_an_inequality():
    S, y = cp.Variable((2, 2), PSD=True), cp.Variable()
    problem = rb.from_cvxpy(
        cp.Problem(cp.Minimize(y**2 + cp.trace(S))), cp.Problem(cp.Minimize((y - S[0, 1]) ** 2)), [y], upper_variables=[S]
    )
    rows = problem.upper_constraints
    np.testing.assert_allclose(rows.G(np.array([2.0, 0, 0, -1]), np.zeros(1)), [1.0])
    np.testing.assert_allclose(rows.G_x(np.array([2.0, 0, 0, -1]), np.zeros(1)), [[0, 0, 0, -1.0]], atol=1e-15)


def test_maximise_is_turned_round():
    x, y = cp.Variable(), cp.Variable()
    problem = rb.from_cvxpy(cp.Problem(cp.Maximize(x * y)), cp.Problem(cp.Maximize(-((y - x) ** 2))), [y], upper_variables=[x])
    result = rb.hypergradient(problem, [1.5])
    assert result.objective == pytest.approx(-2.25) and result.gradient == pytest.approx([-3.0])


def test_contradicting_bounds():
    with pytest.raises(ArgumentError, match="contradict"):
        make(lambda x, y: cp.sum_squares(y - x), upper=lambda x, y: [x >= 1, x <= 0])


def test_unsupported_upper_cone():
    with pytest.raises(ConvexityError, match="PowCone3D"):
        make(lambda x, y: cp.sum_squares(y - x), upper=lambda x, y: [cp.PowCone3D(x[0], x[1], y[0], 0.5)])


# -- what the lower problem may be ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "objective,offender",
    [
        (lambda x, y: x[0] * cp.sum_squares(y), "var|x"),
        (lambda x, y: cp.sum_squares(y) - cp.sum(cp.power(y, 4)) + cp.sum(x), "Power"),
        (lambda x, y: cp.sqrt(cp.sum_squares(y)) + cp.sum(x), "power|Power|sqrt"),
    ],
    ids=["sign_unknown", "concave", "composition"],
)
def test_refusals_name_the_expression_and_the_mend(objective, offender):
    with pytest.raises(ConvexityError, match=f"({offender})") as refusal:
        make(objective)
    assert "rewrite" in str(refusal.value) or "change its sign" in str(refusal.value)


def test_refusal_of_unknown_sign_says_so():
    with pytest.raises(ConvexityError, match="sign of x is not known: declare nonneg=True"):
        make(lambda x, y: x[0] * cp.sum_squares(y))


def test_sign_is_read_from_an_upper_constraint():
    problem = make(lambda x, y: x[0] * cp.sum_squares(y - 1) + cp.sum_squares(y), upper=lambda x, y: [x >= 0])
    result = rb.hypergradient(problem, [1.0, 0.0])
    assert result.success
    np.testing.assert_allclose(result.lower.y, [0.5, 0.5])


def test_nonconvex_constraint():
    with pytest.raises(ConvexityError, match="not convex"):
        make(lambda x, y: cp.sum_squares(y - x), constraints=[lambda x, y: cp.sum_squares(y) >= x[0]])


def test_exponent_must_be_a_number():
    p = cp.Parameter(nonneg=True)
    y = cp.Variable(2)
    with pytest.raises(ConvexityError, match="exponent"):
        rb.from_cvxpy(
            lower=cp.Problem(cp.Minimize(cp.sum(cp.power(y, p)))), lower_variables=[y], upper_variables=[p], f=lambda x, y: 0.0
        )


@pytest.mark.parametrize("kind", ["integer", "boolean", "complex"])
def test_discrete_and_complex_variables(kind):
    x, y = cp.Variable(2, **{kind: True}), cp.Variable(2)
    with pytest.raises(ArgumentError, match=kind):
        lower = cp.Problem(cp.Minimize(cp.sum_squares(y - cp.real(x))))
        rb.from_cvxpy(cp.Problem(cp.Minimize(cp.sum_squares(y))), lower, [y], upper_variables=[x])


def test_forgotten_lower_variable():
    x, y, t = cp.Variable(2, name="x"), cp.Variable(2, name="y"), cp.Variable(name="t")
    upper, lower = cp.Problem(cp.Minimize(cp.sum_squares(y) + cp.sum(x))), cp.Problem(cp.Minimize(t + y @ x), [cp.norm(y - x) <= t])
    with pytest.warns(ForgottenVariable, match="t occur"):
        rb.from_cvxpy(upper, lower, [y])
    with pytest.raises(ArgumentError, match="t must be in upper_variables or in lower_variables"):
        rb.from_cvxpy(upper, lower, [y], upper_variables=[x])


def test_names_may_collide():
    x, y = cp.Variable(name="v"), cp.Variable(name="v")
    problem = rb.from_cvxpy(cp.Problem(cp.Minimize(y**2 + x)), cp.Problem(cp.Minimize((y - 3 * x) ** 2)), [y])
    assert rb.hypergradient(problem, [1.0]).gradient == pytest.approx([1 + 18.0])


@pytest.mark.parametrize(
    "arguments,message",
    [
        (lambda x, y, u, l: dict(upper=u, lower=l, lower_variables=[]), "non-empty list"),
        (lambda x, y, u, l: dict(upper=u, lower=l, lower_variables=[y, y]), "twice"),
        (lambda x, y, u, l: dict(lower=l, lower_variables=[y]), "upper objective"),
        (lambda x, y, u, l: dict(upper=u, lower=l, lower_variables=[y], f=lambda x, y: 0.0), "once"),
        (lambda x, y, u, l: dict(upper=u, lower=l, lower_variables=[y], solver="nosuch"), "not installed; installed are"),
        (lambda x, y, u, l: dict(upper=u, lower=l, lower_variables=[y, cp.Variable(name="z")]), "z is in lower_variables but not"),
        (lambda x, y, u, l: dict(upper=u, lower=l, lower_variables=[y], upper_variables=[x, y]), "none of lower_variables"),
    ],
)
def test_arguments(arguments, message):
    x, y = cp.Variable(2), cp.Variable(2)
    upper, lower = cp.Problem(cp.Minimize(cp.sum_squares(y) + cp.sum(x))), cp.Problem(cp.Minimize(cp.sum_squares(y - x)))
    with pytest.raises(ArgumentError, match=message):
        rb.from_cvxpy(**arguments(x, y, upper, lower))


def test_wrong_types():
    with pytest.raises(rb.errors.DtypeError, match="lower must be a cvxpy.Problem"):
        rb.from_cvxpy(lower=3, lower_variables=[])


def test_parameter_without_value():
    x, y, p = cp.Variable(2), cp.Variable(2), cp.Parameter(2, name="p")
    with pytest.raises(ArgumentError, match="p has no value"):
        rb.from_cvxpy(cp.Problem(cp.Minimize(cp.sum(x + y))), cp.Problem(cp.Minimize(cp.sum_squares(y - x - p))), [y])


# -- what callers can see -------------------------------------------------------------------------------------------


def test_the_models_are_left_alone():
    """No value, no dual and no parameter of the caller's problems changes, and later changes of theirs do not reach us."""
    x, y, p = cp.Variable(2), cp.Variable(2), cp.Parameter(2, value=np.ones(2))
    y.value = np.array([7.0, 8.0])
    constraint, bound = y >= -5, cp.Parameter(value=0.15)
    upper = cp.Problem(cp.Minimize(cp.sum_squares(y) + cp.sum(x)))
    lower = cp.Problem(cp.Minimize(cp.sum_squares(y - x - p)), [constraint, y[0] <= 3 + bound, y[0] >= bound])
    problem = rb.from_cvxpy(upper, lower, [y])
    before = rb.hypergradient(problem, [0.1, 0.2]).gradient
    assert x.value is None and constraint.dual_value is None and lower.status is None
    np.testing.assert_array_equal(y.value, [7, 8])
    p.value, bound.value = 9 * np.ones(2), 2.5
    np.testing.assert_array_equal(rb.hypergradient(problem, [0.1, 0.2]).gradient, before)


def test_parameters_and_a_numpy_objective():
    """The lower level alone, x its Parameters: dF/dp = 2 y at y = p, with a matrix parameter besides."""
    y, p, Q = cp.Variable(2), cp.Parameter(2), cp.Parameter((2, 2), PSD=True)
    problem = rb.from_cvxpy(
        lower=cp.Problem(cp.Minimize(0.5 * cp.quad_form(y, Q) - p @ y)), lower_variables=[y], upper_variables=[p, Q],
        f=lambda x, y: y @ y, f_x=lambda x, y: np.zeros(6), f_y=lambda x, y: 2 * y,
    )  # fmt: skip
    Q0, p0 = np.array([[2.0, 0.5], [0.5, 1.0]]), np.array([1.0, -1.0])
    result = rb.hypergradient(problem, np.concatenate([p0, np.ravel(Q0)]))
    y0 = np.linalg.solve(Q0, p0)
    w = np.linalg.solve(Q0, 2 * y0)
    np.testing.assert_allclose(result.gradient[:2], w, atol=1e-13)
    np.testing.assert_allclose(result.gradient[2:].reshape(2, 2), -0.5 * (np.outer(w, y0) + np.outer(y0, w)), atol=1e-13)


@pytest.mark.parametrize("solver", ["OSQP", "SCS", "HIGHS", "clarabel"])
def test_any_installed_solver(solver):
    """The polish makes them agree to rounding, whatever their own tolerance; the residual before says what that was."""
    if solver.upper() not in cp.installed_solvers():
        pytest.skip(f"{solver} is not installed")
    x, y = cp.Variable(3), cp.Variable(3)
    lower = cp.Problem(cp.Minimize(cp.sum_squares(y - x)), [y >= 0, cp.sum(y) == 1])
    problem = rb.from_cvxpy(cp.Problem(cp.Minimize(cp.sum_squares(y) + cp.sum(x))), lower, [y], solver=solver)
    low = rb.solve_lower(problem, [0.5, 0.9, -2.0])
    assert low.success and low.solvers[0] == solver.upper()
    np.testing.assert_allclose(low.y, [0.3, 0.7, 0], atol=1e-13)
    assert low.residual <= 1e-12
    assert low.residual_before <= 1e-2  # its multipliers arrive with the right sign: SCS stops at 1e-4 or so


def test_scs_on_every_cone():
    """The rows of each cone and the signs of its multipliers survive the way through another solver."""
    x, y = cp.Variable(3), cp.Variable(3)
    Y = cp.Variable((2, 2), PSD=True)
    lower = cp.Problem(
        cp.Minimize(
            cp.sum_squares(y - x) + cp.norm(y, 2) + cp.sum(cp.exp(y)) + cp.sum_squares(Y - cp.diag(x[:2]))
            + cp.sum(cp.power(cp.abs(y), 1.5, approx=False))
        ),
        [cp.sum(y) == 0.3],
    )  # fmt: skip
    upper = cp.Problem(cp.Minimize(cp.sum_squares(y) + cp.trace(Y)))
    at = np.array([0.5, -0.9, 0.2])
    results = [rb.hypergradient(rb.from_cvxpy(upper, lower, [y, Y], upper_variables=[x], solver=s), at) for s in ("CLARABEL", "SCS")]
    assert results[1].success and results[1].lower.residual < results[1].lower.residual_before <= 1e-2
    np.testing.assert_allclose(results[1].gradient, results[0].gradient, atol=1e-12)


def test_unused_upper_variable():
    """x that the lower problem never sees: the gradient is f_x."""
    x, z, y = cp.Variable(2), cp.Variable(), cp.Variable(2)
    upper, lower = cp.Problem(cp.Minimize(cp.sum(y) + z**2)), cp.Problem(cp.Minimize(cp.sum_squares(y - x)))
    problem = rb.from_cvxpy(upper, lower, [y], upper_variables=[x, z])
    np.testing.assert_allclose(rb.hypergradient(problem, [1.0, 2.0, 3.0]).gradient, [1, 1, 6], atol=1e-14)


def test_no_constraints_at_all():
    problem = make(lambda x, y: cp.sum_squares(y - x))
    np.testing.assert_allclose(rb.hypergradient(problem, [1.0, 2.0]).gradient, [3, 5], atol=1e-14)


def test_variable_attributes_of_the_follower():
    x, y = cp.Variable(3), cp.Variable(3, nonneg=True)
    D, z = cp.Variable((2, 2), diag=True), cp.Variable(2, bounds=[-1, 0.5])
    lower = cp.Problem(cp.Minimize(cp.sum_squares(y - x) + cp.sum_squares(D - x[0]) + cp.sum_squares(z - x[:2])))
    upper = cp.Problem(cp.Minimize(cp.sum(y) + cp.sum(D) + cp.sum(z)))
    result = rb.hypergradient(rb.from_cvxpy(upper, lower, [y, D, z], upper_variables=[x]), [0.3, 2.0, -1.0])
    np.testing.assert_allclose(result.lower.y, [0.3, 2, 0, 0.3, 0, 0, 0.3, 0.3, 0.5], atol=1e-13)
    np.testing.assert_allclose(result.gradient, [1 + 2 + 1, 1, 0], atol=1e-13)


def test_direct_cones_are_refused():
    """A form that keeps rows outside A must not pass in silence."""
    from types import SimpleNamespace

    complete = SimpleNamespace(lower_bounds=None, upper_bounds=None, dir_cones=[])
    internals._check_complete(complete)
    for outside in ({"dir_cones": [1]}, {"lower_bounds": np.zeros(1)}):
        with pytest.raises(rb.errors.BilevelError, match="outside the cone rows"):
            internals._check_complete(SimpleNamespace(**{**vars(complete), **outside}))


# -- conventions for symmetric parameters ---------------------------------------------------------------------------


def test_conventions():
    """<G, dS> = sum_{i<=j} g_ij dS_ij for all three, and frobenius() undoes both."""
    r = np.random.default_rng(0)
    G, dS = (B + B.T for B in r.standard_normal((2, 4, 4)))
    exact = np.sum(G * dS)
    for g in (doubled_off_diagonals(G), upper_triangle_only(G)):
        assert np.sum(np.triu(g) * dS) == pytest.approx(exact, rel=1e-13)
        np.testing.assert_allclose(frobenius(g), G, atol=1e-14)
    assert (np.tril(upper_triangle_only(G), -1) == 0).all()
    assert conventions.__doc__.count("backward") == 1

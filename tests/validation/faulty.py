"""Implementations with one fault each: what every check must catch. `PROOFS` maps checks to faulty implementations.

A factory takes the case the check runs on and returns a function (problem, x) -> gradient, or a dict of protocols.
"""

import time
import warnings

import numpy as np

import refbilevel as rb
from refbilevel.validation.mutants import MUTANTS
from refbilevel.validation.mutants.system import dense


def right(problem, x):
    return rb.hypergradient(problem, x).gradient


def lower(problem, x):
    return rb.solve_lower(problem, x)


def after(change):
    """The right gradient, changed."""
    return lambda case: lambda problem, x: change(right(problem, x))


def formula(name):
    """A mutant at the lower solution."""

    def factory(case):
        def hypergradient(problem, x):
            found = lower(problem, x)
            return MUTANTS[name](problem, x, found.y, found.mu, found.nu)

        return hypergradient

    return factory


def stale(*names):
    """The case's own oracles stand in for the problem's: a factorisation or a matrix kept from an earlier call."""

    def factory(case):
        def hypergradient(problem, x):
            kept = {name: getattr(case.problem, name) for name in names if getattr(problem, name) is not None}
            return right(rb.problem.replace(problem, **kept), x)

        return hypergradient

    return factory


def stale_rows(case):
    def hypergradient(problem, x):
        c, old = problem.constraints, case.problem.constraints
        changed = type(c)(**{**vars(c), "p_y": old.p_y if old.p else None, "q_y": old.q_y if old.q else None})
        found = lower(problem, x)
        return MUTANTS["constraint_x_sign"](problem, x, found.y, found.mu, found.nu) if _differs(c, changed, x, case) else right(problem, x)

    return hypergradient


def _differs(new, old, x, case):
    pairs = [(getattr(new, name), getattr(old, name)) for name in ("p_y", "q_y") if getattr(old, name) is not None]
    return any(not np.array_equal(dense(a(x, case.y), (-1, case.problem.m)), dense(b(x, case.y), (-1, case.problem.m))) for a, b in pairs)


def last_row_active(case):
    def hypergradient(problem, x):
        found = lower(problem, x)
        extra = len(found.mu) > len(case.mu)
        return MUTANTS["inactive_as_active"](problem, x, found.y, found.mu, found.nu) if extra else right(problem, x)

    return hypergradient


def rounded_x(case):
    return lambda problem, x: right(problem, np.round(x))


def divides_by_f_y(case):
    def hypergradient(problem, x):
        y = lower(problem, x).y
        size = np.linalg.norm(problem.f_y(x, y))
        with np.errstate(all="ignore"):
            return right(problem, x) * (size / size)

    return hypergradient


def needs_f_x(case):
    def hypergradient(problem, x):
        if not np.any(problem.f_x(x, case.y)):
            raise ZeroDivisionError("no direct term")
        return right(problem, x)

    return hypergradient


def silent(case):
    """Dense formula at whatever y a few Newton steps give; never complains, never non-finite."""

    def hypergradient(problem, x):
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                x = np.nan_to_num(np.ravel(np.asarray(x)).real.astype(float))[: problem.n]
                x = np.pad(x, (0, problem.n - x.size))
                y = case.y
                f_x, f_y = (np.nan_to_num(np.asarray(oracle(x, y), float)) for oracle in (problem.f_x, problem.f_y))
                H = np.nan_to_num(dense(problem.g_yy(x, y), (problem.m,) * 2))
                cross = np.asarray(problem.g_xy(x, y)).reshape(problem.n, problem.m)
                return np.nan_to_num(f_x - cross @ np.linalg.lstsq(H, f_y, rcond=None)[0])
            except Exception:
                return np.zeros(problem.n)

    return hypergradient


def swallows(case):
    def hypergradient(problem, x):
        try:
            return right(problem, x)
        except BaseException:
            return np.zeros(problem.n)

    return hypergradient


def refuses(kind):
    """Right for float64 arrays, an error for other kinds of x."""

    def factory(case):
        def hypergradient(problem, x):
            if not isinstance(x, np.ndarray) or x.dtype != np.float64:
                raise TypeError("float64 arrays only")
            return right(problem, x)

        return hypergradient

    return factory


def needs_f_y(case):
    def hypergradient(problem, x):
        if not np.any(problem.f_y(x, case.y)):
            raise RuntimeError("One of the differentiated Tensors appears to not have been used in the graph")
        return right(problem, x)

    return hypergradient


def in_place(case):
    def hypergradient(problem, x):
        gradient = right(problem, x)
        x += 1.0
        return gradient

    return hypergradient


def drifting(case):
    calls = []

    def hypergradient(problem, x):
        calls.append(1)
        return right(problem, x) * (1 + 1e-12 * len(calls))

    return hypergradient


def raw_buffer(case):
    """Reads the memory of x and ignores its strides."""

    def hypergradient(problem, x):
        base = x.base if x.base is not None and x.base.ndim == 1 else x
        return right(problem, np.array(base[: problem.n]))

    return hypergradient


def prints(case):
    def hypergradient(problem, x):
        print("converged")
        return right(problem, x)

    return hypergradient


def reseeds(case):
    def hypergradient(problem, x):
        np.random.seed(0)
        return right(problem, x)

    return hypergradient


def global_state(case):
    """Keeps its own mark in shared state while it works: the second thread overwrites the first's."""
    shared = {}

    def hypergradient(problem, x):
        own = shared["owner"] = object()
        time.sleep(0.05)
        return right(problem, x) * (1.0 if shared["owner"] is own else 2.0)

    return hypergradient


def unpicklable(case):
    class Local:
        def __init__(self, gradient):
            self.gradient, self.success = gradient, True

    return lambda problem, x: Local(right(problem, x))


def keyword(name, error):
    """A method with a knob whose error is `error(value)`."""

    def factory(case):
        direction = np.ones(case.problem.n)
        scale = np.linalg.norm(case.direct) + case.indirect_scale

        def run(problem, x, value):
            return right(problem, x) + scale * error(value) * direction

        if name == "beta":
            return lambda problem, x, beta=1e-8: run(problem, x, beta)
        if name == "gamma":
            return lambda problem, x, gamma=1e8: run(problem, x, gamma)
        if name == "tol":
            return lambda problem, x, tol=1e-12: run(problem, x, tol)
        return lambda problem, x, K=1000: run(problem, x, K)

    return factory


def vjp_of(change):
    def factory(case):
        def vjp(problem, x, y_bar):
            return change(rb.sensitivity(problem, x).vjp(y_bar), y_bar)

        return {"hypergradient": right, "vjp": vjp}

    return factory


def rotational(case):
    """Adds a field that is nobody's gradient, zero at the case's own x."""
    n = case.problem.n
    skew = np.triu(np.ones((n, n)), 1)
    size = np.linalg.norm(case.direct) + case.indirect_scale
    return lambda problem, x: right(problem, x) + size * (skew - skew.T) @ (x - case.x)


def finite_differences(case):
    def hypergradient(problem, x):
        h = 1e-6
        F = lambda x: problem.f(x, lower(problem, x).y)  # noqa: E731
        return np.array([(F(x + h * e) - F(x - h * e)) / (2 * h) for e in np.eye(problem.n)])

    return hypergradient


def asks_often(case):
    def hypergradient(problem, x):
        for _ in range(30):
            problem.f_y(x, case.y[:1].repeat(problem.m))
        return right(problem, x)

    return hypergradient


def quadratic_in_K(case):
    def hypergradient(problem, x, K=10):
        for _ in range(K * K):
            problem.g_y(x, np.zeros(problem.m))
        return right(problem, x)

    return hypergradient


def constant(value):
    return lambda case: lambda problem, x: np.full(problem.n, value)


#: check -> implementations it must fail, one for each of its demands
PROOFS = {
    "shape": [after(lambda v: v[:, None]), after(lambda v: v.astype(np.float32)), after(lambda v: v.astype(complex)), constant(np.nan)],
    "inputs_untouched": [in_place],
    "repeatable": [drifting],
    "layout": [raw_buffer],
    "quiet": [prints, reseeds],
    "threads": [global_state],
    "pickles": [unpicklable],
    "value": [formula("implicit_sign"), after(lambda v: v * (1 + 1e-6)), constant(np.nan)],
    "invariance_scale_upper": [formula("absolute_tolerance")],
    "invariance_scale_lower": [stale("g_yy"), stale("g_xy")],
    "invariance_rotate_x": [rounded_x],
    "invariance_reparametrise_y": [stale("g_yy")],
    "invariance_upper_without_y": [divides_by_f_y, formula("start_for_zero_rhs")],
    "invariance_upper_without_x": [needs_f_x],
    "invariance_scale_rows": [stale_rows],
    "invariance_reverse_rows": [stale_rows],
    "invariance_redundant_row": [last_row_active],
    "clarke": [constant(1e3)],
    "additive": [after(lambda v: v / np.linalg.norm(v)), constant(np.nan)],
    "lower_solution": [lambda case: {"hypergradient": right, "solve_lower": lambda problem, x: lower(problem, x).y + 1e-3}],
    "step": [lambda case: {"hypergradient": right, "step": lambda problem, x, rate: x - 2 * rate * right(problem, x)}],
    "taylor": [formula("direct_missing"), constant(np.nan)],
    "beta_slope": [keyword("beta", lambda beta: 1e-3), keyword("beta", lambda beta: beta**0.5)],
    "gamma_slope": [keyword("gamma", lambda gamma: 1e-3), keyword("gamma", lambda gamma: gamma**-0.5)],
    "tol_slope": [keyword("tol", lambda tol: 1e-2)],
    "K_slope": [keyword("K", lambda K: 1e-2 * (1 + 0.9**K))],
    "adjoint_identity": [vjp_of(lambda v, u: -v)],
    "chain_rule": [vjp_of(lambda v, u: 0.5 * v)],
    "linear_pullback": [vjp_of(lambda v, u: v * (1 + (np.linalg.norm(u) > 4))), vjp_of(lambda v, u: v if u.any() else v + 1.0)],
    "curl": [rotational],
    **{
        f"fault[{code}]": [silent]
        for code in ("lower_infeasible", "lower_unbounded", "degenerate", "licq_fails", "undefined", "minimum_norm", "nonunique")
    },
    "fault[ill_conditioned]": [silent],
    **{f"fault[x_{kind}]": [silent] for kind in ("wrong_length", "matrix", "empty", "complex", "text", "nan", "infinite")},
    **{f"fault[x_{kind}]": [refuses(kind)] for kind in ("list", "integers", "single")},
    "fault[nan_from_lower]": [silent],
    "fault[nan_from_upper]": [silent],
    "fault[lower_concave]": [silent],
    "fault[unused_y]": [needs_f_y, after(lambda v: v + 1.0)],
    "fault[transposed_cross]": [silent],
    "fault[oracle_raises]": [swallows],
    "fault[interrupt]": [swallows],
    "independent_of_n": [finite_differences],
    "few_upper_calls": [asks_often],
    "linear_in_K": [quadratic_in_K],
}
#: checks of statuses that no certified case carries at present
WITHOUT_CASES = {"fault[not_a_minimum]", "fault[nonfinite]"}

"""Level 4: faults. Where there is no right number, an answer must say so; malformed input must not pass for an answer.

A signal is an exception, a warning, a result with success False, or an answer that is not finite. A finite number without a
signal fails. The statuses come from the certified cases (infeasible, degenerate, singular, ...); the other faults are made here.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ...problem import replace as replace_oracles
from ...results import Status
from ..failure import Measured
from ..lre import digits
from .contract import fail
from .record import Check, oracular


def signals(answer):
    """How the answer says that something is wrong; "" if it does not."""
    if answer.error is not None:
        return f"raised {type(answer.error).__name__}"
    if not answer.finite:
        return "not finite"
    if answer.success is False:
        return f"status {answer.status}"
    return f"warned {answer.warned[0]}" if answer.warned else ""


def must_signal(name, implementation, case, answer, what):
    if not signals(answer):
        shown = np.array2string(np.asarray(answer.vector), precision=4, threshold=6)
        fail(name, implementation, case, f"returned {shown} without a word, although {what}; raise, warn, or return a status")
    return Measured()


#: statuses that a wrong answer may not hide, and what they mean
STATUSES = {
    "lower_infeasible": "no y satisfies the lower constraints",
    "lower_unbounded": "the lower objective is unbounded below",
    "not_a_minimum": "y is not a minimum of the lower objective",
    "nonunique": "the lower solution is not unique",
    "degenerate": "a constraint is weakly active, so the gradient is not unique",
    "licq_fails": "the active constraints are dependent",
    "undefined": "the hypergradient is not defined (singular Hessian, f_y out of its range)",
    "minimum_norm": "the lower Hessian is singular and y* not unique",
    "ill_conditioned": "the condition number exceeds 1/eps",
    "nonfinite": "an oracle is not finite there",
}


def _status_fault(code):
    name = f"fault[{code}]"

    def run(implementation, case):
        return must_signal(name, implementation, case, implementation.answer(case), STATUSES.get(code, Status(code).message))

    return Check(name, 4, f"Where {STATUSES[code]}, the answer says so.", run, lambda case: case.expected_status == code)


def _made(name, sentence, sample="first", applies=oracular, adapters=None):
    def wrap(function):
        return Check(
            f"fault[{name}]",
            4,
            sentence,
            lambda implementation, case: function(f"fault[{name}]", implementation, case),
            applies,
            sample,
            adapters=adapters,
        )

    return wrap


BAD_X = {
    "wrong_length": (lambda x: np.append(x, 0.0), "x has n + 1 entries"),
    "matrix": (lambda x: np.vstack([x, x]), "x is 2-D"),
    "empty": (lambda x: x[:0], "x is empty"),
    "complex": (lambda x: x + 1e-20j, "x is complex"),
    "text": (lambda x: x.astype(str), "x is an array of strings"),
    "nan": (lambda x: np.where(np.arange(x.size) == 0, np.nan, x), "x holds NaN"),
    "infinite": (lambda x: np.where(np.arange(x.size) == 0, np.inf, x), "x holds infinity"),
}


def _bad_x(kind):
    make, what = BAD_X[kind]

    def run(implementation, case):
        answer = implementation.run("hypergradient", case, make(case.x), as_is=True)
        return must_signal(f"fault[x_{kind}]", implementation, case, answer, what)

    return Check(f"fault[x_{kind}]", 4, f"An answer is refused when {what}.", run, oracular, "first", adapters=("numpy",))


LIKE_X = {
    "list": (lambda x: [float(v) for v in np.round(x)], "a list"),
    "integers": (lambda x: np.round(x).astype(int), "an integer array"),
    "single": (lambda x: np.round(x).astype(np.float32), "a float32 array"),
}


def _like_x(kind):
    make, what = LIKE_X[kind]
    name = f"fault[x_{kind}]"

    def run(implementation, case):
        plain = implementation.run("hypergradient", case, np.round(case.x))
        other = implementation.run("hypergradient", case, make(case.x), as_is=True)
        if other.error is not None:
            fail(
                name, implementation, case, f"raised {type(other.error).__name__} for x given as {what}; numpy.asarray(x, float) accepts it"
            )
        if plain.error is None and digits(other.vector, plain.vector) < 6:
            fail(name, implementation, case, f"another answer for x given as {what}")
        return Measured()

    return Check(name, 4, f"x may be {what}.", run, oracular, "first", adapters=("numpy",))


def _with_functions(case, oracles, **functions):
    changed = case.functions and replace(case.functions, **functions)
    return replace(case, id=f"{case.id}+fault", problem=replace_oracles(case.problem, **oracles), functions=changed)


@_made("nan_from_lower", "NaN from the lower objective does not become a finite answer.", "class")
def nan_from_lower(name, implementation, case):
    problem, nan = case.problem, float("nan")
    oracles = {"g": lambda x, y: nan, "g_y": lambda x, y: problem.g_y(x, y) * nan, "g_yy": lambda x, y: problem.g_yy(x, y) * nan}
    broken = _with_functions(case, oracles, g=lambda x, y: case.functions.g(x, y) * nan)
    return must_signal(name, implementation, case, implementation.run("hypergradient", broken, case.x), "g is NaN everywhere")


@_made("nan_from_upper", "NaN from the upper objective's gradient does not become a finite answer.", "class")
def nan_from_upper(name, implementation, case):
    problem, nan = case.problem, float("nan")
    oracles = {"f": lambda x, y: nan, "f_x": lambda x, y: problem.f_x(x, y) * nan, "f_y": lambda x, y: problem.f_y(x, y) * nan}
    broken = _with_functions(case, oracles, f=lambda x, y: case.functions.f(x, y) * nan)
    return must_signal(name, implementation, case, implementation.run("hypergradient", broken, case.x), "f is NaN everywhere")


def _definite(case):
    return oracular(case) and case.problem.constraints is None and case.expected_status in ("converged", "certified")


@_made("lower_concave", "A maximum or saddle of the lower objective does not pass for a minimum.", "class", _definite)
def lower_concave(name, implementation, case):
    old = case.problem
    oracles = {k: (lambda oracle: lambda x, y: -1.0 * oracle(x, y))(getattr(old, k)) for k in ("g", "g_x", "g_y", "g_yy", "g_xy")}
    flipped = _with_functions(case, oracles, g=lambda x, y: -1.0 * case.functions.g(x, y), fixed_point=None)
    flipped = replace(flipped, problem=replace_oracles(flipped.problem, lower_solver=None))
    return must_signal(name, implementation, case, implementation.run("hypergradient", flipped, case.x), "g is concave: it has no minimum")


@_made("unused_y", "f may be free of y altogether: the answer is f_x.", "class")
def unused_y(name, implementation, case):
    m = case.problem.m
    oracles = {"f": lambda x, y: float(x @ x), "f_x": lambda x, y: 2 * x, "f_y": lambda x, y: np.zeros(m)}
    answer = implementation.run("hypergradient", _with_functions(case, oracles, f=lambda x, y: (x * x).sum()), case.x)
    if answer.error is not None:
        hint = "; in torch pass allow_unused=True or materialize_grads=True" if implementation.adapter.name == "torch" else ""
        fail(name, implementation, case, f"raised {type(answer.error).__name__} for an f without y{hint}")
    if digits(answer.vector, 2 * case.x) < 10 and np.abs(np.asarray(answer.vector) - 2 * case.x).max() > 1e-12:
        fail(name, implementation, case, f"returned {answer.vector} where f_x = {2 * case.x} is due")
    return Measured()


@_made(
    "transposed_cross",
    "A cross derivative of shape (m, n) is refused.",
    "class",
    lambda case: oracular(case) and case.problem.n != case.problem.m,
    ("numpy",),
)
def transposed_cross(name, implementation, case):
    oracle = case.problem.g_xy
    broken = _with_functions(case, {"g_xy": lambda x, y: np.ascontiguousarray(oracle(x, y).T)})
    return must_signal(name, implementation, case, implementation.run("hypergradient", broken, case.x), "g_xy has shape (m, n)")


class _Planted(RuntimeError):
    """Raised by an oracle on purpose."""


@_made("oracle_raises", "An exception of the user's functions reaches the user.", "first")
def oracle_raises(name, implementation, case):
    def broken(x, y):
        raise _Planted("planted")

    answer = implementation.run("hypergradient", _with_functions(case, {"f_y": broken, "f": broken}, f=broken), case.x)
    chain, error = [], answer.error
    while error is not None:
        chain.append(error)
        error = error.__cause__ or error.__context__
    if not any(isinstance(e, _Planted) for e in chain):
        fail(name, implementation, case, f"an exception raised by f was swallowed (answer: {answer.vector})")
    return Measured()


@_made("interrupt", "Ctrl-C during a solve is not swallowed.", "first")
def interrupt(name, implementation, case):
    def interrupted(x, y):
        raise KeyboardInterrupt

    broken = _with_functions(case, {"f_y": interrupted, "f": interrupted}, f=interrupted)
    try:
        answer = implementation.run("hypergradient", broken, case.x)
    except KeyboardInterrupt:
        return Measured()
    if answer.success is not False and answer.error is None:
        fail(name, implementation, case, "KeyboardInterrupt was swallowed; catch Exception, never BaseException")
    return Measured()


CHECKS = [
    *(_status_fault(code) for code in STATUSES),
    *map(_bad_x, BAD_X),
    *map(_like_x, LIKE_X),
    nan_from_lower,
    nan_from_upper,
    lower_concave,
    unused_y,
    transposed_cross,
    oracle_raises,
    interrupt,
]

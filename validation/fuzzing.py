"""Random problems with random faults planted, every estimator: `python -m refbilevel.validation.fuzzing 20000 [seed]`.

A run is `scenario(family, fault, method, n, m, seed)`, all small integers or names, so that a property test can shrink it. It must end in

    correct     success, and |gradient - truth| within what the answer states of its own error,
    status      success False with a sentence,
    error       a typed error (BilevelError), or the very exception that was planted in an oracle;

it is a failure if it ends in `silent` (success, and the number is off by more than it states, or there is no right number),
`crash` (any other exception) or `hang`. Truths are computed in longdouble from the data, before the fault is planted.

Stated: error_bound where it is known; else 3 error_estimate plus ten rounding floors |gradient| 10^-attainable_digits; where an answer
has none of these, the relative law of its method (10 % for one that is not exact, 1e-6 for one that is).
"""

from __future__ import annotations

import signal
import sys
import warnings
from collections import Counter
from dataclasses import dataclass, field

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import LinearOperator

from ..driver import hypergradient, kind
from ..errors import BilevelError
from ..estimators import ESTIMATORS
from ..kkt import conditions
from ..lower.solve import solve_lower
from ..problem import Constraints
from ..problem import replace as changed
from ..problems.polynomial import random_spd
from ..results import LowerSolution
from .bound_campaign import random_direction
from .fuzz_families import FAMILIES
from .watchdog import Lost, outcomes

SECONDS = 30  # of processor time a run; a run that cannot be interrupted is ended at twice that


class Planted(Exception):
    """What an oracle with a planted exception raises."""


class OutOfTime(BaseException):
    """Raised in a run that has used up its time; no handler of ordinary exceptions holds it back."""


@dataclass(frozen=True)
class Scenario:
    """hypergradient(problem, x, method, **options) and its truth (None: there is no right answer); `allowed` exceptions may come through."""

    problem: object
    x: object
    method: str
    truth: np.ndarray | None
    options: dict = field(default_factory=dict)
    allowed: tuple = (BilevelError,)
    noise: float = 0.0


# --- faults: (rng, Scenario) -> Scenario

ORACLES = ("f", "f_x", "f_y", "g", "g_x", "g_y", "g_yy", "g_xy")
ROWS = ("p", "p_x", "p_y")


def with_oracle(scenario, rng, wrap):
    """The scenario with one oracle, of the objectives or the rows, wrapped: wrap(oracle) -> oracle."""
    problem = scenario.problem
    names = [name for name in ORACLES if getattr(problem, name) is not None] + list(ROWS if problem.constraints is not None else ())
    name = str(rng.choice(names))
    if name in ROWS:
        rows = vars(problem.constraints) | {name: wrap(getattr(problem.constraints, name))}
        return {"problem": changed(problem, constraints=Constraints(**rows))}
    return {"problem": changed(problem, **{name: wrap(getattr(problem, name))})}


def derived(scenario, **changes):
    return Scenario(**{**vars(scenario), **changes})


def from_call(first, instead):
    """wrap: the oracle until call `first`, from then on instead(value)."""

    def wrap(oracle):
        calls = [0]

        def wrapped(*arguments):
            calls[0] += 1
            return oracle(*arguments) if calls[0] < first else instead(oracle(*arguments))

        return wrapped

    return wrap


def dense(value):
    """What an oracle answered, sparse arrays and operators as ndarrays."""
    return conditions.dense(value) if sparse.issparse(value) or isinstance(value, LinearOperator) else value


def healthy(rng, s):
    return s


def bad_x(rng, s):
    x = s.x
    kinds = [np.append(x, 0.0), x[:, None], x + 0j, x.astype(str), np.where(np.arange(x.size) == 0, np.nan, x), np.full(x.size, np.inf), x[:0], None]
    return derived(s, x=kinds[rng.integers(len(kinds))], truth=None)


def nan_oracle(rng, s):
    def spoil(value):
        value = np.array(dense(value), float)
        value.flat[rng.integers(value.size)] = rng.choice([np.nan, np.inf])
        return value if value.ndim else float(value)

    return derived(s, **with_oracle(s, rng, from_call(int(rng.integers(1, 6)), spoil)))


def raising_oracle(rng, s):
    def burst(value):
        raise Planted

    return derived(s, allowed=(BilevelError, Planted), **with_oracle(s, rng, from_call(int(rng.integers(1, 8)), burst)))


def interrupted(rng, s):
    def stop(value):
        raise KeyboardInterrupt

    return derived(s, allowed=(BilevelError, KeyboardInterrupt), **with_oracle(s, rng, from_call(int(rng.integers(1, 8)), stop)))


def misshapen(rng, s):
    kinds = (lambda v: None, lambda v: np.append(np.ravel(v), 1.0), lambda v: np.asarray(v)[None], lambda v: "text", lambda v: np.asarray(v) + 1j)
    spoil = kinds[rng.integers(len(kinds))]
    return derived(s, **with_oracle(s, rng, from_call(1, lambda value: spoil(dense(value)))))


def frozen_arrays(rng, s):
    """Not a fault: oracles that answer read-only, Fortran-ordered, or strided arrays."""

    def freeze(value):
        if not isinstance(value, np.ndarray):
            return value
        value = np.asfortranarray(np.repeat(value, 2, axis=-1))[..., ::2]
        value.flags.writeable = False
        return value

    return derived(s, **with_oracle(s, rng, from_call(1, freeze)))


#: what a problem of the library knows of its own g, and has to forget where g is replaced
FORGOTTEN = {"lower_solver": None, "constants": None}


def indefinite(rng, s):
    """g with a direction of negative curvature, and no rows to hold it: there is no lower solution (a quartic would have one)."""
    old, u = s.problem, random_direction(rng, s.problem.m)
    if old.solution_map is not None or not np.array_equal(old.g_yy(s.x, np.zeros(old.m)), old.g_yy(s.x, np.ones(old.m))):
        return s
    size = 1.5 * np.linalg.norm(old.g_yy(s.x, np.ones(old.m)), 2) + 1.0
    return derived(
        s, truth=None,
        problem=changed(
            old, g=lambda x, y: old.g(x, y) - 0.5 * size * (u @ y) ** 2, g_y=lambda x, y: old.g_y(x, y) - size * (u @ y) * u,
            g_yy=lambda x, y: old.g_yy(x, y) - size * np.outer(u, u), constraints=None, **FORGOTTEN,
        ),
    )  # fmt: skip


def flat_direction(rng, s):
    """g_yy singular along u: y* is not unique, and f tells the difference."""
    if s.problem.solution_map is not None:
        return s
    m, n = s.problem.m, s.problem.n
    u, B = random_direction(rng, m), rng.standard_normal((m, n))
    H = random_spd(m, 10.0, rng)
    project = np.eye(m) - np.outer(u, u)
    H, B = project @ H @ project, project @ B
    H = 0.5 * (H + H.T)
    old = s.problem
    return derived(
        s, truth=None,
        problem=changed(
            old, f=lambda x, y: 0.5 * y @ y + 3 * u @ y, f_x=lambda x, y: np.zeros(n), f_y=lambda x, y: y + 3 * u,
            g=lambda x, y: 0.5 * y @ H @ y - y @ (B @ x), g_x=lambda x, y: -B.T @ y, g_y=lambda x, y: H @ y - B @ x, g_yy=lambda x, y: H,
            g_xy=lambda x, y: -B.T, constraints=None, f_yy=lambda x, y: np.eye(m), f_xy=lambda x, y: np.zeros((n, m)),
            g_xx=lambda x, y: np.zeros((n, n)), f_xx=lambda x, y: np.zeros((n, n)), **FORGOTTEN,
        ),
    )  # fmt: skip


def scaled(rng, s):
    """g times 10^(+-150): the same y* and gradient."""
    c, old = 10.0 ** rng.uniform(-150, 150), s.problem
    if old.solution_map is not None:
        return s
    names = [name for name in ("g", "g_x", "g_y", "g_yy", "g_xy", "g_xx") if getattr(old, name)]
    return derived(s, problem=changed(old, **{name: (lambda x, y, o=getattr(old, name): c * o(x, y)) for name in names}, **FORGOTTEN))


def stopped_early(rng, s):
    """A lower solution given, off by 10^-1 ... 10^-9."""
    y = np.zeros(s.problem.m)
    if s.problem.constraints is not None or s.problem.solution_map is not None:
        y = solve_lower(s.problem, s.x).y
    else:
        for _ in range(40):
            y = y - np.linalg.solve(s.problem.g_yy(s.x, y), s.problem.g_y(s.x, y))
    return derived(s, options={**s.options, "lower": y + 10 ** rng.uniform(-9, -1) * random_direction(rng, y.size)})


def lying_solver(rng, s):
    off = 10 ** rng.uniform(-3, 1)
    claim = rng.integers(3)

    def solver(x, y0, tol):
        if claim == 0:
            raise RuntimeError("the solver failed")
        y = y0 + off
        return y if claim == 1 else LowerSolution(y=y, residual=0.0, method="own")

    return derived(s, problem=changed(s.problem, lower_solver=solver))


def bad_option(rng, s):
    options = ({"tol": -1.0}, {"nonsense": 1}, {"linear": "colesky"}, {"K": -3}, {"beta": 0.0}, {"gamma": -1.0}, {"accuracy": 0.0}, {"y0": [np.nan]})
    return derived(s, options={**s.options, **options[rng.integers(len(options))]})


def infeasible(rng, s):
    if s.problem.constraints is None:
        return s
    m, n = s.problem.m, s.problem.n
    u = random_direction(rng, m)
    G = np.vstack([u, -u])
    rows = Constraints(p=lambda x, y: G @ y + 1.0, p_x=lambda x, y: np.zeros((2, n)), p_y=lambda x, y: G, linear=True)
    return derived(s, truth=None, problem=changed(s.problem, constraints=rows))


def weakly_active(rng, s):
    """A bound through the unconstrained minimiser that moves with x: a kink."""
    problem = s.problem
    y = -np.linalg.solve(problem.g_yy(s.x, np.zeros(problem.m)), problem.g_y(s.x, np.zeros(problem.m))) if problem.constraints is not None else None
    if y is None:
        return s
    u, n = random_direction(rng, problem.m), problem.n
    rows = Constraints(p=lambda x, y2: np.array([u @ (y2 - y)]), p_x=lambda x, y: np.zeros((1, n)), p_y=lambda x, y: u[None], linear=True)
    return derived(s, truth=None, problem=changed(problem, constraints=rows), noise=1e-3)


def row_twice(rng, s):
    """Every inequality twice: y* is the same, multipliers are not unique; a success must still be right."""
    c = s.problem.constraints
    if c is None:
        return s
    twice = {name: (lambda x, y, o=getattr(c, name): np.concatenate([o(x, y)] * 2)) for name in ROWS}
    if not c.linear:
        curved = ("lagrangian_yy", "lagrangian_xy")
        twice |= {name: (lambda x, y, mu, nu, o=getattr(c, name): o(x, y, mu[: mu.size // 2] + mu[mu.size // 2 :], nu)) for name in curved}
    return derived(s, problem=changed(s.problem, constraints=Constraints(**(vars(c) | twice))))


FAULTS = {
    f.__name__: f
    for f in (
        healthy, bad_x, nan_oracle, raising_oracle, interrupted, misshapen, frozen_arrays, indefinite, flat_direction, scaled, stopped_early,
        lying_solver, bad_option, infeasible, weakly_active, row_twice,
    )
}  # fmt: skip
METHODS = ("implicit", *(name for name in ESTIMATORS if name != "implicit"))


def options_of(rng, method):
    """Options drawn from what the method has: linear method, K, beta or gamma at sensible sizes; most often the defaults."""
    known, options = ESTIMATORS[method].options, {}
    if "linear" in known and method != "kkt" and rng.random() < 0.5:
        options["linear"] = str(rng.choice(["cholesky", "lu", "ldl", "cg", "minres", "gmres", "bicgstab", "lsmr", "cg_normal"]))
    if "K" in known and rng.random() < 0.3:
        options["K"] = int(rng.integers(0, 60))
    if "rng" in known:
        options["rng"] = int(rng.integers(100))
    return options


def asked_of(rng):
    """Now and then what a caller asks of any method: a refined answer, an accuracy, a certified one."""
    kinds = [{}] * 12 + [{"refine": True}, {"accuracy": 10.0 ** -rng.integers(2, 11)}, {"accuracy": 10.0 ** -rng.integers(2, 11), "certify": True}]
    return kinds[rng.integers(len(kinds))]


def scenario(family, fault, method, n, m, seed):
    """The `Scenario` of these choices."""
    rng = np.random.default_rng([seed, n, m, list(FAMILIES).index(family), list(FAULTS).index(fault), METHODS.index(method)])
    problem, x, truth = FAMILIES[family](rng, n, m)
    options = options_of(rng, method) | asked_of(np.random.default_rng([seed, n, m]))
    return FAULTS[fault](rng, Scenario(problem, x, method, truth, options))


# --- the judgement


@dataclass(frozen=True)
class Ending:
    """`word`: correct, status, error, silent, crash or hang; `detail` the status, the error's type, or what was wrong."""

    word: str
    detail: str

    @property
    def failed(self):
        return self.word in ("silent", "crash", "hang")


def judge(s):
    """Run the scenario."""

    def too_long(signum, frame):
        raise OutOfTime

    before = signal.signal(signal.SIGPROF, too_long)
    try:
        signal.setitimer(signal.ITIMER_PROF, SECONDS, 1.0)
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            h = hypergradient(s.problem, s.x, s.method, **s.options)
    except s.allowed as error:
        return Ending("error", type(error).__name__)
    except OutOfTime:
        return Ending("hang", f"no answer within {SECONDS} s of processor time")
    except BaseException as error:  # that is what is looked for
        return Ending("crash", f"{type(error).__name__}: {error}")
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
    return _verdict(s, h)


def _verdict(s, h):
    if not h.success:
        return Ending("status", h.status.code) if h.message else Ending("silent", "a status without a sentence")
    if not np.isfinite(h.gradient).all():
        return Ending("silent", "success, and not finite")
    if s.truth is None:
        return Ending("silent", f"success ({h.status.code}) where there is no right answer: {h.gradient}")
    error, stated = float(np.linalg.norm(h.gradient - s.truth)), stated_error(s, h)
    if "accuracy" in s.options:  # to which the estimate was brought, or the bound
        stated = min(stated, (1.0 if s.options.get("certify") else 2.0) * s.options["accuracy"])
    if error <= stated:
        return Ending("correct", h.status.code)
    return Ending("silent", f"{h.status.code}: error {error:.1e}, stated {stated:.1e}, |gradient| {np.linalg.norm(s.truth):.1e}")


def stated_error(s, h):
    """What the answer says of its error."""
    size = np.linalg.norm(h.gradient) + np.linalg.norm(h.direct)
    floor = 10 * np.linalg.norm(h.gradient) * 10**-h.attainable_digits if np.isfinite(h.attainable_digits) else 1e-9 * size
    if np.isfinite(h.error_bound):
        return h.error_bound
    if np.isfinite(h.error_estimate):
        return 3 * h.error_estimate + floor + 1e-13 * size
    if h.error_estimate == np.inf:
        return np.inf  # it says that nothing is known of its error
    return floor + (1e-6 if ESTIMATORS[h.method].exact else 0.1) * size + s.noise


def fitting(family):
    """Methods that this family's lower level accepts."""
    rng = np.random.default_rng(0)
    which = kind(FAMILIES[family](rng, 2, 2)[0])
    return tuple(name for name in METHODS if which in ESTIMATORS[name].classes)


def drawn(count, seed=0):
    """The choices of `count` random scenarios."""
    fits = {family: fitting(family) for family in FAMILIES}
    for i in range(count):
        rng = np.random.default_rng([seed, i])
        family = list(FAMILIES)[rng.integers(len(FAMILIES))]
        yield family, str(rng.choice(list(FAULTS))), str(rng.choice(fits[family])), int(rng.integers(1, 5)), int(rng.integers(1, 5)), i


def judged(*choices):
    """The Ending of `scenario(*choices)`."""
    return judge(scenario(*choices))


def run(count, seed=0):
    """(choices, Ending) of `count` random scenarios, in a process that is replaced where one of them ends it."""
    for choices, ending in outcomes(judged, drawn(count, seed), 2 * SECONDS):
        yield choices, Ending(ending.word, ending.detail) if isinstance(ending, Lost) else ending


def main(count=20_000, seed=0):
    words, details, failures = Counter(), Counter(), []
    for done, (choices, ending) in enumerate(run(count, seed), 1):
        words[ending.word] += 1
        if done % 500 == 0:
            print(f"{done} of {count}: {dict(words)}", flush=True)
        if ending.failed:
            failures.append((choices, ending))
            print(f"{ending.word}: scenario{choices}: {ending.detail}", flush=True)
        else:
            details[ending.word, ending.detail] += 1
    print(f"\n{count} runs: " + ", ".join(f"{word} {words[word]}" for word in ("correct", "status", "error", "silent", "crash", "hang")))
    for (word, detail), times in sorted(details.items(), key=lambda item: (item[0][0], -item[1])):
        print(f"{times:7d}  {word:<8} {detail}")
    return len(failures)


if __name__ == "__main__":
    sys.exit(bool(main(*map(int, sys.argv[1:]))))

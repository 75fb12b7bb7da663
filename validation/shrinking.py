"""From a failure to a script: the smallest problem with small integers that still fails.

hypothesis searches quadratic programs that are built from integers, H = M M' + I by construction,

    g = y'Hy/2 + x'Cy + b'y  (s.t. Gy - Bx <= h, at most one row),   f = |y - t|^2/2 + a'x,

and shrinks what fails. Its solution is chosen first, so the truth is exact. If an implementation fails only on other classes, the
certified case itself is the script.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np

from ..errors import require
from ..problem import BilevelProblem, Constraints
from .adapters import implementation
from .arrays import constant
from .cases import Case, Functions, cases
from .checks.verdict import LIMIT, evidence, measure, passes
from .diagnosis import Diagnosis, Evidence, diagnose
from .failure import Skip
from .lre import digits
from .mutants.system import solve, system


@dataclass(frozen=True, eq=False)
class Small:
    """The integers of a small quadratic program. `row` is None or (G (m,), B (n,), mu >= 0, slack >= 0)."""

    M: np.ndarray
    C: np.ndarray
    t: np.ndarray
    a: np.ndarray
    x: np.ndarray
    y: np.ndarray
    row: tuple | None = None

    @property
    def H(self):
        return self.M @ self.M.T + np.eye(len(self.M))

    @property
    def b(self):
        force = self.H @ self.y + self.x @ self.C
        return 0.0 - force if self.row is None else 0.0 - force - self.row[2] * self.row[0]

    @property
    def h(self):
        G, B, _, slack = self.row
        return float(G @ self.y - B @ self.x + slack)


def case_of(small):
    """The `Case` of a `Small`."""
    H, C, t, a, b = small.H, small.C, small.t, small.a, small.b
    (n, m), constraints, p, mu = C.shape, None, None, np.zeros(0)

    def f(x, y):
        return ((y - constant(t, y)) ** 2).sum() / 2 + constant(a, x) @ x

    def g(x, y):
        return y @ (constant(H, y) @ y) / 2 + x @ (constant(C, y) @ y) + constant(b, y) @ y

    if small.row is not None:
        G, B, mu, _ = small.row
        h, mu = small.h, np.array([mu])

        def p(x, y):
            return (constant(G, y) @ y - constant(B, x) @ x - h).reshape(1)

        constraints = Constraints(p=p, p_x=lambda x, y: -B[None], p_y=lambda x, y: G[None], linear=True)
    problem = BilevelProblem(
        n=n,
        m=m,
        f=f,
        f_x=lambda x, y: a,
        f_y=lambda x, y: y - t,
        g=g,
        g_x=lambda x, y: C @ y,
        g_y=lambda x, y: H @ y + x @ C + b,
        g_yy=lambda x, y: H,
        g_xy=lambda x, y: C,
        f_yy=lambda x, y: np.eye(m),
        constraints=constraints,
        name="small",
    )
    return _certified(problem, Functions(f, g, p), small, mu)


def _certified(problem, functions, small, mu):
    s = system(problem, small.x, small.y, mu, np.zeros(0))
    v = solve(s.K.T, s.r)
    condition = float(np.linalg.cond(s.K))
    moved = (np.linalg.norm(small.y) + np.linalg.norm(small.t)) / np.linalg.norm(s.K, 2)  # what rounding of y does to f_y, and so to v
    scale = float(np.linalg.norm(s.C, 2) * (np.linalg.norm(v) + moved))
    reference = s.with_adjoint(v)
    size = np.linalg.norm(s.f_x) + scale
    lost = np.log10(max(condition, 1.0) * max(1.0, size / (np.linalg.norm(reference) or 1.0)))
    return Case(
        "small/lower/1",
        "small",
        "lower",
        problem,
        functions,
        small.x,
        reference,
        small.y,
        mu,
        np.zeros(0),
        "converged",
        condition,
        15.95 - lost,
        s.f_x,
        scale,
        frozenset({"small"}),
        "a quadratic program of small integers",
    )


def smalls(constrained=False, largest=3):
    """Hypothesis strategy of `Small`s; `constrained` adds one inequality, active or not, never weakly."""
    st = require("hypothesis", "test", "shrink").strategies
    entry, size = st.integers(-3, 3), st.integers(1, largest)

    @st.composite
    def draw_small(draw):
        n, m = draw(size), draw(size)

        def array(*shape):
            count = int(np.prod(shape))
            return np.array(draw(st.lists(entry, min_size=count, max_size=count)), float).reshape(shape)

        row = None
        if constrained:
            gap = draw(st.integers(1, 3)) * draw(st.sampled_from((1, -1)))
            G = array(m)
            G[0] = draw(st.sampled_from((1.0, -1.0, 2.0)))
            row = (G, array(n), float(max(gap, 0)), float(max(-gap, 0)))
        return Small(array(m, m), array(n, m), array(m), array(n), array(n), array(m), row)

    return draw_small()


@dataclass(frozen=True, eq=False)
class Shrunk:
    """The smallest failing case, both answers, the diagnosis, and the script."""

    case: Case
    answer: np.ndarray | None
    digits: float
    diagnosis: Diagnosis
    script: str


def fails(tested, case):
    """Does the implementation miss the pass line on the case?"""
    try:
        answer = tested.run("hypergradient", case, case.x)
    except Skip:
        return False
    return answer.error is not None or not passes(measure(answer, case, tested.required), tested.required)


def shrink(target, adapter="numpy", classes="all", max_examples=100, **options):
    """The `Shrunk` of an implementation, or None if nothing fails.

    Small unconstrained programs are searched first, then constrained ones (if `classes` has any), then the certified cases.
    """
    tested = implementation(target, adapter, **options)
    kinds = [False, True] if any(c.problem.constraints is not None for c in cases(classes)) else [False]
    for constrained in kinds:
        small = _find(tested, constrained, max_examples)
        if small is not None:
            return _shrunk(tested, case_of(small), small)
    failing = [c for c in cases(classes) if c.reference is not None and fails(tested, c)]
    if not failing:
        return None
    drawn = _find_drawn(tested, sorted({c.klass for c in failing}), max_examples)
    return _shrunk(tested, drawn or min(failing, key=lambda c: c.problem.n * c.problem.m), None)


def _find(tested, constrained, max_examples):
    hypothesis = require("hypothesis", "test", "shrink")
    for largest in (1, 2, 3):  # the smallest sizes first: hypothesis shrinks numbers better than shapes
        try:
            return hypothesis.find(
                smalls(constrained, largest), lambda small: fails(tested, case_of(small)), settings=_settings(max_examples)
            )
        except hypothesis.errors.NoSuchExample:
            continue
    return None


def _find_drawn(tested, classes, max_examples):
    """The smallest failing case of the public strategies, or None."""
    import hypothesis

    from .strategies import bilevel_problems

    try:
        return hypothesis.find(
            bilevel_problems(classes), lambda case: case.reference is not None and fails(tested, case), settings=_settings(max_examples)
        )
    except hypothesis.errors.NoSuchExample:
        return None


def _settings(max_examples):
    import hypothesis

    every = list(hypothesis.HealthCheck)
    return hypothesis.settings(max_examples=max_examples, deadline=None, database=None, derandomize=True, suppress_health_check=every)


def _shrunk(tested, case, small):
    answer = tested.run("hypergradient", case, case.x)
    found = diagnose(evidence(tested, case) if small is None else [_asked(tested, other) for other in _spread(small)])
    script = small_script(tested, case, small, answer, found) if small is not None else case_script(tested, case, answer, found)
    return Shrunk(case, answer.vector, digits(answer.vector, case.reference), found, script)


def _asked(tested, case):
    answer = tested.run("hypergradient", case, case.x)
    return Evidence(case, answer.vector, answer.nearest(case.y))


def _spread(small):
    """A few larger problems of the same kind, to tell formulas apart that coincide on the smallest."""
    rng = np.random.default_rng(0)

    def one(n, m):
        row = None if small.row is None else (rng.integers(1, 3, m).astype(float), rng.integers(-3, 4, n).astype(float), *small.row[2:])
        integers = [rng.integers(-3, 4, shape).astype(float) for shape in ((m, m), (n, m), m, n, n, m)]
        return case_of(Small(*integers, row))

    return [one(*shape) for shape in ((3, 4), (2, 5), (4, 3), (3, 6))]


def _array(value):
    return np.array2string(np.asarray(value), separator=", ", precision=17, max_line_width=10**6, threshold=10**6).replace("\n", "")


def _head(tested, case, answer, found):
    got = _array(answer.vector) if answer.error is None else repr(answer.error)
    value = digits(answer.vector, case.reference)
    verdict = "no digit" if not np.isfinite(value) else f"{value:.1f} digits"
    return [f'"""{verdict} where {case.attainable_digits:.1f} are attainable (test ratio limit {LIMIT:.0f}); looks like: {found}."""'], got


def _import_lines(tested):
    module, _, name = tested.name.partition(":")
    return (
        [f"from {module.removesuffix('.py')} import {name.split('.')[0]}"] if name.isidentifier() or "." in name else [f"# {tested.name}"]
    )


def small_script(tested, case, small, answer, found):
    """About a dozen lines that build the problem by hand and print both answers."""
    head, got = _head(tested, case, answer, found)
    adapter = tested.adapter.name
    lines = [
        *head,
        {"torch": "import torch", "jax": 'import jax\n\njax.config.update("jax_enable_x64", True)'}.get(adapter, "import numpy as np"),
    ]
    make = {"torch": "torch.tensor({}, dtype=torch.float64)", "jax": "jax.numpy.array({})"}.get(adapter, "np.array({})").format
    lines += ["import refbilevel as rb"] if adapter == "numpy" else ["from refbilevel.validation.adapters import FrameworkProblem"]
    lines += [*_import_lines(tested), ""]
    lines += [
        f"H, C = {make(_array(small.H))}, {make(_array(small.C))}",
        f"b, t, a = {make(_array(small.b))}, {make(_array(small.t))}, {make(_array(small.a))}",
    ]
    lines += [f"x = {make(_array(small.x))}" + (".requires_grad_()" if adapter == "torch" else "")]
    if small.row is not None:
        lines += [f"G, B, h = {make(_array(small.row[0]))}, {make(_array(small.row[1]))}, {small.h}  # G y - B x <= h"]
    functions = "f=lambda x, y: ((y - t) ** 2).sum() / 2 + a @ x, g=lambda x, y: y @ (H @ y) / 2 + x @ (C @ y) + b @ y"
    lines += _numpy_problem(case, small, functions) if adapter == "numpy" else _framework_problem(case, small, functions, adapter)
    name = tested.name.partition(":")[2] or "hypergradient"
    return "\n".join([*lines, f'print("certified", {_array(case.reference)})', f'print("answered ", {name}(problem, x))  # {got}', ""])


def _numpy_problem(case, small, functions):
    rows = (
        ""
        if small.row is None
        else (
            "\n    constraints=rb.Constraints(p=lambda x, y: np.array([G @ y - B @ x - h]),"
            " p_x=lambda x, y: -B[None], p_y=lambda x, y: G[None], linear=True),"
        )
    )
    return [
        f"problem = rb.BilevelProblem(\n    n={case.problem.n}, m={case.problem.m}, {functions},",
        "    f_x=lambda x, y: a, f_y=lambda x, y: y - t, g_x=lambda x, y: C @ y, g_y=lambda x, y: H @ y + x @ C + b,",
        f"    g_yy=lambda x, y: H, g_xy=lambda x, y: C,{rows}\n)",
    ]


def _framework_problem(case, small, functions, adapter):
    zeros = f"torch.zeros({case.problem.m}, dtype=torch.float64)" if adapter == "torch" else f"jax.numpy.zeros({case.problem.m})"
    rows = "" if small.row is None else ", p=lambda x, y: (G @ y - B @ x - h).reshape(1)"
    return [f'problem = FrameworkProblem("small", {case.problem.n}, {case.problem.m}, {functions}{rows}, y0={zeros})']


def case_script(tested, case, answer, found):
    """A script around a case of the class, for failures that no small quadratic program shows; a drawn one brings its record."""
    head, got = _head(tested, case, answer, found)
    call = f'implementation("{tested.name}", adapter="{tested.adapter.name}").answer(case).vector'
    certified = any(c.id == case.id and np.array_equal(c.x, case.x) for c in cases(case.klass))
    lines = [*head, "from refbilevel.validation import implementation", "from refbilevel.validation.cases import load_case, read_case", ""]
    lines += [f'case = load_case("{case.id}")  # {case.description}'] if certified else _record_lines(case)
    return "\n".join([*lines, 'print("certified", case.reference)', f'print("answered ", {call})  # {got}', ""])


def _record_lines(case):
    """case = read_case(...), one line for each field of the record."""
    fields = [f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in case.spec.items()]
    return ["case = read_case(r'''{", ",\n".join(fields), "}''')"]

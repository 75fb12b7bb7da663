"""Does each guard matter? Delete it and run its row of the fault list: `python validation/guards.py [rows]` from a checkout.

A guard is the line of the library that gives a row of tests/faults its documented response. Deleting one means recompiling its function
with the line replaced and exchanging the code object in place, so that every module that imported the function has the crippled one.
The row must then fail; a row that still passes does not test its guard (or the guard is not needed). For rows where something must
simply work, the edit undoes what makes it work.
"""

from __future__ import annotations

import contextlib
import importlib
import inspect
import signal
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SECONDS = 60


@dataclass(frozen=True)
class Edit:
    """In the function (or the text) `module:qualified.name`, `old` becomes `new`; modules are refbilevel's, or of the fault list."""

    target: str
    old: str
    new: str

    @property
    def place(self):
        """(holder, name, object) of the target."""
        module, name = self.target.split(":")
        holder = importlib.import_module(module if module.startswith("faults.") else f"refbilevel.{module}")
        *path, last = name.split(".")
        for part in path:
            holder = getattr(holder, part)
        return holder, last, vars(holder)[last]


@dataclass(frozen=True)
class Guard:
    """The edits that together delete the guard of one row."""

    row: int
    edits: tuple


def guard(row, *edits):
    return Guard(row, tuple(Edit(*edit) for edit in edits))


VECTOR = "problem:as_vector"
CHECKED = "problem:CheckedOracle."

GUARDS = (
    guard(1, (VECTOR, "if array.shape != (size,):", "if False:")),
    guard(2, (VECTOR, "if array.shape != (size,):", "if False:")),
    guard(3, (VECTOR, "if array.ndim == 0 and size == 1:", "if False:")),
    guard(4, (VECTOR, 'raise ShapeError(f"{name} must have shape ({size},), got a ragged sequence") from None', "raise")),
    guard(5, (VECTOR, "np.ascontiguousarray(array, np.float64)", "np.ascontiguousarray(array)")),
    guard(6, (VECTOR, 'if array.dtype.kind not in "fiub":', "if False:")),
    guard(7, (VECTOR, 'if array.dtype.kind == "c":', "if False:")),
    guard(8, (VECTOR, "np.ascontiguousarray(array, np.float64)", "np.ascontiguousarray(array)")),
    guard(9, (VECTOR, 'if array.dtype.kind == "f" and array.dtype.itemsize > 8:', "if False:")),
    guard(10, (VECTOR, "np.ascontiguousarray(array, np.float64)", "np.asarray(array, np.float64)")),
    guard(11, ("problem:BilevelProblem.__post_init__", "value < 1", "value < 0")),
    guard(11, (VECTOR, "if array.shape != (size,):", "if False:")),
    guard(12, ("linear.system:_scalar", "X = task.B / a", "X = task.B")),
    guard(13, (VECTOR, "np.ma.is_masked(value)", "False")),
    guard(14, (CHECKED + "_check", "isinstance(value, LinearOperator) or sparse.issparse(value)", "isinstance(value, LinearOperator)")),
    guard(15, (VECTOR, "if isinstance(value, np.matrix) or sparse.issparse(value):", "if False:")),
    guard(16, (VECTOR, '("torch", "jax", "jaxlib")', "()")),
    guard(17, (CHECKED + "_check", "self._check_shape(value.shape)", "pass")),
    guard(18, (CHECKED + "_check_shape", "if self.sizes.setdefault(letter, size) != size:", "if False:")),
    guard(19, (CHECKED + "_check", "if value is None:", "if False:")),
    guard(
        20,
        ("derivatives:_side_effects", "if not (np.array_equal(x0, x) and np.array_equal(y0, y)):", "if False:"),
        (CHECKED + "_ask", "if before is not None and before !=", "if False and before !="),
    ),
    guard(21, ("derivatives:_side_effects", "not np.array_equal(first, second, equal_nan=True)", "False")),
    guard(22, ("derivatives:_side_effects", 'if getattr(raw, "dtype", None) == np.float32:', "if False:")),
    guard(23, (CHECKED + "_ask", "error.add_note(", "str(")),
    guard(24, (CHECKED + "_ask", "stop.partial = {", "_ = {")),
    guard(24, ("driver:_answer", "stop.partial = lower", "pass")),
    guard(25, ("derivatives:check_problem", "if strict and not report.success:", "if False:")),
    guard(26, ("derivatives:_compare", "ok = agreement >= pass_digits", "ok = True")),
    guard(
        27,
        ("linear.refinement:judged", "if skew > ASYMMETRY_LIMIT:\n        detail", "if False:\n        detail"),
        ("estimators.implicit:_compute", "if status.success and (defect :=", "if False and (defect :="),
        ("driver:_status", "if newton is not None and (defect :=", "if False and (defect :="),
    ),
    guard(28, ("derivatives:_hint", "if isinstance(D, np.ndarray):", "if False:")),
    guard(29, ("derivatives:_operator_notes", 'raise ArgumentError(f"{name} is not a linear', 'notes.append(f"{name} is not a linear')),
    guard(30, (VECTOR, "if not np.isfinite(array).all():", "if False:")),
    guard(31, ("driver:_status", "if not all_finite(gradient):", "if False:")),
    guard(31, ("driver:_assemble", "if status is Status.NONFINITE:", "if False:")),
    guard(32, ("lower.newton:_line_search", "if decrease <= 1e-4 * t * slope and decrease < 0:", "if True:")),
    guard(33, ("problems.newton_pcg:_iterate", "if not np.isfinite(c).all():", "if False:")),
    guard(33, ("problems.linear_models:PenalisedLinearModel._ridge_solution", "if not np.isfinite(c).all():", "if False:")),
    guard(34, ("lower.newton:_solve", "if norm_r == 0 or", "if norm_r <= 1e-8 or")),
    guard(35, ("lower.convex:_explained", "if certificate is not None:", "if False:")),
    guard(36, ("lower.newton:_solve", "if _unbounded(H, r, d.s, y):", "if False:")),
    guard(36, ("lower.convex:_explained", "if ray is not None:", "if False:")),
    guard(
        37,
        ("lower.newton:_solve", "if status is Status.CONVERGED and not _convex_at(", "if False and not _convex_at("),
        ("estimators.implicit:_compute", "if probe and solution.success", "if False and solution.success"),
    ),
    guard(38, ("estimators.implicit:_compute", "elif status.success and solution.negative:", "elif False:")),
    guard(
        38,
        ("lower.convex:_checked_minimum", "if not local.minimum and not local.sets.weak.size:", "if False:"),
        ("estimators.kkt:_regular", "if not local.minimum:", "if False:"),
    ),
    guard(39, ("estimators.implicit:_compute", "(status in SINGULAR and not _hopeless(solution))", "False")),
    guard(40, ("estimators.implicit:_singular", "if least.status is not Status.MINIMUM_NORM:", "if False:")),
    guard(41, ("driver:_status", "if condition > 1e8:", "if False:")),
    guard(
        42,
        ("driver:_status", "if condition > 1 / np.finfo(float).eps:", "if False:"),
        ("linear.system:_direct", "elif factor.condition > 1.0 / EPS:", "elif False:"),
    ),
    guard(
        43,
        ("lower.convex:_checked_minimum", "return replace(solution, status=Status.NONUNIQUE", "return replace(solution, status=solution.status"),
        ("estimators.kkt:_estimate", "if local.flat:", "if False:"),
    ),
    guard(44, ("lower.gradient:_status", "Status.LOWER_MAXITER if k >= maxiter", "Status.CONVERGED if k >= maxiter")),
    guard(45, ("lower.solve:_own", "met = residual <= (1e-8 * scale if tol is None else tol)", "met = True")),
    guard(45, ("driver:_measured", "return replace(lower, residual", "return lower or replace(lower, residual")),
    guard(46, ("lower.solve:_own", "except Exception as error:", "except ZeroDivisionError as error:")),
    guard(47, ("frontends.cvxpy_.solvers:check", "if name not in installed:", "if False:")),
    guard(48, ("kkt.conditions:classify", "weak = margins <= weak_tol", "weak = margins < -1.0")),
    guard(49, ("kkt.local:analyse", "independent = not small or system.rank(A) == A.shape[0]", "independent = True")),
    guard(50, ("kkt.local:analyse", "independent = not small or system.rank(A) == A.shape[0]", "independent = True")),
    guard(51, ("kkt.solvers:solve", "if not system.A.shape[0] and method in", "if False and method in")),
    guard(52, ("kkt.system:build", "A, scale = stack_rows(at, J)", "J = J[:1]; A, scale = stack_rows(at, J)")),
    guard(53, ("kkt.local:analyse", "joint = independent or ", "joint = True or ")),
    guard(54, ("lower.convex:finish", "if solved(problem, x, polished, tol):", "if True:")),
    guard(55, ("qp.data:_bounded", "kept = np.isfinite(h)", "kept = np.ones(h.size, bool)")),
    guard(56, ("linear.system:_dispatch", "if not 0.0 < sum(task.norms.tolist()) < math.inf:", "if False:")),
    guard(57, ("linear.system:_iterative", "if curved and data.definite:", "if False:")),
    guard(58, ("linear.refinement:judged", "if status is None and not met:", "if False:")),
    guard(59, ("estimators.series:_series", "if not np.isfinite(size) or growths >=", "if False and growths >=")),
    guard(60, ("estimators.unrolled:_answer", "diverged = not last <= first", "diverged = False and not last <= first")),
    guard(60, ("lower.gradient:_status", "return Status.DIVERGED if k > 1 else Status.NONFINITE", "return Status.NONFINITE"), ("lower.gradient:_status", "if growth >= 3:", "if False:")),
    guard(61, ("estimators.equilibrium:_judge", "if error / abs(beta) > NOISE_LIMIT", "if False and error / abs(beta) > NOISE_LIMIT")),
    guard(61, ("estimators.equilibrium:_compute", "if beta is not None and not", "if False and not")),
    guard(62, ("lower.auxiliary:solve_auxiliary", "return replace(solution, status=Status.NUDGE_TOO_LARGE)", "return replace(solution, status=Status.CONVERGED)")),
    guard(63, ("lower.auxiliary:drowned", "    best = delta**-0.5", "    return None\n    best = delta**-0.5")),
    guard(64, ("lower.solve:check_tolerances", "if tol is not None and not (", "if False and not (")),
    guard(65, ("errors:unknown", "close = difflib.get_close_matches(str(name), [str(k) for k in known], n=3, cutoff=0.5)", "close = []")),
    guard(66, ("estimators.unrolled:_check", "value < 0", "value < 1")),
    guard(67, ("estimators.unrolled:_fits", "if states * size * 8 > memory:", "if False:")),
    guard(68, ("faults.rows_system:WITHOUT_NUMBA", "import sys, warnings", "import sys, warnings, importlib.util as u; u.find_spec = str")),
    guard(
        69,
        ("qp.batch:_in_threads", "zip(edges, edges[1:])", "zip(edges[:1], edges[1:])"),
        ("qp.batch:_outputs", "np.zeros(B, bool), np.empty((B, n))", "np.ones(B, bool), np.zeros((B, n))"),
    ),
    guard(70, ("errors:StatusError.__reduce__", "return type(self), (self.result,)", "return type(self), self.args")),
    guard(71, ("problems.loading:check_record", "if schema not in (SCHEMA, INFEASIBLE):", "if False:")),
    guard(71, ("problems.loading:_read", "except (ValueError, RecursionError) as error:", "except RecursionError as error:")),
    guard(72, ("validation.report.conformance_report:check_writable", 'with open(path, "a"):', "if True:")),
    guard(72, ("demo.run:_writable", 'with open(path, "a"):', "if True:")),
)


def edited(text, edits):
    """The text with its edits; LookupError where the library has changed under them."""
    for edit in edits:
        if edit.old not in text:
            raise LookupError(f"{edit.target} no longer contains {edit.old!r}")
        text = text.replace(edit.old, edit.new)
    return text


def crippled(function, edits):
    """The code object of the function with the edits applied."""
    source = edited(textwrap.dedent(inspect.getsource(function)), edits)
    tree = compile("from __future__ import annotations\n" + source, f"<{edits[0].target} without its guard>", "exec")
    return next(code for code in tree.co_consts if inspect.iscode(code) and code.co_name == function.__name__)


@contextlib.contextmanager
def without(guard):
    """The library without this guard."""
    targets, undo = {}, []
    for edit in guard.edits:
        targets.setdefault(edit.target, []).append(edit)
    try:
        for edits in targets.values():
            holder, name, found = edits[0].place
            if isinstance(found, str):
                undo.append((setattr, holder, name, found))
                setattr(holder, name, edited(found, edits))
            else:
                function = inspect.unwrap(getattr(found, "__func__", found))
                code = crippled(function, edits)
                undo.append((setattr, function, "__code__", function.__code__))
                function.__code__ = code
        yield
    finally:
        for call, *arguments in reversed(undo):
            call(*arguments)


def failure(row):
    """How the row fails; "" if it passes."""

    def too_long(signum, frame):
        raise TimeoutError(f"no answer within {SECONDS} s")

    before = signal.signal(signal.SIGALRM, too_long)
    try:
        signal.alarm(SECONDS)
        row()
    except BaseException as error:  # pytest's own failures are not Exceptions
        return f"{type(error).__name__}: {error}".splitlines()[0][:90] or type(error).__name__
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
    return ""


def caught(guard, rows):
    """What the row says without its guard; "" if it still passes."""
    with without(guard):
        return failure(rows[guard.row])


def fault_rows():
    """The fault list of this checkout."""
    sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
    from faults import rows_arguments, rows_estimators, rows_lower, rows_oracles, rows_system  # noqa: F401
    from faults.record import ROWS

    return ROWS


def main(numbers=()):
    rows = fault_rows()
    chosen = [g for g in GUARDS if not numbers or g.row in numbers]
    broken = {row: word for row in sorted({g.row for g in chosen}) if (word := failure(rows[row]))}
    for row, word in broken.items():  # what deletes nothing catches nothing
        print(f"{row:3d}  BROKEN  fails with its guards in place: {word}", flush=True)
    missed = 0
    for g in chosen:
        word = "" if g.row in broken else caught(g, rows)
        print(f"{g.row:3d}  {'caught' if word else 'MISSED':<7} {g.edits[0].target:<52} {word}", flush=True)
        missed += not word
    covered = {g.row for g in GUARDS}
    print(f"\n{len(chosen) - missed} of {len(chosen)} deletions caught; rows without a guard: {sorted(set(rows) - covered) or 'none'}")
    return missed


if __name__ == "__main__":
    sys.exit(main([int(a) for a in sys.argv[1:]]))

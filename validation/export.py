r"""Certified cases as files, for implementations that Python cannot call: the way out of the files-only door.

    refbilevel export --class ridge -o dir/        ->  dir/README.txt, dir/answers.template.json, dir/ridge.lower.1.json, ...

formats: "json" is the certified file itself (schema "refbilevel-case/1"); "npz" and "csv" hold the same arrays flattened, one array (or one
folder file) for each path in the record, e.g. g.0.yy for the matrix yy of the first term of g. The way back is an answers file,

    {"schema": "refbilevel-answers/1", "implementation": "MyLib.jl 0.3", "answers": {"ridge/lower/1": {"gradient": [...], "y": [...]}}}

read by `refbilevel check --answers answers.json` (answers.py). With certified=False the truth is left out, so that nobody can look.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from ..errors import ArgumentError, unknown
from .cases import SCHEMA, cases, class_names
from .cases.recipes.finish import text

FORMATS = ("json", "npz", "csv")


def export(folder, classes="all", difficulty=None, *, n=None, formats=("json",), certified=True):
    """Write the cases of the classes named into `folder`; the list of files written, the README first.

    Parameters
    ----------
    folder : str or Path
        Made if it does not exist.
    classes, difficulty :
        As in `refbilevel.validation.cases.cases`.
    n : int, optional
        At most so many cases of each class, easy ones first.
    formats : list of "json", "npz", "csv"
        CSV writes a folder a case, one file an array, with 17 significant digits.
    certified : bool
        False leaves the certified answers out.

    Raises
    ------
    UnknownOption
        A class, difficulty or format that does not exist.
    ArgumentError
        A folder that cannot be written, or n < 1.
    """
    if n is not None and (isinstance(n, bool) or not isinstance(n, int) or n < 1):
        raise ArgumentError(f"export: n must be an integer of at least 1 or None, got {n!r}")
    formats = (formats,) if isinstance(formats, str) else tuple(formats)
    for name in formats:
        if name not in FORMATS:
            raise unknown("format", name, FORMATS)
    chosen = [case for klass in class_names(classes) for case in cases(klass, difficulty)[:n]]
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        written = [_write(folder / "README.txt", README), _write(folder / "answers.template.json", template(chosen))]
        for case in chosen:
            spec = case.spec if certified else {k: v for k, v in case.spec.items() if k not in ("certified", "start")}
            for name in formats:
                written += WRITERS[name](folder, case.id.replace("/", "."), spec)
    except OSError as error:
        raise ArgumentError(f"export: cannot write {error.filename or folder}: {error.strerror}") from None
    return written


def template(chosen):
    """An answers file with nothing in it yet: one entry a case."""
    entries = {case.id: {"gradient": None, "y": None, "status": ""} for case in chosen}
    return json.dumps({"schema": "refbilevel-answers/1", "implementation": "name and version", "answers": entries}, indent=1) + "\n"


def flat(value, path=""):
    """{path: array or string}: the leaves of a record, nested lists of numbers being one leaf."""
    if isinstance(value, dict):
        return {k: v for key, item in value.items() for k, v in flat(item, f"{path}.{key}" if path else key).items()}
    if isinstance(value, list) and _holds_records(value):
        return {k: v for i, item in enumerate(value) for k, v in flat(item, f"{path}.{i}").items()}
    return {path: _leaf(value)}


def _holds_records(value):
    return any(isinstance(item, dict) or isinstance(item, list) and _holds_records(item) for item in value)


def _leaf(value):
    try:
        return np.array(value, float) if value is not None else np.array(np.nan)
    except (TypeError, ValueError):
        return np.array(value)


def _write(path, content):
    path.write_text(content, encoding="utf-8")
    return path


def _json(folder, name, spec):
    return [_write(folder / f"{name}.json", text(spec))]


def _npz(folder, name, spec):
    path = folder / f"{name}.npz"
    np.savez(path, **flat(spec))
    return [path]


def _csv(folder, name, spec):
    (folder / name).mkdir(exist_ok=True)
    written = []
    for key, array in flat(spec).items():
        rows = np.atleast_2d(array) if array.ndim < 2 else array
        lines = [",".join(_csv_number(v) for v in row) for row in rows]
        written.append(_write(folder / name / f"{key}.csv", "\n".join(lines) + "\n"))
    return written


def _csv_number(value):
    return repr(float(value)) if isinstance(value, np.floating) else str(value)


WRITERS = {"json": _json, "npz": _npz, "csv": _csv}

README = f"""Certified cases of refbilevel, schema {SCHEMA}.

Each case asks for the gradient at x of F(x) = f(x, y*(x)), y*(x) = argmin_y g(x, y) subject to p(x, y) <= 0 and q(x, y) = 0.
x has n entries, y has m; every matrix is a list of rows. f and g are sums of terms, each times its scale (1 if absent);
fields that are absent are zero. With r = A y + B x + c:

  quadratic    1/2 y'(yy)y + x'(xy)y + 1/2 x'(xx)x + (y)'y + (x)'x + constant
  loss         sum_i phi(r_i): square r^2/2, logistic log(1 + e^r), quartic r^4/4, exponential e^r
  ridge        1/2 sum_j exp(E x + e)_j y_j^2
  weighted     sum_j exp(E x + e)_j (S y)_j
  softmax      sum_i [log sum_c exp Z_ic - Z_i,label(i)], Z = X Y', Y = y in rows (classes, features); onehot holds the labels
  norm         |r|_2
  fixed_point  1/2 |y - tanh(W y + U x + b)|^2

p and q are vectors: first the linear rows A y + B x + c, then one row for each list in "curved", itself a sum of terms.
A layer's f is a loss in its input z = x and its output y = (inner x, inner y); "layer" holds the bilevel program inside, its
terms in s = (z, inner x) and inner y. A combinatorial case minimises g over the list "feasible".

"certified" is the truth, derived with 50 digits: gradient, y, multipliers mu (of p) and nu (of q), the direct term f_x, the status an
honest answer carries, the condition number, and the digits that double precision can attain.

Put your answers into a copy of answers.template.json (leave out what you do not solve) and judge them with

  refbilevel check --answers answers.json
"""

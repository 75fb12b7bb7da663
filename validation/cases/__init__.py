r"""Certified cases: bilevel problems with their hypergradients to 15 digits, in the manner of NIST's reference data sets.

A case is a static file in `data/` (schema "refbilevel-case/1"): the problem as terms with exact numbers, a point x, and the
truth there, computed with 50 digits by certify.py from the file alone. Difficulty is chosen so that known software fails at
"higher": condition numbers to 1e8, complementarity margins of 1e-6, near-stationary points, losses scaled by 1e-6.
"""

from __future__ import annotations

from ...errors import unknown
from .load import SCHEMA, folder, load_case, parts, read_case
from .record import DIFFICULTIES, Case, Functions

#: classes of cases, in the order of the tables
CLASSES = (
    "quadratic", "ridge", "logistic", "softmax", "quartic", "degenerate-hessian", "equality", "qp", "qp-degenerate",
    "qp-infeasible", "curved-constraint", "conic", "lasso", "fixed-point", "layer", "combinatorial",
)  # fmt: skip

#: names that stand for several classes
GROUPS = {
    "all": CLASSES,
    "smooth": ("quadratic", "ridge", "logistic", "softmax", "quartic", "degenerate-hessian", "fixed-point"),
    "constrained": ("equality", "qp", "qp-degenerate", "qp-infeasible", "curved-constraint", "conic", "lasso"),
    "map": ("layer", "combinatorial"),
}

__all__ = ["CLASSES", "DIFFICULTIES", "GROUPS", "SCHEMA", "Case", "Functions", "cases", "class_names", "load_case", "read_case"]


def class_names(classes="all"):
    """The classes meant by a class, a group, or a list of them; UnknownOption for a name that is neither."""
    chosen = []
    for name in [classes] if isinstance(classes, str) else classes:
        if name not in GROUPS and name not in CLASSES:
            raise unknown("class", name, (*GROUPS, *CLASSES))
        chosen += [c for c in GROUPS.get(name, (name,)) if c not in chosen]
    return chosen


def cases(classes="all", difficulty=None):
    """The certified cases of the classes (or groups) named, of one difficulty or of all, in the order of the tables.

    Raises UnknownOption for a class or difficulty that does not exist.
    """
    if difficulty is not None and difficulty not in DIFFICULTIES:
        raise unknown("difficulty", difficulty, DIFFICULTIES)
    chosen = class_names(classes)
    found = [parts(path) for path in folder().iterdir() if path.name.endswith(".json")]
    found = [key for key in found if key[0] in chosen and difficulty in (None, key[1])]
    found.sort(key=lambda key: (chosen.index(key[0]), DIFFICULTIES.index(key[1]), key[2]))
    return [load_case("/".join(map(str, key))) for key in found]

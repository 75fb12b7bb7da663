"""Case files to `Case` records."""

from __future__ import annotations

import json
from importlib import resources

import numpy as np

from ...errors import SchemaError, unknown
from .build import problem_and_functions
from .maps import choice_problem, layer_problem
from .record import Case

SCHEMA = "refbilevel-case/1"

#: what every case file must have
NEEDED = ("id", "class", "difficulty", "description", "tags", "truth", "n", "m", "x", "f", "certified")

#: class -> (problem, functions) of a record, where g is not the whole lower level
BUILDERS = {"layer": layer_problem, "combinatorial": choice_problem}


def load_case(id):
    """The case of this id, e.g. "ridge/average/2"."""
    path = folder() / f"{str(id).replace('/', '.')}.json"
    if not path.is_file():
        raise unknown("case", id, sorted("/".join(map(str, parts(p))) for p in folder().iterdir() if p.name.endswith(".json")))
    return read_case(path.read_text(), str(id))


def read_case(text, name="case file"):
    """The case written in `text`; SchemaError if it is corrupt or of another schema."""
    try:
        spec = json.loads(text)
    except json.JSONDecodeError as error:
        raise SchemaError(f"{name} is not valid JSON: {error}") from None
    schema = spec.get("schema") if isinstance(spec, dict) else type(spec).__name__
    if not isinstance(spec, dict) or schema != SCHEMA:
        raise SchemaError(f"{name} must have the schema {SCHEMA!r}, got {schema!r}")
    missing = [key for key in NEEDED if key not in spec]
    if missing:
        raise SchemaError(f"{name} lacks {', '.join(missing)}; files exported with certified=False cannot be read as cases")
    return case(spec)


def folder():
    return resources.files(__package__) / "data"


def parts(path):
    klass, difficulty, instance, _ = path.name.split(".")
    return klass, difficulty, int(instance)


def case(spec):
    """The `Case` of one case file's record (schema "refbilevel-case/1")."""
    problem, functions = BUILDERS.get(spec["class"], problem_and_functions)(spec)
    truth = spec["certified"]
    array = {k: np.array([float(v) for v in truth.get(k) or ()]) for k in ("y", "mu", "nu", "direct")}
    return Case(
        id=spec["id"], klass=spec["class"], difficulty=spec["difficulty"], problem=problem, functions=functions,
        x=np.array(spec["x"], float), reference=_floats(truth.get("gradient")), expected_status=truth["status"],
        condition=_float(truth.get("condition")), attainable_digits=_float(truth.get("attainable_digits")),
        indirect_scale=_float(truth.get("indirect_scale")), tags=frozenset(spec["tags"]), description=spec["description"],
        objective=_float(truth.get("objective")), generators=_floats(truth.get("generators")),
        certificate=spec.get("certificate", {}), spec=spec, **array,
    )  # fmt: skip


def _float(value):
    return np.nan if value is None else float(value)


def _floats(value):
    return None if value is None else np.vectorize(float, otypes=[float])(np.array(value))

"""The files-only door: answers computed elsewhere (Julia, C++, R, ...) judged by the same checks.

    {"schema": "refbilevel-answers/1", "implementation": "MyLib.jl 0.3",
     "answers": {"ridge/lower/1": {"gradient": [0.25, -1.5], "y": [...], "status": "converged"}, ...}}

An entry may also be the gradient's list alone; one without gradient and status counts as not answered. `y` (the lower
solution used) helps the diagnosis; a `status` other than "converged" or "certified" counts as a signal at faults. JSON's missing
numbers may be written null, "NaN" or "inf".
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import SchemaError
from .adapters import Answer, Implementation
from .failure import Skip

SCHEMA = "refbilevel-answers/1"
GOOD = ("", "converged", "certified")


@dataclass(frozen=True)
class Files:
    """Stands in the place of an adapter: nothing can be called."""

    name: str = "files"

    def array(self, value):
        return np.array(value)


@dataclass(eq=False)
class FilesImplementation(Implementation):
    """An implementation that consists of the answers it gave."""

    def answer(self, case):
        if case.id not in self.answers:
            raise Skip(f"no answer to {case.id}")
        return self.answers[case.id]

    def call(self, protocol, case, x, *arguments, **options):
        raise Skip("answers in a file cannot be asked again")


def read_answers(path):
    """The `FilesImplementation` of an answers file; SchemaError if it cannot be read."""
    try:
        record = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise SchemaError(f"answers file {str(path)!r} cannot be read: {error.strerror}") from None
    except json.JSONDecodeError as error:
        raise SchemaError(f"answers file {str(path)!r} is not valid JSON: {error}") from None
    if not isinstance(record, dict) or record.get("schema") != SCHEMA or not isinstance(record.get("answers"), dict):
        raise SchemaError(f'answers file {str(path)!r} must be an object with "schema": "{SCHEMA}" and "answers": {{case id: answer}}')
    answers = {id: _answer(id, value) for id, value in record["answers"].items() if not _blank(value)}
    name = str(record.get("implementation", Path(path).name))
    return FilesImplementation(name, {"hypergradient": read_answers}, Files(), answers=answers)


def _blank(value):
    """An entry of the template that was left as it is."""
    return value is None or (isinstance(value, dict) and value.get("gradient") is None and not value.get("status"))


def _answer(id, value):
    value = value if isinstance(value, dict) else {"gradient": value}
    status = str(value.get("status", ""))
    visited = () if value.get("y") is None else (_vector(id, "y", value["y"]),)
    gradient = np.array([np.nan]) if value.get("gradient") is None else _vector(id, "gradient", value["gradient"])
    return Answer(gradient, visited=visited, success=status in GOOD if status else None, status=status)


def _vector(id, name, value):
    try:
        return np.array([np.nan if v is None else float(v) for v in value])
    except (TypeError, ValueError):
        raise SchemaError(f"answers[{id!r}]: {name} must be a list of numbers, got {value!r}") from None

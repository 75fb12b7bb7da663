"""Run one check again by its id, and show both answers."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from ..errors import unknown
from .adapters import implementation
from .cases import load_case
from .checks import CHECKS
from .failure import CheckFailure, Skip


@dataclass(frozen=True)
class Reproduction:
    """`text` to read, `failed` to act on."""

    text: str
    failed: bool


def parse(id):
    """("value", "ridge/average/1") of "value[ridge/average/1]", of "ridge/average/1", of "invariance_x[ridge/average/1+x]"."""
    found = re.fullmatch(r"(?:(?P<check>.+?)\[)?(?P<case>[\w-]+/\w+/\d+)(?:[+@][^\]]*)?\]?", id.strip())
    if found is None:
        raise unknown("check id", id, ["value[ridge/average/1]", "ridge/average/1"])
    check = found["check"] or "value"
    if check not in CHECKS:
        raise unknown("check", check, CHECKS)
    return check, found["case"]


def reproduce(id, target, adapter="numpy", **options):
    """`Reproduction` of the check `id` on `target`."""
    name, case_id = parse(id)
    check, case, tested = CHECKS[name], load_case(case_id), implementation(target, adapter, **options)
    shown = check.change(case) if check.change else case
    lines = [
        f"{name} on {shown.id}: {case.description}",
        f"x         = {_text(shown.x)}",
        f"certified = {_text(shown.reference)}  ({shown.expected_status})",
    ]
    try:
        answer = tested.answer(shown)
        lines.append(f"answered  = {_text(answer.vector) if answer.error is None else repr(answer.error)}")
        check.run(tested, case)
    except Skip as reason:
        return Reproduction("\n".join([*lines, f"skipped: {reason}"]), False)
    except CheckFailure as failure:
        return Reproduction("\n".join([*lines, "", str(failure)]), True)
    return Reproduction("\n".join([*lines, "", "passed"]), False)


def _text(vector):
    return (
        "none (see the status)" if vector is None else np.array2string(np.asarray(vector), precision=16, max_line_width=160, threshold=20)
    )

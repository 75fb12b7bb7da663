"""The finishing touches of a record: plain JSON numbers, what the tags of "higher" ask for, and certification."""

from __future__ import annotations

import json

import numpy as np

from ...certify import certify
from .integers import TINY


def plain(value):
    """Arrays as nested lists, whole numbers as integers."""
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def near_stationary(spec, start):
    """Shift the linear term of f so that the gradient at x is about 1e-6 of the two parts that it is the difference of."""
    truth = certify(spec, start)
    gradient = np.array([float(v) for v in truth["gradient"]]) / spec["f"][0].get("scale", 1)
    grain = TINY * 2.0 ** np.ceil(np.log2(truth["indirect_scale"]))
    shifted = np.array(spec["f"][0]["x"]) - np.round(gradient / grain) * grain
    spec["f"][0]["x"] = plain(shifted + grain * np.where(np.arange(len(shifted)) % 2, -1, 1))


def finish(spec, start):
    """The complete record: tags put into effect, truth certified."""
    spec, start = plain(spec), plain(start)
    if "scaled" in spec["tags"]:
        for term in spec["f"]:
            term["scale"] = TINY
    if "near-stationary" in spec["tags"]:
        near_stationary(spec, start)
    return spec | {"certified": certify(spec, start | {"redundant": spec.get("redundant", ())})}


def text(spec):
    """JSON with one field a line and matrices kept on few lines."""
    return "{\n" + ",\n".join(f'  {json.dumps(k)}: {json.dumps(v)}' for k, v in spec.items()) + "\n}\n"

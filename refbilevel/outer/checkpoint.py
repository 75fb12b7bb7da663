"""`minimize(..., checkpoint=path)`: the point of each start, written after every accepted step, and read again by the next call.

The file is JSON of schema "refbilevel-checkpoint/1". It is written beside itself and moved into place, so that an interrupt at any
moment leaves either the old file or the new one. A call that finds the file goes on from its points: starts that had finished are at
their end points and converge at once. Methods keep no other state than x that matters for where they end.
"""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

import numpy as np

from ..errors import ArgumentError, SchemaError

SCHEMA = "refbilevel-checkpoint/1"


class Checkpoint:
    """`points` to start from; `watch(callback)` for each start in turn gives a callback that also writes the file."""

    def __init__(self, path, problem, method, points):
        self.path = Path(path)
        self.key = {"schema": SCHEMA, "problem": problem.name, "n": problem.n, "m": problem.m, "method": method}
        self.key["starts"] = [[float(v) for v in point] for point in points]
        self.points = [np.array(point, float) for point in points]
        self.steps, self.values, self.current = [0] * len(points), [None] * len(points), -1
        if self.path.exists():
            self._read()
        self._write()  # raises before the run if it cannot be

    def watch(self, callback):
        """The callback of the next start."""
        self.current += 1
        start = self.current

        def watched(iterate):
            self.points[start] = np.array(iterate.x, float)
            self.steps[start] += 1
            self.values[start] = float(iterate.fun)
            self._write()
            return callback(iterate) if callback is not None else None

        return watched

    def _read(self):
        try:
            record = json.loads(self.path.read_text(encoding="utf-8"))
            points = np.array(record["points"], float)
            steps, values = [int(k) for k in record["steps"]], list(record["values"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise SchemaError(f"checkpoint {str(self.path)!r} cannot be read ({error}); delete it to start anew") from None
        for name, value in self.key.items():
            if record.get(name) != value:
                raise ArgumentError(f"checkpoint {str(self.path)!r} is of another run: its {name} differs; delete it, or use another path")
        if points.shape != (len(self.points), self.key["n"]) or not np.isfinite(points).all():
            raise SchemaError(f"checkpoint {str(self.path)!r} holds points of the wrong shape; delete it to start anew")
        self.points, self.steps, self.values = list(points), steps, values

    def _write(self):
        record = self.key | {"points": [point.tolist() for point in self.points], "steps": self.steps, "values": self.values}
        try:
            handle, name = tempfile.mkstemp(dir=self.path.parent, prefix=f".{self.path.name}.")
            try:
                with os.fdopen(handle, "w", encoding="utf-8") as file:
                    json.dump(record, file)
                os.replace(name, self.path)
            except BaseException:
                os.unlink(name)
                raise
        except OSError as error:
            raise ArgumentError(f"checkpoint {str(self.path)!r} cannot be written: {error.strerror}") from None

"""What one run of a Krylov method answers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Run:
    """The correction d of one run. `negative`: a direction with p'Ap <= 0 was met. `flaw` says what else went wrong."""

    d: np.ndarray
    iterations: int
    met: bool
    condition: float = np.nan
    negative: bool = False
    flaw: str = ""


def apply(M, v):
    """M v, or v without a preconditioner."""
    return v if M is None else M(v)

"""Progress of a branch and bound: a line that is rewritten, or the caller's own callback."""

from __future__ import annotations

import sys
from contextlib import contextmanager

from ..errors import DtypeError


@contextmanager
def reporter(progress):
    """Yields a callable (search, bound) or None."""
    if progress is None or progress is False:
        yield None
    elif progress is True:
        try:
            yield _show
        finally:
            sys.stderr.write("\n")
    elif callable(progress):
        yield progress
    else:
        raise DtypeError(f"progress must be True, False, None or a callable, got {type(progress).__name__}")


def _show(search, bound):
    if search.nodes % 10 == 1:
        sys.stderr.write(f"\r{search.nodes} nodes, best {search.best.value:.8g}, bound {bound:.8g}")
        sys.stderr.flush()

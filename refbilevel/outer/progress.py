"""A progress bar around the callback: tqdm where it is installed, nothing printed otherwise asked."""

from __future__ import annotations

import sys
from contextlib import contextmanager


@contextmanager
def with_progress(callback, progress, maxiter):
    """Yields the callback to hand to the objective; shows F and the projected norm as it goes."""
    if not progress:
        yield callback
        return
    show, close = _display(maxiter)

    def told(iterate):
        show(iterate)
        return callback(iterate) if callback is not None else None

    try:
        yield told
    finally:
        close()


def _display(maxiter):
    try:
        from tqdm import tqdm
    except ImportError:
        return _plain, lambda: None
    bar = tqdm(total=maxiter, unit="it", leave=True, bar_format="{n_fmt} iterations {elapsed} {postfix}")

    def show(iterate):
        bar.update(1)
        bar.set_postfix_str(f"F = {iterate.fun:.6f}, |projected gradient| = {iterate.projected_norm:.1e}")

    return show, bar.close


def _plain(iterate):
    sys.stderr.write(f"{iterate.nit:4d}  F = {iterate.fun:.8f}  |projected gradient| = {iterate.projected_norm:.1e}\n")

"""Level 0: the contract. Shapes, types, inputs left alone, the same answer twice, nothing printed, no global state."""

from __future__ import annotations

import contextlib
import io
import pickle
import random
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from ..failure import CheckFailure, Measured
from .record import check, converged
from .verdict import headline, repro


def fail(name, implementation, case, text, *lines):
    raise CheckFailure(headline(name, case, text), [*lines, repro(implementation, name, case)])


def answered(name, implementation, case, x=None):
    """The answer, or a failure that names the exception."""
    answer = implementation.answer(case) if x is None else implementation.run("hypergradient", case, x)
    if answer.error is not None:
        fail(name, implementation, case, f"raised {type(answer.error).__name__}: {str(answer.error)[:200]}")
    return answer


@check(0, applies=converged)
def shape(implementation, case):
    """The answer is a real floating array of shape (n,), finite."""
    vector = answered("shape", implementation, case).vector
    expected = case.x.shape
    if vector.dtype.kind != "f":
        fail("shape", implementation, case, f"returned dtype {vector.dtype}; a real floating array is due")
    if vector.dtype.itemsize < 8:
        fail("shape", implementation, case, f"returned {vector.dtype} for float64 input; at most 7 digits survive",
             "in JAX, call jax.config.update('jax_enable_x64', True); in torch, create constants with dtype=x.dtype")  # fmt: skip
    if vector.shape != expected:
        fail("shape", implementation, case, f"returned shape {vector.shape}; (n,) = {expected} is due")
    if not np.isfinite(vector).all():
        index = int(np.argmin(np.isfinite(vector)))
        fail("shape", implementation, case, f"returned {vector[index]} at x[{index}] although the gradient exists")
    return Measured()


@check(0, applies=converged, sample="class")
def inputs_untouched(implementation, case):
    """x is not changed in place."""
    given = implementation.adapter.array(case.x)
    _run_with(implementation, case, given, "inputs_untouched")
    if not np.array_equal(implementation.adapter.to_numpy(given), case.x):
        fail("inputs_untouched", implementation, case, "x was changed in place; work on a copy: x = x.copy() (torch: x.detach().clone())")
    return Measured()


def _run_with(implementation, case, given, name):
    answer = implementation.run("hypergradient", case, given, as_is=True)
    if answer.error is not None:
        fail(name, implementation, case, f"raised {type(answer.error).__name__}: {str(answer.error)[:200]}")
    return answer


@check(0, applies=converged, sample="class")
def repeatable(implementation, case):
    """The same call gives the same bits."""
    first, second = (answered("repeatable", implementation, case, case.x).vector for _ in range(2))
    if not np.array_equal(first, second, equal_nan=True):
        fail(
            "repeatable",
            implementation,
            case,
            f"two calls differ by up to {np.max(np.abs(first - second)):.1e}; pass a seed, or keep no state between calls",
        )
    return Measured()


@check(0, applies=converged, sample="class", adapters=("numpy",))
def layout(implementation, case):
    """Read-only and strided x give the same answer as contiguous x."""
    plain = answered("layout", implementation, case, case.x).vector
    wide = np.zeros(2 * case.x.size)
    wide[::2] = case.x
    frozen = case.x.copy()
    frozen.flags.writeable = False
    for kind, x in (("strided", wide[::2]), ("read-only", frozen), ("negative-stride", case.x[::-1].copy()[::-1])):
        vector = _run_with(implementation, case, x, "layout").vector
        if not np.allclose(vector, plain, rtol=1e-12, atol=0, equal_nan=True):
            fail("layout", implementation, case, f"a {kind} x gives another answer; take numpy.ascontiguousarray(x) first")
    return Measured()


@check(0, applies=converged, sample="class")
def quiet(implementation, case):
    """Nothing is printed, and the global random states are left as they were."""
    out, err = io.StringIO(), io.StringIO()
    before = _random_states()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        answered("quiet", implementation, case, case.x)
    if out.getvalue() or err.getvalue():
        fail("quiet", implementation, case, f"printed {(out.getvalue() + err.getvalue())[:60]!r}; return a status or use logging")
    if _random_states() != before:
        fail(
            "quiet",
            implementation,
            case,
            "the global random state was advanced or reseeded; use numpy.random.default_rng(seed) or a torch.Generator",
        )
    return Measured()


def _random_states():
    torch = sys.modules.get("torch")
    state = np.random.get_state()
    return random.getstate(), state[1].tobytes(), state[2], torch.get_rng_state().numpy().tobytes() if torch else b""


@check(0, applies=converged, sample="class")
def threads(implementation, case):
    """Two threads at once get the answer that one gets."""
    alone = answered("threads", implementation, case, case.x).vector
    with warnings.catch_warnings(), ThreadPoolExecutor(2) as pool:
        warnings.simplefilter("ignore")
        both = [pool.submit(implementation.call, "hypergradient", case, case.x) for _ in range(2)]
        both = [future.result() for future in both]
    for answer in both:
        if answer.error is not None or not np.allclose(answer.vector, alone, rtol=1e-10, atol=1e-300):
            fail("threads", implementation, case, "two threads at once get another answer; keep no state in module globals")
    return Measured()


@check(0, applies=converged, sample="first", adapters=("numpy",))
def pickles(implementation, case):
    """The answer can be pickled, so it can come back from a worker process."""
    raw = answered("pickles", implementation, case, case.x).raw
    try:
        pickle.loads(pickle.dumps(raw))
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        fail("pickles", implementation, case, f"the answer cannot be pickled: {error}")
    return Measured()

"""One owner of the cores at a time.

Numba's threads and those of the BLAS spin for a while after their work, each pool unaware of the other, and code that
alternates between them can run many times slower than on one thread. So the library's rule is: whoever runs Numba kernels
in a loop enters `numba_owns_threads()`, which holds the BLAS to one thread meanwhile; `hypergradient`, `solve_lower` and `minimize` do
so for a problem with `threads="numba"`, as the large linear and softmax models are. Whoever factorises large matrices does so outside
it. Set NUMBA_NUM_THREADS (and OMP_NUM_THREADS or OPENBLAS_NUM_THREADS) to bound either pool for good; answers at 1 and 2
threads differ by the rounding of reordered sums only (tests/test_threads.py).

On a machine that others use as well, a parallel kernel waits at its end for a thread that may not be running: calls of a
millisecond then take tens. OMP_WAIT_POLICY=PASSIVE, set before Python starts, makes waiting threads sleep (1.1 s -> 0.19 s on
one such solve, and twice slower on a quiet machine); fewer threads help as well. It is the user's to set: the library changes no
environment.
"""

import functools
import threading
from contextlib import contextmanager, nullcontext

_LOCK = threading.Lock()
_OWNERS = []  # one limiter, of the first to enter, while anybody is inside: pools belong to the process


@functools.cache
def _controller():
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


@contextmanager
def numba_owns_threads():
    """BLAS on one thread while Numba's pool works; entered by several threads at once, until the last one leaves."""
    with _LOCK:
        _OWNERS.append(_OWNERS[0] if _OWNERS else _controller().limit(limits=1, user_api="blas"))
    try:
        yield
    finally:
        with _LOCK:
            limiter = _OWNERS.pop()
            if not _OWNERS:
                limiter.restore_original_limits()


def owner_for(problem):
    """`numba_owns_threads()` for a problem whose oracles are parallel kernels, else nothing."""
    return numba_owns_threads() if problem.threads == "numba" else nullcontext()

"""One owner of the cores at a time.

Numba's threads and those of the BLAS spin for a while after their work, each pool unaware of the other, and code that
alternates between them can run many times slower than on one thread. So the library's rule is: whoever runs Numba kernels
in a loop enters `numba_owns_threads()`, which holds the BLAS to one thread meanwhile; whoever factorises large matrices
does so outside it. Set NUMBA_NUM_THREADS (and OMP_NUM_THREADS or OPENBLAS_NUM_THREADS) to bound either pool for good;
answers at 1 and 2 threads differ by the rounding of reordered sums only (tests/test_threads.py).

On a machine that others use as well, a parallel kernel waits at its end for a thread that may not be running: calls of a
millisecond then take tens. OMP_WAIT_POLICY=PASSIVE, set before Python starts, makes waiting threads sleep (1.1 s -> 0.19 s on
one such solve); fewer threads help as well. It is the user's to set: the library changes no environment.
"""

import functools


@functools.cache
def _controller():
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


def numba_owns_threads():
    """Context manager: BLAS on one thread while Numba's pool works."""
    return _controller().limit(limits=1, user_api="blas")

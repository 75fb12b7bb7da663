"""One owner of the cores at a time.

Numba's threads and those of the BLAS spin for a while after their work, each pool unaware of the other, and code that
alternates between them can run many times slower than on one thread. So the library's rule is: whoever runs Numba kernels
in a loop enters `numba_owns_threads()`, which holds the BLAS to one thread meanwhile; `hypergradient`, `solve_lower` and `minimize` do
so for a problem with `threads="numba"`, as linear and softmax models are. NumPy and SciPy each bring a BLAS of their own, and those two
fight as well (24 ms for .4 ms at m = 200): for the others SciPy's, whose LAPACK factorises, keeps to one thread up to m = 1000, where
two gain little. Set NUMBA_NUM_THREADS (and OMP_NUM_THREADS or OPENBLAS_NUM_THREADS) to bound either pool for good; answers at 1 and 2
threads differ by the rounding of reordered sums only (tests/test_threads.py).

On a machine that others use as well, a parallel kernel waits at its end for a thread that may not be running: calls of a
millisecond then take tens. OMP_WAIT_POLICY=PASSIVE, set before Python starts, makes waiting threads sleep (1.1 s -> 0.19 s on
one such solve, and twice slower on a quiet machine); fewer threads help as well. It is the user's to set: the library changes no
environment.
"""

import functools
import re
import threading
from contextlib import nullcontext

#: sizes m for which SciPy's BLAS keeps to one thread; below, LAPACK does not use more
SMALL = range(65, 1001)


_LOCK = threading.Lock()
_HELD = {}  # {library file: (how many hold it, its threads before the first)}: pools belong to the process, and so does their count


class _Held:
    """Context manager: some BLAS libraries on one thread; each until the last of those who hold it leaves, from whatever Python thread."""

    def __init__(self, path):
        self.path = re.compile(path)

    @functools.cached_property
    def libraries(self):
        from threadpoolctl import ThreadpoolController

        import scipy.linalg.lapack  # noqa: F401  (a library that is not loaded yet would not be found)

        found = ThreadpoolController().lib_controllers
        return [library for library in found if library.user_api == "blas" and self.path.search(library.filepath)]

    def __enter__(self):
        with _LOCK:
            for library in self.libraries:
                holders, before = _HELD.get(library.filepath) or (0, library.get_num_threads())
                if holders == 0:
                    library.set_num_threads(1)
                _HELD[library.filepath] = holders + 1, before

    def __exit__(self, *exception):
        with _LOCK:
            for library in self.libraries:
                holders, before = _HELD.pop(library.filepath)
                if holders == 1:
                    library.set_num_threads(before)
                else:
                    _HELD[library.filepath] = holders - 1, before


_ALL, _SCIPY = _Held(""), _Held(r"scipy(\.libs|/\.dylibs)")


def numba_owns_threads():
    """Context manager: BLAS on one thread while Numba's pool works."""
    return _ALL


def owner_for(problem):
    """What holds the threads while a problem is worked on: `numba_owns_threads()` where its oracles are parallel kernels."""
    if problem.threads == "numba":
        return _ALL
    return _SCIPY if problem.m in SMALL else nullcontext()

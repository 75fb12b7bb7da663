"""Where Numba is not installed: the kernels as plain NumPy, slow and with the same answers.

While `numba` is missing, a stand-in is put in its place for as long as it takes to import the modules that use it, and taken away
again: njit and overload return the function itself, prange is range, there is one thread.
"""

from __future__ import annotations

import importlib
import pkgutil
import sys
import types
import warnings

USERS = ("refbilevel.problems.design", "refbilevel.qp.batch")


def _decorator(*arguments, **options):
    if len(arguments) == 1 and callable(arguments[0]) and not options:
        return arguments[0]
    return lambda function: function


def stand_in():
    """{"numba": module, "numba.extending": module}."""
    numba, extending = types.ModuleType("numba"), types.ModuleType("numba.extending")
    numba.njit, numba.prange, numba.get_num_threads, numba.extending = _decorator, range, lambda: 1, extending
    extending.overload = lambda original: lambda function: function
    return {"numba": numba, "numba.extending": extending}


def import_kernels():
    """Import every module that needs Numba with the stand-in in its place, and warn once."""
    warnings.warn("Numba is not installed: refbilevel's kernels run as plain Python, with the same answers, slowly", RuntimeWarning, stacklevel=3)
    replaced = {name: sys.modules.get(name) for name in ("numba", "numba.extending")}
    sys.modules.update(stand_in())
    try:
        kernels = importlib.import_module("refbilevel.kernels")
        for found in pkgutil.iter_modules(kernels.__path__):
            importlib.import_module(f"refbilevel.kernels.{found.name}")
        for name in USERS:
            importlib.import_module(name)
    finally:
        for name, module in replaced.items():
            del sys.modules[name]
            if module is not None:
                sys.modules[name] = module

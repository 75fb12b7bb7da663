"""The conformance kit: certified cases, checks that name the fault, and doors for other people's implementations.

Names are imported on first use, as in the package itself.
"""

from importlib import import_module as _import_module

_PUBLIC = {
    "digits": "lre",
    "load_case": "cases",
    "CLASSES": "cases",
}

__all__ = sorted(_PUBLIC)


def __getattr__(name):
    if name in _PUBLIC:
        return getattr(_import_module(f"refbilevel.validation.{_PUBLIC[name]}"), name)
    raise AttributeError(f"module 'refbilevel.validation' has no attribute {name!r}")


def __dir__():
    return sorted([*globals(), *_PUBLIC])

"""Typed errors: what the caller did wrong, in one sentence that names the argument and the mend.

Errors are for programmers' mistakes. Numerical trouble is a `Status` in the result (results.py);
`strict=True` turns that status into a `StatusError`, which carries the result.
"""

from __future__ import annotations

import difflib


class BilevelError(Exception):
    """Root of every error that refbilevel raises on purpose."""


class ArgumentError(BilevelError, ValueError):
    """An argument has a value that cannot be used."""


class ShapeError(ArgumentError):
    """An array has the wrong shape."""


class DtypeError(BilevelError, TypeError):
    """An array or an oracle's answer has a type that cannot be used."""


class MissingDerivative(BilevelError, ValueError):
    """A method needs an oracle that the problem does not have."""


class UnknownOption(ArgumentError):
    """A name (method, option, problem) is not known; the message lists the close matches."""


class ConvexityError(ArgumentError):
    """A model written in CVXPY that its rules (DCP, DPP) do not accept; names the smallest offending expression and the mend."""


class SchemaError(ArgumentError):
    """A file is corrupt, or of a newer schema than this version reads."""


class MissingDependency(BilevelError, ImportError):
    """An optional package is needed for what was asked."""


class PrecisionWarning(UserWarning):
    """Digits of an argument were dropped."""


class StatusError(BilevelError, RuntimeError):
    """Raised under strict=True for a result whose status is not a success; see `.result`."""

    def __init__(self, result):
        super().__init__(result.message)
        self.result = result

    def __reduce__(self):
        return type(self), (self.result,)


class NotConverged(StatusError):
    """An iteration ended before its tolerance."""


class Degenerate(StatusError):
    """The hypergradient is not unique at this point."""


#: names that an UnknownOption lists at most
SHOWN = 40


def unknown(kind, name, known):
    """UnknownOption for `name`, listing close matches among `known`."""
    close = difflib.get_close_matches(str(name), [str(k) for k in known], n=3, cutoff=0.5)
    names = [str(k) for k in known]
    shown = ", ".join(names[:SHOWN]) + (f", ... ({len(names)} in all)" if len(names) > SHOWN else "")
    hint = f"did you mean {' or '.join(map(repr, close))}?" if close else f"known: {shown}"
    return UnknownOption(f"unknown {kind} {name!r}; {hint}")


def require(module, extra, purpose):
    """Import `module` or raise MissingDependency naming the extra to install."""
    import importlib

    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingDependency(
            f"{purpose} needs {module.split('.')[0]}; install it with: pip install 'refbilevel[{extra}]'"
        ) from error

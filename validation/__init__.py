"""The conformance kit: is a hypergradient right, by how many digits, and if not, what does it look like?

from refbilevel.validation import parametrize_with_checks

@parametrize_with_checks("mylib.bilevel:hypergradient", adapter="torch", classes=["smooth", "qp"], level=2)
def test_conformance(check):
    check()
"""

from importlib import import_module as _import_module

_PUBLIC = {
    "digits": "lre",
    "check_implementation": "conformance",
    "parametrize_with_checks": "conformance",
    "ConformanceReport": "report",
    "CheckFailure": "failure",
    "CHECKS": "checks",
    "MUTANTS": "mutants",
    "diagnose": "diagnosis",
    "load_case": "cases",
    "CLASSES": "cases",
    "implementation": "adapters",
    "shrink": "shrinking",
}

__all__ = sorted(_PUBLIC)


def __getattr__(name):
    if name in _PUBLIC:
        return getattr(_import_module(f"refbilevel.validation.{_PUBLIC[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return sorted([*globals(), *_PUBLIC])

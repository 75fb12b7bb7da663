"""The reference itself, over all classes and levels: no check fails."""

import pytest

import refbilevel as rb
from refbilevel.validation import check_implementation
from refbilevel.validation.cases import CLASSES

PROTOCOLS = {
    "solve_lower": lambda problem, x: rb.solve_lower(problem, x),
    "vjp": lambda problem, x, y_bar: rb.sensitivity(problem, x).vjp(y_bar),
    "step": lambda problem, x, rate: x - rate * rb.hypergradient(problem, x).gradient,
}


@pytest.mark.parametrize("klass", CLASSES)
def test_the_reference_passes_every_level(klass):
    report = check_implementation(rb.hypergradient, classes=[klass], level=5, protocols=PROTOCOLS)
    assert report.outcomes and report.exit_code == 0, report.summary() + "\n\n" + "\n\n".join(o.message for o in report.failures)

"""Tests of the tests: every check fails on an implementation with the fault it is for, and says so in a readable message."""

import numpy as np
import pytest
from faulty import PROOFS, WITHOUT_CASES, right

import refbilevel as rb
from refbilevel.errors import BilevelError
from refbilevel.validation import CheckFailure, implementation
from refbilevel.validation.cases import cases
from refbilevel.validation.checks import CHECKS
from refbilevel.validation.checks.values import hull_distance
from refbilevel.validation.conformance import _sampled

ALL = cases()

#: estimators with the knob that an error law is about
WITH_KNOB = {
    "beta_slope": lambda problem, x, beta=1e-3: rb.hypergradient(problem, x, method="equilibrium", phases="one_sided", beta=beta),
    "gamma_slope": lambda problem, x, gamma=1e3: rb.hypergradient(problem, x, method="value_function", gamma=gamma),
    "K_slope": lambda problem, x, K=100: rb.hypergradient(problem, x, method="neumann", K=K),
    "linear_in_K": lambda problem, x, K=100: rb.hypergradient(problem, x, method="reverse", K=K),
}


def cases_for(check):
    """The cases a check runs on, those of average difficulty first."""
    return sorted(_sampled(CHECKS[check], ALL), key=lambda c: c.difficulty != "average")


def test_every_check_has_a_proof():
    assert set(PROOFS) | WITHOUT_CASES == set(CHECKS)
    assert not [name for name in WITHOUT_CASES if cases_for(name)]


@pytest.mark.parametrize("name,index", [(name, i) for name, faulty in PROOFS.items() for i in range(len(faulty))])
def test_a_check_fails_where_it_must(name, index):
    """On at least one of its first cases, and with CheckFailure, which names the check and how to repeat it."""
    check, caught = CHECKS[name], []
    for case in cases_for(name)[:12]:
        made = PROOFS[name][index](case)
        tested = (
            implementation(made["hypergradient"], **{k: v for k, v in made.items() if k != "hypergradient"})
            if isinstance(made, dict)
            else implementation(made)
        )
        try:
            check.run(tested, case)
        except CheckFailure as failure:
            caught.append(str(failure))
            break
    assert caught, f"{name} let its fault pass"
    assert caught[0].startswith(f"FAIL {name}[") and f'refbilevel repro "{name}[' in caught[0]


@pytest.mark.parametrize("name", [n for n in CHECKS if n not in WITHOUT_CASES])
def test_the_reference_passes_on_an_average_case(name):
    protocols = {
        "solve_lower": lambda problem, x: rb.solve_lower(problem, x).y,
        "vjp": lambda problem, x, u: rb.sensitivity(problem, x).vjp(u),
        "step": lambda problem, x, rate: x - rate * right(problem, x),
    }
    case = next(c for c in cases_for(name) if c.klass not in ("equality", "layer", "combinatorial") or name == "fault[nonunique]")
    CHECKS[name].run(implementation(WITH_KNOB.get(name, rb.hypergradient), **protocols), case)


def test_a_failure_is_an_assertion_and_a_library_error_and_travels_between_processes():
    import pickle

    failure = CheckFailure("FAIL value[x]", ["why"])
    assert isinstance(failure, AssertionError) and isinstance(failure, BilevelError)
    assert str(pickle.loads(pickle.dumps(failure))) == str(failure) == "FAIL value[x]\n  why"


def test_the_message_names_term_digits_conditioning_cause_and_command():
    case = next(c for c in cases("ridge") if c.difficulty == "average")
    tested = implementation(lambda problem, x: 2 * case.direct - case.reference)
    with pytest.raises(CheckFailure) as caught:
        CHECKS["value"].run(tested, case)
    lines = str(caught.value).splitlines()
    assert (
        lines[0].startswith("FAIL value[ridge/average/") and "implicit term" in lines[0] and "attainable" in lines[0] and "> 30" in lines[0]
    )
    assert "|a-ref|/|ref| =" in lines[1] and "cos =" in lines[1] and "worst component x[" in lines[1]
    assert "kappa =" in lines[2]
    assert lines[-1].strip().startswith('repro: refbilevel repro "value[ridge/average/')


@pytest.mark.parametrize(
    "point,distance", [([0.5, 0.5], 0.0), ([1.0, 0.0], 0.0), ([1.0, 1.0], np.sqrt(0.5)), ([0.0, 0.0], 0.0), ([-1.0, 0.0], 1.0)]
)
def test_distance_to_a_triangle(point, distance):
    triangle = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    assert hull_distance(np.array(point), triangle) == pytest.approx(distance, abs=1e-12)

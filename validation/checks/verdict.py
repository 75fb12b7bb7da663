r"""The pass line and the message.

    ratio = |a - ref| / (kappa eps (|f_x| + |g_xy| |v|)) <= 30,

the test ratio of LAPACK's testers, normalised by what is added up rather than by the gradient, which vanishes near a
stationary point. kappa is the case's condition number, eps = 2^-52.
"""

from __future__ import annotations

import numpy as np

from ..cases import cases
from ..diagnosis import Evidence, diagnose
from ..failure import CheckFailure, Measured, Skip
from ..lre import digits

EPS = np.finfo(float).eps
LIMIT = 30.0


def measure(answer, case, required=None):
    """`Measured` digits and ratio of an answer against the case's reference."""
    attainable = case.attainable_digits
    enough = attainable - np.log10(LIMIT)
    return Measured(
        digits(answer.vector, case.reference), attainable, enough if required is None else min(required, enough), ratio(answer.vector, case)
    )


def ratio(vector, case):
    """The test ratio; inf if the shape is wrong or an entry is not finite."""
    vector = np.asarray(vector)
    if vector.shape != case.reference.shape or not np.isfinite(vector).all():
        return np.inf
    scale = np.linalg.norm(case.direct) + case.indirect_scale or 1.0
    error = float(np.linalg.norm(vector - case.reference))
    return 0.0 if error == 0 else error / max(case.condition * EPS * scale, 1e-300)


def passes(measured, required=None):
    return measured.ratio <= LIMIT or (required is not None and measured.digits >= measured.required)


def demand(implementation, check, case, change=None):
    """Measure the implementation's gradient on the case; raise `CheckFailure` if it misses the pass line."""
    answer = implementation.answer(case)
    required = implementation.required
    if answer.error is not None:
        raise CheckFailure(
            headline(check, case, f"raised {type(answer.error).__name__}: {_first_line(answer.error)}"),
            [repro(implementation, check, case)],
        ) from answer.error
    measured = measure(answer, case, required)
    if passes(measured, required):
        return measured
    found = None if required_only(measured) else explain(implementation, case, change)
    lines = [*_comparison(answer, case), f"looks like: {found}" if found else "", repro(implementation, check, case)]
    limits = f"attainable {measured.attainable:.1f}, required {measured.required:.1f}"
    text = f"{part(answer.vector, case):14s} {measured.digits:.1f} digits ({limits})"
    raise CheckFailure(headline(check, case, f"{text}   ratio {measured.ratio:.1e} > {LIMIT:.0f}"), filter(None, lines), measured, found)


def required_only(measured):
    """Within three digits of what is attainable: an accuracy short of the line, not another formula."""
    return measured.attainable - measured.digits < 2.0 and measured.digits > 8.0


def headline(check, case, text):
    return f"FAIL {check}[{case.id}]  {text}"


def repro(implementation, check, case):
    adapter = "" if implementation.adapter.name == "numpy" else f" --adapter {implementation.adapter.name}"
    return f'repro: refbilevel repro "{check}[{case.id}]" --impl {implementation.name}{adapter}'


def part(vector, case):
    """Which term is off: the direct term if the error is a multiple of it and nothing else, else the implicit term."""
    error = np.asarray(vector) - case.reference
    if np.shape(error) != np.shape(case.direct) or not np.isfinite(error).all():
        return "gradient"
    size = np.linalg.norm(case.direct)
    if size == 0 or np.linalg.norm(error) == 0:
        return "implicit term"
    along = (error @ case.direct) / size
    return (
        "direct term"
        if np.linalg.norm(error - along * case.direct / size) < 1e-6 * np.linalg.norm(error) and case.problem.n > 1
        else "implicit term"
    )


def _comparison(answer, case):
    a, ref = answer.vector, case.reference
    if np.shape(a) != ref.shape:
        return [f"shape {np.shape(a)} where (n,) = {ref.shape} is due"]
    if not np.isfinite(a).all():
        return [f"not finite: component x[{int(np.argmin(np.isfinite(a)))}] is {a[~np.isfinite(a)][0]}"]
    error, size, own = np.abs(a - ref), np.linalg.norm(ref), np.linalg.norm(a)
    worst = int(np.argmax(error))
    relative = np.linalg.norm(error) / size if size else np.inf
    cosine = f"   cos = {(a @ ref) / (own * size):+.3f}" if own * size > 0 else ""
    first = f"|a-ref|/|ref| = {relative:.2e}{cosine}   worst component x[{worst}]: {a[worst]:+.6g} vs {ref[worst]:+.6g}"
    return [first, f"kappa = {case.condition:.1e}" + _lower(answer, case) + _linear(answer)]


def _lower(answer, case):
    y = answer.nearest(case.y)
    if y is None:
        return ""
    error = np.linalg.norm(y - case.y) / max(1.0, np.linalg.norm(case.y))
    verdict = "fine" if error <= max(1e-6, 1e3 * EPS * min(case.condition, 1e10)) else "not converged"
    return f"   error of the y used: {error:.0e} ({verdict})"


def _linear(answer):
    residual = getattr(getattr(answer.raw, "linear", None), "residual", None)
    return "" if residual is None else f"   linear residual of your v: {residual:.0e} ({'fine' if residual < 1e-10 else 'not converged'})"


def _first_line(error):
    return (str(error).splitlines() or [""])[0][:200]


def explain(implementation, case, change=None):
    """The diagnosis over all instances of the case's class, remembered by the implementation.

    Instances are changed like the case only if the unchanged ones explain nothing.
    """
    plain = _remembered(implementation, case, None)
    return plain if plain.matched or change is None else _remembered(implementation, case, change)


def _remembered(implementation, case, change):
    key = (case.klass, getattr(change, "__name__", ""))
    if key not in implementation.diagnoses:
        implementation.diagnoses[key] = diagnose(evidence(implementation, case, change))
    return implementation.diagnoses[key]


def evidence(implementation, case, change=None):
    """Answers of the implementation on every instance of the class, and on the case itself."""
    instances = {c.id: c for c in (_changed(c, change) for c in _siblings(case)) if c is not None}
    if change is not None or case.id.count("+") == 0:
        instances[case.id] = case
    found = []
    for instance in instances.values():
        try:
            answer = implementation.answer(instance)
        except Skip:
            continue
        found.append(Evidence(instance, answer.vector, answer.nearest(instance.y)))
    return found


def _siblings(case):
    try:
        return cases(case.klass)
    except ValueError:  # a class of the user's own: the case stands alone
        return []


def _changed(case, change):
    if case.reference is None:
        return None
    return case if change is None else change(case)

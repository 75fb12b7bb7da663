"""error_bound, the active-set certificate, accuracy= and refine="extended": against truths computed in longdouble and mpmath."""

import numpy as np
import pytest

import refbilevel as rb
from refbilevel import certificates
from refbilevel.certificates import bounds
from refbilevel.errors import ArgumentError
from refbilevel.problem import replace
from refbilevel.results import LinearSolution
from refbilevel.validation import bound_campaign as campaign

from examples import quadratic, quartic, spd

X3 = np.array([0.3, -0.7, 1.1])


def violated(verdicts):
    return [v for v in verdicts if v.violated]


def test_no_bound_is_violated_and_few_overestimate():
    verdicts = list(campaign.run(108, seed=1))
    assert not violated(verdicts)
    over = [v.bound / v.error for v in verdicts if np.isfinite(v.bound) and v.error > 0]
    assert len(over) > 75 and np.median(over) < 20


def test_sums_that_cancel_do_not_break_the_bound_at_rounding_level():
    """Ridge with m = 1: f_y = B'(B y - s) / N is a millionth of its terms or less at y*, and rounds like them."""
    broken = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        A, B, t, x = rng.standard_normal((12, 1)), rng.standard_normal((12, 1)), rng.standard_normal(12), rng.uniform(-2, 0, 1)
        e, (LA, Lt, LB, Lx) = rng.standard_normal(12), (np.asarray(part, campaign.LONG) for part in (A[:, 0], t, B[:, 0], x[0]))
        H = LA @ LA / 12 + np.exp(Lx)
        y = LA @ Lt / 12 / H
        s = np.asarray(LB * y, float) + e - B[:, 0] * (B[:, 0] @ e) / (B[:, 0] @ B[:, 0]) + 10.0 ** -rng.uniform(6, 12)
        truth = -np.exp(Lx) * y * (LB @ (LB * y - np.asarray(s, campaign.LONG)) / 12) / H
        problem = rb.problems.ridge(A, t, B, s)
        constants = {name: value for name, value in problem.constants.items() if not name.startswith("size")}
        h, blind = (rb.hypergradient(p, x) for p in (problem, replace(problem, constants=constants)))
        assert abs(h.gradient[0] - truth) <= h.error_bound, seed
        broken += abs(blind.gradient[0] - truth) > blind.error_bound
    assert broken


def test_a_campaign_of_so_many_bounds_has_so_many():
    verdicts = list(campaign.run_until_bounds(20, seed=1, families=("qp",)))
    assert sum(np.isfinite(v.bound) for v in verdicts) == 20 < len(verdicts) and np.isfinite(verdicts[-1].bound)


def test_a_violated_bound_and_a_wrong_active_set_fail_the_campaign(monkeypatch, capsys):
    assert campaign.main(24) == 0
    monkeypatch.setattr(campaign.Verdict, "violated", property(lambda v: v.family == "logistic"))
    assert campaign.main(24) > 0
    assert "0 violated" not in capsys.readouterr().out.split("QPs solved")[1]


def test_the_estimate_is_within_five_percent():
    ratios = campaign.asymptotic(v for v in campaign.run(72, seed=2, families=("quadratic", "logistic")))
    assert len(ratios) > 20
    assert np.mean(np.abs(np.array(ratios) - 1) <= 0.05) == 1


@pytest.mark.long
def test_no_bound_is_violated_in_ten_thousand_problems():
    verdicts = list(campaign.run_until_bounds(10_000, seed=3))
    assert not violated(verdicts)
    assert not any(v.wrong for _, v in campaign.run_margins(5_000, seed=3))


def test_without_its_rounding_term_the_bound_is_violated(monkeypatch):
    monkeypatch.setattr(bounds, "ROUNDING", 0.0)
    monkeypatch.setattr(bounds, "smallest_eigenvalue", lambda H, factor, v: float(np.linalg.eigvalsh(H)[0]))
    rng = np.random.default_rng(0)
    assert violated([campaign.judge(campaign.stopped_quadratic(rng, 1e-14), 1e-14) for _ in range(60)])


@pytest.mark.parametrize("condition", [1e1, 1e6, 1e12, 1e15])
@pytest.mark.parametrize("m", [5, 30, 80])
def test_the_least_eigenvalue_is_proved_from_below(m, condition):
    H, true = spd(m, condition, seed=m), 1 / condition
    for factor, least in ((None, 0.99), (rb.linear.factorize(H), 0.5)):
        found = bounds.smallest_eigenvalue(H, factor)
        assert found <= true * (1 + 1e-12) + 1e-16
        assert found >= least * true - 20 * m**1.5 * 2.0**-53


def test_a_guess_above_the_least_eigenvalue_is_not_believed(monkeypatch):
    H = spd(40, 1e3)
    monkeypatch.setattr(bounds, "_inverse_norm", lambda factor, v: 100.0)
    assert bounds.smallest_eigenvalue(H, rb.linear.factorize(H)) == pytest.approx(1e-3)


@pytest.mark.parametrize("names", [("L_f",), ("L_f", "L_H")])
def test_a_constant_that_is_too_small_is_found_out(names):
    found = []
    for i in range(40):
        stopped = campaign.stopped_logistic(np.random.default_rng(i), 1e-1)
        wrong = replace(stopped.problem, constants={**stopped.problem.constants, **dict.fromkeys(names, 0.0)})
        found.append(campaign.judge(campaign.Stopped(**{**vars(stopped), "problem": wrong}), 1e-1))
    assert violated(found)


def test_without_a_constant_of_convexity_kantorovich_bounds():
    for i in range(30):
        stopped = campaign.stopped_logistic(np.random.default_rng(i), 1e-3)
        known = {k: v for k, v in stopped.problem.constants.items() if k in bounds.LIPSCHITZ} | {"L_B": float(np.exp(stopped.x.max()))}
        verdict = campaign.judge(campaign.Stopped(**{**vars(stopped), "problem": replace(stopped.problem, constants=known)}), 1e-3)
        assert np.isfinite(verdict.bound) and not verdict.violated


@pytest.mark.parametrize("method,options", [("neumann", {"K": 5}), ("reverse", {"K": 20}), ("value_function", {}), ("nystrom", {"rank": 2})])
def test_every_method_is_bounded_by_the_newton_point(method, options):
    problem = rb.problems.random_quadratic(3, 5, condition=20, rng=3)
    truth = rb.hypergradient(problem, X3).gradient
    h = rb.hypergradient(problem, X3, method=method, **options)
    error = np.linalg.norm(h.gradient - truth)
    assert error <= h.error_bound <= 2 * error + 1e-6


def test_no_constants_no_bound():
    assert np.isnan(rb.hypergradient(quadratic()[0], X3).error_bound)


def test_certified_active_sets_are_right():
    table = list(campaign.run_margins(120, seed=4))
    assert not any(v.wrong for _, v in table)
    assert all(v.certified for margin, v in table if margin >= 1e-6)
    assert not any(v.certified for margin, v in table if margin <= 1e-12)


def test_a_certified_answer_says_so():
    stopped = campaign.stopped_qp(np.random.default_rng(0), 0.0, 0.1)
    h = rb.hypergradient(stopped.problem, stopped.x)
    assert h.status == "certified" and h.success and "active set" in h.message
    assert np.linalg.norm(h.gradient - np.asarray(stopped.truth, float)) <= h.error_bound < 1e-9


@pytest.mark.parametrize("accuracy", [1e-2, 1e-6, 1e-10])
@pytest.mark.parametrize("options", [{}, {"linear": "cg"}])
def test_accuracy_tightens_until_it_is_met(accuracy, options):
    problem = quartic()
    h = rb.hypergradient(problem, [0.4, -0.3], accuracy=accuracy, **options)
    assert h.success
    assert np.linalg.norm(h.gradient - rb.hypergradient(problem, [0.4, -0.3]).gradient) <= accuracy


def test_accuracy_certified_by_the_bound():
    problem = rb.problems.random_quadratic(3, 5, condition=20, rng=3)
    h = rb.hypergradient(problem, X3, accuracy=1e-8, certify=True)
    assert h.status == "certified" and h.error_bound <= 1e-8


@pytest.mark.parametrize(
    "options,words",
    [
        ({"accuracy": 1e-17}, "Rounding leaves"),
        ({"accuracy": 1e-8, "method": "neumann", "K": 3}, "neumann"),
        ({"accuracy": 1e-8, "certify": True}, "constants"),
    ],
)
def test_accuracy_out_of_reach_is_explained(options, words):
    h = rb.hypergradient(quadratic()[0], X3, **options)
    assert h.status == "inaccurate" and not h.success and words in h.message


@pytest.mark.parametrize("options", [{"accuracy": -1.0}, {"accuracy": "high"}, {"certify": True}, {"refine": "twice"}])
def test_wrong_requests_raise(options):
    with pytest.raises(ArgumentError):
        rb.hypergradient(quadratic()[0], X3, **options)


def test_extended_refinement_gains_the_digits_that_the_condition_costs():
    problem, _ = quadratic(condition=1e9)
    truth = rb.reference(problem, X3).gradient

    def error(**options):
        return np.linalg.norm(rb.hypergradient(problem, X3, **options).gradient - truth) / np.linalg.norm(truth)

    assert error() > 1e-11
    if np.finfo(np.longdouble).nmant > 60:
        assert error(refine="extended") < 1e-2 * error()


def test_a_condition_whose_square_overflows_is_infinite():
    assert certificates.seen_condition(LinearSolution(np.ones(1), 0.0, condition=1e200, method="cg_normal")) == np.inf
    assert certificates.seen_condition(LinearSolution(np.ones(1), 0.0, condition=1e200, method="cg")) == 1e200

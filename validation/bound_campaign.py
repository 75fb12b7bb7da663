"""The promise of `error_bound`, `error_estimate` and `certified`, put to the proof on random problems: `python -m refbilevel.validation.bound_campaign 10000`.

Families: quadratic (closed form), l2-logistic, QP with a chosen active set. Each is stopped short: the lower solution is moved by
`accuracy`, the adjoint solved by a Krylov method to that relative residual. Truths are computed here, in NumPy's longdouble by Newton's
method and refinement, from the data alone; nothing of the library is used for them.
"""

from __future__ import annotations

import itertools
import sys
from collections import defaultdict
from dataclasses import dataclass

import numpy as np

from ..driver import hypergradient
from ..problems import logistic, quadratic
from ..problems.polynomial import random_spd
from ..problems.quadratic_bilevel import QuadraticBilevel
from ..results import LowerSolution

ACCURACIES = tuple(10.0**-k for k in range(1, 13))
MARGINS = ACCURACIES
LONG = np.longdouble


def solve_long(A, b, rounds=6):
    """A^{-1} b refined on longdouble residuals, A (N, N) longdouble."""
    double = np.asarray(A, float)
    z = np.zeros_like(b)
    for _ in range(rounds):
        z = z + np.linalg.solve(double, np.asarray(b - A @ z, float))
    return z


@dataclass(frozen=True)
class Stopped:
    """A problem, its point, the truth in longdouble, and the lower solution and options of a run stopped at an accuracy."""

    family: str
    problem: object
    x: np.ndarray
    truth: np.ndarray
    lower: object
    options: dict
    active: tuple = ()
    margin: float = np.inf


def random_direction(rng, size):
    u = rng.standard_normal(size)
    return u / np.linalg.norm(u)


def stopped_quadratic(rng, accuracy):
    n, m = rng.integers(1, 6), rng.integers(1, 8)
    A, P = random_spd(m, 10 ** rng.uniform(0, 4), rng), random_spd(m, 10.0, rng)
    C, R, Q = rng.standard_normal((n, m)), rng.standard_normal((n, m)), random_spd(n, 10.0, rng)
    c, p, q, x = rng.standard_normal(m), rng.standard_normal(m), rng.standard_normal(n), rng.standard_normal(n)
    long = [np.asarray(a, LONG) for a in (A, P, C, R, Q, c, p, q, x)]
    LA, LP, LC, LR, LQ, Lc, Lp, Lq, Lx = long
    y = solve_long(LA, -(LC.T @ Lx + Lc))
    truth = LQ @ Lx + Lq + LR @ y - LC @ solve_long(LA, LP @ y + Lp + LR.T @ Lx)
    problem = quadratic(A, C, c, P=P, p=p, Q=Q, q=q, R=R)
    return Stopped("quadratic", problem, x, truth, np.asarray(y, float) + accuracy * random_direction(rng, m), {"linear": "cg", "rtol": accuracy})


def stopped_logistic(rng, accuracy):
    m, N = rng.integers(1, 6), rng.integers(8, 30)
    A, B, w = rng.standard_normal((N, m)), rng.standard_normal((N, m)), rng.standard_normal(m)
    t, s = (np.where(M @ w + rng.standard_normal(N) > 0, 1.0, -1.0) for M in (A, B))
    x = rng.uniform(-5, 1, m)
    LA, LB, e = np.asarray(A, LONG), np.asarray(B, LONG), np.exp(np.asarray(x, LONG))
    y = np.zeros(m, LONG)
    for _ in range(60):
        r, d = logistic_slopes(LA @ y, t)
        g_y, H = LA.T @ r / N + e * y, (LA.T * d) @ LA / N + np.diag(e)
        step = solve_long(H, g_y)
        y = y - step * min(LONG(1), 2 / max(np.abs(step).max(), LONG(1e-300)))
    r, d = logistic_slopes(LA @ y, t)
    H = (LA.T * d) @ LA / N + np.diag(e)
    truth = -e * y * solve_long(H, LB.T @ logistic_slopes(LB @ y, s)[0] / N)
    problem = logistic(A, t, B, s, penalties="per-feature")
    return Stopped("logistic", problem, x, truth, np.asarray(y, float) + accuracy * random_direction(rng, m), {"linear": "cg", "rtol": accuracy})


def logistic_slopes(z, t):
    """First and second derivatives of log(1 + exp(-t z)) in z."""
    sigma = 1 / (1 + np.exp(t * z))
    return -t * sigma, sigma * (1 - sigma)


def stopped_qp(rng, accuracy, margin=None):
    """A QP whose multipliers and slacks are drawn first, the smallest of them `margin`."""
    n, m = int(rng.integers(1, 5)), int(rng.integers(2, 7))
    k = m + 1
    J = int(rng.integers(1, m))
    margin = 10 ** rng.uniform(-3, 0) if margin is None else margin
    N = n + m
    P, U, C = random_spd(m, 10 ** rng.uniform(0, 2), rng), random_spd(N, 10.0, rng), rng.standard_normal((n, m))
    G, E = rng.standard_normal((k, m)), rng.standard_normal((k, n))
    x, y, c, d = rng.standard_normal(n), rng.standard_normal(m), rng.standard_normal(m), rng.standard_normal(N)
    mu = np.concatenate([margin + rng.random(J), np.zeros(k - J)])
    slack = np.concatenate([np.zeros(J), margin + rng.random(k - J)])
    tight = rng.integers(k)
    (mu if tight < J else slack)[tight] = margin
    c = -(P @ y + C.T @ x + G.T @ mu)
    Qg = np.block([[np.eye(n), C], [C.T, P]])
    problem = QuadraticBilevel(
        n=n, m=m, upper=(U, d), lower=(Qg, np.concatenate([np.zeros(n), c])), lower_rows=(np.hstack([E, G]), G @ y + E @ x + slack)
    )
    rows = problem.lower.inequalities
    Lb, LG, LE = np.asarray(rows.b, LONG), np.asarray(G, LONG), np.asarray(E, LONG)
    K = np.zeros((m + J, m + J), LONG)
    K[:m, :m], K[:m, m:], K[m:, :m] = problem.lower.objective.yy(x, y), LG[:J].T, LG[:J]
    Lx, LU = np.asarray(x, LONG), np.asarray(problem.upper.objective.Q, LONG)
    LC = np.asarray(problem.lower.objective.xy(x, y), LONG)
    z = solve_long(K, np.concatenate([-(LC.T @ Lx + np.asarray(c, LONG)), (Lb - LE @ Lx)[:J]]))
    gradient = LU @ np.concatenate([Lx, z[:m]]) + np.asarray(d, LONG)
    w = solve_long(K, np.concatenate([gradient[n:], np.zeros(J, LONG)]))
    truth = gradient[:n] - np.hstack([LC, LE[:J].T]) @ w
    exact = (z[m:] > 0).all() and ((Lb - LE @ Lx - LG @ z[:m])[J:] > 0).all()
    lower = LowerSolution(
        y=np.asarray(z[:m], float) + accuracy * random_direction(rng, m), nu=np.zeros(0), residual=accuracy, method="given",
        mu=np.maximum(np.concatenate([np.asarray(z[m:], float), np.zeros(k - J)]) + accuracy * random_direction(rng, k) * (np.arange(k) < J), 0),
    )  # fmt: skip
    active = tuple(range(J)) if exact else None
    return Stopped("qp", problem, x, truth, lower, {"linear": "minres", "rtol": accuracy}, active, margin)


MAKERS = {"quadratic": stopped_quadratic, "logistic": stopped_logistic, "qp": stopped_qp}


@dataclass(frozen=True)
class Verdict:
    """One run against the truth: true error, bound, estimate, residual, rounding floor, certified?"""

    family: str
    accuracy: float
    error: float
    bound: float
    estimate: float
    residual: float
    floor: float
    certified: bool
    wrong: bool

    @property
    def violated(self):
        return np.isfinite(self.bound) and self.error > self.bound


def judge(stopped, accuracy):
    """Run `hypergradient` on a `Stopped` and compare with its truth."""
    h = hypergradient(stopped.problem, stopped.x, lower=stopped.lower, **stopped.options)
    error = float(np.linalg.norm(np.asarray(h.gradient - stopped.truth, float))) if np.isfinite(h.gradient).all() else np.nan
    proved = h.extra.get("certificate")
    certified = proved is not None and proved.holds
    wrong = bool(certified and tuple(proved.active) != stopped.active)
    floor = np.linalg.norm(h.gradient) * 10 ** -h.attainable_digits if np.isfinite(h.attainable_digits) else np.nan
    return Verdict(stopped.family, accuracy, error, h.error_bound, h.error_estimate, h.residual, float(floor), bool(certified), wrong)


def run(count, seed=0, families=tuple(MAKERS)):
    """`count` Verdicts, families and accuracies in turn."""
    return itertools.islice(_endless(seed, families), count)


def run_until_bounds(count, seed=0, families=tuple(MAKERS)):
    """As many Verdicts as it takes for `count` of them to have a bound (a QP stopped too early has none)."""
    known = 0
    for verdict in _endless(seed, families):
        known += np.isfinite(verdict.bound)
        yield verdict
        if known == count:
            return


def _endless(seed, families):
    for i in itertools.count():
        rng, family = np.random.default_rng([seed, i]), families[i % len(families)]
        accuracy = ACCURACIES[(i // len(families)) % len(ACCURACIES)]
        yield judge(MAKERS[family](rng, accuracy), accuracy)


def run_margins(count, seed=0):
    """(margin, Verdict) of `count` QPs solved by the library itself, margins in turn."""
    for i in range(count):
        margin = MARGINS[i % len(MARGINS)]
        stopped = stopped_qp(np.random.default_rng([seed, i]), 0.0, margin)
        yield margin, judge(Stopped(**{**vars(stopped), "lower": None, "options": {}}), 0.0)


def table(verdicts):
    """Rows of text: a family and accuracy each, with violations, median overestimate and the spread of estimate / error."""
    cells = defaultdict(list)
    for v in verdicts:
        cells[v.family, v.accuracy].append(v)
    lines = [f"{'family':<10} {'accuracy':>8} {'runs':>6} {'bounds':>6} {'violated':>8} {'median over':>11} {'max over':>9}  estimate/error (5 %..95 %)"]
    for (family, accuracy), group in sorted(cells.items(), key=lambda item: (item[0][0], -item[0][1])):
        known = [v for v in group if np.isfinite(v.bound)]
        over = [v.bound / v.error for v in known if v.error > 0] or [np.nan]
        ratios = asymptotic(group) or [np.nan]
        lines.append(
            f"{family:<10} {accuracy:8.0e} {len(group):6d} {len(known):6d} {sum(v.violated for v in group):8d} {np.median(over):11.2f} "
            f"{np.max(over):9.1f}  {np.quantile(ratios, 0.05):.3f} .. {np.quantile(ratios, 0.95):.3f} ({len(asymptotic(group))})"
        )
    return "\n".join(lines)


def asymptotic(verdicts):
    """estimate / error of the runs with |g_y| <= 1e-3 whose error is above 100 rounding floors."""
    return [v.estimate / v.error for v in verdicts if v.residual <= 1e-3 and v.error > 100 * v.floor and np.isfinite(v.estimate)]


def main(count=10_000):
    """`count` bounds and half as many QPs solved by the library; returns how many bounds were violated or active sets wrong."""
    verdicts = list(run_until_bounds(count))
    bounds = [v for v in verdicts if np.isfinite(v.bound)]
    over = [v.bound / v.error for v in bounds if v.error > 0]
    ratios = asymptotic([v for v in verdicts if v.family != "qp"])
    print(table(verdicts))
    violated, wrong = sum(v.violated for v in verdicts), sum(v.wrong for v in verdicts)
    print(f"\n{len(verdicts)} runs, {len(bounds)} bounds, {violated} violated, median overestimate {np.median(over):.2f}")
    print(f"{sum(v.certified for v in verdicts)} active sets certified, {wrong} wrong")
    print(f"estimate within 5 % of the error in {np.mean(np.abs(np.array(ratios) - 1) <= 0.05):.2%} of {len(ratios)} runs with |g_y| <= 1e-3")
    margins = defaultdict(list)
    for margin, verdict in run_margins(count // 2):
        margins[margin].append(verdict)
    print(f"\n{'margin':>8} {'QPs':>6} {'certified':>9} {'wrong':>6}")
    for margin, group in sorted(margins.items(), reverse=True):
        print(f"{margin:8.0e} {len(group):6d} {np.mean([v.certified for v in group]):9.1%} {sum(v.wrong for v in group):6d}")
    violated += sum(v.violated for group in margins.values() for v in group)
    wrong += sum(v.wrong for group in margins.values() for v in group)
    solved = sum(len(group) for group in margins.values())
    print(f"\n{solved} QPs solved; in all {violated} bounds violated, {wrong} active sets wrong")
    return violated + wrong


if __name__ == "__main__":
    sys.exit(bool(main(*map(int, sys.argv[1:]))))

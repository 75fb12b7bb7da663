"""Each picture draws what it was given: the data of its lines, not its looks."""

import numpy as np
import pytest

import refbilevel as rb

from examples import quadratic

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")
PROBLEM, _ = quadratic(2, 3)
PROBLEM = rb.problem.replace(PROBLEM, f=lambda x, y: y @ y + x @ x, f_x=lambda x, y: 2 * x, f_y=lambda x, y: 2 * y)


def test_convergence_shows_the_history():
    run = rb.minimize(PROBLEM, np.ones(2))
    ax = rb.plot.convergence(run)
    np.testing.assert_allclose(ax.lines[0].get_ydata(), np.maximum([h.projected_norm for h in run.history], 1e-17))
    both = rb.plot.convergence({"a": run, "b": run}, what="fun")
    assert len(both.lines) == 2 and both.get_ylabel() == "F - best F"


def test_landscape_is_the_value_along_the_line():
    ax = rb.plot.landscape(PROBLEM, [0.1, 0.2], direction=[0, 1.0], points=5)
    t, F = ax.lines[0].get_data()
    for s, value in zip(t, F):
        x = np.array([0.1, 0.2 + s])
        assert value == pytest.approx(PROBLEM.f(x, rb.solve_lower(PROBLEM, x).y))
    assert rb.plot.landscape(PROBLEM, [0.1, 0.2], [1.0, 0], [0, 1.0], points=5).collections


def test_sweeps_and_profiles():
    betas = np.array([1e-1, 1e-2, 1e-3])
    ax = rb.plot.beta_sweep({"symmetric": (betas, betas**2)}, slopes={"symmetric": 2})
    np.testing.assert_allclose(ax.lines[0].get_ydata(), ax.lines[1].get_ydata())
    assert rb.plot.error_vs_cost({"cg": ([1, 2], [1e-1, 1e-3])}).get_legend()
    steps = rb.plot.profile({"a": [1, 2, np.nan], "b": [2, 2, 5]}).lines
    assert steps[0].get_ydata()[-1] == pytest.approx(2 / 3) and steps[1].get_ydata()[-1] == 1.0


def test_heatmap_writes_the_digits():
    ax = rb.plot.digits_heatmap({"ridge": {"lower": 14.2, "higher": 7.0}, "qp": {"lower": 3.3}})
    assert sorted(text.get_text() for text in ax.texts) == ["14.2", "3.3", "7.0"]

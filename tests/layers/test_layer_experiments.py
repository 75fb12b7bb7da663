"""The two experiments at reduced size: their pieces against independent truths, and that they run to a table and a figure."""

from itertools import combinations

import numpy as np
import pytest

from refbilevel.validation.experiments import adversarial_paths as paths
from refbilevel.validation.experiments import robust_control as control
from refbilevel.validation.experiments.worked import mean_and_interval, save, table

from examples import difference


def test_intervals_are_those_of_student():
    mean, half = mean_and_interval([1.0, 2.0, 4.0, 5.0])
    assert mean == 3.0 and half == pytest.approx(3.182446305 * np.sqrt(10 / 3) / 2)


def test_stacked_states_are_the_simulated_ones():
    rng = np.random.default_rng(0)
    plant = control.system(rng)
    s, u, w = rng.standard_normal(2), rng.standard_normal(control.HORIZON), rng.standard_normal(control.HORIZON)
    stacked, now = (plant.S @ s + plant.L @ u + plant.M @ w).reshape(control.HORIZON, 2), s
    for t in range(control.HORIZON):
        now = plant.A @ now + plant.B[:, 0] * u[t] + plant.E[:, 0] * w[t]
        np.testing.assert_allclose(stacked[t], now, rtol=1e-12)


def test_the_control_layer_is_the_bounded_least_squares_of_the_closed_loop_map():
    """With w = K (S s + L u) the program is min |(1 + M K)(S s + L u)|^2 + r |u|^2 in the box; its derivative by differences."""
    from scipy.optimize import lsq_linear

    plant = control.system(np.random.default_rng(1))
    s, inside = np.array([1.2, -0.7]), control.layer(plant)
    z = np.append(s, np.log(control.PRICE - 1.0))
    assert plant.rho == pytest.approx(plant.floor * (1 + np.exp(z[2])))
    u, w = inside.solve(z)
    np.testing.assert_allclose(w, control.best_response(plant, s, u), rtol=1e-10, atol=1e-12)
    T = np.eye(len(plant.S)) + plant.M @ np.linalg.solve(plant.rho * np.eye(control.HORIZON) - plant.M.T @ plant.M, plant.M.T)
    A, b = np.vstack([T @ plant.L, np.sqrt(plant.r) * np.eye(control.HORIZON)]), np.append(-T @ plant.S @ s, np.zeros(control.HORIZON))
    np.testing.assert_allclose(u, lsq_linear(A, b, (-control.LIMIT, control.LIMIT), method="bvls", tol=1e-14).x, atol=1e-8)
    bars = np.arange(1.0, 6.0), np.ones(control.HORIZON)
    slopes = difference(lambda z: np.concatenate(bars) @ np.concatenate(inside.solve(z)), z, 1e-3)
    np.testing.assert_allclose(inside.vjp(z, *bars), slopes, rtol=1e-7, atol=1e-8)


@pytest.mark.slow
def test_the_control_study_runs_and_the_price_is_found():
    header, rows, draw, *notes = control.study(seeds=range(2))
    assert [row[0] for row in rows] == ["LQR", "QP layer (two-step)", "bilevel layer"] and "Claim" in notes[1]
    assert 0.8 < float(notes[0].split(": ")[1].split(" ")[0]) < 1.2
    assert table(header, rows).count("\n") == 4


def test_two_stage_is_right_where_the_model_is():
    Phi, C = paths.maps(np.random.default_rng(0), 30, 6, affine=True)
    np.testing.assert_allclose(paths.two_stage(Phi, C), [4.0, 1.0, 0.5, 0.0, 0.0], atol=0.1)


def test_the_game_is_the_enumerated_one():
    layer, enters = paths.game(side=3, budget=2)
    cells = np.random.default_rng(2).uniform(0.5, 3.0, 9)
    c = paths.on_edges(cells[:, None], enters)[:, 0]
    assert (c[enters < 0] == 0).all() and (layer.delay[enters < 0] == 0).all()
    x, y = layer.solve(c)
    pairs = [np.isin(np.arange(layer.size), pair).astype(float) for pair in combinations(range(layer.size), 2)]
    assert paths.length(layer, c, x) == pytest.approx(max(paths.length(layer, c, x) for x in pairs)) == pytest.approx(layer.value(c))
    assert c @ y + layer.delay @ (x * y) == pytest.approx(layer.value(c))


def test_the_path_study_runs_to_a_table_and_a_figure(tmp_path):
    small = dict(path=dict(counts=(6, 4, 5), epochs=2, side=4), interdiction=dict(counts=(4, 3, 4), epochs=1, side=3))
    header, rows, draw, *notes = paths.study(seeds=range(2), **small)
    assert {row[0] for row in rows} == {"path", "interdiction", "path, affine truth"} and len(rows) == 16 and len(notes) == 10
    assert all("±" in row[2] for row in rows)
    save(draw, tmp_path / "paths.png")
    assert (tmp_path / "paths.png").stat().st_size > 5000


@pytest.mark.slow
def test_learning_through_the_path_layer_lowers_the_regret():
    trials = [paths.path_trial(seed) for seed in range(3)]
    mean = {name: np.mean([t[name] for t in trials]) for name in trials[0]}
    assert all(mean[name] < mean["two-stage"] < mean["untrained"] for name in ("blackbox", "identity", "perturbed"))
    again = paths.path_trial(0)
    assert again == trials[0]  # fixed seeds

"""A batch says what single calls say, member by member, regular or not, with blocks stacked or shared."""

import numpy as np
import pytest
from qp_truth import BLOCKS, cotangents_of, problem

import refbilevel.errors as errors
from refbilevel import Status, solve_qp, solve_qp_batch
from refbilevel.qp import batch as batch_module


def stacks(B, n=6, m=5, p=2):
    members = [problem(n, seed=s, m=m, p=p)[0] for s in range(B)]
    return {name: np.stack([member[name] for member in members]) for name in BLOCKS}


def agree(batch, blocks, bars):
    gradient = batch.vjp(*bars)
    for i in range(len(batch)):
        single = solve_qp(**{name: None if v is None else v[i % len(v)] for name, v in blocks.items()})
        assert batch.status[i] is single.status
        for name in ("y", "mu", "nu", "active", "margin"):
            np.testing.assert_allclose(getattr(batch, name)[i], getattr(single, name), atol=1e-14)
        g = single.vjp(*(bar[i] for bar in bars))
        for name in BLOCKS:
            if getattr(g, name) is not None:
                np.testing.assert_allclose(getattr(gradient, name)[i], getattr(g, name), atol=1e-13)


def test_stacked_blocks():
    blocks = stacks(7)
    batch = solve_qp_batch(**blocks)
    assert batch.success.all() and not batch.singles
    agree(batch, blocks, cotangents_of(blocks))
    np.testing.assert_array_equal(batch[3].y, solve_qp(**{k: v[3] for k, v in blocks.items()}).y)


@pytest.mark.parametrize("shared", ["P", "q", "G", "A", "PGA"])
def test_shared_blocks(shared):
    blocks = stacks(4)
    short = {name: value[0] if name in shared else value for name, value in blocks.items()}
    full = {name: value[:1] if name in shared else value for name, value in blocks.items()}
    agree(solve_qp_batch(**short), full, cotangents_of(blocks))


def test_members_that_need_a_closer_look():
    """Regular, weakly active, infeasible, unbounded (P singular), duplicated row, no bound: each its own status."""
    P = np.stack([np.eye(2)] * 6)
    P[3] = np.diag([1.0, 0.0])
    G = np.stack([np.array([[1.0, 0.0], [-1.0, 0.0]])] * 6)
    G[4, 1] = [1.0, 0.0]
    h = np.array([[0.5, 9], [1, 9], [-1, -1], [5, 9], [0, 0], [np.inf, 9]])
    blocks = dict(P=P, q=-np.ones((6, 2)), G=G, h=h, A=None, b=None)
    batch = solve_qp_batch(P, blocks["q"], G, h)
    assert batch.status == [
        Status.CONVERGED, Status.DEGENERATE, Status.LOWER_INFEASIBLE, Status.LOWER_UNBOUNDED, Status.LICQ_FAILS, Status.CONVERGED,
    ]  # fmt: skip
    assert batch.success.tolist() == [True, False, False, False, False, True]
    agree(batch, blocks, (np.ones((6, 2)), np.ones((6, 2))))
    assert np.isnan(batch.vjp(np.ones((6, 2))).q[2:4]).all()


def test_absent_blocks():
    batch = solve_qp_batch(np.eye(2), np.array([[1.0, 2.0], [3.0, 4.0]]))
    np.testing.assert_allclose(batch.y, [[-1, -2], [-3, -4]])
    g = batch.vjp(np.ones((2, 2)))
    assert g.G is None and g.b is None and g.P.shape == (2, 2, 2)


@pytest.mark.parametrize("change,kind,words", [
    (dict(q=np.ones((3, 6))), errors.ShapeError, "leading"), (dict(h=np.ones((4, 4))), errors.ShapeError, "each member of G"),
    (dict(G=None), errors.ArgumentError, "together"), (dict(q=np.full((4, 6), np.nan)), errors.ArgumentError, "q must be finite"),
])  # fmt: skip
def test_bad_stacks(change, kind, words):
    with pytest.raises(kind, match=words):
        solve_qp_batch(**{**stacks(4), **change})


def test_bad_cotangents():
    batch = solve_qp_batch(**stacks(2))
    with pytest.raises(errors.ShapeError, match="y_bar"):
        batch.vjp(np.ones(6))


def test_threads_give_equal_digits(monkeypatch):
    blocks = stacks(70)
    bars, answers = cotangents_of(blocks), []
    for workers in (1, 2, 3):
        monkeypatch.setattr(batch_module, "workers_for", lambda B, least, workers=workers: workers)
        batch = solve_qp_batch(**blocks)
        answers.append((batch.y, *batch.vjp(*bars)))
    for others in answers[1:]:
        assert all((a == b).all() for a, b in zip(answers[0], others))


def test_a_thread_is_started_for_a_millisecond_of_work_only(monkeypatch):
    monkeypatch.setattr(batch_module, "get_num_threads", lambda: 4)
    assert [batch_module.workers_for(B, 100) for B in (1, 199, 200, 350, 10_000)] == [1, 1, 2, 3, 4]

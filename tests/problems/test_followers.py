"""Joined followers: oracles against the single followers', in matrix form and in general, with and without rows."""

import itertools

import numpy as np
import pytest

import refbilevel as rb
from refbilevel.errors import ArgumentError
from refbilevel.problem import counted, replace

PAIRS = [("BardFalk1982Ex1", "BardFalk1982Ex2"), ("MuuQuy2003Ex2", "AiyoshiShimizu1984Ex2"), ("DempeLohse2011Ex31a", "HTP_quad06b"), ("BardFalk1982Ex1", "YALMIP_bard_exp")]
PAIRS += [("Colson2002BIPA2", "F01"), ("Colson2002BIPA2", "Colson2002BIPA2"), ("Colson2002BIPA5", "F01"), ("Colson2002BIPA5", "Outrata1990Ex2d"), ("Colson2002BIPA3", "Colson2002BIPA1")]


def follower(name):
    if name == "F01":  # no rows at all
        return rb.QuadraticBilevel(n=1, m=2, upper=(np.eye(3), [1, 2, 3]), lower=([[1, 2, 3], [2, 4, 1], [3, 1, 5]], [1, 1, 1]))
    return rb.problems.load(name)


def pair(first, second):
    a, b = follower(first), follower(second)
    if a.n != b.n:
        pytest.skip("different n")
    return a, b


@pytest.mark.parametrize("names", PAIRS, ids="+".join)
def test_every_oracle_is_the_sum_or_the_blocks(names):
    a, b = pair(*names)
    joint = rb.join_followers([a, b])
    assert joint.m == a.m + b.m and isinstance(joint, rb.QuadraticBilevel) == all(isinstance(p, rb.QuadraticBilevel) for p in (a, b))
    rng = np.random.default_rng(0)
    x, y = rng.uniform(0.1, 1, a.n), rng.uniform(0.1, 1, joint.m)
    u, v = y[: a.m], y[a.m :]
    view, _ = counted(joint)
    for letter in "fg":
        get = lambda p, suffix, w: getattr(p, letter + suffix)(x, w)
        assert get(view, "", y) == pytest.approx(get(a, "", u) + get(b, "", v))
        assert get(view, "_x", y) == pytest.approx(get(a, "_x", u) + get(b, "_x", v))
        assert get(view, "_y", y) == pytest.approx(np.concatenate([get(a, "_y", u), get(b, "_y", v)]))
        assert get(view, "_xx", y) == pytest.approx(get(a, "_xx", u) + get(b, "_xx", v))
        assert get(view, "_xy", y) == pytest.approx(np.hstack([get(a, "_xy", u), get(b, "_xy", v)]))
        block = get(view, "_yy", y)
        assert block[: a.m, : a.m] == pytest.approx(get(a, "_yy", u)) and block[a.m :, a.m :] == pytest.approx(get(b, "_yy", v))
        assert not block[: a.m, a.m :].any()
    rows_are_stacked(view.constraints, [a.constraints, b.constraints], "pq", x, y, (u, v), (a.m, b.m))
    rows_are_stacked(view.upper_constraints, [a.upper_constraints, b.upper_constraints], "GH", x, y, (u, v), (a.m, b.m))


def rows_are_stacked(joint, singles, letters, x, y, parts, sizes):
    for letter in letters:
        values = [getattr(s, letter)(x, w) if s is not None and getattr(s, letter) else np.zeros(0) for s, w in zip(singles, parts)]
        if not sum(map(len, values)):
            assert joint is None or getattr(joint, letter) is None
            continue
        assert getattr(joint, letter)(x, y) == pytest.approx(np.concatenate(values))
        by_x = [getattr(s, letter + "_x")(x, w) for s, w, r in zip(singles, parts, values) if len(r)]
        assert getattr(joint, letter + "_x")(x, y) == pytest.approx(np.vstack(by_x))
        jacobian = getattr(joint, letter + "_y")(x, y)
        k = len(values[0])
        for (i, rows), (j, columns) in itertools.product(enumerate((slice(0, k), slice(k, None))), enumerate((slice(0, sizes[0]), slice(sizes[0], None)))):
            if i != j:
                assert not jacobian[rows, columns].any()
            elif len(values[i]):
                assert jacobian[rows, columns] == pytest.approx(getattr(singles[i], letter + "_y")(x, parts[i]))


@pytest.mark.parametrize("names", PAIRS, ids="+".join)
def test_lagrangian_blocks(names):
    a, b = pair(*names)
    c = rb.join_followers([a, b]).constraints
    if c is None or c.linear:
        return
    rng = np.random.default_rng(1)
    x, y = rng.uniform(0.1, 1, a.n), rng.uniform(0.1, 1, a.m + b.m)
    parts, mu, nu, expected = (y[: a.m], y[a.m :]), [], [], []
    for p, w in zip((a, b), parts):
        r = p.constraints
        mu.append(rng.uniform(0, 1, len(r.p(x, w)) if r is not None and r.p else 0))
        nu.append(rng.uniform(-1, 1, len(r.q(x, w)) if r is not None and r.q else 0))
        expected.append(np.zeros((p.m, p.m)) if r is None else r.lagrangian_yy(x, w, mu[-1], nu[-1]))
    got = c.lagrangian_yy(x, y, np.concatenate(mu), np.concatenate(nu))
    assert got[: a.m, : a.m] == pytest.approx(expected[0]) and got[a.m :, a.m :] == pytest.approx(expected[1])
    assert np.abs(got).max() > 0
    assert c.lagrangian_xy(x, y, np.concatenate(mu), np.concatenate(nu)).shape == (a.n, a.m + b.m)


def test_own_upper_objective_bounds_and_one_follower():
    a = follower("F01")
    assert rb.join_followers([a]).f(np.ones(1), np.ones(2)) == a.f(np.ones(1), np.ones(2))
    own = rb.join_followers([a, a], upper=(np.eye(5), np.ones(5), 2.0), bounds=(0, 3))
    assert own.f(np.ones(1), np.ones(4)) == 2.5 + 5 + 2 and own.bounds[1] == [3.0]
    general = rb.join_followers([a, a], upper={"f": lambda x, y: 7.0})
    assert general.f(np.ones(1), np.ones(4)) == 7.0 and general.f_x is None
    narrow = rb.join_followers([replace(a, bounds=(np.zeros(1), np.ones(1))), replace(a, bounds=(-np.ones(1), np.full(1, 0.5)))])
    assert narrow.bounds == (np.zeros(1), np.full(1, 0.5))


def test_what_cannot_be_joined():
    a, b = follower("F01"), rb.problems.load("BardFalk1982Ex1")
    for bad in ([], [a, b], [a, 3], [rb.BilevelProblem(n=1, m=1)]):
        with pytest.raises(ArgumentError):
            rb.join_followers(bad)
    with pytest.raises(ArgumentError):
        rb.join_followers([rb.problems.load("Colson2002BIPA5")], upper=(np.eye(3), None))
    with pytest.raises(ArgumentError, match="h_x"):
        rb.join_followers([a], upper={"h_x": None})

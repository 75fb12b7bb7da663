"""One definition for NumPy, torch and JAX: values and derivatives by autodiff agree with the NumPy oracles to rounding."""

import numpy as np
import pytest

from refbilevel.validation.cases import cases

ALL = cases()
ids = [c.id for c in ALL]
SOME = [c if c.id.endswith("average/1") else pytest.param(c, marks=pytest.mark.slow) for c in ALL]  # JAX compiles for each



def _point(case):
    n, m = case.problem.n, case.problem.m
    y = (case.y if case.y.size else np.zeros(m)) + 0.25 * (1.0 - 0.3 * np.arange(m))
    return case.x + 0.125 * np.cos(np.arange(n)), y


def _pairs(case):
    """(name, array-API function, oracles value, d_x, d_y, d_yy, d_xy) for the scalar functions of a case."""
    p, F = case.problem, case.functions
    for letter in "fg":
        function = getattr(F, letter)
        if function is not None:
            yield letter, function, *(getattr(p, letter + d) for d in ("", "_x", "_y", "_yy", "_xy"))
    c = p.constraints
    for letter in "pq":
        function = getattr(F, letter)
        if function is not None:
            yield letter, function, getattr(c, letter), getattr(c, letter + "_x"), getattr(c, letter + "_y"), None, None


def _scale(case, x, y):
    """What rounding of one evaluation is relative to: the largest sum of absolute terms that a row of the file's data forms."""
    sizes = [1.0]
    for name in ("f", "g"):
        for term in case.spec.get(name, ()):
            entries = [np.abs(np.array(v, float)) for k, v in term.items() if isinstance(v, list)]
            weight = max(a.max(initial=0) for a in entries) * max(a.shape[-1] for a in entries if a.ndim)
            sizes.append(term.get("scale", 1.0) * weight)
    for name in ("p", "q"):
        rows = case.spec.get(name, {})
        for term in [rows.get("linear", {}), *(t for row in rows.get("curved", ()) for t in row)]:
            sizes += [np.abs(np.array(v, float)).max(initial=0) for v in term.values() if isinstance(v, (list, float))]
    return max(sizes) * (1 + np.abs(x).sum() + np.abs(y).sum()) ** 2


def _compare(ours, theirs, size):
    return float(np.max(np.abs(np.asarray(ours, float) - theirs), initial=0.0)) / size


def _relative(case, evaluate):
    """Largest error of value, f_x, f_y, f_yy v and f_xy v over the functions of the case, relative to its scale."""
    x, y = _point(case)
    v, worst = np.cos(1.0 + np.arange(y.size)), 0.0
    for name, function, value, d_x, d_y, d_yy, d_xy in _pairs(case):
        truth = [value(x, y), d_x(x, y), d_y(x, y)]
        if d_yy is not None:
            truth += [d_yy(x, y) @ v, d_xy(x, y) @ v]
        size = _scale(case, x, y)
        if case.klass in ("quartic", "layer", "curved-constraint", "fixed-point"):
            size *= 10.0  # third powers
        size = max(size, *(np.abs(t).max(initial=0) for t in truth if np.size(t)))
        worst = max([worst, *(_compare(a, b, size) for a, b in zip(evaluate(function, x, y, v, d_yy is not None), truth))])
    return worst


@pytest.mark.torch
@pytest.mark.parametrize("case", ALL, ids=ids)
def test_torch(case):
    torch = pytest.importorskip("torch")

    def evaluate(function, x, y, v, second):
        x, y, v = (torch.tensor(a, dtype=torch.float64) for a in (x, y, v))
        found = [function(x, y), *torch.func.jacrev(function, argnums=(0, 1))(x, y)]
        if second:
            slope = torch.func.grad(function, argnums=1)
            found += [torch.func.jvp(lambda y: slope(x, y), (y,), (v,))[1], torch.func.grad(lambda x: slope(x, y) @ v)(x)]
        assert all(a.dtype == torch.float64 for a in found)
        return [a.numpy() for a in found]

    assert _relative(case, evaluate) <= 3e-16


@pytest.mark.torch
@pytest.mark.parametrize("case", ALL, ids=ids)
def test_torch_backward(case):
    """Plain .backward(): the way most implementations under test differentiate."""
    torch = pytest.importorskip("torch")
    x, y = _point(case)
    for name, function, _, d_x, d_y, d_yy, _ in _pairs(case):
        if d_yy is None:
            continue
        X, Y = (torch.tensor(a, dtype=torch.float64, requires_grad=True) for a in (x, y))
        function(X, Y).backward()
        size = max(_scale(case, x, y) * 10.0, np.abs(d_y(x, y)).max(), np.abs(d_x(x, y)).max())
        assert _compare(Y.grad.numpy(), d_y(x, y), size) <= 3e-16, name
        assert X.grad is None or _compare(X.grad.numpy(), d_x(x, y), size) <= 3e-16, name


@pytest.mark.jax
@pytest.mark.parametrize("case", SOME, ids=ids)
def test_jax(case):
    jax = pytest.importorskip("jax")

    def evaluate(function, x, y, v, second):
        with jax.enable_x64(True):
            x, y, v = (jax.numpy.asarray(a, dtype=jax.numpy.float64) for a in (x, y, v))
            found = [jax.jit(function)(x, y), *jax.jacrev(function, argnums=(0, 1))(x, y)]
            if second:
                slope = jax.grad(function, argnums=1)
                found += [jax.jvp(lambda y: slope(x, y), (y,), (v,))[1], jax.grad(lambda x: slope(x, y) @ v)(x)]
            assert all(a.dtype == jax.numpy.float64 for a in found)
            return [np.asarray(a) for a in found]

    assert _relative(case, evaluate) <= 3e-16


@pytest.mark.parametrize("framework", ["torch", "jax"])
def test_layer_and_map_functions(framework):
    """The inner objectives of a layer and the map of a fixed point, in their own framework."""
    module = pytest.importorskip(framework)
    make = module.tensor if framework == "torch" else module.numpy.asarray
    for case in cases(["layer", "fixed-point"]):
        z, w = case.x, case.y
        if case.klass == "fixed-point":
            found = case.functions.fixed_point(make(z), make(w))
            np.testing.assert_allclose(np.asarray(found), w, atol=1e-14 if framework == "torch" else 1e-5)
            continue
        n = case.spec["layer"]["n"]
        for inner in (case.functions.upper, case.functions.lower):
            ours = inner(w[:n], w[n:], z)
            theirs = float(inner(make(w[:n]), make(w[n:]), make(z)))
            assert abs(ours - theirs) <= (1e-14 if framework == "torch" else 1e-5) * (1 + abs(ours) + 100 * np.abs(w).max() ** 4)


def test_the_functions_are_those_of_the_oracles():
    """On NumPy arrays the functions are the value oracles themselves; with a scalar-typed x they still answer."""
    for case in ALL:
        x, y = _point(case)
        assert case.functions.f(x, y) == case.problem.f(x, y)
        assert case.functions.g is None or case.functions.g(x, y) == case.problem.g(x, y)

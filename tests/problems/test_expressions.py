"""The expression parser against Python's own arithmetic, its derivatives against complex steps, and what it must refuse."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refbilevel.errors import SchemaError
from refbilevel.problems.expression_oracles import Expression
from refbilevel.problems.expressions import Graph, parse

N, M = 2, 2


def expression(text, n=N, m=M):
    graph = Graph(n + m)
    return Expression.record(graph, parse(text, graph, n), n)


leaves = st.sampled_from(["x[0]", "x[1]", "y[0]", "y[1]", "2", "-3", "0.5", "1/3", "np.pi", "1"])


def grow(children):
    binary = st.builds(lambda a, op, b: f"({a} {op} {b})", children, st.sampled_from("+-*"), children)
    power = st.builds(lambda a, k: f"({a})**{k}", children, st.integers(0, 3))
    ratio = st.builds(lambda a, b: f"({a}) / (2 + ({b})**2)", children, children)
    call = st.builds(lambda f, a: f"np.{f}({a})", st.sampled_from(["sin", "cos", "tanh", "arctan"]), children)
    tame = st.builds(lambda f, a: f"np.{f}(1.5 + np.sin({a}))", st.sampled_from(["exp", "log", "sqrt", "sinh", "cosh", "tan"]), children)
    return st.one_of(binary, power, ratio, call, tame, st.builds(lambda a: f"-({a})", children))


texts = st.recursive(leaves, grow, max_leaves=12)


@given(texts)
def test_value_gradient_and_hessian_of_random_expressions(text):
    e = expression(text)
    z = np.array([0.3, -0.7, 1.1, 0.4])
    x, y = z[:N], z[N:]
    truth = eval(text, {"np": np, "x": x, "y": y})  # the test's own text, so Python may be the judge
    assert np.isclose(e.value(x, y), truth, rtol=1e-12, atol=1e-12)
    h = 1e-30
    gradient, hessian = e.gradient(z), e.hessian(z)
    for i in range(N + M):
        step = z + 1j * h * (np.arange(N + M) == i)
        scale = 1.0 + np.abs(gradient).max() + np.abs(hessian).max()
        assert abs(e.value(step[:N], step[N:]).imag / h - gradient[i]) <= 1e-11 * scale
        assert np.abs(e.gradient(step).imag / h - hessian[i]).max() <= 1e-11 * scale


@pytest.mark.parametrize(
    "text,z,value",
    [("x[0]**y[0]", [2.0, 0, 3.0, 0], 8.0), ("2**x[0]", [3.0, 0, 0, 0], 8.0), ("x[0]**-2", [2.0, 0, 0, 0], 0.25), ("numpy.sqrt(x[1])", [0, 9.0, 0, 0], 3.0)],
)
def test_powers(text, z, value):
    z, e = np.array(z), expression(text)
    assert np.isclose(e.value(z[:N], z[N:]), value)
    step = 1e-6
    numeric = [(e.value((z + step * d)[:N], (z + step * d)[N:]) - e.value((z - step * d)[:N], (z - step * d)[N:])) / (2 * step) for d in np.eye(4)]
    assert np.allclose(e.gradient(z), numeric, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize(
    "text,degree",
    [("3", 0), ("x[0] + 2*y[1]", 1), ("(x[0] - y[0])**2 / 4", 2), ("x[0]*y[0]*y[1]", 3), ("np.exp(x[0])", np.inf), ("x[0]**0.5", np.inf), ("1/x[0]", np.inf), ("0*np.exp(x[0]) + y[0]", 1)],
)
def test_degree(text, degree):
    graph = Graph(4)
    assert graph.degree[parse(text, graph, 2)] == degree


ATTACKS = [
    "__import__('os').system('true')",
    "x.__class__",
    "().__class__.__bases__[0].__subclasses__()",
    "np.load('a')",
    "np.exp.__globals__",
    "np.lib.npyio.os.system('true')",
    "(lambda: 1)()",
    "[x[0] for x in [[1]]][0]",
    "open('f')",
    "x[0] if 1 else 2",
    "x[0] and 1",
    "x[0] < 1",
    "f'{x[0]}'",
    "'text'",
    "1j",
    "True",
    "None",
    "x",
    "x[y[0]]",
    "x[-1]",
    "x[0:1]",
    "x[2]",
    "y[99]",
    "z[0]",
    "x[0] @ x[1]",
    "x[0] // 2",
    "x[0] % 2",
    "x[0] << 2",
    "~x[0]",
    "not x[0]",
    "np.exp(x[0], x[1])",
    "np.exp(*x)",
    "np.exp(x[0], out=x)",
    "math.exp(x[0])",
    "(x := 3)",
    "x[0]; x[1]",
    "",
    "x[0",
    "1/0",
    "1e999",
    "10**10**10",
    "np.log(0)",
    "9" * 400,
    "9" * 6000,
    "\x00",
]


@pytest.mark.parametrize("text", ATTACKS, ids=range(len(ATTACKS)))
def test_only_arithmetic_is_read(text):
    with pytest.raises(SchemaError):
        expression(text)


@pytest.mark.parametrize(
    "text",
    ["(" * 50_000 + "x[0]" + ")" * 50_000, "-" * 50_000 + "x[0]", "x[0]**" * 30_000 + "2", "x[0]+" * 100_000 + "1", "np.exp(" * 101 + "x[0]" + ")" * 101],
    ids=["brackets", "signs", "powers", "length", "calls"],
)
def test_size_and_depth_are_limited(text):
    with pytest.raises(SchemaError):
        expression(text)


@pytest.mark.parametrize("value", [None, 3, ["x[0]"], {"a": 1}, b"x[0]"])
def test_text_only(value):
    with pytest.raises(SchemaError):
        expression(value)


def test_long_sums_are_read():
    e = expression(" + ".join(f"{i}*x[0]*y[{i % 2}]" for i in range(400)))
    assert e.value(np.array([2.0, 0]), np.array([1.0, 1.0])) == 2.0 * sum(range(400))


def test_repeated_subexpressions_do_not_explode():
    text = "x[0] + y[0]"
    for _ in range(12):  # 2^12 occurrences, 12 distinct ones
        text = f"({text})*({text})" if len(text) < 9000 else text
    graph = Graph(4)
    node = parse(text, graph, 2)
    graph.gradient(node)
    assert len(graph.nodes) < 300


def test_domain_errors_are_nan_not_exceptions():
    e = expression("np.log(x[0]) + 1/y[0]")
    assert not np.isfinite(e.value(np.array([-1.0, 0]), np.zeros(2)))

"""Problems from JSON files of schema "refbilevel-problem/1", and the collection that ships with the package.

A file states min_{x,y} F s.t. G <= 0, H = 0, y in argmin_y {f : g <= 0, h = 0}; its letters F, f, G, H, g, h are the library's
f, g, G, H, p, q. The expressions are the truth: they are parsed (expressions.py) and differentiated exactly. If every one is
a polynomial of degree at most two (the lower objective but for terms in x alone) the problem is a `QuadraticBilevel`, whose matrices are read off the exact derivatives
(and must agree with the file's own, where it has them); otherwise a `BilevelProblem`. Upper rows that bound a single x_i
become `bounds`; all other rows keep the file's order.
"""

from __future__ import annotations

import difflib
import functools
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import ArgumentError, SchemaError, UnknownOption, unknown
from ..problem import BilevelProblem
from .expression_oracles import Expression, ExpressionLagrangian, ExpressionRows
from .expressions import Graph, parse
from .quadratic_bilevel import LagrangianBlocks, Level, Quadratic, QuadraticBilevel, QuadraticPlus, Rows, lower_constraints, upper_constraints

SCHEMA, INFEASIBLE = "refbilevel-problem/1", "refbilevel-infeasible/1"
DATA = Path(__file__).parent / "data"
MAX_BYTES, MAX_SIZE = 50_000_000, 10_000


@dataclass(frozen=True)
class ProblemInfo:
    """One entry of the catalogue. `coupling`: upper rows involve y; `unique`: the lower solution at the optimum is unique."""

    name: str
    class_: str
    upper_kind: str
    lower_kind: str
    n: int
    m: int
    difficulty: str
    coupling: bool
    unique: bool
    proven: bool
    objective: float
    source: str


def load(path_or_name):
    """The problem of a JSON file, or of a name in `catalogue()`.

    A file of schema "refbilevel-infeasible/1" holds several problems and gives a tuple of them.

    Raises
    ------
    SchemaError
        A file that is corrupt, of a newer schema, or whose expressions are not plain arithmetic.
    UnknownOption
        A name that the collection does not have.
    """
    record = read_record(path_or_name)
    if record["schema"] == INFEASIBLE:
        return tuple(from_record(entry) for entry in record["problems"])
    return from_record(record)


def read_record(path_or_name):
    """The file's content as a dict, checked to be of a schema this version reads."""
    path = Path(path_or_name)
    if path.suffix == ".json" or path.is_file():
        return _read(path)
    shipped = DATA / f"{path_or_name}.json"
    if shipped.parent == DATA and shipped.is_file():
        return _read(shipped)
    for entry in _read(DATA / "_infeasible.json")["problems"]:
        if entry["name"] == str(path_or_name):
            return entry | {"schema": SCHEMA}
    names = [info.name for info in catalogue()]
    if not difflib.get_close_matches(str(path_or_name), names, cutoff=0.5):
        raise UnknownOption(f"there is no file and no shipped problem {str(path_or_name)!r}; refbilevel.problems.catalogue() lists them")
    raise unknown("problem", path_or_name, names)


def _read(path):
    try:
        if path.stat().st_size > MAX_BYTES:
            raise SchemaError(f"{path} is too large for a problem file ({path.stat().st_size} bytes)")
        record = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SchemaError(f"{path} cannot be read: {error.strerror or error}") from None
    except (ValueError, RecursionError) as error:
        raise SchemaError(f"{path} is not valid JSON: {error}") from None
    check_record(record, str(path))
    return record


def check_record(record, where="the record"):
    """Raise SchemaError unless `record` is a dict of a schema that this version reads."""
    schema = record.get("schema") if isinstance(record, dict) else None
    if not isinstance(schema, str) or not schema.startswith("refbilevel-"):
        raise SchemaError(f'{where} has no "schema": "{SCHEMA}"; it is not a refbilevel problem file')
    if schema not in (SCHEMA, INFEASIBLE):
        raise SchemaError(f"{where} has schema {schema!r}; this version reads {SCHEMA!r} and {INFEASIBLE!r}: update refbilevel")
    if schema == INFEASIBLE and not (isinstance(record.get("problems"), list) and all(isinstance(e, dict) for e in record["problems"])):
        raise SchemaError(f'{where} must have "problems": a list of records')


def from_record(record):
    """The problem of one record (the content of a problem file)."""
    n, m = _size(record, "nx"), _size(record, "ny")
    texts, graph = _texts(record), Graph(n + m)
    nodes = {key: [parse(text, graph, n) for text in texts[key]] for key in ("F", "G", "H", "f", "g", "h")}
    bounds, rows = _split_bounds(graph, nodes["G"], n)
    nodes["G"] = rows
    name = str(record.get("name", ""))
    others = (node for key, group in nodes.items() if key != "f" for node in group)
    if all(graph.degree[node] <= 2 for node in others) and _quadratic_in_y(graph, nodes["f"][0], n):
        problem = _quadratic_problem(graph, nodes, n, m, bounds, name)
        _agree_with_matrices(problem, record)
        return problem
    return _general_problem(graph, nodes, n, m, bounds, name)


def _size(record, key):
    value = record.get(key)
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MAX_SIZE:
        raise SchemaError(f'"{key}" must be an integer from 1 to {MAX_SIZE}, got {value!r}')
    return value


def _texts(record):
    """{"F": [text], "G": [texts], ...} of a record."""
    given = record.get("expr")
    if not isinstance(given, dict) or not isinstance(given.get("F"), str) or not isinstance(given.get("f"), str):
        raise SchemaError('"expr" must be an object with the texts "F" and "f"')
    texts = {"F": [given["F"]], "f": [given["f"]]}
    for key in ("G", "H", "g", "h"):
        rows = given.get(key, [])
        if not isinstance(rows, list) or not all(isinstance(row, str) for row in rows):
            raise SchemaError(f'"expr" "{key}" must be a list of texts')
        texts[key] = rows
    return texts


def _split_bounds(graph, rows, n):
    """((lo, hi), remaining rows): rows a x_i + b <= 0 become bounds on x; (None, rows) if there are none."""
    lo, hi, rest = np.full(n, -np.inf), np.full(n, np.inf), []
    for node in rows:
        slopes = graph.gradient(node) if graph.degree[node] == 1 else {}
        if len(slopes) == 1 and (i := next(iter(slopes))) < n:
            a, b = graph.value(slopes[i]), graph.tape([node]).run(np.zeros(graph.size))[0]
            edge = -b / a + 0.0  # never -0.0
            lo[i], hi[i] = (lo[i], min(hi[i], edge)) if a > 0 else (max(lo[i], edge), hi[i])
        else:
            rest.append(node)
    if not (lo <= hi).all():
        return None, rows  # contradictory bounds are an infeasible problem, not a malformed one
    return (None if np.isinf(lo).all() and np.isinf(hi).all() else (lo, hi)), rest


def read_quadratic(graph, node, n):
    """The exact `Quadratic` of a node of degree at most two."""
    zero = np.zeros(graph.size)
    Q, c = np.zeros((graph.size,) * 2), zero.copy()
    for i, slope in graph.gradient(node).items():
        c[i] = graph.tape([slope]).run(zero)[0]
        for j, curvature in graph.gradient(slope).items():
            Q[i, j] = graph.tape([curvature]).run(zero)[0]
    return Quadratic(0.5 * (Q + Q.T), c, float(graph.tape([node]).run(zero)[0]), n)


def _quadratic_in_y(graph, node, n):
    """Whether the node is of degree two, but for terms in x alone."""
    return graph.degree[node] <= 2 or all(graph.degree[slope] <= 1 for i, slope in graph.gradient(node).items() if i >= n)


def _read_lower(graph, node, n):
    """The lower objective as a `Quadratic`, or as `QuadraticPlus` a function phi(x) = f(x, 0) of x alone."""
    if graph.degree[node] <= 2:
        return read_quadratic(graph, node, n)
    N, zero = graph.size, np.zeros(graph.size)
    Q, c = np.zeros((N, N)), zero.copy()
    for i, slope in graph.gradient(node).items():
        if i >= n:
            c[i] = graph.tape([slope]).run(zero)[0]
            for j, curvature in graph.gradient(slope).items():
                Q[i, j] = Q[j, i] = graph.tape([curvature]).run(zero)[0]
    return QuadraticPlus(Q, c, 0.0, n, Expression.record(graph, graph.without(node, n), n))


def _read_rows(graph, nodes, n):
    rows = [read_quadratic(graph, node, n) for node in nodes]
    A = np.array([row.c for row in rows]).reshape(len(rows), graph.size)
    quadratic = tuple((i, row.Q) for i, row in enumerate(rows) if row.Q.any())
    return Rows(A, -np.array([row.const for row in rows], float), n, quadratic)


def _quadratic_problem(graph, nodes, n, m, bounds, name):
    levels = [
        Level(read(graph, nodes[a][0], n), _read_rows(graph, nodes[b], n), _read_rows(graph, nodes[c], n))
        for a, b, c, read in (("F", "G", "H", read_quadratic), ("f", "g", "h", _read_lower))
    ]
    return QuadraticBilevel.from_levels(n, m, *levels, bounds=bounds, name=name)


def _agree_with_matrices(problem, record):
    """Raise SchemaError if a file's own matrices say something else than its expressions."""
    matrices = record.get("matrices")
    if not isinstance(matrices, dict) or not matrices.get("complete"):
        return
    for level, key in ((problem.upper, "upper"), (problem.lower, "lower")):
        try:
            stored = matrices[key]["obj"]
            pairs = [(np.array(stored["Q"], float), level.objective.Q), (np.array(stored["c"], float), level.objective.c)]
            if key == "lower":
                linear = [i for i in range(len(level.inequalities)) if i not in dict(level.inequalities.quadratic)]
                shape = (len(linear), problem.n + problem.m)
                pairs += [(np.array(matrices[key]["A"], float).reshape(shape), level.inequalities.A[linear])]
                pairs += [(np.array(matrices[key]["b"], float), level.inequalities.b[linear])]
        except (KeyError, TypeError, ValueError) as error:
            raise SchemaError(f'"matrices" "{key}" is malformed: {error}') from None
        for given, read in pairs:
            if given.shape != read.shape or not np.allclose(given, read, rtol=1e-9, atol=1e-9):
                raise SchemaError(f'"matrices" "{key}" disagrees with "expr"; correct the file or drop "matrices"')


def _general_problem(graph, nodes, n, m, bounds, name):
    f, g = (_function(graph, nodes[key][0], n) for key in ("F", "f"))
    G, H = (_row_family(graph, nodes[key], n) for key in ("G", "H"))
    quadratic = all(graph.degree[node] <= 2 for key in ("g", "h") for node in nodes[key])
    p, q = ((_read_rows if quadratic else _expression_rows)(graph, nodes[key], n) for key in ("g", "h"))
    lagrangian = LagrangianBlocks(p, q) if quadratic else ExpressionLagrangian(n, m, p, q)
    linear = all(graph.degree[node] <= 1 for key in ("g", "h") for node in nodes[key])
    return BilevelProblem(
        n=n, m=m, name=name, bounds=bounds,
        f=f.value, f_x=f.x, f_y=f.y, f_xx=f.xx, f_xy=f.xy, f_yy=f.yy,
        g=g.value, g_x=g.x, g_y=g.y, g_xx=g.xx, g_xy=g.xy, g_yy=g.yy,
        constraints=lower_constraints(p, q, lagrangian, linear), upper_constraints=upper_constraints(G, H),
    )  # fmt: skip


def _function(graph, node, n):
    return read_quadratic(graph, node, n) if graph.degree[node] <= 2 else Expression.record(graph, node, n)


def _expression_rows(graph, nodes, n):
    return ExpressionRows(tuple(Expression.record(graph, node, n) for node in nodes))


def _row_family(graph, nodes, n):
    quadratic = all(graph.degree[node] <= 2 for node in nodes)
    return (_read_rows if quadratic else _expression_rows)(graph, nodes, n)


@functools.cache
def _everything():
    return tuple(info(_read(path)) for path in sorted(DATA.glob("[!_]*.json")))


def info(record):
    """The `ProblemInfo` of a record."""
    properties, solution = record.get("properties", {}), record.get("solution", {})
    return ProblemInfo(
        record["name"], record["class"], record["upper_kind"], record["lower_kind"], record["nx"], record["ny"], record["difficulty"],
        bool(properties.get("coupling_constraints")), bool(properties.get("lower_unique_at_solution")),
        bool(solution.get("global_optimum_proven")), float(solution["F"]), record.get("source", {}).get("citation", ""),
    )  # fmt: skip


def catalogue(*, class_=None, upper_kind=None, lower_kind=None, difficulty=None, coupling=None, unique=None, proven=None, n=None, m=None):
    """The shipped problems, as a tuple of `ProblemInfo`, that fit every filter given.

    A filter is a value, a collection of values, or for n and m also a range (lo, hi).
    """
    filters = {k: v for k, v in locals().items() if v is not None}
    return tuple(entry for entry in _everything() if all(_fits(getattr(entry, k), v) for k, v in filters.items()))


def _fits(value, wanted):
    if isinstance(wanted, (str, bool, int)):
        return value == wanted
    if isinstance(wanted, tuple) and len(wanted) == 2 and all(isinstance(w, (int, float)) for w in wanted):
        return wanted[0] <= value <= wanted[1]
    return value in wanted


def parse_range(text):
    """A filter of `catalogue` from text: "3" is 3, "2:5" is (2, 5), None stays None."""
    if text is None:
        return None
    try:
        ends = [int(part) for part in str(text).split(":")]
    except ValueError:
        ends = []
    if len(ends) not in (1, 2):
        raise ArgumentError(f"a size is a number or a range as 2:5, got {text!r}")
    return ends[0] if len(ends) == 1 else tuple(ends)

"""The arrows between the rooms: kernels <- linear <- lower, kkt <- estimators <- outer; leaves import nothing of ours."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LEAVES = {"errors", "results", "problem", "threads"}
OUTSIDE = {"frontends", "validation", "cli", "plot", "demo", "doctor"}
#: room -> rooms it may import (leaves and itself are always allowed; imports inside functions count too)
ALLOWED = {
    "kernels": set(),
    "linear": {"kernels"},
    "lower": {"linear", "kernels", "kkt", "qp", "conic"},
    "kkt": {"linear", "qp"},
    "qp": {"kernels", "linear"},
    "conic": {"kernels", "linear"},
    "projections": {"kernels"},
    "problems": {"kernels", "linear", "lower", "qp", "conic", "kkt", "projections"},
    "estimators": {"linear", "lower", "kkt", "qp", "problems", "kernels", "certificates", "sensitivities", "kkt_sensitivity"},
}
KERNEL_USERS = {"problems", "linear", "lower", "qp", "conic", "projections", "estimators", "outer", "kernels", "layers"}


def modules():
    for folder, room_of in ((ROOT / "refbilevel", None), (ROOT / "kernels", "kernels"), (ROOT / "validation", "validation")):
        for path in sorted(folder.rglob("*.py")):
            parts = path.relative_to(folder).with_suffix("").parts
            room = room_of or parts[0]
            package = ("refbilevel",) + ((room_of,) if room_of else ()) + parts[:-1]
            yield path, room, package


def imported_rooms(path, package):
    """Rooms of refbilevel that the file imports, wherever in the file."""
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            full = (*base, *(node.module.split(".") if node.module else ()))
            names = [full + (alias.name,) for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [tuple(alias.name.split(".")) for alias in node.names]
        for name in names:
            if name[0] == "refbilevel" and len(name) > 1:
                yield name[1]


MODULES = list(modules())


@pytest.mark.parametrize("path,room,package", MODULES, ids=[str(p.relative_to(ROOT)) for p, _, _ in MODULES])
def test_arrows(path, room, package):
    rooms = set(imported_rooms(path, package)) - {room}
    if room in LEAVES:
        assert rooms <= {"errors", "explain", "results"}, f"a leaf imports {rooms}"
    elif room in ALLOWED:
        assert rooms <= ALLOWED[room] | LEAVES, f"{room} must not import {rooms - ALLOWED[room] - LEAVES}"
    if room not in OUTSIDE and room not in ("__init__", "__main__"):
        assert not rooms & OUTSIDE, f"{room} must not import {rooms & OUTSIDE}"
    if "kernels" in rooms:
        assert room in KERNEL_USERS | OUTSIDE


def test_estimators_never_import_one_another():
    shared = {"protocol", "__init__", "table"}
    for path in (ROOT / "refbilevel" / "estimators").glob("*.py"):
        if path.stem in shared:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.level == 1:
                assert node.module in ("protocol",), f"{path.name} imports .{node.module}"


def test_kernels_are_numba_only():
    for path in (ROOT / "kernels").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom):
                assert (node.level and node.module) or node.module.split(".")[0] in ("numba", "math", "__future__"), path.name
            elif isinstance(node, ast.Import):
                assert all(a.name.split(".")[0] in ("numpy", "numba", "math") for a in node.names), path.name


def test_every_status_is_given_somewhere():
    from refbilevel.results import Status

    given = {node.attr for path, _, _ in modules() for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Attribute)}
    assert {s.name for s in Status} <= given

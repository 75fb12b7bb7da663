"""What the wheel holds, and that import is light: built from this checkout without isolation, unpacked, imported."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HEAVY = ("numba", "cvxpy", "torch", "jax", "sklearn", "matplotlib", "hypothesis", "pytest")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    pytest.importorskip("setuptools", minversion="77")
    folder = tmp_path_factory.mktemp("wheel")
    tree = folder / "tree"
    subprocess.run(["git", "-C", ROOT, "checkout-index", "--all", f"--prefix={tree}/"], check=True)
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", folder, tree]
    subprocess.run(command, check=True, capture_output=True)
    return next(folder.glob("*.whl"))


def tracked(folder, pattern="*.py"):
    out = subprocess.run(["git", "-C", ROOT, "ls-files", f"{folder}/{pattern}"], check=True, capture_output=True, text=True).stdout
    return [Path(line) for line in out.splitlines()]


@pytest.mark.slow
def test_the_wheel_holds_every_module_and_nothing_else_of_the_tree(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    expected = {str(p) for p in tracked("refbilevel")} | {f"refbilevel/{p}" for p in tracked("kernels")}
    left_out = ("benchmarks", "scorecard", "experiments")
    expected |= {f"refbilevel/{p}" for p in tracked("validation") if p.parts[1] not in left_out}
    missing = expected - names
    assert not missing, f"the wheel lacks {sorted(missing)[:5]}"
    assert "refbilevel/py.typed" in names
    assert not [n for n in names if n.startswith(("kernels/", "validation/", "tests/"))]
    assert not [n for n in names if any(f"/{part}/" in n for part in left_out)]


@pytest.mark.slow
def test_data_files_are_in_the_wheel(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    data = [p for ext in ("json", "j2", "npz") for p in (*tracked("refbilevel", f"*.{ext}"), *tracked("validation", f"*.{ext}"))]
    for path in data:
        if path.parts[1] in ("benchmarks", "scorecard", "experiments"):
            continue
        inside = str(path) if path.parts[0] == "refbilevel" else f"refbilevel/{path}"
        assert inside in names, f"{path} is not packaged; see [options.package_data] in setup.cfg"


@pytest.mark.slow
def test_the_unpacked_wheel_works_away_from_the_checkout(wheel, tmp_path):
    zipfile.ZipFile(wheel).extractall(tmp_path)
    code = (
        "import refbilevel as rb, refbilevel.kernels, refbilevel.validation, refbilevel.cli; "
        "from pathlib import Path; assert Path(rb.__file__).is_relative_to(Path.cwd()); "
        "assert Path(refbilevel.kernels.__file__).is_relative_to(Path.cwd()); "
        "assert rb.problems.load('Bard1988Ex1').n == 1; refbilevel.cli.build_parser()"
    )
    subprocess.run([sys.executable, "-P", "-c", code], check=True, cwd=tmp_path, env={"PYTHONPATH": str(tmp_path), "PATH": ""})


def test_import_is_light():
    code = f"import sys, refbilevel as rb; rb.BilevelProblem(n=1, m=1); print([m for m in {HEAVY!r} if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=ROOT).stdout
    assert out.strip() == "[]"


def test_the_version_is_said_once_and_the_same():
    import configparser

    import refbilevel

    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    assert config["metadata"]["version"] == refbilevel.__version__
    assert f"version: {refbilevel.__version__}" in (ROOT / "CITATION.cff").read_text()


def test_no_extra_but_its_own_drags_in_torch():
    import configparser

    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    extras = config["options.extras_require"]
    assert [name for name, wants in extras.items() if "torch" in wants] == ["torch"]
    assert {"test", "demo", "torch", "jax", "sklearn", "plot", "report", "dask", "global"} <= set(extras)

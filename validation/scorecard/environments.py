"""Virtual environments outside the repository: one base with the kit, torch and JAX, and one for each peer, layered upon it.

A layered environment sees the base's packages through a .pth file and holds only what its own list of pinned requirements adds,
so that a peer's packages meet no other peer's. A first line "# pip: ..." of a list holds options of pip.
"""

from __future__ import annotations

import json
import subprocess
import venv
from pathlib import Path

LISTS = Path(__file__).with_name("environments")


def requirements(name):
    """(pip's options, requirement lines) of environments/`name`.txt."""
    lines = (LISTS / f"{name}.txt").read_text().splitlines()
    options = next((line.removeprefix("# pip:").split() for line in lines if line.startswith("# pip:")), [])
    return options, [line for line in lines if line and not line.startswith("#")]


def python_of(folder):
    return Path(folder) / "bin" / "python"


def site_packages(python):
    return subprocess.run(
        [str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], capture_output=True, text=True, check=True
    ).stdout.strip()


def install(python, options, wanted):
    """"" or pip's reason, its first line of error, for not installing."""
    done = subprocess.run([str(python), "-m", "pip", "install", *options, *wanted], capture_output=True, text=True, check=False)
    said = [line.strip() for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    reasons = [line.removeprefix("ERROR: ") for line in said if line.startswith(("ERROR: ", "error: "))]
    return "" if done.returncode == 0 else (reasons or said or ["pip failed"])[-1]


def ensure(name, envs, base=None):
    """(python, reason): the interpreter of the environment `name` under `envs`, made and filled if it is missing."""
    if name == "base" and base:
        return Path(base), ""
    python = python_of(Path(envs) / name)
    if not python.exists():
        venv.create(python.parents[1], with_pip=True)
        if name != "base":
            below, _ = ensure("base", envs, base)
            (Path(site_packages(python)) / "_base.pth").write_text(site_packages(below) + "\n")
    options, wanted = requirements(name)
    if missing(python, wanted):
        reason = install(python, options, wanted)
        if reason:
            return None, reason
    return python, ""


def missing(python, wanted):
    """The requirements that the environment does not have at the pinned version."""
    have = versions(python, [line.split("==")[0] for line in wanted])
    return [line for line in wanted if have.get(line.split("==")[0], "").split("+")[0] != line.split("==")[1]]


def versions(python, names):
    """{name: installed version} as the environment's own interpreter sees it."""
    code = (
        "import json, sys\nfrom importlib import metadata\nfound = {'python': sys.version.split()[0]}\n"
        "for name in sys.argv[1:]:\n    try: found[name] = metadata.version(name)\n    except metadata.PackageNotFoundError: pass\n"
        "print(json.dumps(found))"
    )
    return json.loads(subprocess.run([str(python), "-c", code, *names], capture_output=True, text=True, check=True).stdout)

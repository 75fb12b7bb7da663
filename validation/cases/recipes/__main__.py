"""Write the case files: recipe, finish, certify."""

from __future__ import annotations

import sys
from pathlib import Path

from . import RECIPES
from .finish import finish, text

FOLDER = Path(__file__).parents[1] / "data"


def instances(klass):
    """The records of a class, in order: every difficulty, instances 1, 2, 3, ... until the recipe knows no more."""
    for difficulty in ("lower", "average", "higher"):
        instance = 1
        while True:
            try:
                made = RECIPES[klass](difficulty, instance)
            except IndexError:
                break
            yield finish(*made)
            instance += 1


def main(classes):
    for klass in classes or RECIPES:
        for path in FOLDER.glob(f"{klass}.*.json"):
            path.unlink()
        for spec in instances(klass):
            (FOLDER / f"{spec['id'].replace('/', '.')}.json").write_text(text(spec))
            sys.stdout.write(f"{spec['id']:32s} {spec['certified']['status']}\n")


if __name__ == "__main__":
    main(sys.argv[1:])

r"""How the cases were made: one function a class, from small integers drawn by the case's own name.

    python -m refbilevel.validation.cases.recipes [CLASS ...]     writes data/CLASS.DIFFICULTY.INSTANCE.json afresh

A recipe returns the record of a case without its truth and a start for certify.py, which adds the truth. Numbers are integers and
dyadic rationals, so that files are exact and readable; the streams (random.Random of the case's id) are the same on every machine.
"""

from __future__ import annotations

from . import constrained, maps, smooth

#: class -> recipe(difficulty, instance) -> (spec, start)
RECIPES = smooth.RECIPES | constrained.RECIPES | maps.RECIPES

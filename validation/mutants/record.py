"""What a mutant is: a known-wrong formula, with a name, a sentence, and where it can be committed."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np


def _smooth(problem):
    return problem.constraints is None and problem.has("g_y", "g_yy", "g_xy")


def _layer(problem):
    return all(hasattr(problem.solution_map, name) for name in ("upper", "lower"))


def _choice(problem):
    return hasattr(problem.solution_map, "points")


def _rows(problem):
    return problem.constraints is not None


def _inequality(problem):
    return _rows(problem) and problem.constraints.p is not None


def _equality(problem):
    return _rows(problem) and problem.constraints.q is not None


def _curved(problem):
    return _rows(problem) and not problem.constraints.linear and problem.constraints.lagrangian_yy is not None


#: where a formula can be committed, as a question to the problem
WHERE = {
    "everywhere": lambda problem: problem.solution_map is not None or problem.has("g_yy", "g_xy"),
    "lower": lambda problem: problem.has("g_yy", "g_xy"),
    "smooth": _smooth,
    "constrained": _rows,
    "inequality": _inequality,
    "equality": _equality,
    "curved": _curved,
    "layer": _layer,
    "choice": _choice,
}


@dataclass(frozen=True)
class Mutant:
    """A known-wrong formula (problem, x, y, mu, nu) -> gradient (n,).

    `sentence` says what the bug is, `source` where it was published. `choices` are its free parameters: the formula is
    tried with every combination, and a diagnosis tells which one matched. `where` is a key of WHERE.
    """

    name: str
    sentence: str
    formula: Callable
    where: str = "everywhere"
    source: str = ""
    choices: dict = field(default_factory=dict)
    classes: tuple[str, ...] = ()

    def __call__(self, problem, x, y, mu=(), nu=(), **parameters):
        with np.errstate(all="ignore"):
            return np.asarray(
                self.formula(problem, x, y, np.asarray(mu, float), np.asarray(nu, float), **{**self.default, **parameters}), float
            )

    @property
    def variants(self):
        """Every combination of the free parameters, the first being the default."""
        return [dict(zip(self.choices, values)) for values in itertools.product(*self.choices.values())]

    @property
    def default(self):
        return self.variants[0]

    def applies(self, problem, klass=""):
        """Can this bug be committed on `problem` (of class `klass`)?"""
        if self.classes and klass not in self.classes:
            return False
        return problem.has("f_x", "f_y") and WHERE[self.where](problem)


def mutant(sentence, *, where="everywhere", source="", classes=(), **choices):
    """Decorator: a formula becomes a `Mutant` of the same name; keywords are its free parameters and their values."""

    def wrap(formula):
        return Mutant(formula.__name__, sentence, formula, where, source, choices, tuple(classes))

    return wrap

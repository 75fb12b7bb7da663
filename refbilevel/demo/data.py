"""Breast-cancer data (scikit-learn's), split into train, validation and test; standardised by the training part alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .. import problems
from ..errors import require

RHO = 1e-2  # weight of the prior around the best single penalty; without it x runs to infinity
GRID = np.linspace(-12.0, 2.0, 57)  # log-penalties of the grid search
BOUNDS = (-16.0, 6.0)


@dataclass(frozen=True)
class Split:
    """One split; X (N, 30) standardised, t in {-1, 1}."""

    seed: int
    X_train: np.ndarray
    t_train: np.ndarray
    X_val: np.ndarray
    t_val: np.ndarray
    X_test: np.ndarray
    t_test: np.ndarray

    def problem(self, center):
        """Per-feature logistic regression with the prior RHO/2 |x - center|^2."""
        return problems.logistic(
            self.X_train, self.t_train, self.X_val, self.t_val, penalties="per-feature", prior=(RHO, center), bounds=BOUNDS
        )

    def single_penalty(self):
        """The same model with one penalty for all features and no prior."""
        return problems.logistic(self.X_train, self.t_train, self.X_val, self.t_val, penalties="one")

    def test_loss(self, y):
        return float(np.mean(np.logaddexp(0.0, -self.t_test * (self.X_test @ y))))

    def test_accuracy(self, y):
        return float(np.mean(np.sign(self.X_test @ y) == self.t_test))


def split(seed):
    """A 50/25/25 split by `seed`."""
    datasets = require("sklearn.datasets", "demo", "the demo's data")
    X, t = datasets.load_breast_cancer(return_X_y=True)
    t = 2.0 * t - 1.0
    order = np.random.default_rng(seed).permutation(len(t))
    train, val, test = np.split(order, [len(t) // 2, 3 * len(t) // 4])
    mean, std = X[train].mean(axis=0), X[train].std(axis=0)
    Z = (X - mean) / std
    return Split(seed, Z[train], t[train], Z[val], t[val], Z[test], t[test])

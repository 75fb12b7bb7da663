"""What scikit-learn's penalised linear models minimise, in this library's terms: data -> follower problem, penalties -> parameters.

                      minimised over the coefficients w (and the intercept b, unpenalised)            penalties exp(x)
    Ridge                     1/2 |t - X w - b|^2 + 1/2 sum_j a_j w_j^2                               a = alpha
    LogisticRegression        sum_i log(1 + exp(-t_i (x_i'w + b))) + 1/2 sum_j a_j w_j^2              a = 1/C
    Lasso                     1/(2N) |t - X w - b|^2 + sum_j a_j |w_j|                                a = alpha
    ElasticNet                1/(2N) |t - X w - b|^2 + sum_j (a_j |w_j| + c_j w_j^2 / 2)              a + c = alpha, a = alpha l1_ratio

(Ridge's and LogisticRegression's objectives are scikit-learn's divided by 2 and by C.) The squared losses are rid of b by centring X
and t with the means of the training part, which is exact; the logistic one has a column of ones without penalty.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from sklearn import linear_model

from .. import problems
from ..errors import ArgumentError
from .folds import fold_sum


def _log(a):
    """log a, or that of the mean (of 1 if that is zero) where a is zero: a constant feature."""
    a = np.asarray(a, float)
    mean = a.mean() if a.any() else 1.0
    return np.log(np.where(a > 0, a, mean))


def _curvature_bounds(X, t):
    """A penalty of 1e-6 to 1e3 times the curvature sum_i x_ij^2 of the loss."""
    scale = _log(np.sum(X**2, axis=0))
    return scale + np.log(1e-6), scale + np.log(1e3)


def _kink_bounds(X, t):
    """1e-4 to 1 times |X_j| |t| / N: at 1, w_j = 0 whatever the other coefficients are."""
    top = _log(np.linalg.norm(X, axis=0) * np.linalg.norm(t) / len(t))
    return top + np.log(1e-4), top


def _both_bounds(X, t):
    (l1_lo, l1_hi), (l2_lo, l2_hi) = _kink_bounds(X, t), _curvature_bounds(X / np.sqrt(len(t)), t)
    return np.concatenate([l1_lo, l2_lo]), np.concatenate([l1_hi, l2_hi])


@dataclass(frozen=True)
class Model:
    """One scikit-learn class: `family(X, t, X_val, t_val)` is a follower with a log-penalty for each coefficient (`kinds` of them).

    `needs`: the parameter values that the mathematics above stands for; `params(penalties)`: one penalty as parameters of the class;
    `loss_factor` makes the family's validation loss per sample
    scikit-learn's (mean squared error, log loss), for a family that means (`mean`) or sums over the samples. Of the starts whose loss
    is within the fraction `tie` of the least, the strongest is taken: weak l2 penalties are a plateau in log-penalties, where the
    hypergradient is small far from any minimum. (Not so with an l1 penalty, whose zeros have no gradient to come back by.)
    """

    family: Callable
    bounds: Callable
    needs: dict
    params: Callable
    kinds: int = 1
    classifier: bool = False
    loss_factor: float = 2.0
    mean: bool = False
    tie: float = 0.0

    def centred(self, estimator, X, t):
        """(column means, mean) that rid the squared loss of its intercept; zeros where there is nothing to do."""
        if self.classifier or not estimator.fit_intercept:
            return np.zeros(X.shape[1]), 0.0
        return X.mean(axis=0), t.mean()

    def follower(self, estimator, X, t, X_val, t_val):
        """The problem of one split: coefficients (w, b) for a classifier with intercept, else w."""
        shift, level = self.centred(estimator, X, t)
        A, B = X - shift, X_val - shift
        if self.classifier and estimator.fit_intercept:
            A, B = (np.column_stack([D, np.ones(len(D))]) for D in (A, B))
        return self.family(A, t - level, B, t_val - level)

    def index(self, estimator, features, per_feature):
        """P of folds.py: where in x each log-penalty of the follower stands."""
        each = np.arange(features) if per_feature else np.zeros(features, int)
        count = features if per_feature else 1
        of = np.concatenate([each + k * count for k in range(self.kinds)])
        return np.append(of, -1) if self.classifier and estimator.fit_intercept else of

    def box(self, estimator, X, t, per_feature):
        """Bounds (lo, hi) on x, each (n,): the range in which the penalties matter."""
        shift, level = self.centred(estimator, X, t)
        lo, hi = (b.reshape(self.kinds, -1) for b in self.bounds(X - shift, t - level))
        return (lo.ravel(), hi.ravel()) if per_feature else (lo.min(axis=1), hi.max(axis=1))

    def starts(self, estimator, lo, hi, count):
        """Equal penalties, from the strongest down; the two of an elastic net in the proportion of its own l1_ratio."""
        ratio = np.clip(estimator.l1_ratio, 1e-3, 1 - 1e-3) if self.kinds == 2 else 0.5
        each = lo.size // self.kinds
        shift = np.repeat([0.0, np.log((1 - ratio) / ratio)][: self.kinds], each)
        return [np.clip(level + shift, lo, hi) for level in np.linspace(hi[:each].max(), lo[:each].min(), count)]

    def search(self, estimator, X, t, splits, per_feature, *, scale=1.0, prior=None, bounds=None):
        """F(x) = mean over the folds of the mean validation loss, over `scale`, as a BilevelProblem."""
        followers = [self.follower(estimator, X[a], t[a], X[b], t[b]) for a, b in splits]
        counts = np.array([1 if self.mean else len(b) for _, b in splits])
        of = self.index(estimator, X.shape[1], per_feature)
        return fold_sum(followers, self.loss_factor / (scale * len(splits) * counts), of, prior=prior, bounds=bounds)

    def refit(self, estimator, X, t, x, per_feature):
        """(coefficients (m,), intercept, LowerSolution) of all the data at log-penalties x."""
        problem = fold_sum([self.follower(estimator, X, t, X, t)], [1.0], self.index(estimator, X.shape[1], per_feature))
        lower = problem.solution_map.solve(x)
        if self.classifier:
            return (lower.y[:-1], float(lower.y[-1]), lower) if estimator.fit_intercept else (lower.y, 0.0, lower)
        shift, level = self.centred(estimator, X, t)
        return lower.y, float(level - shift @ lower.y), lower

    def check(self, estimator):
        """Raise for a parameter that asks for another problem than the one above."""
        for name, allowed in self.needs.items():
            value = getattr(estimator, name, allowed[0])
            if not any(value is a or isinstance(value, type(a)) and value == a for a in allowed):
                raise ArgumentError(
                    f"HypergradientSearchCV: {type(estimator).__name__}({name}={value!r}) is not supported; use {name}={allowed[0]!r}"
                )


def path(problem, starts):
    """[(x, y*(x))] along `starts`, each warm-started from the one before, until three in a row have not lowered F."""
    tried, y, best, worse = [], None, np.inf, 0
    for x in starts:
        y = problem.solution_map.solve(x, y).y
        tried.append((x, y))
        value = problem.f(x, y)
        best, worse = (value, 0) if value < best else (best, worse + 1)
        if worse == 3:
            break
    return tried


def _ridge(X, t, X_val, t_val):
    return problems.ridge(X, t, X_val, t_val, penalties="per-feature", reduction="sum")


def _logistic(X, t, X_val, t_val):
    return problems.logistic(X, t, X_val, t_val, penalties="per-feature", reduction="sum")


def _lasso(X, t, X_val, t_val):
    return problems.lasso(X, t, X_val, t_val, penalties="per-feature")


def _elastic_net(X, t, X_val, t_val):
    return problems.elastic_net(X, t, X_val, t_val, penalties="per-feature")


def _alpha(a):
    return {"alpha": float(a[0])}


def _alpha_and_ratio(a):
    return {"alpha": float(a.sum()), "l1_ratio": float(a[0] / a.sum())}


def _inverse(a):
    return {"C": float(1.0 / a[0])}


_PLAIN = {"positive": (False,)}
_L2 = {
    "l1_ratio": (0.0, 0, None), "class_weight": (None,), "penalty": ("deprecated", "l2"),
    "solver": ("lbfgs", "newton-cg", "newton-cholesky", "sag", "saga"),  # liblinear penalises the intercept
}  # fmt: skip
MODELS = {
    linear_model.Ridge: Model(_ridge, _curvature_bounds, _PLAIN, _alpha, tie=1e-3),
    linear_model.Lasso: Model(_lasso, _kink_bounds, _PLAIN, _alpha, mean=True),
    linear_model.ElasticNet: Model(_elastic_net, _both_bounds, _PLAIN, _alpha_and_ratio, kinds=2, mean=True),
    linear_model.LogisticRegression: Model(_logistic, _curvature_bounds, _L2, _inverse, classifier=True, loss_factor=1.0, tie=1e-3),
}

"""`HypergradientSearchCV`: penalties of a scikit-learn linear model by the hypergradient of its cross-validation loss.

    minimise over x    F(x) = 1/K sum_k mean_{i in fold k} l(t_i, prediction of the model fitted off fold k with penalties exp(x))

over x = one log-penalty or one per feature (two per feature for the elastic net), by `refbilevel.minimize` from the best of a few equal
penalties. l is the squared error or the log loss, so F is minus the mean of `cross_val_score(..., scoring="neg_mean_squared_error")`
or `"neg_log_loss"`. frontends/penalised.py says what each model minimises, frontends/folds.py how the folds share x.

Pedregosa, Hyperparameter optimization with approximate gradient, ICML 2016; Bertrand et al., Implicit differentiation for fast
hyperparameter selection in non-smooth convex learning, JMLR 2022.
"""

from __future__ import annotations

import warnings

import numpy as np

from ..errors import ArgumentError, require, unknown

require("sklearn", "sklearn", "HypergradientSearchCV")

from sklearn.base import BaseEstimator, MetaEstimatorMixin, clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import check_cv
from sklearn.utils import column_or_1d, get_tags
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import check_is_fitted, validate_data

from ..outer.minimize_ import minimize
from .folds import history, stationary
from .penalised import MODELS, path

def _has(name):
    return available_if(lambda self: hasattr(self.estimator, name))


class HypergradientSearchCV(MetaEstimatorMixin, BaseEstimator):
    """Penalties of Ridge, Lasso, ElasticNet or (binary, l2) LogisticRegression, chosen by cross-validation and hypergradients.

    Parameters
    ----------
    estimator : scikit-learn estimator
        Its `fit_intercept` is honoured; its penalty is what is searched for.
    param : "one" or "per-feature"
        One penalty for all features, or one for each; an ElasticNet has an l1 and an l2 one.
    cv : int or splitter
        As in scikit-learn: the folds are stratified for a classifier.
    tol : float
        Bound on the projected hypergradient of the loss in units of its value at the start: the relative change for an e-fold penalty.
    maxiter : int
        Bound on the steps of the search.
    bounds : (lo, hi), optional
        On the log-penalties x; scalars or (n,). By default the range in which the penalties matter, from the data.
    prior : float, optional
        rho adds rho/2 |x - x0|^2 to the loss in those units, x0 the best equal penalties: keeps many penalties together.
    n_starts : int
        Number of equal penalties that are tried first.
    method : str
        Method of `refbilevel.minimize`.

    Attributes
    ----------
    best_penalties_ : ndarray
        (1,) or (n_features,); for an ElasticNet with the rows l1 and l2: (2, 1) or (2, n_features).
    best_params_ : dict
        The same as parameters of the estimator; only for param="one".
    best_score_ : float
        Minus the cross-validation loss there (mean squared error or log loss).
    best_estimator_ : the estimator, refitted on all the data with these penalties (with param="per-feature" only its `coef_` and
        `intercept_` know them).
    coef_, intercept_ : those of best_estimator_.
    cv_results_ : dict of arrays, a row each for the starts and then for the steps of the search
        log_penalties, mean_test_score, split<k>_test_score.
    result_ : OptimizeResult of the search, with status, error_estimate and the hypergradient.
    n_features_in_, classes_ (classifiers), n_splits_

    Raises
    ------
    UnknownOption, ArgumentError
        For an estimator or a parameter of it that is not one of the above; scikit-learn's own errors for data it would not accept.
        A search that ends above its tolerance warns with ConvergenceWarning.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import ElasticNet
    >>> import refbilevel as rb
    >>> rng = np.random.default_rng(0)
    >>> X = rng.standard_normal((60, 5))
    >>> y = X @ [2.0, -1.0, 0.0, 0.0, 0.5] + 0.1 * rng.standard_normal(60)
    >>> search = rb.HypergradientSearchCV(ElasticNet(), param="per-feature", cv=5, tol=1e-4).fit(X, y)
    >>> search.best_penalties_.shape, bool(search.score(X, y) > 0.99)
    ((2, 5), True)

    Hundreds of penalties can fit the folds instead of the law behind them (best_score_ then flatters); `prior` holds them together.

    Many searches at once: `joblib.Parallel(n_jobs=4)(joblib.delayed(search.fit)(X, y) for X, y in data)`, or wrap the search in
    scikit-learn's own `cross_val_score(search, X, y, n_jobs=4)`; under `joblib.parallel_config(backend="dask")` on a cluster.
    """

    def __init__(
        self, estimator, *, param="one", cv=5, tol=1e-6, maxiter=200, bounds=None, prior=None, n_starts=10, method="auto"
    ):  # fmt: skip
        self.estimator = estimator
        self.param = param
        self.cv = cv
        self.tol = tol
        self.maxiter = maxiter
        self.bounds = bounds
        self.prior = prior
        self.n_starts = n_starts
        self.method = method

    def fit(self, X, y, groups=None):
        """Choose the penalties and refit. X (N, n_features) dense, y (N,); `groups` for splitters that need them."""
        model = self._model()
        X, t = self._data(model, X, y)
        per_feature = self.param == "per-feature"
        splits = list(check_cv(self.cv, t, classifier=model.classifier).split(X, t, groups))
        self._check_classes(model, t, splits)
        bounds = self.bounds or model.box(self.estimator, X, t, per_feature)
        loss = model.search(self.estimator, X, t, splits, per_feature, bounds=bounds)
        tried = path(loss, model.starts(self.estimator, *loss.bounds, self.n_starts))
        values = np.array([loss.f(x, y) for x, y in tried])
        x0, y0 = tried[int(np.argmax(values <= (1.0 + model.tie) * values.min()))]
        scale = max(loss.f(x0, y0), 1e-12 * (t @ t / len(t)), np.finfo(float).tiny)
        F = model.search(self.estimator, X, t, splits, per_feature, scale=scale, prior=(self.prior or 0.0, x0), bounds=bounds)
        self.result_ = minimize(F, x0, self.method, tol=self.tol, maxiter=self.maxiter)
        if not self.result_.success and not stationary(self.result_, F.bounds, self.tol):
            warnings.warn(f"HypergradientSearchCV: {self.result_.message}", ConvergenceWarning, stacklevel=2)
        self.n_splits_ = len(splits)
        self.cv_results_ = history(loss, tried + [(step.x, step.y) for step in self.result_.history])
        self.best_score_ = -float(loss.f(self.result_.x, self.result_.y))
        self._refit(model, X, t, self.result_.x, per_feature)
        return self

    def _model(self):
        if self.param not in ("one", "per-feature"):
            raise unknown("param", self.param, ("one", "per-feature"))
        if type(self.estimator) not in MODELS:
            raise unknown("estimator for HypergradientSearchCV", type(self.estimator).__name__, [c.__name__ for c in MODELS])
        model = MODELS[type(self.estimator)]
        model.check(self.estimator)
        return model

    def _data(self, model, X, y):
        """X and t as float64: the targets, or -1 and 1 for the two classes."""
        X, y = validate_data(self, X, y, dtype=np.float64, y_numeric=not model.classifier)
        y = column_or_1d(y, warn=True)
        if not model.classifier:
            return X, y.astype(np.float64)
        check_classification_targets(y)
        if type_of_target(y) != "binary":
            raise ValueError(f"Only binary classification is supported. The type of the target is {type_of_target(y)}.")
        self.classes_, codes = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError("HypergradientSearchCV needs samples of 2 classes in the data, but the data contains only one class")
        return X, 2.0 * codes - 1.0

    def _check_classes(self, model, t, splits):
        if model.classifier and any(np.ptp(t[train]) == 0 for train, _ in splits):
            raise ArgumentError("HypergradientSearchCV: a fold leaves only one class to train on; use fewer or stratified folds (cv)")

    def _refit(self, model, X, t, x, per_feature):
        coef, intercept, lower = model.refit(self.estimator, X, t, x, per_feature)
        self.best_penalties_ = np.exp(x).reshape(model.kinds, -1) if model.kinds > 1 else np.exp(x)
        best = clone(self.estimator)
        if not per_feature:
            self.best_params_ = model.params(np.exp(x))
            best.set_params(**self.best_params_)
        best.coef_, best.intercept_ = (coef[None, :], np.array([intercept])) if model.classifier else (coef, intercept)
        best.n_features_in_, best.n_iter_ = X.shape[1], lower.iterations
        for name in ("feature_names_in_", "classes_"):
            if hasattr(self, name):
                setattr(best, name, getattr(self, name))
        self.best_estimator_, self.coef_, self.intercept_ = best, best.coef_, best.intercept_

    # what a fitted estimator answers
    def predict(self, X):
        check_is_fitted(self)
        return self.best_estimator_.predict(X)

    def score(self, X, y):
        """R^2 (regression) or accuracy of the refitted estimator."""
        check_is_fitted(self)
        return self.best_estimator_.score(X, y)

    @_has("decision_function")
    def decision_function(self, X):
        check_is_fitted(self)
        return self.best_estimator_.decision_function(X)

    @_has("predict_proba")
    def predict_proba(self, X):
        check_is_fitted(self)
        return self.best_estimator_.predict_proba(X)

    @_has("predict_log_proba")
    def predict_log_proba(self, X):
        check_is_fitted(self)
        return self.best_estimator_.predict_log_proba(X)

    def __sklearn_tags__(self):
        tags, own = super().__sklearn_tags__(), get_tags(self.estimator)
        tags.estimator_type, tags.classifier_tags, tags.regressor_tags = own.estimator_type, own.classifier_tags, own.regressor_tags
        tags.target_tags.required = True
        if tags.classifier_tags is not None:
            tags.classifier_tags.multi_class = False
        return tags

"""HypergradientSearchCV: scikit-learn's own checks, and its losses and gradients against models that scikit-learn refits."""

import doctest
import pickle
import warnings
from dataclasses import replace

import numpy as np
import pytest
from sklearn.datasets import load_diabetes
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import ElasticNet, Lasso, LogisticRegression, Ridge, RidgeClassifier
from sklearn.model_selection import GridSearchCV, GroupKFold, KFold, StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import refbilevel as rb
from refbilevel.errors import ArgumentError, UnknownOption
from refbilevel.frontends import sklearn as frontend
from refbilevel.frontends.folds import NONE
from refbilevel.frontends.penalised import MODELS

Search = rb.HypergradientSearchCV
ALL = [Ridge, Lasso, ElasticNet, LogisticRegression]
EXACT = {"tol": 1e-13, "max_iter": 200_000}


def data(N=50, m=4, seed=0, classes=False):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((N, m)) * rng.uniform(0.5, 2.0, m) + rng.standard_normal(m)
    X[:, -1] += 0.5 * X[:, 0]
    t = X @ np.linspace(1.0, -0.3, m) + 0.7 * rng.standard_normal(N) + 2.0
    return X, np.where(t > np.median(t), "yes", "no") if classes else t


@parametrize_with_checks([Search(Ridge(), cv=3), Search(LogisticRegression(), cv=3)])
def test_scikit_learn_checks(estimator, check):
    check(estimator)


@pytest.mark.slow
@parametrize_with_checks([Search(Lasso(), cv=3), Search(ElasticNet(), cv=3), Search(Ridge(), param="per-feature", cv=3)])
def test_scikit_learn_checks_of_the_others(estimator, check):
    check(estimator)


# the loss and its gradient -------------------------------------------------------------------------------------------


def refitted(estimator, X, t, x):
    """(coef, intercept) of scikit-learn with penalties exp(x), one a feature: rescaled columns, and rows that carry an l2 penalty."""
    N, m = X.shape
    if type(estimator) is LogisticRegression:
        s = np.exp(-0.5 * x)
        fitted = LogisticRegression(C=1.0, solver="newton-cholesky", fit_intercept=estimator.fit_intercept, **EXACT).fit(X * s, t)
        return s * fitted.coef_[0], fitted.intercept_[0] if estimator.fit_intercept else 0.0
    shift, level = (X.mean(axis=0), t.mean()) if estimator.fit_intercept else (np.zeros(m), 0.0)
    A, b = X - shift, t - level
    if type(estimator) is Ridge:
        s = np.exp(-0.5 * x)
        w = s * Ridge(1.0, fit_intercept=False, solver="cholesky").fit(A * s, b).coef_
    elif type(estimator) is Lasso:
        s = np.exp(-x)
        w = s * Lasso(1.0, fit_intercept=False, **EXACT).fit(A * s, b).coef_
    else:
        s = np.exp(-x[:m])
        A, b = np.vstack([A, np.diag(np.sqrt(N * np.exp(x[m:])))]), np.append(b, np.zeros(m))
        w = s * Lasso(N / (N + m), fit_intercept=False, **EXACT).fit(A * s, b).coef_
    return w, level - shift @ w


def truth(estimator, X, t, splits, x):
    losses = []
    for train, test in splits:
        w, intercept = refitted(estimator, X[train], t[train], x)
        z = X[test] @ w + intercept
        log_loss = type(estimator) is LogisticRegression
        losses.append(np.mean(np.logaddexp(0.0, -t[test] * z)) if log_loss else np.mean((z - t[test]) ** 2))
    return np.mean(losses)


def cross_validation(cls, per_feature, fit_intercept=True, m=4):
    estimator = cls(fit_intercept=fit_intercept)
    X, t = data(m=m, classes=cls is LogisticRegression)
    t = np.where(t == "yes", 1.0, -1.0) if cls is LogisticRegression else t
    splits = list((StratifiedKFold if cls is LogisticRegression else KFold)(4).split(X, t))
    model = MODELS[cls]
    F = model.search(estimator, X, t, splits, per_feature)
    middle = {Ridge: 1.0, LogisticRegression: 0.0, Lasso: -2.5, ElasticNet: -2.5}[cls]
    x = middle + np.random.default_rng(1).uniform(-0.5, 0.5, F.n)
    spread = lambda x: np.concatenate([np.broadcast_to(part, m) for part in x.reshape(model.kinds, -1)])  # noqa: E731
    return F, x, lambda x: truth(estimator, X, t, splits, spread(x))


@pytest.mark.parametrize("cls", ALL)
@pytest.mark.parametrize("per_feature,fit_intercept,m", [(False, True, 4), (True, True, 4), (True, False, 4), (True, True, 1)])
def test_hypergradient_against_differences_of_refitted_models(cls, per_feature, fit_intercept, m):
    F, x, value = cross_validation(cls, per_feature, fit_intercept, m)
    result = rb.hypergradient(F, x)
    assert result.success
    assert rb.digits(result.objective, value(x)) > 10
    h, reference = 1e-3, []
    for e in np.eye(F.n):
        reference.append((8 * (value(x + h * e) - value(x - h * e)) - value(x + 2 * h * e) + value(x - 2 * h * e)) / (12 * h))
    assert np.abs(result.gradient - reference).max() < 2e-9 * np.abs(reference).max()  # differences: h^4 and rounding / h


@pytest.mark.parametrize("cls", ALL)
def test_products_of_the_fold_map_are_adjoint(cls):
    F, x, _ = cross_validation(cls, True)
    rng, lower = np.random.default_rng(2), rb.solve_lower(F, x)
    dx, y_bar = rng.standard_normal(F.n), rng.standard_normal(F.m)
    dy, x_bar = F.solution_map.jvp(x, lower, dx), F.solution_map.vjp(x, lower, y_bar)
    assert abs(y_bar @ dy - x_bar @ dx) < 1e-12 * np.linalg.norm(dy) * np.linalg.norm(y_bar)
    bare = rb.LowerSolution(y=lower.y)  # without the folds' factors
    assert np.allclose(F.solution_map.vjp(x, bare, y_bar), x_bar, rtol=1e-9, atol=1e-12)
    warm = rb.solve_lower(F, x, y0=lower.y + 0.1)
    assert np.allclose(warm.y, lower.y, atol=1e-10)


@pytest.mark.parametrize("cls", ALL)
def test_error_estimate_follows_the_error_of_the_fits(cls):
    F, x, _ = cross_validation(cls, True)
    exact, lower = rb.hypergradient(F, x), rb.solve_lower(F, x)
    assert exact.error_estimate < 1e-12 * (1 + np.linalg.norm(exact.gradient))
    moved = tuple(replace(part, y=part.y * (1 + 1e-5 * np.cos(np.arange(part.y.size)))) for part in lower.factor)
    found = rb.hypergradient(F, x, lower=replace(lower, y=np.concatenate([part.y for part in moved]), factor=moved))
    error = np.linalg.norm(found.gradient - exact.gradient)
    assert error > 1e-9 and found.error_estimate == pytest.approx(error, rel=1e-2)


def test_no_penalty_is_exactly_none():
    assert np.exp(NONE) == 0.0


# the search ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cls", ALL)
def test_one_penalty_agrees_with_cross_val_score_and_beats_the_grid(cls):
    X, t = data(N=80, m=6, classes=cls is LogisticRegression)
    scoring = "neg_log_loss" if cls is LogisticRegression else "neg_mean_squared_error"
    search = Search(cls(), cv=4, tol=1e-8).fit(X, t)
    best = cls(**search.best_params_, **EXACT)
    if cls is LogisticRegression:
        best.set_params(solver="newton-cholesky")
    assert rb.digits(search.best_score_, cross_val_score(best, X, t, cv=4, scoring=scoring).mean()) > 9
    best.fit(X, t)
    assert np.allclose(search.coef_, best.coef_, rtol=1e-8, atol=1e-10) and np.allclose(search.intercept_, best.intercept_, rtol=1e-8)
    name, start = next(iter(search.best_params_.items()))
    grid = GridSearchCV(best, {name: start * np.logspace(-1, 1, 9)}, cv=4, scoring=scoring).fit(X, t)
    assert search.best_score_ >= grid.best_score_ - 1e-12
    assert search.result_.projected_norm <= 1e-8 or search.result_.hypergradient.extra


@pytest.mark.parametrize("cls", ALL)
def test_penalties_of_features_improve_and_refit(cls):
    X, t = data(N=80, m=6, classes=cls is LogisticRegression)
    one, each = Search(cls(), cv=4).fit(X, t), Search(cls(), param="per-feature", cv=4, tol=1e-4).fit(X, t)
    assert each.best_score_ > one.best_score_
    assert each.best_penalties_.shape == ((2, 6) if cls is ElasticNet else (6,))
    labels = np.where(t == "yes", 1.0, -1.0) if cls is LogisticRegression else t
    w, intercept = refitted(cls(), X, labels, np.log(each.best_penalties_).ravel())
    assert np.allclose(each.coef_.ravel(), w, rtol=1e-6, atol=1e-8) and np.allclose(each.intercept_, intercept, rtol=1e-6, atol=1e-8)
    assert each.score(X, t) == each.best_estimator_.score(X, t)
    history = each.cv_results_
    splits = np.mean([history[f"split{k}_test_score"] for k in range(each.n_splits_)], axis=0)
    assert np.allclose(splits, history["mean_test_score"], rtol=1e-12)
    assert rb.digits(history["mean_test_score"][-1], each.best_score_) > 12 and history["log_penalties"].shape[1] == each.result_.x.size


def test_a_minimum_at_a_kink_is_told_from_a_failure():
    """F(x) of a Lasso falls to a point where a coefficient of one fold leaves zero, and rises after it."""
    rng = np.random.default_rng(0)
    found = 0
    for _ in range(40):
        X = rng.standard_normal((30, 6))
        t = X @ np.array([2.0, -1.0, 0.5, 0.0, 0.0, 0.0]) + 1.5 * rng.standard_normal(30)
        with warnings.catch_warnings():
            warnings.simplefilter("error", ConvergenceWarning)
            search = Search(Lasso(), cv=3, tol=1e-7).fit(X, t)
        generators = search.result_.hypergradient.extra.get("generators")
        if generators is not None:
            found += 1
            assert generators.min() < 0 < generators.max()
            loss = {"cv": 3, "scoring": "neg_mean_squared_error"}
            F = lambda x: -cross_val_score(Lasso(np.exp(x), **EXACT), X, t, **loss).mean()  # noqa: B023, E731
            there = F(search.result_.x[0])
            assert F(search.result_.x[0] - 1e-4) > there < F(search.result_.x[0] + 1e-4)
        if found == 2:
            break
    assert found == 2


def test_a_prior_keeps_penalties_together():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((30, 6))
    t = X @ [2.0, -1.0, 0.5, 0.0, 0.0, 0.0] + 2.0 * rng.standard_normal(30)
    free, held = (Search(Ridge(), param="per-feature", cv=4, prior=rho).fit(X, t) for rho in (None, 1.0))
    assert np.ptp(np.log(held.best_penalties_)) < 0.1 * np.ptp(np.log(free.best_penalties_))


def test_the_start_is_not_a_plateau():
    """Columns in the same units, and a loss that hardly feels any single weak l2 penalty: a loose tolerance still leaves the start."""
    X, t = load_diabetes(return_X_y=True)
    X = StandardScaler().fit_transform(X)
    one, each = (Search(Ridge(), param=param, tol=1e-5).fit(X, t) for param in ("one", "per-feature"))
    assert each.result_.nit > 3 and each.best_score_ > one.best_score_ + 0.01 * abs(one.best_score_)


def test_bounds_hold_and_an_early_end_warns():
    X, t = data()
    search = Search(Ridge(), param="per-feature", bounds=(-1.0, 1.0)).fit(X, t)
    assert (np.abs(search.result_.x) <= 1.0).all() and (np.abs(search.result_.x) == 1.0).any()
    with pytest.warns(ConvergenceWarning, match="raise maxiter"):
        Search(Ridge(), param="per-feature", maxiter=2, tol=1e-10).fit(X, t)


def test_works_among_scikit_learn_tools():
    X, labels = data(classes=True)
    search = Search(LogisticRegression(), param="per-feature", prior=0.1, cv=3)
    assert cross_val_score(make_pipeline(StandardScaler(), search), X, labels, cv=3).mean() > 0.6
    fitted = pickle.loads(pickle.dumps(search.fit(X, labels)))
    assert np.array_equal(fitted.predict_proba(X), search.predict_proba(X))
    assert np.array_equal(fitted.classes_, ["no", "yes"]) and not hasattr(Search(Ridge()), "predict_proba")
    groups = np.arange(len(X)) % 5
    assert Search(Ridge(), cv=GroupKFold(5)).fit(X, np.arange(len(X)), groups=groups).n_splits_ == 5


@pytest.mark.parametrize(
    "search,error,words",
    [
        (Search(RidgeClassifier()), UnknownOption, "Ridge"),
        (Search(Ridge(), param="per_feature"), UnknownOption, "per-feature"),
        (Search(Ridge(positive=True)), ArgumentError, "positive=False"),
        (Search(LogisticRegression(class_weight="balanced")), ArgumentError, "class_weight=None"),
        (Search(LogisticRegression(solver="liblinear")), ArgumentError, "solver='lbfgs'"),
        (Search(LogisticRegression(), cv=KFold(2)), ArgumentError, "one class"),
    ],
)
def test_what_it_cannot_do_is_an_error(search, error, words):
    X = np.arange(8.0).reshape(4, 2) ** 2
    with pytest.raises(error, match=words):
        search.fit(X, [0, 0, 1, 1])


def test_docstring():
    found = doctest.testmod(frontend)
    assert found.attempted and not found.failed

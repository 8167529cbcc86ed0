"""Inside scikit-learn's other tools."""

import pickle

import joblib
import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn import config_context
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.datasets import make_blobs, make_moons
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import silhouette_score
from sklearn.model_selection import GridSearchCV, KFold, StratifiedKFold, cross_val_score
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from skganem import GANEMClustering, GANEMSemiSupervisedClassifier, GANEMTransformer, Recipe
from tests.conftest import fast_recipe

FAST = fast_recipe(min_e_steps=60)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_grid_search_finds_the_number_of_clusters():
    X, _ = make_blobs(600, centers=5, cluster_std=0.7, random_state=3)
    recipe = Recipe().but(max_iter=2, min_m_steps=3, max_m_steps=5, n_warmup_iter=2, min_e_steps=60, width=16)
    search = GridSearchCV(GANEMClustering(recipe=recipe, random_state=0), {"n_clusters": [2, 3, 4, 5, 6, 8]}, cv=3).fit(X)
    assert search.best_params_ == {"n_clusters": 5}


def test_score_prefers_the_truth():
    """A crescent cut in half must not score above the two crescents, though its halves are rounder."""
    X, y = make_moons(600, noise=0.05, random_state=0)
    rough = Recipe().but(max_iter=1, n_warmup_iter=1, min_m_steps=1, max_m_steps=1, min_e_steps=300)
    scores = []
    for labels in (y, X[:, 0] > 0.5):
        w = np.eye(2)[np.asarray(labels, dtype=int)]
        scores.append(GANEMClustering(2, init=w, recipe=rough, random_state=0).fit(X).score(X))
    assert scores[0] > scores[1]


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_score_is_bounded_and_defined(blobs):
    X, _ = blobs
    assert GANEMClustering(1, recipe=FAST, random_state=0).fit(X).score(X) == 0
    model = GANEMClustering(3, recipe=FAST, random_state=0).fit(X)
    assert -1 <= model.score(X) <= 1
    assert model.score(X[:1]) == 0
    assert model.score(X[:2]) == 0


def test_score_of_many_samples_is_that_of_an_equally_spaced_subset(blobs, monkeypatch):
    model = GANEMClustering(3, recipe=FAST, random_state=0).fit(blobs[0])
    monkeypatch.setattr("skganem._clustering.MAX_SCORED", 60)
    assert model.score(blobs[0]) == model.score(blobs[0][np.linspace(0, 149, 60).round().astype(int)])


def test_score_of_images_uses_features_that_survive_pickling(digits):
    X, _ = digits
    model = GANEMClustering(4, recipe=FAST, random_state=0).fit(X)
    assert clone(model).fit(X).score(X) == model.score(X)
    assert pickle.loads(pickle.dumps(model)).score(X) == model.score(X)


def test_score_of_images_is_the_silhouette_of_their_features(digits, monkeypatch):
    X, _ = digits
    model = GANEMClustering(4, recipe=FAST, random_state=0).fit(X)
    features = model._model.embed(model._dataset(X)).numpy()
    assert model.score(X) == pytest.approx(silhouette_score(features, model.predict(X)))
    calls = []
    monkeypatch.setattr("skganem._clustering.diffusion_embedding", lambda points: calls.append(len(points)) or points.numpy())
    model.score(X)
    assert calls == []
    GANEMClustering(4, recipe=FAST, augmentation=None, random_state=0).fit(X).score(X)  # images without learned features
    assert calls == [300]


@pytest.mark.parametrize("backend", ["loky", "threading"])
def test_parallel_grid_search(blobs, backend):
    X, y = blobs
    grid = {"max_iter": [1, 2], "width": [4, 8]}
    search = GridSearchCV(GANEMSemiSupervisedClassifier(recipe=FAST, random_state=0), grid, cv=2, n_jobs=2)
    serial = clone(search).set_params(n_jobs=1).fit(X, y)
    with joblib.parallel_backend(backend, n_jobs=2):
        parallel = search.fit(X, y)
    np.testing.assert_array_equal(parallel.cv_results_["mean_test_score"], serial.cv_results_["mean_test_score"])


def test_pipeline_and_union(blobs):
    X, y = blobs
    transformer = GANEMTransformer(3, n_clusters=3, recipe=FAST, random_state=0)
    union = FeatureUnion([("gan", transformer), ("scaled", StandardScaler())])
    model = Pipeline([("scale", MinMaxScaler()), ("features", union), ("classify", LogisticRegression())])
    assert cross_val_score(model, X, y, cv=3).mean() > 0.9
    model.set_params(features__gan__n_components=2)
    assert model.fit(X, y)["features"].transform(MinMaxScaler().fit_transform(X)).shape == (150, 6)
    columns = ColumnTransformer([("gan", clone(transformer), [0, 1])], remainder="passthrough")
    assert columns.fit_transform(X).shape == (150, 2 + 2)
    assert make_pipeline(MinMaxScaler(), GANEMClustering(3, recipe=FAST, random_state=0)).fit_predict(X).shape == (150,)


def test_cross_validation_leaves_unlabeled_samples_out(blobs):
    X, y = blobs
    partial = np.where(np.arange(150) % 5 == 0, y, -1)
    model = GANEMSemiSupervisedClassifier(recipe=FAST, random_state=0)
    scores = cross_val_score(model, X, partial, cv=3)  # -1 is a stratum
    for (train, test), score in zip(StratifiedKFold(3).split(X, partial), scores, strict=True):
        labeled = test[partial[test] >= 0]
        assert score == clone(model).fit(X[train], partial[train]).score(X[labeled], y[labeled]) > 0.9
    holed = [None if label < 0 else "abc"[label] for label in partial]
    folds = KFold(3, shuffle=True, random_state=0)
    expected = cross_val_score(model, X, partial, cv=folds)
    for column in (list, pd.Series, pl.Series):
        np.testing.assert_array_equal(cross_val_score(model, X, column(holed), cv=folds, error_score="raise"), expected)
    search = GridSearchCV(model, {"width": [8]}, cv=folds).fit(X, partial)
    assert search.best_score_ == expected.mean()
    assert search.score(X, partial) == search.best_estimator_.score(X[::5], y[::5])


def test_calibration(blobs):
    X, y = blobs
    model = CalibratedClassifierCV(GANEMSemiSupervisedClassifier(recipe=FAST, random_state=0), cv=2).fit(X, y)
    assert model.score(X, y) > 0.9


def test_html_representation():
    for kind in (GANEMClustering, GANEMTransformer, GANEMSemiSupervisedClassifier):
        estimator = kind(random_state=0)
        html = estimator._repr_html_()
        assert type(estimator).__name__ in html
        assert "random_state" in html


def test_metadata_routing(blobs):
    """fit asks for X and y alone, so that nothing is routed to it; what is passed for others arrives there."""
    X, y = blobs
    with config_context(enable_metadata_routing=True):
        classifier = GANEMSemiSupervisedClassifier(recipe=fast_recipe(), random_state=0)
        assert classifier.get_metadata_routing().fit.requests == {}
        scaler = StandardScaler().set_fit_request(sample_weight=True)
        weights = np.where(y == 0, 1.0, 0.0)
        model = make_pipeline(scaler, classifier).fit(X, y, sample_weight=weights)
        np.testing.assert_allclose(model[0].mean_, X[y == 0].mean(axis=0))
        assert 0 <= cross_val_score(model, X, y, cv=2).mean() <= 1

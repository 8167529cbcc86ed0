import re

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline

from skganem import GANEMTransformer
from tests.conftest import fast_recipe


def fast(n_components=5, **params):
    return GANEMTransformer(
        n_components, **{"n_clusters": 3, "recipe": fast_recipe(min_e_steps=60), "random_state": 0, **params}
    )


def test_features(blobs):
    X, _ = blobs
    model = fast().fit(X)
    features = model.transform(X)
    assert features.shape == (150, 5)
    assert features.dtype == np.float32
    np.testing.assert_array_equal(features, fast().fit_transform(X))
    assert list(model.get_feature_names_out())[:2] == ["ganemtransformer0", "ganemtransformer1"]


def test_layer_r_feeds_the_output_layer(blobs):
    """The features are all that the E-net's answer depends on."""
    X, _ = blobs
    model = fast().fit(X)
    state = model._model.to_numpy()
    logits = model.transform(X) @ state["e_net.output.weight"].T + state["e_net.output.bias"]
    w = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    np.testing.assert_allclose(w, model._posterior(X), atol=1e-5)


@pytest.mark.parametrize("output", ["pandas", "polars"])
def test_set_output(blobs, output):
    X, _ = blobs
    frame = fast().set_output(transform=output).fit_transform(X)
    assert list(frame.columns) == [f"ganemtransformer{i}" for i in range(5)]
    assert type(frame).__module__.startswith(output)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("share", [0.0, 0.5])
def test_nan_may_be_the_marker(blobs, share):
    X, y = blobs
    partial = np.where(np.arange(150) < 150 * share, y, np.nan)
    assert fast(n_clusters=5, unlabeled=np.nan).fit(X, partial).weights_.shape == ((3,) if share else (5,))
    assert fast(n_clusters=5).fit(X, partial).weights_.shape == ((3,) if share else (5,))


@pytest.mark.parametrize("column", [pd.Series, pl.Series, list])
def test_missing_labels_are_unlabeled(blobs, column):
    X, y = blobs
    partial = np.where(np.arange(150) < 30, y, -1)
    holed = column([None if label < 0 else int(label) for label in partial])
    np.testing.assert_array_equal(fast().fit(X, holed).transform(X), fast().fit(X, partial).transform(X))
    with pytest.raises(ValueError, match="FrozenEstimator"):
        fast().fit(X, column([None, *X[1:, 0].tolist()]))


def test_a_pipeline_s_classifier_would_take_the_marker_for_a_class(blobs):
    X, y = blobs
    partial, names = np.where(np.arange(150) < 30, y, -1), np.array(["a", "b", "?"])[np.minimum(y, 2)]
    with pytest.warns(UserWarning, match="y has unlabeled=-1. In a pipeline, a supervised classifier takes it for a class"):
        model = make_pipeline(fast(), LogisticRegression()).fit(X, partial)
    assert -1 in model.classes_
    with pytest.warns(UserWarning, match=re.escape("y has unlabeled='?'")):
        make_pipeline(fast(unlabeled="?"), LogisticRegression()).fit(X, names)
    # No false alarm: y is complete, the classifier itself refuses missing values, or there is no pipeline.
    make_pipeline(fast(), LogisticRegression()).fit(X, y)
    with pytest.raises(ValueError, match="NaN"):
        make_pipeline(fast(), LogisticRegression()).fit(X, np.where(partial < 0, np.nan, partial))
    np.testing.assert_array_equal(fast().fit(X, partial).transform(X), model[0].transform(X))


@pytest.mark.parametrize("share", [0.0, 0.1, 1.0])
def test_labels_are_optional(blobs, share):
    X, y = blobs
    partial = np.where(np.arange(150) < 150 * share, y, -1) if share else None
    model = fast().fit(X, partial)
    features = model.transform(X)
    assert LogisticRegression().fit(features, y).score(features, y) > 0.9
    if share:  # the clusters are the classes, in their order
        assert (model._posterior(X).argmax(axis=1) == y).mean() > 0.9


def test_in_a_pipeline(blobs):
    X, y = blobs
    assert make_pipeline(fast(), LogisticRegression()).fit(X, y).score(X, y) > 0.9


def test_labels_set_the_number_of_clusters(blobs):
    X, y = blobs
    assert fast(n_clusters=7).fit(X, y).weights_.shape == (3,)
    assert fast(n_clusters=2).fit(X).weights_.shape == (2,)


def test_labels_may_all_be_unknown(blobs):
    X, _ = blobs
    np.testing.assert_array_equal(fast().fit(X, np.full(150, -1)).transform(X), fast().fit(X).transform(X))
    with pytest.raises(ValueError, match="inconsistent numbers"):
        fast().fit(X, np.full(149, -1))


def test_feature_names_are_checked(blobs):
    frame = pd.DataFrame(blobs[0], columns=list("abcd"))
    model = fast().fit(frame)
    with pytest.raises(ValueError, match="feature names"):
        model.transform(frame[list("dcba")])


def test_n_components_below_one(blobs):
    with pytest.raises(ValueError, match="n_components"):
        fast(0).fit(blobs[0])


def test_pandas_missing_labels(blobs):
    X, y = blobs
    labels = pd.Series(y, dtype="Int64").where(y != 2, pd.NA)
    assert fast(unlabeled=pd.NA).fit(X, labels).weights_.shape == (2,)


def test_names_are_of_the_fitted_features(blobs):
    with pytest.raises(NotFittedError):
        fast().get_feature_names_out()
    model = fast(2).fit(blobs[0]).set_params(n_components=5)
    assert list(model.get_feature_names_out()) == ["ganemtransformer0", "ganemtransformer1"]


def test_warm_start_matches_classes_with_clusters(blobs):
    """Labels that come later do not tear the clusters apart that were found without them."""
    X, y = blobs
    model = fast(warm_start=True).fit(X)
    clusters = model._posterior(X).argmax(axis=1)
    partial = np.where(np.arange(150) < 30, np.array(["b", "c", "a"])[y], "?")
    model.set_params(unlabeled="?", max_iter=1).fit(X, partial)
    np.testing.assert_array_equal(model._posterior(X).argmax(axis=1), clusters)


def test_before_a_regressor(blobs):
    """y is taken for classes; a transformer that was fitted before sees none of it."""
    X, _ = blobs
    target = X[:, 0] + 0.5
    with pytest.raises(ValueError, match="FrozenEstimator"):
        make_pipeline(fast(), Ridge()).fit(X, target)
    transformer = fast().fit(X)
    model = make_pipeline(FrozenEstimator(transformer), Ridge()).fit(X, target)
    np.testing.assert_array_equal(model[:-1].transform(X), transformer.transform(X))


@pytest.mark.parametrize("name", ["n_components", "n_clusters"])
def test_true_is_no_number(blobs, name):
    with pytest.raises(ValueError, match=f"The '{name}' parameter of GANEMTransformer must be an int"):
        GANEMTransformer(**{name: True}).fit(blobs[0])

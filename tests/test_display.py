"""The pictures show what they say, and are drawn where they are told to."""

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from sklearn.cluster import KMeans
from sklearn.datasets import load_digits, make_blobs
from sklearn.frozen import FrozenEstimator
from sklearn.metrics import silhouette_score
from sklearn.pipeline import make_pipeline

from skganem import GANEMClustering, GANEMSemiSupervisedClassifier, GANEMTransformer
from skganem._clustering import partition_score
from skganem.core import fit as core_fit
from skganem.display import (
    ClusterConfusionDisplay,
    EMHistoryDisplay,
    FeatureMapDisplay,
    GeneratedSamplesDisplay,
    NumberOfClustersDisplay,
)
from tests.conftest import count_calls, fast_recipe

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


def test_generated_samples(digits):
    X, y = digits
    model = GANEMSemiSupervisedClassifier(recipe=fast_recipe(), random_state=0).fit(
        X[:100], np.array(list("abcdefghij"))[y[:100]]
    )
    _, ax = plt.subplots()
    display = GeneratedSamplesDisplay.from_estimator(model, n_samples=4, ax=ax)
    assert display.ax_ is ax
    assert display.images.shape == (10, 4, 8, 8)
    shown = ax.images[0].get_array()
    assert shown.shape == (100, 40)
    np.testing.assert_allclose(shown[1:9, 11:19], (display.images[0, 1] - display.images.min()) / np.ptp(display.images))
    assert [tick.get_text() for tick in ax.get_yticklabels()] == list("abcdefghij")
    again = GeneratedSamplesDisplay.from_estimator(model, n_samples=4, random_state=0)
    other = GeneratedSamplesDisplay.from_estimator(model, n_samples=4, random_state=1)
    np.testing.assert_array_equal(display.images, again.images)
    assert not np.array_equal(display.images, other.images)


def test_color_images_are_drawn_in_color():
    images = np.random.default_rng(0).uniform(size=(2, 3, 8, 10, 3))
    display = GeneratedSamplesDisplay(images, [0, 1]).plot()
    assert display.ax_.images[0].get_array().shape == (20, 36, 3)


@pytest.mark.parametrize("channels", [1, 2, 5])
def test_images_of_other_channels_are_drawn_by_their_mean(channels):
    images = np.random.default_rng(0).uniform(size=(2, 3, 8, 10, channels))
    shown = GeneratedSamplesDisplay(images, [0, 1]).plot().ax_.images[0].get_array()
    scaled = (images - images.min()) / np.ptp(images)
    np.testing.assert_allclose(shown[1:9, 1:11], scaled[0, 0].mean(axis=-1))


def test_rows_are_no_images(blobs):
    model = GANEMClustering(3, recipe=fast_recipe(), random_state=0).fit(blobs[0])
    with pytest.raises(ValueError, match="fitted to rows"):
        GeneratedSamplesDisplay.from_estimator(model)
    transformer = GANEMTransformer(2, n_clusters=3, recipe=fast_recipe(), random_state=0).fit(blobs[0])
    with pytest.raises(ValueError, match="GANEMTransformer has no sample"):
        GeneratedSamplesDisplay.from_estimator(transformer)


def test_history(blobs):
    model = GANEMClustering(3, recipe=fast_recipe(), random_state=0).fit(blobs[0])
    lines = EMHistoryDisplay.from_estimator(model).ax_.lines
    np.testing.assert_allclose(lines[0].get_ydata(), 100 * model.history_["label_change"])
    np.testing.assert_allclose(lines[1].get_ydata(), 100 - 100 * model.history_["confidence"], atol=1e-4)


@pytest.mark.parametrize("n_components", [1, 2, 5])
def test_feature_map(blobs, n_components):
    X, y = blobs
    model = GANEMTransformer(n_components, n_clusters=3, recipe=fast_recipe(), random_state=0).fit(X)
    display = FeatureMapDisplay.from_estimator(model, X, y)
    assert display.points.shape == (150, 2)
    if n_components == 2:
        np.testing.assert_array_equal(display.points, model.transform(X))
    assert FeatureMapDisplay.from_estimator(model, X[:1], y[:1]).points.shape == (1, 2)
    assert [text.get_text() for text in display.ax_.get_legend().get_texts()] == ["0", "1", "2"]


@pytest.mark.parametrize("n_labels", [10, 12, 20, 40])
def test_each_label_of_a_feature_map_has_a_color(n_labels):
    display = FeatureMapDisplay(np.random.default_rng(0).normal(size=(200, 2)), np.arange(200) % n_labels).plot()
    colors = [tuple(handle.get_color()) for handle in display.ax_.get_legend().legend_handles]
    assert len(colors) == len(set(colors)) == n_labels


@pytest.mark.parametrize(
    ("y", "unlabeled", "names"),
    [
        (["b", -1, "a", None, "b"], -1, ["a", "b"]),
        (np.array([1, -1, 0, np.nan, 1]), -1, ["0.0", "1.0"]),
        (pd.Series(["b", None, "a", None, "b"], dtype="category"), None, ["a", "b"]),
        (pl.Series([-1, None, -2, None, -1]), None, ["-2", "-1"]),
        (np.array(["b", "?", "a", "?", "b"]), "?", ["a", "b"]),
        ([None, -1, None, np.nan, pd.NA], -1, []),
    ],
)
def test_samples_without_a_class_are_gray(y, unlabeled, names):
    points = np.random.default_rng(0).normal(size=(5, 2))
    ax = FeatureMapDisplay(points, y, unlabeled=unlabeled).plot().ax_
    gray, colored = ax.collections
    np.testing.assert_array_equal(gray.get_offsets(), points[[1, 3]] if names else points)
    np.testing.assert_allclose(gray.get_facecolor(), [matplotlib.colors.to_rgba("lightgray")])
    np.testing.assert_array_equal(colored.get_offsets(), points[[0, 2, 4]] if names else np.empty((0, 2)))
    assert colored.get_array().tolist() == ([1, 0, 1] if names else [])
    assert [text.get_text() for text in ax.get_legend().get_texts()] == [*names, "unlabeled"]


def test_displays_know_the_estimator_s_marker(blobs):
    X, y = blobs
    names = np.array(["a", "b", "?"])[y]
    model = GANEMSemiSupervisedClassifier(unlabeled="?", recipe=fast_recipe(), random_state=0).fit(X, names)
    gray, _ = FeatureMapDisplay.from_estimator(model, X, names).ax_.collections
    assert len(gray.get_offsets()) == np.sum(y == 2)
    for estimator in (model, make_pipeline(FrozenEstimator(model)), FrozenEstimator(model)):
        display = ClusterConfusionDisplay.from_estimator(estimator, X, names)
        assert display.classes.tolist() == ["a", "b"]
        assert display.counts.sum() == np.sum(y < 2)


@pytest.mark.parametrize("display", [GeneratedSamplesDisplay, EMHistoryDisplay, FeatureMapDisplay])
def test_a_pipeline_is_refused(blobs, display):
    X, _ = blobs
    pipeline = make_pipeline(GANEMClustering(3, recipe=fast_recipe(), random_state=0)).fit(X)
    with pytest.raises(TypeError, match="of a pipeline, give the step"):
        display.from_estimator(pipeline, **({"X": X} if display is FeatureMapDisplay else {}))
    if display is not GeneratedSamplesDisplay:  # which refuses rows
        frozen = FrozenEstimator(pipeline[-1])
        assert display.from_estimator(frozen, **({"X": X} if display is FeatureMapDisplay else {})).figure_


def test_confusion_puts_matching_clusters_on_the_diagonal():
    y, labels = [0, 0, 0, 1, 1, 2, 2, 2], [5, 5, 3, 3, 3, 9, 9, 7]
    display = ClusterConfusionDisplay.from_predictions(y, labels)
    np.testing.assert_array_equal(display.clusters, [5, 3, 9, 7])
    np.testing.assert_array_equal(display.counts, [[2, 1, 0, 0], [0, 2, 0, 0], [0, 0, 2, 1]])
    assert sorted(int(text.get_text()) for text in display.ax_.texts) == [1, 1, 2, 2, 2]


def test_confusion_leaves_out_samples_without_a_class():
    y, labels = ["a", -1, "a", None, "b", "b"], [5, 5, -1, 9, -1, -1]
    display = ClusterConfusionDisplay.from_predictions(y, labels)
    np.testing.assert_array_equal(display.counts, [[1, 1], [0, 2]])
    assert (display.classes.tolist(), display.clusters.tolist()) == (["a", "b"], [5, -1])
    display = ClusterConfusionDisplay.from_predictions([-1, None, 1, np.nan], ["x", "x", -1, -1], unlabeled=None)
    np.testing.assert_array_equal(display.counts, [[1, 0], [0, 1]])
    assert (display.classes.tolist(), display.clusters.tolist()) == ([-1, 1], ["x", -1])


# The number of clusters


def fast(n_clusters=8, **params):
    return GANEMClustering(n_clusters, **{"recipe": fast_recipe(encoder_steps=20), "random_state": 0, **params})


@pytest.fixture(scope="module")
def four():
    return make_blobs(200, centers=4, cluster_std=0.5, random_state=1)[0]


def test_the_number_of_clusters_is_found(four):
    _, ax = plt.subplots()
    display = NumberOfClustersDisplay.from_estimator(fast(), four, n_clusters=range(2, 9), ax=ax)
    assert display.best_n_clusters_ == 4
    assert display.n_clusters.tolist() == list(range(2, 9))
    assert display.scores.shape == (7,)
    assert (np.abs(display.scores) <= 1).all()
    assert display.scores.argmax() == 2
    assert display.ax_ is ax
    np.testing.assert_array_equal(ax.lines[0].get_xydata(), np.c_[display.n_clusters, display.scores])
    assert ax.get_title() == "highest with 4 clusters"
    score = fast(4, recipe=fast_recipe(min_e_steps=200, width=16)).fit(four).score(four)
    assert display.scores[2] == pytest.approx(score, abs=0.02)  # whose clusters are the same


def test_the_number_of_clusters_of_images():
    X, y = load_digits(return_X_y=True)
    X = X[:900][np.isin(y[:900], [0, 4, 6])].reshape(-1, 8, 8)
    recipe = fast_recipe(encoder_steps=60, width=16, encoder_batch_size=64, n_neighbors=15)
    display = NumberOfClustersDisplay.from_estimator(fast(recipe=recipe), X, n_clusters=range(2, 7))
    assert display.best_n_clusters_ == 3


@pytest.mark.parametrize("images", [False, True])
def test_a_score_does_not_depend_on_the_other_numbers(four, digits, images):
    X = digits[0][:100] if images else four
    together = NumberOfClustersDisplay.from_estimator(fast(), X, n_clusters=[6, 2, 3])
    assert together.n_clusters.tolist() == [6, 2, 3]
    for number, score in zip((6, 2, 3), together.scores, strict=True):
        alone = NumberOfClustersDisplay.from_estimator(fast(3), X, n_clusters=np.array([number]))
        assert alone.scores.tolist() == [score]
        assert alone.best_n_clusters_ == number


@pytest.mark.parametrize("images", [False, True])
def test_the_memory_serves_fits_and_numbers_of_clusters_alike(four, digits, images, tmp_path, monkeypatch):
    X = digits[0][:100] if images else four
    calls = count_calls(monkeypatch, core_fit, "fit_encoder", "find_neighbors")
    learned = ["fit_encoder", "find_neighbors"] if images else ["find_neighbors"]
    first, second = (fast(memory=str(tmp_path / name)) for name in "ab")
    scores = NumberOfClustersDisplay.from_estimator(first, X, n_clusters=[2, 3]).scores
    first.set_params(n_clusters=3).fit(X)
    assert calls == learned
    second.fit(X)
    calls.clear()
    again = NumberOfClustersDisplay.from_estimator(second, X, n_clusters=[3, 2])
    assert again.scores.tolist() == scores[::-1].tolist()
    assert calls == []


def test_no_network_but_the_encoder_is_trained(digits, monkeypatch):
    monkeypatch.setattr(core_fit, "expectation_maximization", None)
    display = NumberOfClustersDisplay.from_estimator(fast(), digits[0][:60], n_clusters=[2, 60])
    assert display.scores[1] == 0  # no two samples in the same cluster


def test_any_estimator_serves_for_its_parameters_and_stays_as_it_is(four):
    X = four
    expected = NumberOfClustersDisplay.from_estimator(fast(), X, n_clusters=[3, 4]).scores.tolist()
    fitted = fast(2, recipe=fast_recipe()).fit(X[:50])
    fitted.set_params(recipe=fast_recipe(encoder_steps=20), init="random", warm_start=True, n_clusters=9)
    before = dict(vars(fitted))
    for model in (fitted, FrozenEstimator(fitted)):
        assert NumberOfClustersDisplay.from_estimator(model, X, n_clusters=[3, 4]).scores.tolist() == expected
    assert vars(fitted) == before
    own = fast(init=np.eye(2)[np.arange(200) % 2])
    assert NumberOfClustersDisplay.from_estimator(own, X, n_clusters=[3, 4]).scores.tolist() == expected
    assert NumberOfClustersDisplay.from_estimator(fast(random_state=None), X, n_clusters=[3, 4]).scores.shape == (2,)


@pytest.mark.parametrize(
    ("numbers", "shown"), [([1, 2], r"\[1, 2\]"), ([], r"\[\]"), ([2, 201], r"\[2, 201\]"), (range(3), r"\[0, 1, 2\]")]
)
def test_numbers_of_clusters_that_cannot_be_are_refused(four, numbers, shown):
    with pytest.raises(ValueError, match=f"n_clusters must be numbers from 2 to n_samples=200, got {shown}"):
        NumberOfClustersDisplay.from_estimator(fast(), four, n_clusters=numbers)


@pytest.mark.parametrize(
    "estimator", [KMeans(3), GANEMTransformer(), GANEMSemiSupervisedClassifier(), make_pipeline(GANEMClustering())]
)
def test_other_estimators_have_no_number_of_clusters(four, estimator):
    with pytest.raises(TypeError, match=f"is for a GANEMClustering, got a {type(estimator).__name__}"):
        NumberOfClustersDisplay.from_estimator(estimator, four)


def test_bad_data_are_refused_as_in_fit(four):
    with pytest.raises(ValueError, match="NaN"):
        NumberOfClustersDisplay.from_estimator(fast(), np.where(four > 0, np.nan, four), n_clusters=[2])


def test_a_partition_is_scored_by_its_silhouette():
    """Of learned features as they are; of others in a diffusion map, where a ring is one group."""
    angle = np.linspace(0, 2 * np.pi, 150, endpoint=False)
    rings = torch.from_numpy(np.r_[[[r * np.cos(a), r * np.sin(a)] for r in (1.0, 2.0) for a in angle]]).float()
    labels = np.repeat([0, 1], 150)
    as_features, as_rows = (partition_score(rings, labels, learned) for learned in (True, False))
    assert as_features == pytest.approx(silhouette_score(rings.numpy(), labels))
    assert as_features < 0.15 < 0.2 < as_rows
    for learned in (True, False):
        assert partition_score(rings, np.zeros(300, dtype=int), learned) == 0
        assert partition_score(rings, np.arange(300), learned) == 0

"""The pictures show what they say, and are drawn where they are told to."""

import sys
from html.parser import HTMLParser

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from PIL import Image
from sklearn.cluster import KMeans
from sklearn.datasets import load_digits, make_blobs
from sklearn.frozen import FrozenEstimator
from sklearn.metrics import silhouette_score
from sklearn.pipeline import make_pipeline

from skganem import GANEMClustering, GANEMSemiSupervisedClassifier, GANEMTransformer
from skganem._clustering import silhouettes
from skganem.core import fit as core_fit
from skganem.display import (
    ClusterConfusionDisplay,
    ClusterGalleryDisplay,
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
    display.figure_.canvas.draw()
    assert len(np.unique(display.ax_.collections[0].get_facecolor(), axis=0)) == n_labels
    colors = [tuple(handle.get_color()) for handle in display.ax_.get_legend().legend_handles]
    assert len(colors) == len(set(colors)) == min(n_labels, 20)


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


def test_the_legend_names_the_most_frequent_labels():
    labels = np.repeat([f"class {i}" for i in range(30)], [2, 9] * 15)
    points = np.random.default_rng(0).normal(size=(len(labels), 2))
    legend = FeatureMapDisplay(points, labels).plot().ax_.get_legend()
    names = [text.get_text() for text in legend.get_texts()]
    assert len(names) == 20
    assert {f"class {i}" for i in range(1, 30, 2)} < set(names)
    assert legend.get_title().get_text() == "20 of 30"


def test_a_legend_does_not_hide_the_map_where_there_is_room_beside_it():
    points, labels = np.random.default_rng(0).normal(size=(100, 2)), np.arange(100) % 20
    for own in (False, True):
        ax = plt.subplots()[1] if own else None
        display = FeatureMapDisplay(points, labels).plot(ax=ax)
        display.figure_.canvas.draw()
        legend, map_ = display.ax_.get_legend().get_window_extent(), display.ax_.get_window_extent()
        assert (legend.x0 < map_.x1) == own  # beside it, the legend would lie outside of a figure without a layout engine
        assert legend.x1 <= display.figure_.bbox.x1
        assert 0 <= legend.y0 < legend.y1 <= display.figure_.bbox.y1


def thumbnail_boxes(display):
    """Return the corners (n, 4) of the thumbnails in the figure: left, top, right, bottom."""
    display.figure_.canvas.draw()
    return np.array([image.get_window_extent().extents for image in display.ax_.images])


@pytest.mark.parametrize("n_images", [1, 5, 60])
def test_thumbnails_are_at_their_places_and_do_not_overlap(digits, n_images):
    X, y = digits
    model = GANEMSemiSupervisedClassifier(recipe=fast_recipe(), random_state=0).fit(X[:100], y[:100])
    display = FeatureMapDisplay.from_estimator(model, X, thumbnails=n_images)
    assert display.images.shape == (n_images, 8, 8)
    np.testing.assert_array_equal(display.images, X[display.positions])
    boxes = thumbnail_boxes(display)
    middles = (boxes[:, :2] + boxes[:, 2:]) / 2
    np.testing.assert_allclose(middles, display.ax_.transData.transform(display.points[display.positions]), atol=0.01)
    sides = boxes[:, 2:] - boxes[:, :2]
    np.testing.assert_allclose(sides, sides[0, 0], rtol=1e-3)  # squares
    assert sides.max() < display.ax_.get_window_extent().width / 5
    apart = np.abs(middles[:, None] - middles).max(axis=2) + 1e9 * np.eye(n_images)
    assert (apart >= sides.max() - 0.01).all()
    limits = display.ax_.get_window_extent()
    assert (boxes[:, :2] >= limits.min).all()
    assert (boxes[:, 2:] <= limits.max).all()
    colors = [patch.get_edgecolor() for patch in display.ax_.patches]
    drawn = display.ax_.collections[0].get_facecolor()[display.positions]
    np.testing.assert_allclose(colors, drawn)


def test_equal_places_have_one_thumbnail(digits):
    model = GANEMClustering(3, recipe=fast_recipe(), random_state=0).fit(digits[0][:60])
    display = FeatureMapDisplay.from_estimator(model, digits[0][[0, 0, 0, 5]], thumbnails=4)
    assert len(display.positions) == 2
    assert len(thumbnail_boxes(FeatureMapDisplay.from_estimator(model, digits[0][:1], thumbnails=4))) == 1


def test_thumbnails_keep_color_and_proportions():
    images = np.random.default_rng(0).uniform(size=(2, 8, 16, 3))
    points, thumbnails = np.array([[0.0, 0], [1, 1], [0, 1]]), {"images": images, "positions": np.array([0, 1])}
    display = FeatureMapDisplay(points, ["a", "b", "a"], **thumbnails).plot()
    assert display.ax_.images[0].get_array().shape == (8, 16, 3)
    left, low, right, high = thumbnail_boxes(display).T
    np.testing.assert_allclose((right - left) / (high - low), 2, rtol=1e-3)


def test_rows_have_no_thumbnails(blobs):
    model = GANEMClustering(3, recipe=fast_recipe(), random_state=0).fit(blobs[0])
    with pytest.raises(ValueError, match="rows, which have no thumbnails"):
        FeatureMapDisplay.from_estimator(model, blobs[0], thumbnails=3)
    with pytest.raises(ValueError, match="thumbnails"):
        FeatureMapDisplay.from_estimator(model, blobs[0], thumbnails=-1)


@pytest.mark.parametrize("display", [GeneratedSamplesDisplay, EMHistoryDisplay, FeatureMapDisplay, ClusterGalleryDisplay])
def test_a_pipeline_is_refused(digits, display):
    X = digits[0][:60]
    data = {"X": X} if display in (FeatureMapDisplay, ClusterGalleryDisplay) else {}
    pipeline = make_pipeline(GANEMClustering(3, recipe=fast_recipe(), random_state=0)).fit(X)
    with pytest.raises(TypeError, match="of a pipeline, give the step"):
        display.from_estimator(pipeline, **data)
    assert display.from_estimator(FrozenEstimator(pipeline[-1]), **data).figure_


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
    assert ax.get_title() == "4 clusters"
    score = fast(4, recipe=fast_recipe(min_e_steps=200, width=16)).fit(four).score(four)
    assert display.scores[2] == pytest.approx(score, abs=0.02)  # whose clusters are the same


@pytest.mark.parametrize(
    ("errors", "best"), [(None, 5), ([0.1, 0.1, 0.004, 0.1], 5), ([0, 0, 0.02, 0], 4), ([0, 0, 0.2, 0], 3)]
)
def test_the_least_number_within_a_standard_error_of_the_best_is_chosen(errors, best):
    display = NumberOfClustersDisplay([3, 4, 5, 6], [0.2, 0.39, 0.4, 0.395], errors)
    assert display.best_n_clusters_ == best
    assert display.plot().ax_.get_title() == f"{best} clusters"


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
    as_features, as_rows = (silhouettes(rings, labels, learned).mean() for learned in (True, False))
    assert as_features == pytest.approx(silhouette_score(rings.numpy(), labels))
    assert as_features < 0.15 < 0.2 < as_rows
    for learned in (True, False):
        assert (silhouettes(rings, np.zeros(300, dtype=int), learned) == 0).all()
        assert (silhouettes(rings, np.arange(300), learned) == 0).all()


# Galleries


class Page(HTMLParser):
    """The tags of a page, by name the attributes of each; and its text."""

    def __init__(self, path):
        super().__init__()
        self.tags, self.open, self.text = {}, [], ""
        self.feed(path.read_text(encoding="utf-8"))
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.setdefault(tag, []).append(dict(attributes))
        self.open += [] if tag in ("meta", "img") else [tag]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


@pytest.fixture(scope="module")
def clustering(digits):
    return GANEMClustering(4, recipe=fast_recipe(), random_state=0).fit(digits[0][:100])


def gallery_of_sizes(sizes, shape=(8, 8), **settings):
    """Return a gallery of random images, of a cluster of each size."""
    labels = np.repeat(np.arange(len(sizes)), sizes)
    images = np.random.default_rng(0).integers(0, 256, (len(labels), *shape)).astype(np.uint8)
    display = ClusterGalleryDisplay.from_predictions(images, np.eye(len(sizes))[labels], random_state=0, **settings)
    return display, images


def row_names(display):
    return [tick.get_text() for tick in display.ax_.get_yticklabels()]


def test_a_gallery_shows_images_of_each_cluster(digits, clustering):
    X = digits[0]
    _, ax = plt.subplots()
    display = ClusterGalleryDisplay.from_estimator(clustering, X, n_images=6, ax=ax)
    assert display.ax_ is ax
    probability, found = clustering.predict_proba(X), clustering.predict(X)
    sizes = np.bincount(found, minlength=4)
    assert display.sizes.tolist() == sorted(sizes, reverse=True)
    assert [sizes[label] for label in display.labels] == display.sizes.tolist()
    features = clustering._model.embed(clustering._dataset(X)).numpy()
    highest = np.sort(probability, axis=1)
    for i, label in enumerate(display.labels):
        own = np.flatnonzero(found == label)
        assert display.confidence[i] == pytest.approx(highest[own, -1].mean())
        for kind, positions in display.positions.items():
            assert set(positions[i]) <= set(own)
            assert len(set(positions[i])) == min(6, len(own))
            np.testing.assert_array_equal(display.images[kind][i], X[positions[i]])
        distances = np.linalg.norm(features[own] - features[own].mean(axis=0), axis=1)
        np.testing.assert_allclose(distances[np.isin(own, display.positions["typical"][i])].max(), np.sort(distances)[:6][-1])
        margin = (highest[:, -1] - highest[:, -2])[own]
        np.testing.assert_allclose(margin[np.isin(own, display.positions["uncertain"][i])].max(), np.sort(margin)[:6][-1])
        assert display.images["generated"][i].shape == (6, 8, 8)
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["typical", "uncertain", "random", "generated"]
    assert row_names(display)[0] == f"{display.labels[0]}: {display.sizes[0]} ({display.sizes[0] / 300:.1%})"
    assert ax.get_title() == "4 clusters of 300 images"


def test_a_gallery_is_drawn_as_it_is(digits, clustering):
    display = ClusterGalleryDisplay.from_estimator(clustering, digits[0], n_images=3, generated=False)
    canvas = display.ax_.images[0].get_array()
    assert canvas.shape == (40, 100, 4)  # frames of one pixel, and half a column between the kinds
    highest = max(part.max() for parts in display.images.values() for part in parts)
    np.testing.assert_allclose(canvas[11:19, 11:19, 0] / 255, display.images["typical"][1][1] / highest, atol=0.01)
    np.testing.assert_allclose(canvas[1:9, 36:44, 0] / 255, display.images["uncertain"][0][0] / highest, atol=0.01)
    assert (canvas[:, 30:35, 3] == 0).all()


def test_a_gallery_depends_on_its_random_state_alone(digits, clustering):
    def show(**settings):
        display = ClusterGalleryDisplay.from_estimator(clustering, digits[0], **settings)
        return {kind: np.concatenate(parts).tolist() for kind, parts in display.images.items()}

    first, again, other = show(), show(random_state=0), show(random_state=1)
    assert first == again
    assert [kind for kind in first if first[kind] != other[kind]] == ["random", "generated"]


def test_a_gallery_of_classes_has_their_names(digits):
    X, y = digits
    names = np.array(list("abcdefghij"))
    model = GANEMSemiSupervisedClassifier(recipe=fast_recipe(), random_state=0).fit(X[:100], names[y[:100]])
    display = ClusterGalleryDisplay.from_estimator(model, X)
    assert sorted(display.labels) == list(names)
    assert [(model.predict(X) == label).sum() for label in display.labels] == display.sizes.tolist()
    expected = model.sample(5, y=display.labels[3], random_state=0)[0]
    assert display.images["generated"][3].shape == expected.shape


def test_clusters_of_the_same_name_are_one(digits, clustering):
    display = ClusterGalleryDisplay.from_estimator(clustering, digits[0], labels=["x", "y", "x", 7])
    probability = clustering.predict_proba(digits[0])
    summed = np.stack([probability[:, 0] + probability[:, 2], probability[:, 1], probability[:, 3]], axis=1)
    sizes = np.bincount(summed.argmax(axis=1), minlength=3)
    assert dict(zip(display.labels, display.sizes, strict=True)) == dict(zip(["x", "y", 7], sizes, strict=True))
    i = display.labels.index("x")
    assert display.confidence[i] == pytest.approx(summed.max(axis=1)[summed.argmax(axis=1) == 0].mean())
    one = ClusterGalleryDisplay.from_estimator(clustering, digits[0], labels=["all"] * 4)
    assert one.sizes.tolist() == [300]
    assert one.confidence[0] == pytest.approx(1)


def test_rows_with_an_image_shape_are_images(digits, clustering):
    rows = digits[0].reshape(-1, 64)
    model = GANEMClustering(4, recipe=fast_recipe(), image_shape=(8, 8), random_state=0).fit(rows[:100])
    display, expected = (ClusterGalleryDisplay.from_estimator(each, X) for each, X in ((model, rows), (clustering, digits[0])))
    for kind, parts in expected.images.items():
        np.testing.assert_array_equal(np.concatenate(display.images[kind]), np.concatenate(parts))


def test_a_gallery_reads_its_images_alone_from_a_memory_map(digits, clustering, tmp_path):
    np.save(tmp_path / "X.npy", digits[0])
    X = np.load(tmp_path / "X.npy", mmap_mode="r")
    display = ClusterGalleryDisplay.from_estimator(clustering, X)
    assert not any(np.shares_memory(part, X) for parts in display.images.values() for part in parts)
    expected = ClusterGalleryDisplay.from_estimator(clustering, digits[0])
    np.testing.assert_array_equal(display.images["typical"][0], expected.images["typical"][0])


def test_a_model_without_a_trained_generator_generates_nothing(digits):
    X = digits[0][:60]
    untrained = GANEMClustering(3, recipe=fast_recipe(generated_weight=0), random_state=0).fit(X)
    transformer = GANEMTransformer(2, n_clusters=3, recipe=fast_recipe(), random_state=0).fit(X)
    for model in (untrained, transformer):
        assert list(ClusterGalleryDisplay.from_estimator(model, X).images) == ["typical", "uncertain", "random"]


def test_a_gallery_of_rows_needs_their_images(blobs, digits):
    X, images = blobs[0], digits[0][:150]
    model = GANEMClustering(3, recipe=fast_recipe(), random_state=0).fit(X)
    with pytest.raises(ValueError, match=r"fitted to rows, which are no images.*from_predictions"):
        ClusterGalleryDisplay.from_estimator(model, X)
    display = ClusterGalleryDisplay.from_predictions(images, model.predict_proba(X), features=X)
    own = np.flatnonzero(model.predict(X) == display.labels[0])
    distances = np.linalg.norm(X[own] - X[own].mean(axis=0), axis=1)
    assert set(display.positions["typical"][0]) == set(own[np.argsort(distances)[:5]])


def test_a_gallery_of_small_and_empty_clusters(tmp_path):
    display, _ = gallery_of_sizes([2, 0, 9], n_images=4)
    assert display.labels == [2, 0, 1]
    assert [len(part) for part in display.images["random"]] == [4, 2, 0]
    assert np.isnan(display.confidence[2])
    assert row_names(display) == ["2: 9 (81.8%)", "0: 2 (18.2%)", "1: 0 (0.0%)"]
    page = Page(display.save(tmp_path / "gallery"))
    assert len(page.tags["section"]) == 3
    assert len(page.tags["img"]) == 18


def test_the_largest_of_many_clusters_are_drawn(tmp_path):
    display, _ = gallery_of_sizes([3] * 30 + [10], max_clusters=5)
    assert len(display.labels) == 31
    assert display.ax_.get_title() == "the 5 largest of 31 clusters; 26 left out, with 78.0% of the images"
    assert [name.split(":")[0] for name in row_names(display)] == ["30", "0", "1", "2", "3"]
    assert display.plot(max_clusters=31).ax_.get_title() == "31 clusters of 100 images"
    assert len(Page(display.save(tmp_path)).tags["section"]) == 31


@pytest.mark.parametrize(("shape", "mode"), [((9, 12), "L"), ((9, 12, 1), "L"), ((9, 12, 3), "RGB"), ((9, 12, 4), "RGBA")])
def test_saved_images_are_those_of_the_data(tmp_path, shape, mode):
    display, images = gallery_of_sizes([30, 20], shape)
    display.save(tmp_path)
    files = sorted(tmp_path.glob("*/*.png"))
    assert len(files) == 2 * 3 * 5
    for file in files:
        with Image.open(file) as image:
            assert image.mode == mode
            position = int(file.stem.split("_")[-1])
            np.testing.assert_array_equal(np.asarray(image), images[position].reshape(np.asarray(image).shape))


def test_the_page_needs_nothing_but_its_images(digits, clustering, tmp_path):
    display = ClusterGalleryDisplay.from_estimator(clustering, digits[0], labels=["<b>&", "a/b", "..", "ä ö"])
    path = display.save(tmp_path / "new" / "gallery")
    assert path == tmp_path / "new" / "gallery" / "index.html"
    page = Page(path)
    sources = [image["src"] for image in page.tags["img"]]
    assert sorted(path.parent / source for source in sources) == sorted(path.parent.glob("*/*.png"))
    assert len(set(sources)) == len(sources) == 4 * 4 * 5
    assert not {"script", "link"} & set(page.tags)
    assert "://" not in path.read_text()
    assert [a["href"] for a in page.tags["a"]] == [f"#{section['id']}" for section in page.tags["section"]]
    shown = {image["alt"] for image in page.tags["img"]}
    for kind, parts in display.positions.items():
        assert {f"{kind} image, X[{position}]" for position in np.concatenate(parts)} <= shown
    for label, size, confidence in zip(display.labels, display.sizes, display.confidence, strict=True):
        assert f"{label}\n{size} images · {size / 300:.1%} of all · mean confidence {confidence:.1%}" in page.text
    assert page.tags["meta"][1]["name"] == "viewport"
    assert "prefers-color-scheme: dark" in path.read_text()


@pytest.mark.parametrize(
    ("shape", "shown"), [((8, 8), (48, 48)), ((30, 20), (60, 40)), ((64, 96), (64, 96)), ((500, 40), (160, 13))]
)
def test_images_are_shown_neither_too_small_nor_too_large(tmp_path, shape, shown):
    display, _ = gallery_of_sizes([3], shape, n_images=1)
    for image in Page(display.save(tmp_path)).tags["img"]:
        assert (int(image["height"]), int(image["width"])) == shown


def test_a_folder_that_is_not_empty_is_left_alone(tmp_path):
    display, _ = gallery_of_sizes([9, 5])
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(FileExistsError, match=r"is not empty.*overwrite=True"):
        display.save(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
    with pytest.raises(FileExistsError):
        display.save(tmp_path / "mine.txt")


def test_a_gallery_replaces_an_earlier_one_and_nothing_else(tmp_path):
    gallery_of_sizes([9, 5, 4], n_images=5)[0].save(tmp_path)
    (tmp_path / "mine.png").write_text("mine")
    (tmp_path / "000_0" / "mine.png").write_text("mine")
    (tmp_path / "folder").mkdir()
    display, _ = gallery_of_sizes([5, 9], n_images=2)
    page = Page(display.save(tmp_path, overwrite=True))
    own = {tmp_path / "mine.png", tmp_path / "000_0" / "mine.png"}
    assert set(tmp_path.rglob("*.png")) == own | {tmp_path / image["src"] for image in page.tags["img"]}
    assert {path.name for path in tmp_path.iterdir()} == {"000_0", "000_1", "001_0", "folder", "index.html", "mine.png"}


def test_saving_needs_pillow(tmp_path, monkeypatch):
    display, _ = gallery_of_sizes([4])
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(ImportError, match="python -m pip install pillow"):
        display.save(tmp_path / "gallery")
    assert not (tmp_path / "gallery").exists()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"labels": ["a", "b"]}, "labels must name each of the 4 clusters, got 2 names"),
        ({"labels": np.zeros(300)}, "labels must name each of the 4 clusters, got 300 names"),
        ({"kinds": ["typical", "best"]}, "kinds must be among typical, uncertain, random, and one at least; got .*best"),
        ({"kinds": []}, "kinds must be among"),
        ({"n_images": 0}, "n_images"),
        ({"max_clusters": 0}, "max_clusters"),
    ],
)
def test_what_a_gallery_cannot_show_is_refused(digits, clustering, settings, message):
    with pytest.raises(ValueError, match=message):
        ClusterGalleryDisplay.from_estimator(clustering, digits[0], **settings)


def test_bad_predictions_are_refused(digits):
    X = digits[0]
    with pytest.raises(ValueError, match=r"images must have shape \(n, h, w\)"):
        ClusterGalleryDisplay.from_predictions(X.reshape(300, 64), np.ones((300, 1)))
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        ClusterGalleryDisplay.from_predictions(X, np.ones((299, 1)))
    with pytest.raises(ValueError, match="2D array"):
        ClusterGalleryDisplay.from_predictions(X, np.ones(300))

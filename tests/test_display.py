"""The pictures show what they say, and are drawn where they are told to."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import make_pipeline

from skganem import GANEMClustering, GANEMSemiSupervisedClassifier, GANEMTransformer
from skganem.display import ClusterConfusionDisplay, EMHistoryDisplay, FeatureMapDisplay, GeneratedSamplesDisplay
from tests.conftest import fast_recipe

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

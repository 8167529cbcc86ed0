import warnings

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_digits, make_blobs

from skganem import GANEMClustering, GANEMTransformer, ImageWarp
from skganem._validation import image_advice
from tests.conftest import fast_recipe


def shuffled(X):
    return X[:, np.random.default_rng(0).permutation(X.shape[1])]


def color(images):
    """Make (n, h, w, 3) of (n, h, w), with noise."""
    return images[..., None] * [1.0, 0.8, 0.5] + np.random.default_rng(0).normal(0, 1, (*images.shape, 3))


def season(n, length, period):
    rng = np.random.default_rng(0)
    phase = rng.uniform(0, 2 * np.pi, (n, 1))
    return np.sin(2 * np.pi * np.arange(length) / period + phase) + rng.normal(0, 0.3, (n, length))


def panel(n, side):
    """Make n tables of `side` variables that go along with each other, at `side` times in a row."""
    rng = np.random.default_rng(0)
    draws = [np.sqrt(0.5) * (rng.normal(size=(n, 1)) + rng.normal(size=(n, side))) for _ in range(side)]
    for now in range(1, side):
        draws[now] = 0.8 * draws[now - 1] + 0.6 * draws[now]
    return np.hstack(draws)


@pytest.mark.parametrize("n", [50, 1797])
def test_flattened_images_are_recognized(n):
    images = load_digits().images[:n]
    doubled = images.repeat(2, 1).repeat(2, 2)
    assert "image_shape=(8, 8)," in image_advice(images.reshape(n, -1).astype(np.uint8))
    assert "image_shape=(16, 16)," in image_advice(1e200 * doubled.reshape(n, -1))
    for colors in (color(images), color(doubled)):
        side = colors.shape[1]
        assert f"image_shape=({side}, {side}, 3)," in image_advice(colors.reshape(n, -1))
        rows = colors.transpose(0, 3, 1, 2).reshape(n, -1)
        advice = image_advice(rows)
        assert "image_shape" not in advice
        np.testing.assert_array_equal(eval(advice.removeprefix("pass "), {"X": rows}), colors)


@pytest.mark.parametrize(
    "X",
    [
        shuffled(load_digits().data),
        load_digits().data[:1],
        load_breast_cancer().data,
        make_blobs(300, 64, random_state=0)[0],
        np.random.default_rng(0).normal(size=(300, 64)).cumsum(axis=1),
        np.random.default_rng(0).normal(size=(300, 1)) + np.random.default_rng(1).normal(0, 0.3, (300, 64)),
        np.ones((300, 64)),
        season(300, 144, 12),
        season(300, 64, 7),
        panel(300, 8),
        panel(300, 24),
    ],
    ids=[
        "shuffled",
        "one row",
        "table",
        "blobs",
        "walks",
        "one factor",
        "constant",
        "season of a row",
        "season",
        "panel",
        "larger panel",
    ],
)
def test_other_rows_are_not(X):
    assert image_advice(X) is None


def test_rows_that_look_like_images_are_reported(digits):
    images = digits[0]
    rows = images.reshape(len(images), 64)
    model = GANEMClustering(2, recipe=fast_recipe(), random_state=0)
    with pytest.warns(UserWarning, match=r"look like flattened images.*set image_shape=\(8, 8\)") as caught:
        model.fit(rows)
    assert [warning.filename for warning in caught] == [__file__]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.predict(rows)
        model.fit(shuffled(rows))
        model.set_params(image_shape=(8, 8)).fit(rows)
        model.set_params(image_shape=None).fit(images)


def test_a_warp_of_rows_is_refused_before_training(blobs, monkeypatch):
    monkeypatch.setattr("skganem._base.fit", None)
    with pytest.raises(ValueError, match="ImageWarp changes images"):
        GANEMClustering(3, augmentation=ImageWarp(), recipe=fast_recipe(), random_state=0).fit(blobs[0])


@pytest.mark.parametrize("ask", ["predict", "predict_proba", "score", "fit"])
def test_values_that_float32_cannot_hold_have_no_answer(blobs, ask):
    X, _ = blobs
    model = GANEMClustering(3, recipe=fast_recipe(), warm_start=True, random_state=0).fit(X)
    before = model.weights_
    with pytest.raises(ValueError, match="too far from those in fit"):
        getattr(model, ask)(np.r_[X, np.full((1, X.shape[1]), 1e300)])
    assert model.weights_ is before


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_values_that_float32_cannot_hold_have_no_features(blobs):
    X, _ = blobs
    model = GANEMTransformer(2, n_clusters=3, recipe=fast_recipe(), random_state=0).fit(X)
    with pytest.raises(ValueError, match="too far from those in fit"):
        model.transform(np.full((1, X.shape[1]), 1e300))

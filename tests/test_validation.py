import re
from decimal import Decimal

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from sklearn.datasets import load_breast_cancer, load_digits, make_blobs
from sklearn.preprocessing import MaxAbsScaler, MinMaxScaler, Normalizer, QuantileTransformer, StandardScaler

from skganem import GANEMClustering, GANEMTransformer, ImageWarp
from skganem._validation import as_rows, infer_image_shape
from skganem.core.data.dataset import ArrayDataset, Scaler
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


SCALERS = [StandardScaler(), MinMaxScaler(), MaxAbsScaler(), Normalizer(), QuantileTransformer(n_quantiles=20)]


@pytest.mark.parametrize("n", [20, 1797])
def test_flattened_images_are_recognized(n):
    images = load_digits().images[:n]
    doubled = images.repeat(2, 1).repeat(2, 2)
    rows = images.reshape(n, -1)
    scaled = [scaler.fit_transform(rows) for scaler in SCALERS]
    for X in (rows.astype(np.uint8), rows.astype(np.uint16) * 4000, np.float32(rows / 16), 1e200 * rows, *scaled):
        assert infer_image_shape(X) == (8, 8)
    wild = rows.copy()
    wild[3, 20] = -9999
    assert infer_image_shape(wild) == (8, 8)
    wild.flat[::101] = 65535
    assert infer_image_shape(wild) == (8, 8)
    assert infer_image_shape(doubled.reshape(n, -1)) == (16, 16)
    for colors in (color(images), color(doubled)):
        side = colors.shape[1]
        assert infer_image_shape(colors.reshape(n, -1)) == (side, side, 3)
        first = colors.transpose(0, 3, 1, 2).reshape(n, -1)
        with pytest.warns(UserWarning, match="look like flattened images with channels first") as caught:
            assert infer_image_shape(first) is None
        advice = re.search(r"pass (X.*)\.$", str(caught[0].message)).group(1)
        np.testing.assert_array_equal(eval(advice, {"X": first}), colors)


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
    assert infer_image_shape(X) is None


@pytest.mark.parametrize("as_given", [np.asarray, pd.DataFrame, lambda X: np.float32(X) / 16], ids=["array", "frame", "float"])
def test_rows_that_look_like_images_are_images(digits, as_given, capsys):
    """The labels are those of the images, without a warning."""
    images = np.asarray(digits[0])
    rows = as_given(images.reshape(len(images), 64))
    model = GANEMClustering(2, recipe=fast_recipe(), verbose=1, random_state=0).fit(rows)
    assert model.image_shape_ == (8, 8)
    assert "images of shape (8, 8)" in capsys.readouterr().out
    expected = GANEMClustering(2, recipe=fast_recipe(), random_state=0).fit(np.asarray(rows).reshape(-1, 8, 8))
    np.testing.assert_array_equal(model.labels_, expected.labels_)
    np.testing.assert_array_equal(model.predict(rows), expected.labels_)
    assert model.sample(3)[0].shape == (3, 64)
    assert expected.sample(3)[0].shape == (3, 8, 8)


def test_what_the_user_says_of_rows_counts(digits):
    images = np.asarray(digits[0])
    rows = images.reshape(len(images), 64)
    model = GANEMClustering(2, recipe=fast_recipe(), random_state=0)
    assert model.set_params(image_shape=None).fit(rows).image_shape_ is None
    assert model.set_params(image_shape=(16, 16)).fit(rows.repeat(4, axis=1)).image_shape_ == (16, 16)
    assert model.set_params(image_shape="auto").fit(shuffled(rows)).image_shape_ is None
    with pytest.raises(ValueError, match="image_shape=None stands for rows"):
        model.set_params(image_shape=None).fit(images)


def test_a_warm_start_takes_rows_as_the_first_fit_did(digits):
    rows = np.asarray(digits[0]).reshape(-1, 64)
    model = GANEMClustering(2, recipe=fast_recipe(), warm_start=True, random_state=0).fit(rows)
    assert model.fit(shuffled(rows)).image_shape_ == (8, 8)


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


@pytest.mark.parametrize(("value", "dtype"), [(-9999, float), (1e30, np.float32), (65535, np.uint16)])
def test_wild_pixels_are_replaced_and_reported(digits, value, dtype):
    X = np.asarray(digits[0]).astype(dtype)
    wild = X.copy()
    wild[7, 2, 3], wild[9, 5, 5] = value, value
    model = GANEMClustering(2, recipe=fast_recipe(), random_state=0)
    with pytest.warns(UserWarning, match=r"^2 of 19200 values of X are far outside.*\[0, 16\]") as caught:
        model.fit(wild)
    assert [warning.filename for warning in caught] == [__file__]
    assert model.sample(5)[0].min() >= 0
    assert model.sample(5)[0].max() <= 16


@pytest.mark.parametrize("value", [-9999, 1e30, 65535])
def test_wild_pixels_become_the_mean_of_those_around(digits, value):
    X = np.asarray(digits[0], float).reshape(-1, 8, 8)
    wild, shape = X.copy(), (1, 8, 8)
    wild[7, 2, 3] = wild[9, 0, 0] = wild[9, 0, 1] = value
    rows = wild.reshape(-1, 64)
    batch = ArrayDataset(rows, shape, Scaler.fit(rows, shape), torch.device("cpu")).get_batch(slice(0, 20))
    expected = X[:20] / 8 - 1
    around = expected[7, 1:4, 2:5]
    expected[7, 2, 3] = (around.sum() - around[1, 1]) / 8
    expected[9, 0, 0], expected[9, 0, 1] = expected[9, 1, :2].mean(), np.r_[expected[9, 1, :3], expected[9, 0, 2]].mean()
    np.testing.assert_allclose(batch[:, 0], expected, atol=1e-6)


def test_what_belongs_to_images_is_not_wild():
    rng = np.random.default_rng(0)
    stars = (rng.random((200, 64)) < 0.01) * rng.uniform(0, 1, (200, 64))
    stars[0, 0] = 1
    speckled = np.where(rng.random((200, 64)) < 0.03, 100.0, rng.random((200, 64)))
    for X in (stars, np.rint(255 * stars), np.uint8(255 * stars), speckled, stars > 0.5, np.zeros((20, 64))):
        scaler = Scaler.fit(X, (1, 8, 8))
        assert scaler.n_wild == 0
        assert scaler.offset - scaler.scale <= X.min() + 1e-9
        assert scaler.offset + scaler.scale >= X.max() - 1e-9


@pytest.mark.parametrize("form", ["images", "rows"])
def test_values_that_are_scaled_otherwise_than_in_fit_are_reported(digits, blobs, form):
    X = np.asarray(digits[0] if form == "images" else blobs[0])
    model = GANEMClustering(2, recipe=fast_recipe(), random_state=0).fit(X)
    factors = (1 / 16, 255) if form == "images" else (1 / 255, 255)
    for factor in factors:
        for ask in (model.predict, model.predict_proba, model.score):
            with pytest.warns(UserWarning, match="not scaled as in fit"):
                ask(X * factor)
    for part in (X, X[:1], X[:20], X[X.reshape(len(X), -1).std(axis=1).argsort()[:20]], 0.7 * X):
        assert len(model.predict(part)) == len(part)
    assert len(model.predict(np.zeros_like(X[:20]))) == 20


def fitted_to(shape):
    """Return an estimator that knows the shape of its samples, and nothing else."""
    estimator = GANEMClustering()
    as_rows(estimator, np.random.default_rng(0).normal(size=(20, *shape)), reset=True)
    return estimator


def advised(message, X):
    """Return what a message advises to pass instead of X."""
    advice = message.split("pass " if "pass " in message else "last: ")[1].split(" If ")[0].removesuffix(".")
    return eval(advice, {"X": X, "numpy": np})


FORMS = {"array": np.asarray, "tensor": torch.tensor, "list": np.ndarray.tolist}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("shape", "given"),
    [
        ((8, 8), (8, 8)),
        ((8, 9, 3), (8, 9, 3)),
        ((8, 8), (8, 8, 1)),
        ((8, 8, 1), (8, 8)),
        ((8, 8, 1), (8, 8, 1)),
        ((8, 8), (64,)),
        ((5,), (5,)),
    ],
)
def test_a_single_sample_is_to_be_passed_as_an_array_of_one(shape, given, form):
    estimator, values = fitted_to(shape), np.random.default_rng(0).normal(size=given)
    X = FORMS[form](values)
    with pytest.raises(ValueError, match=r"that of a single sample\. Reshape your data: pass") as error:
        as_rows(estimator, X, reset=False)
    np.testing.assert_array_equal(as_rows(estimator, advised(str(error.value), X), reset=False), values.reshape(1, -1))


def test_a_single_sample_may_be_a_series_or_a_data_frame():
    image = np.random.default_rng(0).normal(size=(8, 8))
    for estimator, X in ((fitted_to((64,)), pd.Series(image.ravel())), (fitted_to((8, 8)), pd.DataFrame(image))):
        with pytest.raises(ValueError, match=r"Reshape your data: pass \[X\]"):
            as_rows(estimator, X, reset=False)
        np.testing.assert_array_equal(as_rows(estimator, [X], reset=False), image.reshape(1, 64))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("rows", [False, True])
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 32, 32), (4, 8, 20), (5, 9, 24), (6, 16, 16), (8, 64, 64), (13, 64, 64)])
def test_channels_that_come_first_are_suspected(shape, rows, form):
    values = np.random.default_rng(0).normal(size=(2, *shape))
    X = FORMS[form](values.reshape(2, -1) if rows else values)
    with pytest.raises(ValueError, match="seem to have their channels first") as error:
        as_rows(GANEMClustering(), X, reset=True, image_shape=shape if rows else "auto")
    moved = advised(str(error.value), X)
    assert str(error.value).count("permute") == (form == "tensor")
    estimator = GANEMClustering()
    as_rows(estimator, moved, reset=True)
    assert estimator.image_shape_ == (*shape[1:], shape[0])
    np.testing.assert_array_equal(moved, values.transpose(0, 2, 3, 1))
    if not rows:
        with pytest.raises(ValueError, match=r"images of shape .* Put the channels last: ") as error:
            as_rows(estimator, X, reset=False)
        np.testing.assert_array_equal(advised(str(error.value), X), moved)


@pytest.mark.parametrize(
    "shape",
    [(8, 8, 3), (8, 9, 64), (8, 64, 13), (9, 16, 16), (13, 64, 48), (32, 32, 32), (64, 8, 64), (64, 64, 13), (64, 32, 32)],
)
def test_channels_that_come_last_are_not_suspected(shape):
    estimator = GANEMClustering()
    as_rows(estimator, np.zeros((2, *shape)), reset=True)
    assert estimator.image_shape_ == shape


NUMBERS = np.arange(12).reshape(6, 2)
TIMES = {
    "array": NUMBERS.astype("datetime64[ns]"),
    "durations": NUMBERS.astype("timedelta64[D]"),
    "of another byte order": NUMBERS.astype(">M8[s]"),
    "images": np.zeros((2, 8, 8), "datetime64[s]"),
    "list": [list(row) for row in NUMBERS.astype("datetime64[s]")],
    "frame": pd.DataFrame(NUMBERS.astype("datetime64[ns]")),
    "column": pd.DataFrame({"a": NUMBERS[:, 0].astype("datetime64[ns]"), "b": 1.0}),
    "column of durations": pd.DataFrame({"a": NUMBERS[:, 0].astype("timedelta64[ns]"), "b": 1.0}),
    "time zone": pd.DataFrame({"a": pd.to_datetime(NUMBERS[:, 0], utc=True), "b": 1.0}),
    "periods": pd.DataFrame({"a": pd.period_range("2026", periods=6, freq="D"), "b": 1.0}),
    "polars": pl.DataFrame({"a": NUMBERS[:, 0].astype("datetime64[ns]"), "b": NUMBERS[:, 1]}),
    "durations in polars": pl.DataFrame({"a": NUMBERS[:, 0].astype("timedelta64[ns]"), "b": NUMBERS[:, 1]}),
}


@pytest.mark.parametrize("kind", TIMES)
def test_times_are_refused(kind):
    with pytest.raises(TypeError, match=r"X has times \(.*make numbers of them"):
        as_rows(GANEMClustering(), TIMES[kind], reset=True)


@pytest.mark.parametrize("shape", [(6, 2), (6, 8, 8)])
def test_masked_values_are_missing_ones(shape):
    X = np.ma.array(np.random.default_rng(0).normal(size=shape))
    np.testing.assert_array_equal(as_rows(GANEMClustering(), X, reset=True), X.data.reshape(6, -1))
    with pytest.raises(ValueError, match="X has masked values"):
        as_rows(GANEMClustering(), np.ma.masked_greater(X, 1.0), reset=True)


@pytest.mark.parametrize(
    "make",
    [
        lambda X: X.astype(object),
        lambda X: np.array([[Decimal(int(value)) for value in row] for row in X], dtype=object),
        lambda X: X.astype(str).astype(object),
        lambda X: X.astype(np.longdouble),
        lambda X: pd.DataFrame(X, columns=["date", "time"]),
        lambda X: pd.DataFrame(X).astype("Int64"),
        lambda X: pd.DataFrame(X).astype("category"),
        lambda X: torch.tensor(X, dtype=torch.bfloat16),
        lambda X: torch.tensor(X, dtype=torch.float32, requires_grad=True),
        lambda X: torch.tensor(-1j * X).conj().imag,
    ],
    ids=["object", "decimal", "words", "long", "names", "nullable", "category", "bfloat16", "gradients", "negated view"],
)
def test_numbers_of_any_kind_are_numbers(make):
    X = as_rows(GANEMClustering(), make(NUMBERS), reset=True)
    assert X.dtype.kind in "if"
    np.testing.assert_array_equal(X, NUMBERS)


def test_bools_are_numbers():
    for X in (NUMBERS > 5, pd.DataFrame(NUMBERS > 5), pd.DataFrame(NUMBERS > 5).astype("boolean"), torch.tensor(NUMBERS > 5)):
        np.testing.assert_array_equal(as_rows(GANEMClustering(), X, reset=True).astype(float), NUMBERS > 5)


@pytest.mark.parametrize(
    ("X", "message"),
    [
        (NUMBERS + 1j, "Complex data"),
        (torch.tensor(NUMBERS + 1j).conj(), "Complex data"),
        ((NUMBERS + 1j).astype(object), "not 'complex'"),
        (NUMBERS.astype(str), "not compatible with arrays of bytes/strings"),
        (np.array([["a", "b"]] * 6, dtype=object), "could not convert string to float: 'a'"),
        (pd.DataFrame({"a": pd.Categorical(["x", "y"] * 3)}), "could not convert string to float: 'x'"),
        (pd.DataFrame({"a": [1, None] * 3}, dtype="Int64"), "contains NaN"),
    ],
    ids=["complex", "conjugate", "complex objects", "strings", "words", "categories", "missing"],
)
def test_what_is_no_number_is_refused(X, message):
    with pytest.raises((TypeError, ValueError), match=message):
        as_rows(GANEMClustering(), X, reset=True)

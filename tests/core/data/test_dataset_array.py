"""Data sets of torch and Hugging Face as arrays."""

import pickle

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset, Subset, TensorDataset

from skganem import DatasetArray

IMAGES = np.random.default_rng(0).integers(0, 256, (12, 8, 9), dtype=np.uint8)


class Items(Dataset):
    """What a function returns for each position, without an IndexError behind the last."""

    def __init__(self, item, n=12):
        self.item, self.n = item, n

    def __len__(self):
        return self.n

    def __getitem__(self, position):
        return self.item(position)


def check(X, expected):
    assert (X.shape, X.dtype) == (expected.shape, expected.dtype)
    np.testing.assert_array_equal(X[:], expected)
    np.testing.assert_array_equal(X[[7, 2, 2]], expected[[7, 2, 2]])
    assert X[:0].shape == (0, *expected.shape[1:])


@pytest.mark.parametrize(
    ("item", "key"),
    [
        (lambda i: IMAGES[i], None),
        (lambda i: torch.tensor(IMAGES[i]), None),
        (lambda i: (IMAGES[i], i), None),
        (lambda i: (i, IMAGES[i]), 1),
        (lambda i: [i, IMAGES[i]], 1),
        (lambda i: {"image": IMAGES[i], "label": i}, "image"),
    ],
)
def test_a_sample_is_the_item_or_a_part_of_it(item, key):
    check(DatasetArray(Items(item), key), IMAGES)


def test_items_may_be_lists_and_tensors_with_gradients():
    rows = IMAGES.reshape(12, 72)[:, :5].astype(float)
    check(DatasetArray(Items(lambda i: rows[i].tolist())), rows)
    check(DatasetArray(Items(lambda i: torch.tensor(rows[i], requires_grad=True))), rows)
    check(DatasetArray(Items(lambda i: torch.tensor(rows[i]).bfloat16())), rows.astype(np.float32))


@pytest.mark.parametrize("channels", [1, 3])
def test_channels_come_last(channels):
    images = np.random.default_rng(0).random((12, 8, 9, channels), dtype=np.float32)
    first = torch.tensor(images).permute(0, 3, 1, 2)
    check(DatasetArray(TensorDataset(first)), images)
    check(DatasetArray(TensorDataset(torch.tensor(images))), images)


def test_items_are_asked_for_together_where_that_is_possible(monkeypatch):
    dataset = Subset(TensorDataset(torch.tensor(IMAGES)), [5, 4, 3])
    asked = []
    monkeypatch.setattr(dataset, "__getitems__", lambda places: asked.append(places) or [dataset[i] for i in places])
    np.testing.assert_array_equal(DatasetArray(dataset)[[2, 0]], IMAGES[[3, 5]])
    assert asked == [[0, 2]]


def test_it_can_be_pickled():
    X = DatasetArray(TensorDataset(torch.tensor(IMAGES)))
    check(pickle.loads(pickle.dumps(X)), IMAGES)


@pytest.mark.parametrize(
    ("odd", "what"),
    [
        (np.zeros((8, 8)), r"Item 5 has shape \(8, 8\) .* item 0 has shape \(8, 9\)"),
        (np.zeros((8, 9), float), "Item 5 has shape .* float64, but item 0 .* uint8"),
    ],
)
def test_an_item_of_another_shape_or_wider_dtype_is_an_error(odd, what):
    X = DatasetArray(Items(lambda i: odd if i == 5 else IMAGES[i]))
    with pytest.raises(ValueError, match=what):
        X[3:8]
    with pytest.raises(ValueError, match=what):
        X[[9, 5]]


def test_a_narrower_dtype_is_converted():
    X = DatasetArray(Items(lambda i: IMAGES[i] if i else IMAGES[i].astype(float)))
    check(X, IMAGES.astype(float))


@pytest.mark.parametrize(
    ("dataset", "key", "error", "what"),
    [
        (DataLoader(TensorDataset(torch.zeros(3, 2))), None, TypeError, "DataLoader lacks one"),
        (iter([1]), None, TypeError, "a length and positions"),
        (TensorDataset(torch.zeros(0, 2)), None, ValueError, "TensorDataset is empty"),
        (Items(lambda i: {"a": 1, "b": 2}), None, TypeError, r"keys \['a', 'b'\].*key="),
        (Items(lambda i: {"a": 1, "b": 2}), "c", TypeError, r"key='c' is no part of item 0, with the keys \['a', 'b'\]"),
        (Items(lambda i: (IMAGES[i], i)), 2, TypeError, "key=2 is no part of item 0, of type tuple"),
        (Items(lambda i: 3), "a", TypeError, "key='a' is no part of item 0, of type int"),
        (Items(lambda i: 3), None, TypeError, r"Item 0 has shape \(\)"),
        (Items(lambda i: "picture.png"), None, TypeError, "Item 0 has shape .* dtype <U"),
        (Items(lambda i: np.zeros((2, 2, 2, 2))), None, TypeError, r"Item 0 has shape \(2, 2, 2, 2\)"),
    ],
)
def test_what_holds_no_samples_is_refused(dataset, key, error, what):
    with pytest.raises(error, match=what):
        DatasetArray(dataset, key)


def test_hugging_face():
    datasets = pytest.importorskip("datasets")
    Image = pytest.importorskip("PIL.Image")
    pictures = [Image.fromarray(image) for image in IMAGES]
    dataset = datasets.Dataset.from_dict({"image": pictures, "label": list(range(12))}, datasets.Features(
        {"image": datasets.Image(), "label": datasets.Value("int64")}
    ))  # fmt: skip
    check(DatasetArray(dataset, "image"), IMAGES)
    check(DatasetArray(dataset.with_format("numpy"), "image"), IMAGES)
    check(DatasetArray(dataset.with_format("torch"), key="image"), IMAGES[..., None])
    with pytest.raises(TypeError, match=r"keys \['image', 'label'\]"):
        DatasetArray(dataset)
    with pytest.raises(TypeError, match="a length and positions"):
        DatasetArray(dataset.to_iterable_dataset(), "image")
    rows = datasets.Dataset.from_dict({"x": IMAGES[:, 0].astype(float).tolist()})
    check(DatasetArray(rows, "x"), IMAGES[:, 0].astype(float))


def test_pictures_with_a_palette_become_rgb():
    Image = pytest.importorskip("PIL.Image")
    color = np.zeros((8, 9, 3), np.uint8)
    color[:4] = [200, 30, 0]
    palette = Image.fromarray(color).quantize(4)
    assert palette.mode == "P"
    check(DatasetArray(Items(lambda i: palette)), np.stack([color] * 12))

"""Arrays that read when they are indexed, and what is told from them."""

import array
import pickle
from collections import UserList, deque

import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse as sp
import torch
from sklearn.utils import _safe_indexing
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from skganem.core.data.lazy import IndexedArray, LazyArray, Selection, adapt

VALUES = np.arange(20 * 3 * 4, dtype=np.int16).reshape(20, 3, 4)


class Strict:
    """A source that takes nothing but what HDF5 takes, and remembers what it was asked for."""

    def __init__(self, values, dtype=None):
        self._values, self.shape, self.dtype, self.asked = values, values.shape, np.dtype(dtype or values.dtype), []

    def __len__(self):
        return len(self._values)

    def __getitem__(self, key):
        if isinstance(key, slice):
            assert key.step is None
            assert 0 <= key.start <= key.stop <= len(self)
            self.asked.append(key.stop - key.start)
        else:
            assert key.ndim == 1
            assert (key >= 0).all()
            assert (key[1:] > key[:-1]).all()
            self.asked.append(len(key))
        return self._values[key]


class Endless:
    """A data set that raises no IndexError."""

    def __len__(self):
        return 5

    def __getitem__(self, position):
        return np.zeros(3)


class Stream(IterableDataset):
    def __iter__(self):
        yield torch.zeros(3)


INDICES = [
    slice(None), slice(3, 7), slice(-5, None), slice(15, 99), slice(7, 3), slice(None, None, 3), slice(None, None, -1),
    slice(12, 2, -4), 0, -1, np.int64(7), [4], [5, 6, 7], [7, 2, 2, 19], [-1, 0], [], np.array([], int),
    np.array([[3, 1], [2, 3]]), np.arange(20) % 3 == 0, np.zeros(20, bool), np.array([19, 0, 3], np.uint8),
    torch.tensor([5, 1]), Ellipsis, (), (slice(2, 5),), (slice(2, 5), ...), ([7, 2], ...), (3, ...), (3, 1), (slice(None), 2),
    (..., 1), ([7, 2], slice(1, 3), -1),
]  # fmt: skip


@pytest.mark.parametrize("index", INDICES, ids=str)
@pytest.mark.parametrize("wrap", [IndexedArray, lambda source: Selection(source, np.arange(20))])
def test_it_is_indexed_like_an_array(wrap, index):
    own = wrap(Strict(VALUES))[index]
    expected = VALUES[np.asarray(index) if isinstance(index, torch.Tensor) else index]
    np.testing.assert_array_equal(own, expected)
    assert own.dtype == expected.dtype
    assert own.shape == expected.shape


@pytest.mark.parametrize("index", [20, -21, [0, 20], [-21], 1.5, "a", None, [True], np.ones(21, bool)], ids=str)
def test_what_is_no_position_is_an_error(index):
    with pytest.raises(IndexError):
        IndexedArray(Strict(VALUES))[index]


def test_it_is_an_array_for_numpy_and_scikit_learn():
    X = IndexedArray(Strict(VALUES))
    assert (len(X), X.ndim, X.size, X.shape) == (20, 3, 240, (20, 3, 4))
    assert repr(X) == "IndexedArray(shape=(20, 3, 4), dtype=int16)"
    np.testing.assert_array_equal(np.asarray(X), VALUES)
    assert np.asarray(X, dtype=float).dtype == float
    with pytest.raises(ValueError, match="copy=False"):
        np.array(X, copy=False)
    for index in (np.array([9, 3, 3]), [1, 2], slice(2, 4), np.arange(20) > 15, 3):
        np.testing.assert_array_equal(_safe_indexing(X, index), VALUES[index])
    np.testing.assert_array_equal(list(X), VALUES)  # ends
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(X))[[2, 1]], VALUES[[2, 1]])


def test_reading_is_left_to_later_and_asks_for_no_more_than_is_needed():
    source = Strict(VALUES)
    X = adapt(source)
    rows = X.reshape(20, 12)
    chosen = Selection(rows, np.array([9, 2, 2, 14]))
    assert source.asked == []
    np.testing.assert_array_equal(chosen[1:], VALUES.reshape(20, 12)[[2, 2, 14]])
    np.testing.assert_array_equal(rows[[8, 6, 7]], VALUES.reshape(20, 12)[[8, 6, 7]])
    assert source.asked == [2, 3]


@pytest.mark.parametrize(("shape", "dtype"), [((20, 3, 5), np.int16), ((20, 3, 4), np.uint8), ((20, 3, 4), float)])
def test_what_reads_other_than_it_says_is_an_error(shape, dtype):
    source = Strict(VALUES, dtype)
    source.shape = shape
    with pytest.raises(ValueError, match=r"should have shape \(2, 3, .*int16"):
        adapt(source)[[4, 9]]


def test_the_order_of_bytes_may_differ():
    X = adapt(Strict(VALUES.astype(">i2"), "<i2"))
    assert X[:3].dtype == np.dtype("<i2")
    np.testing.assert_array_equal(X[:3], VALUES[:3])


@pytest.mark.parametrize("shape", [(240,), (20, 12), (20, 3, 4), (20, 3, 2, 2)])
@pytest.mark.parametrize("dtype", ["bool", "uint8", "int64", "float16", "float32", ">f8"])
def test_what_reads_when_it_is_indexed_is_recognized(shape, dtype):
    X = adapt(Strict(VALUES.reshape(shape).astype(dtype)))
    assert isinstance(X, LazyArray)
    assert adapt(X) is X
    assert (X.shape, X.dtype) == (shape, np.dtype(dtype))


class Held:
    """An array in a class of its own."""

    def __init__(self, values):
        self.values = values

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self.values, dtype=dtype)


ROWS = VALUES.reshape(20, 12)


@pytest.mark.parametrize(
    "X",
    [
        ROWS, ROWS.view(np.matrix), np.ma.masked_array(ROWS), ROWS.tolist(), list(ROWS), tuple(ROWS), torch.tensor(ROWS),
        [*map(torch.tensor, ROWS)], pd.DataFrame(ROWS), pd.DataFrame({"keys": [1], "dtype": [2], "dataset": [3]}),
        pd.Series([1.0, 2.0]), pl.DataFrame(ROWS), pl.Series([1, 2]), sp.csr_array(ROWS), sp.coo_matrix(ROWS), Held(ROWS),
        UserList(ROWS.tolist()), deque(ROWS.tolist()), range(5), array.array("d", [1.0]), memoryview(ROWS), b"ab", np.array(3),
        np.float64(3), 3, None, [], np.array([[1, "a"]], object), np.array([["a", "b"]]), np.zeros((0, 3)),
    ],
    ids=lambda X: type(X).__name__,
)  # fmt: skip
def test_all_else_that_numpy_takes_stays_as_it_is(X):
    assert adapt(X) is X


@pytest.mark.parametrize(
    ("X", "advice"),
    [
        (Endless(), r"type Endless.*DatasetArray\(X\)"),
        (TensorDataset(torch.zeros(3, 2)), r"DatasetArray\(X\)"),
        (DataLoader(TensorDataset(torch.zeros(3, 2))), r"type DataLoader.*DatasetArray\(X\.dataset\)"),
        (Stream(), r"type Stream.*no positions.*numpy\.stack"),
        ((row for row in ROWS), r"type generator.*no positions.*numpy\.stack"),
        (iter(ROWS), "no positions"),
        ({1.0, 2.0}, "no positions"),
        ({"images": ROWS, "y": ROWS[0]}, r"type dict, with the entries \['images', 'y'\].*X\[name\]"),
        ({}, r"entries \[\]"),
        ("pictures", r"is a path.*ImageFiles\(X, size="),
        (["a.png", "b.png"], r"has paths.*ImageFiles\(X, size="),
        (("a.png",), "has paths"),
        (np.array(["a.png", "b.png"]), "has paths"),
        (np.array(["a.png", "b.png"], object), "has paths"),
        (pd.Series(["a.png", "b.png"]), "has paths"),
        (pl.Series(["a.png", "b.png"]), "has paths"),
    ],
)
def test_collections_that_are_no_arrays_are_refused(X, advice):
    with pytest.raises(TypeError, match=advice):
        adapt(X)


def test_paths_are_refused(tmp_path):
    for X in (tmp_path, [tmp_path]):
        with pytest.raises(TypeError, match="ImageFiles"):
            adapt(X)

"""Arrays that read when they are indexed: data that are not in memory.

`LazyArray` is indexed as NumPy's arrays are. What it reads from is only asked for slices, and for ascending positions without
repetitions: HDF5 takes no others.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from numbers import Integral
from typing import Any, NoReturn

import numpy as np
import scipy.sparse as sp
import torch

#: What arrays in memory have, whatever their library, and data frames: these are read as a whole.
IN_MEMORY = ("__array_interface__", "__array_struct__", "__dlpack__", "__dataframe__")
#: Entries of a collection of arrays that an error names at most.
MAX_NAMED = 10


class LazyArray(ABC):
    """An array of samples that are read when it is indexed.

    Attributes
    ----------
    shape : tuple of int
    dtype : dtype
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @abstractmethod
    def _read(self, key: slice | np.ndarray) -> np.ndarray:
        """Read the samples of a slice within bounds, of step 1, or at ascending positions without repetitions."""

    @property
    def ndim(self) -> int:
        """The number of dimensions."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """The number of values."""
        return int(np.prod(self.shape))

    def __len__(self) -> int:
        return self.shape[0]

    def __repr__(self) -> str:
        return f"{type(self).__name__}(shape={self.shape}, dtype={self.dtype})"

    def __getitem__(self, index: Any) -> Any:
        first, *rest = (index if isinstance(index, tuple) else (index,)) or (Ellipsis,)
        if first is Ellipsis:
            first, rest = slice(None), [Ellipsis, *rest]
        samples = self._samples(first)
        return samples[(*(slice(None),) * (samples.ndim - self.ndim + 1), *rest)] if rest else samples

    def _samples(self, index: Any) -> np.ndarray:
        """Read the samples that an index of the first dimension stands for."""
        if isinstance(index, slice):
            start, stop, step = index.indices(len(self))
            if step == 1:
                return self._read(slice(start, max(start, stop)))
            index = np.arange(start, stop, step)
        positions = to_positions(index, len(self))
        ascending, places = np.unique(positions.ravel(), return_inverse=True)
        first, last = (int(ascending[0]), int(ascending[-1])) if len(ascending) else (0, -1)
        side_by_side = last - first + 1 == len(ascending)
        samples: np.ndarray = self._read(slice(first, last + 1) if side_by_side else ascending)[places.reshape(positions.shape)]
        return samples

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if copy is False:
            raise ValueError(f"A {type(self).__name__} is read into a new array: copy=False is impossible.")
        whole: np.ndarray = np.asarray(self[:], dtype=dtype)
        return whole

    def reshape(self, *shape: int) -> LazyArray:
        """Return the same samples in another shape, without reading them.

        Parameters
        ----------
        *shape : int
            The number of samples, and the new shape of a sample.

        Returns
        -------
        reshaped : LazyArray
            An array that reads from this one.
        """
        return IndexedArray(self, shape)


def to_positions(index: Any, n: int) -> np.ndarray:
    """Return the positions among n samples that an index stands for: an int, integers of any order, or n bools."""
    positions: np.ndarray = np.asarray(index)
    if positions.dtype.kind == "b" and positions.shape == (n,):
        return np.flatnonzero(positions)
    if positions.size and positions.dtype.kind not in "iu":
        raise IndexError(f"Samples are chosen by slices, integers, or {n} bools, got {index!r}.")
    positions = positions.astype(np.intp)
    if positions.size and not -n <= positions.min() <= positions.max() < n:
        raise IndexError(f"There are {n} samples, and a position is out of bounds: {positions.min()} to {positions.max()}.")
    return np.where(positions < 0, positions + n, positions)


class IndexedArray(LazyArray):
    """The samples of an object that has `shape` and `dtype`, and reads when it is indexed.

    Parameters
    ----------
    source : object
        Such as an HDF5 data set. What its ``[]`` returns may be of any kind that NumPy takes for an array.
    shape : tuple of int or None
        None is the source's own; its first number is always the source's.
    """

    def __init__(self, source: Any, shape: tuple[int, ...] | None = None) -> None:
        self.source, self.shape, self.dtype = source, shape or tuple(map(int, source.shape)), np.dtype(source.dtype)
        if self.dtype.isnative:  # zarr's dtypes say which order of bytes that is
            self.dtype = self.dtype.newbyteorder("=")

    def _read(self, key: slice | np.ndarray) -> np.ndarray:
        n = key.stop - key.start if isinstance(key, slice) else len(key)
        samples = np.asarray(self.source[key])
        expected = (n, *self.source.shape[1:])
        if samples.shape != expected or not np.can_cast(samples.dtype, self.dtype, "equiv"):
            raise ValueError(
                f"By its shape and dtype, X[{key}] should have shape {expected} and dtype {self.dtype}, but it has shape "
                f"{samples.shape} and dtype {samples.dtype}."
            )
        return samples.astype(self.dtype, copy=False).reshape(n, *self.shape[1:])


class Selection(LazyArray):
    """Some of an array's samples, which are read from it when they are needed.

    Parameters
    ----------
    source : ndarray or LazyArray
    positions : ndarray of shape (n,)
    """

    def __init__(self, source: np.ndarray | LazyArray, positions: np.ndarray) -> None:
        self.source, self.positions = source, positions
        self.shape, self.dtype = (len(positions), *source.shape[1:]), source.dtype

    def _read(self, key: slice | np.ndarray) -> np.ndarray:
        samples: np.ndarray = self.source[self.positions[key]]
        return samples


def adapt(X: Any) -> Any:
    """Return X as it is or, if it reads when it is indexed, as a `LazyArray`.

    Raises
    ------
    TypeError
        If X is no array at all but a collection of samples or paths, which NumPy would read for ever or not at all.
    """
    shape = getattr(X, "shape", None)
    refuse_paths(X, shape)
    in_memory = isinstance(X, (np.ndarray, torch.Tensor, Sequence)) or any(hasattr(X, name) for name in IN_MEMORY)
    if in_memory or isinstance(X, LazyArray) or sp.issparse(X):
        return X
    if is_numeric(getattr(X, "dtype", None)) and hasattr(X, "__getitem__") and isinstance(shape, tuple) and shape:
        if not all(isinstance(side, Integral) for side in shape):
            raise ValueError(f"X has an unknown shape, {shape}. Of a Dask array, call X.compute_chunk_sizes() first.")
        return X if len(shape) == 1 and hasattr(X, "__array__") else IndexedArray(X)  # a Series is no row
    if hasattr(X, "__array__") or is_buffer(X) or not (hasattr(X, "__getitem__") or isinstance(X, Iterable)):
        return X
    refuse_collection(X)


def is_numeric(dtype: Any) -> bool:
    """Tell whether a dtype is one of NumPy's that hold real numbers."""
    try:
        return dtype is not None and np.dtype(dtype).kind in "biuf"
    except TypeError:
        return False


def is_buffer(X: Any) -> bool:
    """Tell whether NumPy can wrap the memory of an object."""
    try:
        memoryview(X)
    except TypeError:
        return False
    return True


def refuse_paths(X: Any, shape: Any) -> None:
    """Raise TypeError if X is a path, or paths in one dimension."""
    column = isinstance(shape, tuple) and len(shape) == 1 and (isinstance(X, np.ndarray) or hasattr(X, "to_numpy"))
    listed = column or isinstance(X, (list, tuple))
    if isinstance(next(iter(X), None) if listed else X, (str, os.PathLike)):
        what = "has paths instead of samples" if listed else "is a path"
        raise TypeError(f"X {what}. To read image files, pass skganem.ImageFiles(X, size=(height, width)).")


def refuse_collection(X: Any) -> NoReturn:
    """Raise a TypeError that says what to pass instead of a collection that is no array."""
    kind = f"X is of type {type(X).__name__}"
    if hasattr(X, "keys"):
        names = [str(name) for _, name in zip(range(MAX_NAMED), X.keys(), strict=False)]
        raise TypeError(f"{kind}, with the entries {names}. Pass one of them: X[name].")
    if hasattr(X, "__getitem__") and hasattr(X, "__len__"):
        raise TypeError(f"{kind}, which is no array. Pass skganem.DatasetArray(X).")
    if hasattr(X, "dataset"):
        raise TypeError(f"{kind}, whose samples have no positions. Pass skganem.DatasetArray(X.dataset).")
    raise TypeError(
        f"{kind}, whose samples have no positions. Pass an array, such as numpy.stack(list(X)), or a data set that has a "
        "length and positions, as skganem.DatasetArray(dataset)."
    )

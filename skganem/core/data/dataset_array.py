"""Data sets of torch and Hugging Face as arrays."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from skganem.core.data.lazy import LazyArray, is_numeric
from skganem.core.data.shapes import has_channels_first


class DatasetArray(LazyArray):
    """An array of the samples of a data set, which are read when it is indexed.

    It takes map-style data sets, which have a length and positions: those of torch, of Hugging Face's ``datasets``, and
    whatever else has ``len(dataset)`` and ``dataset[i]``.

    Read more in the :ref:`user guide <not_in_memory>`.

    Parameters
    ----------
    dataset : object with ``__len__`` and ``__getitem__``
        Its items are rows or images, all of one shape: arrays, tensors, lists of numbers, or Pillow's images. Or they are
        tuples or dicts that hold one. An item must be the same each time that it is read: leave out random transforms.
    key : str, int or None, default=None
        Which part of an item is the sample: a key of a dict, or a position in a tuple. None takes the first of a tuple,
        such as x of (x, y).

    Attributes
    ----------
    shape : tuple of int
        The number of samples, and the shape of the first one.
    dtype : dtype
        That of the first sample.

    Raises
    ------
    TypeError
        If the data set has no length or no positions, or its items are not as above.
    ValueError
        If the data set is empty, or, when it is read, if an item has another shape than the first one.

    See Also
    --------
    ImageFiles : Image files.

    Notes
    -----
    Images whose channels come first, as torchvision has them, get them last, as `fit` needs them. Pillow's images with a
    palette become RGB.

    Examples
    --------
    >>> import torch
    >>> from torch.utils.data import TensorDataset
    >>> from skganem import DatasetArray
    >>> images, classes = torch.zeros(100, 3, 28, 28), torch.zeros(100)
    >>> X = DatasetArray(TensorDataset(images, classes))
    >>> X.shape
    (100, 28, 28, 3)
    >>> X[5:8].shape
    (3, 28, 28, 3)
    """

    def __init__(self, dataset: Any, key: str | int | None = None) -> None:
        kind = type(dataset).__name__
        if not (hasattr(dataset, "__getitem__") and hasattr(dataset, "__len__")):
            raise TypeError(f"DatasetArray is for data sets with a length and positions. {kind} lacks one of them.")
        if not len(dataset):
            raise ValueError(f"The {kind} is empty.")
        self.dataset, self.key = dataset, key
        first = self._sample(self.dataset[0], 0)
        if not is_numeric(first.dtype) or first.ndim not in (1, 2, 3):
            raise TypeError(
                f"Items of the {kind} must be rows or images. Item 0 has shape {first.shape} and dtype {first.dtype}."
            )
        self._item_shape, self.dtype = first.shape, first.dtype
        channels, *sides = first.shape
        self._channels_first = has_channels_first(first.shape)
        self.shape = (len(dataset), *((*sides, channels) if self._channels_first else first.shape))

    def _sample(self, item: Any, position: int) -> np.ndarray:
        """Return the sample of an item as an array."""
        key = 0 if self.key is None and isinstance(item, tuple) else self.key
        if key is None and isinstance(item, Mapping):
            raise TypeError(f"Items are dicts with the keys {list(item)}. Choose one of them: DatasetArray(dataset, key=...).")
        if key is not None:
            try:
                item = item[key]
            except (LookupError, TypeError) as error:
                parts = f"with the keys {list(item)}" if isinstance(item, Mapping) else f"of type {type(item).__name__}"
                raise TypeError(f"key={key!r} is no part of item {position}, {parts}.") from error
        if isinstance(item, torch.Tensor):
            item = item.detach().cpu()
            return np.asarray((item.float() if item.dtype == torch.bfloat16 else item).numpy())
        if getattr(item, "mode", None) in ("P", "PA"):  # the pixels of such an image of Pillow's are places in a palette
            item = item.convert("RGB")
        return np.asarray(item)

    def _read(self, key: slice | np.ndarray) -> np.ndarray:
        positions = list(range(key.start, key.stop)) if isinstance(key, slice) else key.tolist()
        together = getattr(self.dataset, "__getitems__", None)  # many items at once, as torch's DataLoader asks for them
        items = together(positions) if together and positions else map(self.dataset.__getitem__, positions)
        samples = np.empty((len(positions), *self._item_shape), self.dtype)
        for sample, position, item in zip(samples, positions, items, strict=True):
            found = self._sample(item, position)
            if found.shape != self._item_shape or not np.can_cast(found.dtype, self.dtype, "safe"):
                raise ValueError(
                    f"Item {position} has shape {found.shape} and dtype {found.dtype}, but item 0 has shape {self._item_shape} "
                    f"and dtype {self.dtype}."
                )
            sample[...] = found
        return np.moveaxis(samples, 1, -1) if self._channels_first else samples

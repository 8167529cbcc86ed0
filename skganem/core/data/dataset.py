"""The data set as the caller gave it, handed out in scaled batches.

The array is never copied as a whole: uint8 stays uint8, a memory map and a `LazyArray` stay on disk, and only the rows of a
batch become float32 tensors.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from skganem.core.data.directions import N_ROWS, Directions, project
from skganem.core.data.lazy import LazyArray, Selection
from skganem.core.data.shapes import Shape, is_image
from skganem.core.runtime.serialization import register_record

#: The caller's samples.
Array: TypeAlias = np.ndarray | LazyArray

#: Bytes of float64 that are made of the array at a time: small beside any data set, large beside the cost of a call.
CHUNK_BYTES = 1 << 25
#: Bytes of a subset that are copied at most: the 20,000 images of a graph, if they have 28x28 pixels in float64.
MAX_COPIED_BYTES = 1 << 27
#: An index of no samples.
NO_INDEX = torch.empty(0, dtype=torch.long, device="cpu")
#: The dtypes that torch has, too.
TORCH_DTYPES = ("uint8", "int8", "int16", "int32", "int64", "bool", "float16", "float32", "float64")
#: The dtype in which torch holds an array's values until a batch is made; float64 for those not named here.
STORAGE_DTYPES = {name: np.dtype(name) for name in TORCH_DTYPES} | {"uint16": np.dtype(np.int32), "uint32": np.dtype(np.int64)}
#: Dtypes whose values float32 would round: they are scaled in float64.
WIDER_THAN_FLOAT32 = (torch.float64, torch.int32, torch.int64)
#: Values of images from which it is estimated what range they have, a small part of large data.
N_RANGE_VALUES = 1 << 18
#: Values of images are wild if they lie farther outside the range of most others than so many times its width: less clips
#: what belongs to images, more lets single pixels flatten all others.
WILD_DISTANCE = 3.0
#: Quantiles between which most values lie. A tenth of them may be wild on either side.
USUAL = (0.1, 0.9)
#: Share of the values that may be wild: if there are more, they belong to the images.
MAX_WILD_SHARE = 0.02
#: By how much float32's rounding may make the ends of the range exceed 1, and more.
SCALING_ERROR = 1e-5
#: Spread of values above which a difference of two, squared or summed, may overflow float32 (3.4e38).
MAX_FLOAT32_SPREAD = 1e30


@register_record
@dataclass(frozen=True)
class Scaler:
    """The affine map between the caller's values and what the networks see, ``(x - offset) / scale``.

    Images: one offset and scale, such that the range of the values becomes [-1, 1] (the range of the generator), apart from
    that of single wild ones. Values outside are clipped to it. Rows: the mean of each feature and one common scale, so that
    distances between rows keep their proportions.

    Attributes
    ----------
    offset : ndarray of shape (d,) for rows and () for images
    scale : float
    n_wild : int
        How many wild values there were. If there were any, values outside the range are interpolated from those around.
    directions : Directions or None
        Of rows that are compared by cosine distance: what the scaled rows become.
    """

    offset: np.ndarray
    scale: float
    n_wild: int = 0
    directions: Directions | None = None

    @classmethod
    def fit(cls, array: Array, shape: Shape) -> Scaler:
        """Measure the scaler of `array` (n, d) for samples of `shape`, reading it in chunks."""
        with np.errstate(all="ignore"):
            scaler = cls._fit_images(array) if is_image(shape) else cls._fit_rows(array)
        if not (np.isfinite(scaler.scale) and np.isfinite(scaler.offset).all()):
            raise ValueError("X has values so large that their spread is infinite; scale them first.")
        return scaler

    @classmethod
    def _fit_images(cls, array: Array) -> Scaler:
        (low, high), n_wild = value_range(array), 0
        fences = (low, high) if array.dtype.itemsize == 1 else wild_fences(array, low, high)
        if low < fences[0] or high > fences[1]:
            n_wild = sum(int(((part < fences[0]) | (part > fences[1])).sum()) for part in chunks(array))
            n_wild = n_wild if n_wild <= MAX_WILD_SHARE * array.size else 0
        if n_wild:
            low, high = value_range(array, *fences)
        return cls(np.asarray(low / 2 + high / 2), high / 2 - low / 2 or 1.0, n_wild)

    @classmethod
    def _fit_rows(cls, array: Array) -> Scaler:
        # Measured from the first row, the mean of a constant feature has no rounding error.
        first = np.asarray(array[0], np.float64)
        # Divided by a power of two, which rounds nothing, differences have squares that are neither 0 nor infinite.
        largest = max(float(np.abs(part - first).max()) for part in chunks(array))
        unit = math.ldexp(1.0, math.frexp(largest)[1] - 1) if 0 < largest < math.inf else 1.0
        total = sum(((part - first) / unit).sum(axis=0, dtype=np.float64) for part in chunks(array))
        mean = first + total / len(array) * unit
        spread = sum(np.square((part - mean) / unit).sum(axis=0) for part in chunks(array)) / len(array)
        # What is constant but for rounding does not vary.
        varies = (spread > (16 * np.finfo(np.float64).eps * np.abs(mean / unit)) ** 2) | ~np.isfinite(spread)
        scale = float(np.sqrt(spread[varies].mean())) * unit if varies.any() else 1.0
        return cls(np.asarray(mean), scale or 1.0)

    def by_directions(self, array: Array) -> Scaler:
        """Return the scaler that goes on to the directions of rows, measured on some of `array` (n, d)."""
        return replace(self, directions=Directions.fit(self.transform_some(array, N_ROWS)))

    def transform_some(self, array: Array, n: int) -> Tensor:
        """Return evenly spaced rows of `array` (n, d), about `n`, scaled, float32."""
        some = np.asarray(array[:: math.ceil(len(array) / n)], np.float64)
        return torch.from_numpy(((some - self.offset) / self.scale).astype(np.float32))

    def output_shape(self, shape: Shape) -> Shape:
        """Return the shape of what the networks see of samples of `shape`."""
        return shape if self.directions is None else (self.directions.n_components,)

    @np.errstate(all="ignore")
    def inverse_transform(self, samples: Tensor) -> np.ndarray:
        r"""Turn samples (n, \*shape) of the networks back into rows (n, d) of the caller's range, in float64."""
        rows = samples.permute(0, 2, 3, 1) if samples.dim() == 4 else samples
        values: np.ndarray = rows.reshape(len(samples), -1).cpu().double().numpy()
        if self.directions is not None:
            values = self.directions.inverse_transform(values)
        unscaled: np.ndarray = values * self.scale + self.offset
        return unscaled


def value_range(array: Array, low: float = -np.inf, high: float = np.inf) -> tuple[float, float]:
    """Return the least and the greatest of those values (n, d) that lie between two bounds, both allowed."""
    least, most = np.inf, -np.inf
    for part in chunks(array):
        inside = part[(part >= low) & (part <= high)] if low > -np.inf else part
        if inside.size:
            least, most = min(least, float(inside.min())), max(most, float(inside.max()))
    return least, most


def wild_fences(array: Array, low: float, high: float) -> tuple[float, float]:
    """Return the bounds outside which single values of images (n, d), from `low` to `high`, are wild.

    Four fifths of the values, apart from an empty background, say what is usual. What fills [0, 1], or whole numbers [0, 255],
    is usual in any case.
    """
    rows = np.asarray(array[:: math.ceil(array.size / N_RANGE_VALUES)], np.float64)
    values, counts = np.unique(rows.ravel()[:: math.ceil(rows.size / N_RANGE_VALUES)], return_counts=True)
    if low == 0 and (high == 1 or (high == 255 and not (values % 1).any())):
        return low, high
    most = counts.argmax()
    background = values[most : most + 1] if counts[most] > USUAL[0] * counts.sum() else values[:0]
    usual = np.append(np.quantile(rows[~np.isin(rows, background)], USUAL) if len(values) > 1 else [], background)
    margin = WILD_DISTANCE * np.ptp(usual)
    return (usual.min() - margin, usual.max() + margin) if margin else (low, high)


def chunks(array: Array) -> Iterator[np.ndarray]:
    """Yield the samples of an array, some at a time."""
    rows = chunk_rows(array.shape)
    for start in range(0, len(array), rows):
        yield np.asarray(array[start : start + rows])


def chunk_rows(shape: tuple[int, ...]) -> int:
    """Return how many samples of an array of `shape` are read at a time."""
    return max(1, CHUNK_BYTES // max(1, 8 * math.prod(shape[1:])))


class ArrayDataset:
    """Samples by index, as float32 tensors on a device.

    Parameters
    ----------
    array : ndarray or LazyArray of shape (n, d)
        The caller's array or a view of it; images row by row with channels last.
    shape : Shape
        The shape of one sample, channels first; `shape` is that of what the networks see of it.
    scaler : Scaler
    device : torch.device
        A data set of a third of the free memory of a CUDA device or less is moved there once, in its own dtype.
    """

    def __init__(self, array: Array, shape: Shape, scaler: Scaler, device: torch.device) -> None:
        self.array, self.scaler, self.device = array, scaler, device
        self.shape = scaler.output_shape(shape)
        self._offset = torch.tensor(scaler.offset, dtype=torch.float64, device="cpu")  # a copy: it may be read-only
        self._offset_on_device = self._offset.float().to(device)  # once: a copy for each batch would have the GPU wait
        directions = scaler.directions
        self._components = None if directions is None else torch.tensor(directions.components, device=device)
        self._resident = self._resident_copy()

    def __len__(self) -> int:
        return len(self.array)

    @property
    def has_directions(self) -> bool:
        """Whether rows are compared by their directions."""
        return self._components is not None

    def _resident_copy(self) -> Tensor | None:
        if self.device.type != "cuda":
            return None
        stored = storage_dtype(self.array.dtype)
        if self.array.size * stored.itemsize > torch.cuda.mem_get_info(self.device)[0] / 3:
            return None
        return torch.cat([self._tensor(part).to(self.device) for part in chunks(self.array)])

    @staticmethod
    def _tensor(rows: np.ndarray) -> Tensor:
        """Wrap rows, which may be read-only or reversed."""
        rows = np.ascontiguousarray(rows, dtype=storage_dtype(rows.dtype))
        return torch.from_numpy(rows if rows.flags.writeable else rows.copy())

    def get_batch(self, index: Tensor | slice) -> Tensor:
        """Return the samples at `index` as float32 (b, \\*shape) on the device."""
        if self._resident is not None:
            rows = self._resident[index]
        elif isinstance(index, slice):
            rows = self._tensor(np.asarray(self.array[index]))
        else:
            rows = self._tensor(np.asarray(self.array[index.cpu().numpy()]))
        return self._transform(rows)

    def _transform(self, rows: Tensor) -> Tensor:
        if rows.dtype in WIDER_THAN_FLOAT32 or self.scaler.scale > MAX_FLOAT32_SPREAD:
            rows = (rows.double() - self._offset.to(rows.device)).div_(self.scaler.scale)
            return self._to_shape(rows.float().to(self.device))  # in this order: MPS has no float64
        # From pinned memory, the copy to a GPU runs beside the training.
        streamed = self.device.type == "cuda" and rows.device.type == "cpu"
        rows = (rows.pin_memory() if streamed else rows).to(self.device, non_blocking=streamed).float()
        return self._to_shape((rows - self._offset_on_device).div_(self.scaler.scale))

    def _to_shape(self, rows: Tensor) -> Tensor:
        if self._components is not None:
            return project(rows, self._components, math.sqrt(self.shape[0]))
        if not is_image(self.shape):
            return rows
        channels, height, width = self.shape
        images = rows.view(-1, height, width, channels).permute(0, 3, 1, 2)
        return (interpolate_wild(images) if self.scaler.n_wild else images).clamp_(-1, 1)

    def subset(self, index: Tensor) -> ArrayDataset:
        """Return a data set of the samples at `index`: they are copied if they are few, and read when needed otherwise."""
        chosen = Selection(self.array, index.cpu().numpy())
        few = chosen.size * chosen.dtype.itemsize <= MAX_COPIED_BYTES
        return ArrayDataset(chosen[:] if few else chosen, self.shape, self.scaler, self.device)


def interpolate_wild(images: Tensor) -> Tensor:
    """Replace values of scaled images (n, c, h, w) outside [-1, 1] by the mean of the others in the 3x3 pixels around."""
    usual = images.abs() <= 1 + SCALING_ERROR
    total, number = (F.avg_pool2d(values, 3, 1, 1) for values in (torch.where(usual, images, 0.0), usual.float()))
    return torch.where(usual | (number == 0), images, total / number)


def storage_dtype(dtype: np.dtype) -> np.dtype:
    """Return the dtype in which torch keeps values of a NumPy dtype."""
    return STORAGE_DTYPES.get(dtype.name, np.dtype(np.float64))


def row_hashes(rows: np.ndarray) -> np.ndarray:
    """Return 16 bytes (n,) for each of `rows` (n, d), the same for equal ones."""
    rows = rows.astype(storage_dtype(rows.dtype), copy=False)
    rows = np.ascontiguousarray(rows + 0 if rows.dtype.kind == "f" else rows)  # which makes 0 of -0
    return np.frombuffer(b"".join(hashlib.blake2b(row, digest_size=16).digest() for row in rows), dtype="V16")

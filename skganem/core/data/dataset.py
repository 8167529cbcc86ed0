"""The data set as the caller gave it, handed out in scaled batches.

The array is never copied as a whole: uint8 stays uint8, a memory map stays on disk, and only the rows of a batch become
float32 tensors.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from skganem.core.data.shapes import Shape, is_image

CHUNK_BYTES = 1 << 25
#: No positions.
NONE = torch.empty(0, dtype=torch.long, device="cpu")
#: What torch keeps a dtype's values in until a batch is made; of those not named here, in float64.
SAME = ("uint8", "int8", "int16", "int32", "int64", "bool", "float16", "float32", "float64")
KEPT = {name: np.dtype(name) for name in SAME} | {"uint16": np.dtype(np.int32), "uint32": np.dtype(np.int64)}
#: Of whose values float32 holds only some.
WIDE = (torch.float64, torch.int32, torch.int64)
#: Spread of values above which the difference of two may be beyond float32.
HUGE = 1e30


@dataclass(frozen=True)
class Scaling:
    """The affine map between the caller's values and what the networks see, ``(x - offset) / scale``.

    Images: one offset and scale, such that the range of the values becomes [-1, 1] (the range of the generator). Rows:
    the mean of each feature and one common scale, so that distances between rows keep their proportions.
    """

    offset: np.ndarray
    scale: float

    @classmethod
    def of(cls, array: np.ndarray, shape: Shape) -> Scaling:
        """Measure the scaling of `array` (n, d) for samples of `shape`, reading it in chunks."""
        with np.errstate(over="ignore", invalid="ignore"):
            scaling = cls._of_images(array) if is_image(shape) else cls._of_rows(array)
        if not (np.isfinite(scaling.scale) and np.isfinite(scaling.offset).all()):
            raise ValueError("X has values so large that their spread is infinite; scale them first.")
        return scaling

    @classmethod
    def _of_images(cls, array: np.ndarray) -> Scaling:
        extremes = [(float(part.min()), float(part.max())) for part in _chunks(array)]
        low, high = min(e[0] for e in extremes), max(e[1] for e in extremes)
        return cls(np.asarray((low + high) / 2), (high - low) / 2 or 1.0)

    @classmethod
    def _of_rows(cls, array: np.ndarray) -> Scaling:
        # Measured from the first row, the mean of a constant feature has no rounding error.
        first = np.asarray(array[0], np.float64)
        mean = first + sum((part - first).sum(axis=0, dtype=np.float64) for part in _chunks(array)) / len(array)
        spread = sum(np.square(part - mean).sum(axis=0) for part in _chunks(array)) / len(array)
        # What is constant but for rounding does not vary.
        varies = (spread > (16 * np.finfo(np.float64).eps * np.abs(mean)) ** 2) | ~np.isfinite(spread)
        scale = float(np.sqrt(spread[varies].mean())) if varies.any() else 1.0
        return cls(np.asarray(mean), scale)

    def undo(self, samples: Tensor) -> np.ndarray:
        r"""Turn samples (n, \*shape) of the networks back into rows (n, d) of the caller's range, in float64."""
        rows = samples.permute(0, 2, 3, 1) if samples.dim() == 4 else samples
        values: np.ndarray = rows.reshape(len(samples), -1).cpu().double().numpy()
        unscaled: np.ndarray = values * self.scale + self.offset
        return unscaled


def _chunks(array: np.ndarray) -> Iterator[np.ndarray]:
    rows = max(1, CHUNK_BYTES // max(1, 8 * array.shape[1]))
    for start in range(0, len(array), rows):
        yield np.asarray(array[start : start + rows])


class Source:
    """Samples by index, as float32 tensors on a device.

    Parameters
    ----------
    array : ndarray of shape (n, d)
        The caller's array or a view of it; images row by row with channels last.
    shape : Shape
        The shape of one sample as the networks see it, channels first.
    scaling : Scaling
    device : torch.device
        A data set of a third of the free memory of a CUDA device or less is moved there once, in its own dtype.
    """

    def __init__(self, array: np.ndarray, shape: Shape, scaling: Scaling, device: torch.device) -> None:
        self.array, self.shape, self.scaling, self.device = array, shape, scaling, device
        self._offset = torch.as_tensor(scaling.offset, dtype=torch.float64, device="cpu")
        self._offset_there = self._offset.float().to(device)  # once: a copy for each batch would have the GPU wait
        self._resident = self._resident_copy()

    def __len__(self) -> int:
        return len(self.array)

    def _resident_copy(self) -> Tensor | None:
        if self.device.type != "cuda":
            return None
        kept = kept_in(self.array.dtype)
        if self.array.size * kept.itemsize > torch.cuda.mem_get_info(self.device)[0] / 3:
            return None
        return torch.cat([self._tensor(part).to(self.device) for part in _chunks(self.array)])

    @staticmethod
    def _tensor(rows: np.ndarray) -> Tensor:
        """Wrap rows, which may be read-only or reversed."""
        rows = np.ascontiguousarray(rows, dtype=kept_in(rows.dtype))
        return torch.from_numpy(rows if rows.flags.writeable else rows.copy())

    def batch(self, index: Tensor | slice) -> Tensor:
        """Return the samples at `index` as float32 (b, \\*shape) on the device."""
        if self._resident is not None:
            rows = self._resident[index]
        elif isinstance(index, slice):
            rows = self._tensor(np.asarray(self.array[index]))
        else:
            rows = self._tensor(np.asarray(self.array[index.cpu().numpy()]))
        return self._scaled(rows)

    def _scaled(self, rows: Tensor) -> Tensor:
        if rows.dtype in WIDE or self.scaling.scale > HUGE:
            rows = (rows.double() - self._offset.to(rows.device)).div_(self.scaling.scale)
            return self._shaped(rows.float().to(self.device))  # in this order: MPS has no float64
        # From pinned memory, the copy to a GPU runs beside the training.
        streamed = self.device.type == "cuda" and rows.device.type == "cpu"
        rows = (rows.pin_memory() if streamed else rows).to(self.device, non_blocking=streamed).float()
        return self._shaped((rows - self._offset_there).div_(self.scaling.scale))

    def _shaped(self, rows: Tensor) -> Tensor:
        if not is_image(self.shape):
            return rows
        channels, height, width = self.shape
        return rows.view(-1, height, width, channels).permute(0, 3, 1, 2)

    def subset(self, index: Tensor) -> Source:
        """Return a source of the samples at `index`, which are copied."""
        return Source(self.array[index.cpu().numpy()], self.shape, self.scaling, self.device)


def kept_in(dtype: np.dtype) -> np.dtype:
    """Return the dtype in which torch keeps values of a NumPy dtype."""
    return KEPT.get(dtype.name, np.dtype(np.float64))


def keys_of(rows: np.ndarray) -> np.ndarray:
    """Return 16 bytes (n,) for each of `rows` (n, d), the same for equal ones."""
    rows = rows.astype(kept_in(rows.dtype), copy=False)
    rows = np.ascontiguousarray(rows + 0 if rows.dtype.kind == "f" else rows)  # which makes 0 of -0
    return np.frombuffer(b"".join(hashlib.blake2b(row, digest_size=16).digest() for row in rows), dtype="V16")


def batches(n: int, size: int, rng: torch.Generator) -> list[Tensor]:
    """Split a random order of n samples into batches of nearly equal size, about `size` and never a single row."""
    order = torch.randperm(n, generator=rng, device=rng.device)
    return list(order.tensor_split(max(1, min(round(n / size), n // 2))))


def endless_batches(n: int, size: int, n_batches: int, rng: torch.Generator) -> Iterator[Tensor]:
    """Yield `n_batches` batches of indices, epoch after epoch, each in a new random order."""
    while True:
        for index in batches(n, size, rng):
            if n_batches == 0:
                return
            yield index
            n_batches -= 1

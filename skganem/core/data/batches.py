"""Batches: in random order to train on, and in fixed chunks to predict."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from skganem.core.data.dataset import ArrayDataset
from skganem.core.data.shapes import Shape, is_image
from skganem.core.runtime.device import channels_last, full_precision
from skganem.core.runtime.distributed import current

#: Samples that pass a network at once on a CPU and on a GPU. On a CPU, more would leave its caches; on a GPU, fewer would
#: leave it idle.
CPU_CHUNK, GPU_CHUNK = 192, 4096
#: Chunks above the least are multiples of so many rows: whole tiles of the kernels that multiply matrices (6 rows with AVX2,
#: 16 or 48 with AVX-512). Rows left over are summed in another order, so that the last digits would depend on the chunk.
TILE = 48
#: Values in a chunk at most, and samples at least: 16 MiB of float32, so that large samples do not fill the memory.
CHUNK_VALUES, MIN_CHUNK = 1 << 22, 16
#: Of images on a CPU, values in a chunk at most: 1 MiB of float32. Images of 64x64 stay in its caches, and a single one, which
#: is padded to a chunk, takes 6 ms instead of 83. Rows pass through large matrices, which smaller chunks would read more often.
CPU_IMAGE_VALUES = 1 << 18


def shuffled_batches(n: int, size: int, rng: torch.Generator) -> list[Tensor]:
    """Split a random order of n samples into batches of nearly equal size, about `size` and never a single row."""
    order = torch.randperm(n, generator=rng, device=rng.device)
    return list(order.tensor_split(max(1, min(round(n / size), n // 2))))


def endless_batches(n: int, size: int, n_batches: int, rng: torch.Generator) -> Iterator[Tensor]:
    """Yield `n_batches` batches of indices, epoch after epoch, each in a new random order."""
    while True:
        for index in shuffled_batches(n, size, rng):
            if n_batches == 0:
                return
            yield index
            n_batches -= 1


def chunk_size(shape: Shape, device: torch.device) -> int:
    """Return the samples in a chunk: always as many for a shape and a device, so that no answer depends on the number."""
    on_cpu = device.type == "cpu"
    n_values = CPU_IMAGE_VALUES if on_cpu and is_image(shape) else CHUNK_VALUES
    fits = max(MIN_CHUNK, n_values // math.prod(shape) // TILE * TILE)
    return min(CPU_CHUNK if on_cpu else GPU_CHUNK, fits)


@torch.no_grad()
def map_batches(dataset: ArrayDataset, compute: Callable[[Tensor], Tensor]) -> Tensor:
    """Apply `compute` to all samples in chunks of one size, in full precision; return the results, one below the other.

    The processes of a data-parallel fit share the chunks.
    """

    def map_slice(rows: slice) -> Tensor:
        results, n_done = torch.empty(0, 0, device=dataset.device), 0
        for x, n in _padded_chunks(dataset, rows, size):
            computed = compute(x)[:n].float()
            if not n_done:  # not a list of chunks: to concatenate them would take their memory twice
                results = computed.new_empty(rows.stop - rows.start, *computed.shape[1:])
            results[n_done : n_done + n] = computed
            n_done += n
        return results

    size = chunk_size(dataset.shape, dataset.device)
    with full_precision():
        return current().map_rows(map_slice, len(dataset), size)


def _padded_chunks(dataset: ArrayDataset, rows: slice, size: int) -> Iterator[tuple[Tensor, int]]:
    """Yield the chunks of some rows and their number of samples; the last chunk is padded to the size of the others."""
    for start in range(rows.start, rows.stop, size):
        x = dataset.get_batch(slice(start, min(start + size, rows.stop)))
        n = len(x)
        if n < size:
            x = torch.cat([x, x[:1].expand(size - n, *x.shape[1:])])
        yield channels_last(x), n
